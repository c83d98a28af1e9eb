"""Turns whose loops, schedulers or clocks leave them alone, and answers with odd reports."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import threading
import time
from types import SimpleNamespace

from pagefault import Scheduler
from pagefault.coordination import local
from pagefault.errors import SchedulerClosed
from tests.scheduler.loops import until

MANY = 1_200
TICK = 0.0156


async def take(scheduler, agent):
    async with scheduler.turn(agent=agent):
        raise AssertionError("its loop is closed")


def waiting(scheduler):
    return [turn for turn in scheduler.state().turns if turn.phase == "waiting"]


def abandoned(loop, scheduler, agents, contexts):
    """Tasks that wait on a loop which is closed then."""
    tasks = [loop.create_task(take(scheduler, a), context=c) for a, c in zip(agents, contexts, strict=True)]
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    for task in tasks:
        task._log_destroy_pending = False
    return tasks


def test_a_closed_loop_with_many_turns_is_no_recursion():
    scheduler = Scheduler(slots=1)
    with scheduler.turn(agent="a"):
        names = [f"b{number}" for number in range(MANY)]
        tasks = abandoned(asyncio.new_event_loop(), scheduler, names, [contextvars.Context() for _ in names])
        assert len(waiting(scheduler)) == MANY
    assert scheduler.state().turns == ()
    with scheduler.turn(agent="c", timeout=0):
        assert len(tasks) == MANY


def test_a_closed_loop_gives_the_outer_turn_its_slot_back():
    scheduler = Scheduler(slots=1)
    hold, go = threading.Event(), threading.Event()

    def other():
        with scheduler.turn(agent="other"):
            hold.set()
            go.wait(60)

    thread = threading.Thread(target=other)
    with scheduler.turn(agent="outer"):
        inside = contextvars.copy_context()
        thread.start()
        until(lambda: waiting(scheduler), "the other one waits")
        tasks = abandoned(asyncio.new_event_loop(), scheduler, ["inner"], [inside])
        hold.wait(60)  # it has the slot that is lent
        go.set()
        thread.join(60)
        until(lambda: len(scheduler.state().turns) == 1, "the inner one is let go of")
        (turn,) = scheduler.state().turns
        assert (turn.agent, turn.phase) == ("outer", "running")
        assert len(tasks) == 1
    assert scheduler.state().turns == ()


def test_an_alarm_that_a_coarse_clock_has_early_is_set_again(monkeypatch):
    """Such as that of Windows, whose steps are longer than what a timer may be early."""
    coarse = SimpleNamespace(monotonic=lambda: math.floor(time.monotonic() / TICK) * TICK)
    monkeypatch.setattr(local, "time", coarse)
    for _ in range(8):
        scheduler = Scheduler(slots=2)
        with scheduler.turn(agent="a") as turn:
            turn.refused(0.05)
        with scheduler.turn(agent="b", timeout=20):
            pass


def test_a_shared_scheduler_that_only_its_turn_holds_lets_it_in(valkey):
    url = valkey.url()
    holder = Scheduler(slots=1, shared=url)
    first = holder.turn(agent="first")
    first.__enter__()
    turn, let_in = Scheduler(slots=1, shared=url).turn(agent="second"), threading.Event()
    gc.collect()

    def run():
        with turn:
            let_in.set()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.3)  # it is told no earlier than its turn
    assert thread.is_alive()
    first.__exit__(None, None, None)
    thread.join(60)
    assert let_in.is_set()
    holder.close()


def test_whoever_looks_at_a_shared_scheduler_decides_as_before(valkey, monkeypatch):
    """What a minute holds is let go of by events alone: others may have had one at an earlier time than it is now."""
    scheduler = Scheduler(slots=2, requests_per_minute=1, shared=valkey.url())
    with scheduler.turn(agent="a"):
        pass
    turn, ended = scheduler.turn(agent="b"), threading.Event()

    def run():
        try:
            turn.__enter__()
        except SchedulerClosed:
            ended.set()

    threading.Thread(target=run, daemon=True).start()
    until(lambda: waiting(scheduler), "it waits for the minute")
    coordinator = scheduler._coordinator
    before, now = coordinator._member.replica.text(), coordinator._talk.now()
    with monkeypatch.context() as later:
        later.setattr(coordinator._talk, "now", lambda: now + 3_600)
        assert [each.waits_for for each in waiting(scheduler)] == ["the backend's limits"]
    assert coordinator._member.replica.text() == before
    scheduler.close()
    assert ended.wait(60)
