"""Turns of real threads and event loops."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import threading
import time
import weakref
from types import SimpleNamespace

import pytest

import pagefault
from pagefault import Limits, Scheduler
from pagefault.coordination import Seat
from pagefault.errors import (
    BadTurn,
    QueueFull,
    QuotaExceeded,
    SchedulerClosed,
    TurnNotOpen,
    TurnTimeout,
    UnknownAgent,
    WaitBlocksLoop,
)
from pagefault.turn import Turn, _around
from tests.scheduler.loops import on_a_loop, until

PATIENCE = 60.0


def waiting(scheduler):
    return [turn for turn in scheduler.state().turns if turn.phase == "waiting"]


class Crowd:
    """Threads that each take one turn; they note the order in which they were let in."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.order = []
        self.errors = []
        self.threads = []

    def join(self, agent, **options):
        def run():
            try:
                with self.scheduler.turn(agent=agent, **options):
                    self.order.append(agent)
            except pagefault.PagefaultError as error:
                self.errors.append(error)

        before = len(waiting(self.scheduler))
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)
        until(lambda: len(waiting(self.scheduler)) > before or not thread.is_alive(), f"{agent} waits")

    def end(self):
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        return self.order


def is_empty(scheduler):
    state = scheduler.state()
    return not state.turns and state.running == 0


# ------------------------------------------------------------------ who is next


def test_threads_wait_their_turn_and_shares_are_fair(make_scheduler):
    scheduler = make_scheduler(slots=1, affinity_slack=0)
    crowd = Crowd(scheduler)
    cost = {"input_tokens": 100, "max_output_tokens": 0}
    with scheduler.turn(agent="first", **cost):
        for agent in "aaab":
            crowd.join(agent, **cost)
        assert [turn.waits_for for turn in waiting(scheduler)][::3] == ["a slot", "a slot"]
    assert crowd.end() == ["a", "b", "a", "a"]
    assert is_empty(scheduler)


def test_a_higher_priority_goes_first(make_scheduler):
    scheduler = make_scheduler(slots=1)
    crowd = Crowd(scheduler)
    with scheduler.turn(agent="first"):
        crowd.join("low")
        crowd.join("high", priority=1)
    assert crowd.end() == ["high", "low"]


def test_tasks_of_several_loops_and_threads_share_the_slots(make_scheduler):
    scheduler = make_scheduler(slots=3)
    busy, most, lock = [0], [0], threading.Lock()

    def enter():
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])

    def leave():
        with lock:
            busy[0] -= 1

    async def call(agent):
        for _ in range(20):
            async with scheduler.turn(agent=agent):
                enter()
                await asyncio.sleep(0.0005)
                leave()

    def loop():
        async def main():
            await asyncio.gather(*(call(f"task {n}") for n in range(4)))

        asyncio.run(main())

    def thread():
        for _ in range(20):
            with scheduler.turn(agent="thread"):
                enter()
                time.sleep(0.0005)
                leave()

    threads = [threading.Thread(target=each, daemon=True) for each in (loop, loop, thread, thread)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)
        assert not each.is_alive()
    assert most[0] == 3
    assert is_empty(scheduler)


@on_a_loop
async def test_waiting_blocks_no_loop(make_scheduler):
    scheduler = make_scheduler(slots=1)
    ticks = 0
    async with scheduler.turn(agent="a"):
        task = asyncio.create_task(anext_turn(scheduler), context=contextvars.Context())
        await asyncio.to_thread(until, lambda: waiting(scheduler), "b waits")
        for _ in range(50):
            await asyncio.sleep(0.001)
            ticks += 1
    await task
    assert ticks == 50


async def anext_turn(scheduler, agent="b", **options):
    async with scheduler.turn(agent=agent, **options):
        return agent


# ------------------------------------------------------------------ charging


def test_usage_replaces_the_estimate(make_scheduler):
    scheduler = make_scheduler()
    with scheduler.turn(agent="a", input_tokens=1_000, max_output_tokens=500) as turn:
        turn.charge(input_tokens=600, cached_tokens=400)
        turn.charge(output_tokens=10)
    used = scheduler.usage("a")
    assert (used.usage.input_tokens, used.usage.cached_tokens, used.usage.output_tokens) == (600, 400, 10)
    assert used.cost == 200 + 40 + 40


def test_without_a_report_the_estimate_stands(make_scheduler):
    scheduler = make_scheduler()
    with scheduler.turn(agent="a", input_tokens=1_000, max_output_tokens=500):
        pass
    assert scheduler.usage("a").cost == 3_000


def test_a_failure_refunds_unless_usage_was_reported(make_scheduler):
    scheduler = make_scheduler()
    with pytest.raises(ZeroDivisionError), scheduler.turn(agent="a", input_tokens=1_000):
        _ = 1 / 0
    assert (scheduler.usage("a").cost, scheduler.usage("a").failed) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        failing_call(scheduler)
    assert (scheduler.usage("a").cost, scheduler.usage("a").failed) == (7, 2)


def failing_call(scheduler):
    with scheduler.turn(agent="a", input_tokens=1_000) as turn:
        turn.charge(input_tokens=7)
        _ = 1 / 0


class TooManyRequests(Exception):
    status_code = 429
    response = SimpleNamespace(headers={"retry-after": "0.8"})


def test_a_refusal_that_is_raised_pauses_everybody(make_scheduler):
    scheduler = make_scheduler(slots=4)
    began = time.monotonic()
    with pytest.raises(TooManyRequests), scheduler.turn(agent="a"):
        raise TooManyRequests
    crowd = Crowd(scheduler)
    crowd.join("b")
    assert "refused" in waiting(scheduler)[0].waits_for
    assert crowd.end() == ["b"]
    assert time.monotonic() - began > 0.7
    assert scheduler.state().slots < 4


def test_a_refusal_can_be_reported(make_scheduler):
    scheduler = make_scheduler()
    with scheduler.turn(agent="a", input_tokens=5) as turn:
        turn.refused(retry_after=60)
        with pytest.raises(BadTurn):
            turn.refused(retry_after=-1)
    assert scheduler.usage("a").failed == 1
    with pytest.raises(TurnTimeout, match="refused"), scheduler.turn(agent="b", timeout=0.01):
        pass
    assert is_empty(scheduler)


def test_a_minute_that_is_full_ends_by_itself(make_scheduler, monkeypatch):
    monkeypatch.setattr("pagefault.scheduling.limits.MINUTE", 0.2)
    scheduler = make_scheduler(requests_per_minute=2)
    began = time.monotonic()
    for _ in range(5):
        with scheduler.turn(agent="a"):
            pass
    assert time.monotonic() - began >= 0.4


# ------------------------------------------------------------------ giving up


def test_a_time_out_leaves_nothing_behind(make_scheduler):
    scheduler = make_scheduler(slots=1)
    with scheduler.turn(agent="a"):
        crowd = Crowd(scheduler)
        crowd.join("b", timeout=0.01)
        assert crowd.end() == []
        assert [type(error) for error in crowd.errors] == [TurnTimeout]
        assert not waiting(scheduler)
    assert is_empty(scheduler)


@on_a_loop
async def test_cancellation_at_any_point_leaks_no_slot(make_scheduler):
    scheduler = make_scheduler(slots=2)

    async def call(agent):
        async with scheduler.turn(agent=agent):
            await asyncio.sleep(0)
            async with scheduler.turn(agent=f"{agent} inner"):
                await asyncio.sleep(0)

    for steps in range(40):
        tasks = [asyncio.create_task(call(str(number))) for number in range(6)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[steps % 3 :: 2]:
            task.cancel()
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in done)
        assert is_empty(scheduler), f"after {steps} steps"


@on_a_loop
async def test_a_time_out_of_asyncio_is_honoured(make_scheduler):
    scheduler = make_scheduler(slots=1)
    async with scheduler.turn(agent="a"):
        with pytest.raises(TurnTimeout):
            await asyncio.create_task(anext_turn(scheduler, timeout=0.01), context=contextvars.Context())
        with pytest.raises(TimeoutError):
            await asyncio.create_task(within(0.01, anext_turn(scheduler)), context=contextvars.Context())
    assert is_empty(scheduler)


async def within(seconds, work):
    async with asyncio.timeout(seconds):
        return await work


def test_a_closed_loop_takes_no_slot_with_it(make_scheduler):
    scheduler = make_scheduler(slots=1)
    loop = asyncio.new_event_loop()
    with scheduler.turn(agent="a"):
        task = loop.create_task(anext_turn(scheduler), context=contextvars.Context())
        loop.run_until_complete(asyncio.to_thread(until, lambda: waiting(scheduler), "b waits"))
        loop.close()
    until(lambda: is_empty(scheduler), "the slot comes back")
    task._log_destroy_pending = False
    del task
    gc.collect()
    assert is_empty(scheduler)


# ------------------------------------------------------------------ closing


def test_closing_wakes_those_who_wait_and_lets_open_turns_end(make_scheduler):
    scheduler = make_scheduler(slots=1)
    crowd = Crowd(scheduler)
    with scheduler.turn(agent="a") as turn:
        crowd.join("b")
        scheduler.close()
        crowd.end()
        turn.charge(input_tokens=1)
    assert [type(error) for error in crowd.errors] == [SchedulerClosed]
    with pytest.raises(SchedulerClosed), scheduler.turn(agent="a"):
        pass
    assert is_empty(scheduler)


@on_a_loop
async def test_a_scheduler_is_a_context_manager(make_scheduler):
    with make_scheduler() as scheduler:
        pass
    async with make_scheduler() as other:
        task = asyncio.create_task(anext_turn(other))
        await task
    for each in (scheduler, other):
        with pytest.raises(SchedulerClosed):
            await anext_turn(each)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "options",
    [
        {"agent": ""},
        {"agent": None},
        {"weight": 0},
        {"weight": -1},
        {"weight": math.nan},
        {"weight": "2"},
        {"weight": 1e-300},
        {"weight": 10**400},
        {"priority": 10**5000},
        {"input_tokens": 10**400},
        {"timeout": "5"},
        {"timeout": True},
        {"timeout": 1e12},
        {"priority": 1.5},
        {"priority": True},
        {"input_tokens": -1},
        {"input_tokens": 1.5},
        {"max_output_tokens": -1},
        {"prefix": 5},
        {"prefix": [1]},
        {"timeout": -1},
        {"timeout": math.nan},
        {"tenant": None},
    ],
)
def test_a_turn_with_a_number_that_cannot_be_one(options):
    with pytest.raises(BadTurn):
        Scheduler().turn(**{"agent": "a"} | options)


def test_a_cost_above_a_limit_is_refused_at_once(make_scheduler):
    scheduler = make_scheduler(tokens_per_minute=1_000, quotas={"small": Limits(tokens_per_minute=10)})
    for options in ({"agent": "a", "input_tokens": 1_001}, {"agent": "small", "input_tokens": 11}):
        with pytest.raises(QuotaExceeded), scheduler.turn(max_output_tokens=0, **options):
            pass
    assert is_empty(scheduler)


def test_a_full_queue_is_refused_at_once(make_scheduler):
    scheduler = make_scheduler(slots=1, max_waiting=1)
    crowd = Crowd(scheduler)
    with scheduler.turn(agent="a"):
        crowd.join("b")
        crowd.join("b")
        assert [type(error) for error in crowd.errors] == [QueueFull]
    assert crowd.end() == ["b"]


def test_a_turn_is_used_inside_its_block_once(make_scheduler):
    scheduler = make_scheduler()
    turn = scheduler.turn(agent="a")
    with pytest.raises(TurnNotOpen, match="not begun"):
        turn.charge(input_tokens=1)
    with pytest.raises(TurnNotOpen, match="not begun"):
        turn.__exit__(None, None, None)
    with turn:
        with pytest.raises(BadTurn):
            turn.charge(input_tokens=-1)
        for usage in ({"input_tokens": 1, "cached_tokens": 2}, {"output_tokens": 10**400}):
            with pytest.raises(BadTurn):
                turn.charge(**usage)
        turn.charge(output_tokens=10**12)
        with pytest.raises(BadTurn, match="output_tokens"):
            turn.charge(output_tokens=1)  # the sum is one report to all who share the backend
        with pytest.raises(BadTurn, match="retry_after"):
            turn.refused("5")
    for misuse in (turn.charge, turn.refused, turn.__enter__, lambda: turn.__exit__(None, None, None)):
        with pytest.raises(TurnNotOpen):
            misuse()
    assert is_empty(scheduler)


def test_an_unknown_agent_has_no_usage(make_scheduler):
    with pytest.raises(UnknownAgent, match="ghost"):
        make_scheduler().usage("ghost")
    with pytest.raises(BadTurn, match="names"):
        make_scheduler().usage([])


@pytest.mark.parametrize(
    "options",
    [
        {"slots": 0},
        {"tokens_per_minute": -1},
        {"affinity_slack": -1},
        {"aging": 0},
        {"max_waiting": 0},
        {"quotas": {"a": 3}},
        {"prices": 3},
        {"shared": "valkey://127.0.0.1:1/0?bogus=1"},
    ],
)
def test_a_scheduler_with_a_number_that_cannot_be_one(options):
    with pytest.raises(BadTurn):
        Scheduler(**options)


# ------------------------------------------------------------------ threads on loops


@on_a_loop
async def test_a_with_that_would_stop_the_loop_it_waits_for_is_an_error(make_scheduler):
    scheduler = make_scheduler(slots=1)
    async with scheduler.turn(agent="a"):
        context = contextvars.Context()
        with pytest.raises(WaitBlocksLoop, match="async with"):
            context.run(scheduler.turn(agent="b").__enter__)
    with scheduler.turn(agent="b"):
        pass
    assert is_empty(scheduler)


@on_a_loop
@pytest.mark.parametrize("is_lent", [False, True])
async def test_a_with_that_would_stop_the_loop_of_a_sync_turn_is_an_error(make_scheduler, is_lent):
    """As a stream of chunks is read for a slow client: its turn is entered by ``with`` and left many steps later."""
    scheduler = make_scheduler(slots=1)
    begun, ends = asyncio.Event(), threading.Event()

    def call_inside():
        with scheduler.turn(agent="inside"):
            loop.call_soon_threadsafe(begun.set)
            ends.wait(PATIENCE)

    async def hold():
        with scheduler.turn(agent="a"):
            if is_lent:
                await asyncio.to_thread(call_inside)  # when it has ended, the slot goes back to who needs this loop
            else:
                begun.set()
                await asyncio.sleep(0.01)

    loop = asyncio.get_running_loop()
    task = loop.create_task(hold(), context=contextvars.Context())
    await begun.wait()
    with pytest.raises(WaitBlocksLoop, match="async with"):
        contextvars.Context().run(scheduler.turn(agent="b", timeout=20).__enter__)
    ends.set()
    await task
    assert is_empty(scheduler)


@on_a_loop
async def test_a_sync_turn_on_a_loop_waits_for_other_threads_and_gets_its_slot_back(make_scheduler):
    scheduler = make_scheduler(slots=1)
    crowd = Crowd(scheduler)
    with scheduler.turn(agent="outer"):
        crowd.join("other")
        with scheduler.turn(agent="inner"):
            pass
        assert [turn.phase for turn in scheduler.state().turns if turn.agent == "outer"] == ["running"]
    assert crowd.end() == ["other"]
    assert is_empty(scheduler)


# ------------------------------------------------------------------ nothing is kept


def kept_by(value, kind):
    """All objects of a kind that somebody who holds ``value`` keeps alive."""
    found, seen = [value], {id(value)}
    for each in found:
        for other in gc.get_referents(each):
            if isinstance(other, kind | tuple | contextvars.Context) and id(other) not in seen:
                seen.add(id(other))
                found.append(other)
    return [each for each in found if isinstance(each, kind)]


def test_turns_that_overlap_keep_none_of_those_before(make_scheduler):
    """As streams that are read in turns by one thread."""
    scheduler = make_scheduler(slots=2)

    def overlap():
        last = scheduler.turn(agent="a").__enter__()
        for _ in range(20):
            following = scheduler.turn(agent="a").__enter__()
            last.__exit__(None, None, None)
            last = following
        kept = len(kept_by(last, Turn | Seat)), len(_around.get())
        last.__exit__(None, None, None)
        return kept

    assert contextvars.Context().run(overlap) == (3, 1), "the turn, its seat and the one it was opened in"
    until(lambda: is_empty(scheduler), "all have ended")


def test_a_turn_that_is_thrown_away_gives_its_slot_back(make_scheduler):
    scheduler = make_scheduler(slots=1)
    here = contextvars.Context()
    turn = scheduler.turn(agent="a")
    here.run(turn.__enter__)
    assert scheduler.state().running == 1
    del turn
    until(lambda: is_empty(scheduler), "the slot comes back")
    here.run(anext_sync_turn, scheduler)
    assert scheduler.usage("b").turns == 1, "it is not nested in one that is gone"


def anext_sync_turn(scheduler):
    with scheduler.turn(agent="b", timeout=20):
        pass


def test_a_stream_that_is_thrown_away_in_a_cycle_gives_its_slot_back_without_a_word(make_scheduler):
    """The collector tells of the turn before it closes the stream that is in it."""
    scheduler = make_scheduler(slots=1)

    def stream():
        with scheduler.turn(agent="outer"), scheduler.turn(agent="inner") as turn:
            turn.charge(output_tokens=3)
            yield

    ring = [stream()]
    ring.append(ring)
    contextvars.Context().run(next, ring[0])
    del ring
    gc.collect()
    until(lambda: is_empty(scheduler), "the slot comes back")
    assert (scheduler.usage("outer").failed, scheduler.usage("outer").usage.output_tokens) == (2, 3)


def test_a_loop_that_nobody_runs_any_more_is_not_kept(make_scheduler):
    scheduler = make_scheduler(slots=1)
    turn = scheduler.turn(agent="a")

    async def enter():
        turn.__enter__()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(enter())
    loop.close()
    kept = weakref.ref(loop)
    del loop
    gc.collect()
    assert kept() is None
    turn.__exit__(None, None, None)
    assert is_empty(scheduler)
