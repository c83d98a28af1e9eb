"""A shared scheduler whose server is away, restarts, loses its data or does not answer: nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import time

import pytest

from pagefault import (
    BadTurn,
    LeaseLost,
    MissingDependency,
    RulesDiffer,
    Scheduler,
    SchedulerClosed,
    SchedulerError,
    SchedulerUnreachable,
)
from tests.ports import free_port
from tests.scheduler.loops import on_a_loop, until

PATIENCE = 60.0


class Caller(threading.Thread):
    """Takes one turn and holds it until told to leave."""

    def __init__(self, scheduler, agent="a", **options):
        super().__init__(daemon=True)
        self.scheduler, self.agent, self.options = scheduler, agent, options
        self.inside, self.leave = threading.Event(), threading.Event()
        self.error = self.token = self.turn = None
        self.start()

    def run(self):
        try:
            with self.scheduler.turn(agent=self.agent, **self.options) as turn:
                self.turn, self.token = turn, turn.token
                self.inside.set()
                assert self.leave.wait(PATIENCE)
                self.token = turn.token
        except (SchedulerError, AssertionError) as error:
            self.error = error

    def end(self):
        self.leave.set()
        self.join(PATIENCE)
        assert not self.is_alive(), "it hangs"
        return self.error


def take(scheduler, agent="a"):
    with scheduler.turn(agent=agent):
        pass


def phases(scheduler):
    return sorted(turn.phase for turn in scheduler.state().turns)


@pytest.fixture
def threads():
    """Of the schedulers that this test makes: those that talk to a server."""
    before = set(threading.enumerate())
    return lambda: [t for t in set(threading.enumerate()) - before if t.name.startswith("pagefault-log")]


# ------------------------------------------------------------------ at the start


@pytest.mark.parametrize(
    "url",
    [
        5, "", "localhost", "http://h", "valkey://", "valkey://h:x", "valkey://h/name", "valkey://h?name=",
        "valkey://h?name=a b", "valkey://h?lease=0", "valkey://h?lease=x", "valkey://h?lease=inf", "valkey://[h",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used(url):
    with pytest.raises(BadTurn):
        Scheduler(shared=url)


def test_a_server_that_is_not_there_is_named_without_its_password(threads):
    scheduler = Scheduler(shared=f"valkey://:geheim@127.0.0.1:{free_port()}/0?name=gpt-4")
    for _ in range(2):
        with pytest.raises(SchedulerUnreachable, match=r"valkey://\*\*\*@127\.0\.0\.1:\d+/0\?name=gpt-4") as caught:
            take(scheduler)
        assert "geheim" not in str(caught.value)
    until(lambda: not threads(), "its threads end")


@on_a_loop
async def test_a_server_that_says_nothing_blocks_no_loop(threads):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scheduler = Scheduler(shared=f"valkey://127.0.0.1:{silent.getsockname()[1]}?lease=1")
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        with pytest.raises(SchedulerUnreachable):
            async with scheduler.turn(agent="a"):
                raise AssertionError
        ticking.cancel()
        assert ticks > 5
    await asyncio.to_thread(until, lambda: not threads(), "its threads end")


def test_a_wrong_password_is_said(own_server):
    server = own_server().start()
    server.ask("CONFIG", "SET", "requirepass", "geheim")
    port = server.port
    with pytest.raises(SchedulerUnreachable, match=r"(?i)password|auth"):
        take(Scheduler(shared=f"valkey://:falsch@127.0.0.1:{port}"))
    for scheme in ("valkey", "redis"):
        with Scheduler(shared=f"{scheme}://:geheim@127.0.0.1:{port}/0?name={scheme}") as scheduler:
            take(scheduler)


def closes_at_once(listening):
    """A fake of a port that takes TLS alone: it does so when it reads what is none."""
    with contextlib.suppress(OSError):
        while True:
            listening.accept()[0].close()


def test_who_is_not_understood_is_told_how_to_speak_encrypted_or_plain(valkey):
    with pytest.raises(SchedulerUnreachable, match=r"valkeys:// \(encrypted\)"):
        take(Scheduler(shared=valkey.url(scheme="valkeys")))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=closes_at_once, args=(listening,), daemon=True).start()
        with pytest.raises(SchedulerUnreachable, match=r"valkeys:// \(encrypted\)"):
            take(Scheduler(shared=f"valkey://127.0.0.1:{listening.getsockname()[1]}"))
        listening.shutdown(socket.SHUT_RDWR)


def test_without_the_client_library_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingDependency, match=r"pip install 'pagefault\[valkey\]'"):
        Scheduler(shared="valkey://localhost")


def test_other_rules_are_an_error_that_names_both(valkey):
    url = valkey.url()
    with Scheduler(slots=1, shared=url) as first:
        take(first)
        with Scheduler(slots=2, shared=url) as second, pytest.raises(RulesDiffer, match=r'"slots":1.*"slots":2'):
            take(second)
        take(first)


# ------------------------------------------------------------------ between processes


def test_a_turn_of_another_process_is_waited_for(valkey):
    url = valkey.url()
    with Scheduler(slots=1, shared=url) as one, Scheduler(slots=1, shared=url) as other:
        first = Caller(one)
        assert first.inside.wait(PATIENCE)
        second = Caller(other, "b")
        until(lambda: phases(other) == ["running", "waiting"], "b waits")
        assert not second.inside.wait(0.05)
        assert first.end() is None
        assert second.inside.wait(PATIENCE)
        assert second.token.number > first.token.number
        assert second.token.slot == first.token.slot == 0
        assert second.end() is None
        assert other.usage("a").turns == 1


def test_closing_gives_the_lease_back_and_leaves_nothing(valkey, threads):
    url = valkey.url()
    before = len(valkey.ask("CLIENT", "LIST"))
    scheduler = Scheduler(slots=1, shared=url)
    holder = Caller(scheduler)
    assert holder.inside.wait(PATIENCE)
    waiting = Caller(scheduler, "b")
    until(lambda: phases(scheduler) == ["running", "waiting"], "b waits")
    scheduler.close()
    assert isinstance(waiting.end(), SchedulerClosed)
    assert holder.end() is None
    scheduler.close()
    until(lambda: not threads(), "its threads end")
    until(lambda: len(valkey.ask("CLIENT", "LIST")) <= before, "its connections end")
    with Scheduler(slots=2, shared=url) as other:  # other rules: nobody lives by the old ones
        take(other)


def test_a_scheduler_that_nobody_holds_leaves_too(valkey, threads):
    scheduler = Scheduler(slots=1, shared=valkey.url(lease=0.6))
    take(scheduler)
    assert threads()
    del scheduler
    gc.collect()
    until(lambda: not threads(), "its threads end")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_another_process(valkey):
    scheduler = Scheduler(slots=1, shared=valkey.url())
    holder = Caller(scheduler)
    assert holder.inside.wait(PATIENCE)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        with contextlib.suppress(BaseException):
            caller = Caller(scheduler, "child")
            until(lambda: phases(scheduler) == ["running", "waiting"], "the child waits for its parent")
            os.write(writer, b".")
            caller.leave.set()
            code = 2 if caller.end() else 0
        os._exit(code)
    os.close(writer)
    assert os.read(reader, 1) == b"."
    os.close(reader)
    assert holder.end() is None
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    scheduler.close()


def test_a_turn_is_two_calls_and_to_wait_is_none(own_server):
    server = own_server().start()
    url = server.url(lease=60)
    schedulers = [Scheduler(slots=1, shared=url) for _ in range(4)]
    take(schedulers[0])
    before = server.calls()
    for _ in range(50):
        take(schedulers[0])
    after = server.calls()
    assert after["evalsha"] - before["evalsha"] <= 2 * 50 + 1
    assert after.get("xread", 0) == before.get("xread", 0)

    holder = Caller(schedulers[0])
    assert holder.inside.wait(PATIENCE)
    waiting = [Caller(scheduler, str(number)) for number in range(8) for scheduler in schedulers]
    for scheduler in schedulers:
        until(lambda scheduler=scheduler: len(phases(scheduler)) == 33, "all wait")
    until(lambda: not asked_within(server, 0.2), "what was on its way has come")
    assert asked_within(server, 1.0) <= len(schedulers), "those who wait ask again and again"
    for each in [holder, *waiting]:
        each.leave.set()
    assert [each.end() for each in [holder, *waiting]] == [None] * 33
    for scheduler in schedulers:
        scheduler.close()


def asked_within(server, seconds):
    before = server.calls()
    time.sleep(seconds)
    after = server.calls()
    return sum(after.get(name, 0) - before.get(name, 0) for name in ("evalsha", "xread"))


# ------------------------------------------------------------------ in mid-run


@pytest.mark.parametrize("persists", [True, False], ids=["with persistence", "without persistence"])
def test_a_server_that_is_killed_and_starts_again(own_server, persists):
    server = own_server(persists=persists).start()
    url = server.url(lease=0.9)
    with Scheduler(slots=2, shared=url) as one, Scheduler(slots=2, shared=url) as other:
        running = [Caller(one), Caller(other, "b")]
        for each in running:
            assert each.inside.wait(PATIENCE)
        waiting = Caller(one, "c")
        until(lambda: phases(one) == ["running", "running", "waiting"], "c waits")
        tokens = [each.token for each in running]
        server.kill()
        server.start()
        until(lambda: phases(one) == phases(other) == ["running", "running", "waiting"], "all are back")
        time.sleep(1.2)  # longer than the pause after a loss: what runs was said anew, so c still waits
        assert not waiting.inside.is_set()
        assert running[0].end() is None
        assert waiting.inside.wait(PATIENCE)
        if not persists:
            assert running[0].token.number > tokens[0].number
        assert [running[1].end(), waiting.end()] == [None, None]
        take(other)
        assert phases(other) == []


def test_all_that_run_and_wait_go_on_when_the_server_comes_back_within_the_lease(own_server):
    server = own_server(persists=True).start()
    url = server.url(lease=20)
    with Scheduler(slots=1, shared=url) as scheduler:
        holder = Caller(scheduler)
        assert holder.inside.wait(PATIENCE)
        waiting = [Caller(scheduler, agent) for agent in "bc"]
        until(lambda: phases(scheduler) == ["running", "waiting", "waiting"], "b and c wait")
        server.kill()
        holder.leave.set()
        later = Caller(scheduler, "d")
        time.sleep(0.3)
        assert not any(each.inside.is_set() for each in [*waiting, later])
        server.start()
        assert holder.end() is None
        for each in [*waiting, later]:
            each.leave.set()
        assert [each.end() for each in [*waiting, later]] == [None] * 3


def test_a_server_that_stays_away_is_an_error_for_those_who_wait_and_calls_end_as_usual(own_server):
    server = own_server(persists=True).start()
    with Scheduler(slots=1, shared=server.url(lease=0.9)) as scheduler:
        holder = Caller(scheduler)
        assert holder.inside.wait(PATIENCE)
        waiting = Caller(scheduler, "b")
        until(lambda: phases(scheduler) == ["running", "waiting"], "b waits")
        server.kill()
        waiting.join(PATIENCE)
        assert isinstance(waiting.error, SchedulerUnreachable)
        for _ in range(3):
            with pytest.raises(SchedulerUnreachable):
                take(scheduler, "c")
        assert holder.end() is None
        server.start()
        until(lambda: succeeds(scheduler), "it goes on")
        assert phases(scheduler) == []


def succeeds(scheduler):
    try:
        take(scheduler)
    except SchedulerUnreachable:
        return False
    return True


@on_a_loop
async def test_nested_turns_end_while_the_server_is_away(own_server):
    server = own_server().start()
    async with Scheduler(slots=1, shared=server.url(lease=0.6)) as scheduler:
        with pytest.raises(SchedulerUnreachable):
            await nest(scheduler, server)


async def nest(scheduler, server):
    async with scheduler.turn(agent="outer"), scheduler.turn(agent="inner"):
        await asyncio.to_thread(server.kill)
        async with scheduler.turn(agent="innermost"):
            raise AssertionError


@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_a_server_that_does_not_answer_for_a_while(own_server, how):
    """A partition: leases stand still while nobody is heard, so nobody loses a slot by it."""
    server = own_server().start()
    url = server.url(lease=1)
    with Scheduler(slots=1, shared=url) as one, Scheduler(slots=1, shared=url) as other:
        holder = Caller(one)
        assert holder.inside.wait(PATIENCE)
        waiting = Caller(other, "b")
        until(lambda: phases(other) == ["running", "waiting"], "b waits")
        if how == "stopped":
            server.signal(signal.SIGSTOP)
            time.sleep(0.8)
            server.signal(signal.SIGCONT)
        else:
            server.ask("CLIENT", "PAUSE", "800", "ALL")
            time.sleep(0.8)
        assert not waiting.inside.wait(0.5)
        assert holder.end() is None
        waiting.leave.set()
        assert waiting.end() is None


def test_a_process_that_is_cut_off_loses_its_slot_and_is_told(own_server):
    """Only one side is cut off: its connections are refused for longer than its lease."""
    server = own_server().start()
    url = server.url(lease=0.8)
    with Scheduler(slots=1, shared=url) as cut_off, Scheduler(slots=1, shared=url) as other:
        holder = Caller(cut_off)
        assert holder.inside.wait(PATIENCE)
        with unplugged(cut_off):
            waiting = Caller(other, "b")
            assert waiting.inside.wait(PATIENCE), "the slot comes back"
            assert waiting.token.number > holder.token.number
        until(lambda: holder.turn.failure, "it is told")
        with pytest.raises(LeaseLost, match="'a'"):
            holder.turn.charge(input_tokens=1)
        assert holder.turn.token is None
        assert isinstance(holder.end(), LeaseLost)
        assert waiting.end() is None
        take(cut_off)


@contextlib.contextmanager
def unplugged(scheduler):
    """As a network that lets nothing through for this process: its calls fail."""
    wire = scheduler._coordinator._talk._wire
    call, follow = wire._call, wire.follow

    def fail(*_, **__):
        raise SchedulerUnreachable("unplugged")

    wire._call, wire.follow = fail, fail
    try:
        yield
    finally:
        wire._call, wire.follow = call, follow
