"""Agents that call agents, in real tasks and threads: all trees finish on one slot, where a semaphore hangs."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagefault import TurnTimeout
from tests.scheduler.loops import on_a_loop, until

DEPTH, FAN_OUT, NODES = 6, 8, 150
LIMIT = 60.0


def tree(chance, depth=DEPTH, room=None):
    room = [NODES] if room is None else room
    if not depth:
        return []
    count = min(chance.choice((1, 2, 3, FAN_OUT)), room[0])
    room[0] -= count
    return [tree(chance, depth - 1, room) for _ in range(count)]


def size(subtree):
    return 1 + sum(map(size, subtree))


class Busy:
    """Counts the calls that run at the same time."""

    def __init__(self):
        self.now = self.most = self.total = 0
        self._lock = threading.Lock()

    def __enter__(self):
        with self._lock:
            self.now += 1
            self.total += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *error):
        with self._lock:
            self.now -= 1


async def agent_in_tasks(guard, subtree, busy, name="0"):
    """Asks its model, hands parts to sub-agents while its turn is open, and asks again."""
    async with guard(name):
        with busy:
            await asyncio.sleep(0)
        await asyncio.gather(
            *(agent_in_tasks(guard, each, busy, f"{name}.{number}") for number, each in enumerate(subtree))
        )
        with busy:
            await asyncio.sleep(0)


def guarded(scheduler, name):
    return scheduler.turn(agent=name)


def agent_in_threads(scheduler, subtree, busy, pool, name="0"):
    with scheduler.turn(agent=name):
        with busy:
            pass
        jobs = [
            pool.submit(contextvars.copy_context().run, agent_in_threads, scheduler, each, busy, pool, f"{name}.{n}")
            for n, each in enumerate(subtree)
        ]
        for job in jobs:
            job.result(LIMIT)
        with busy:
            pass


@pytest.mark.parametrize("slots", [1, 3])
@on_a_loop
async def test_trees_of_tasks_finish(make_scheduler, slots, pytestconfig):
    chance = random.Random(pytestconfig.getoption("randomly_seed"))
    for _ in range(2 if make_scheduler.is_shared else 10):
        scheduler, busy, trees = make_scheduler(slots=slots), Busy(), [tree(chance) for _ in range(2)]
        guard = functools.partial(guarded, scheduler)
        await asyncio.gather(*(agent_in_tasks(guard, each, busy, str(root)) for root, each in enumerate(trees)))
        assert busy.total == 2 * sum(map(size, trees))
        assert busy.most <= slots
        assert scheduler.state().running == 0
        assert not scheduler.state().turns


def test_trees_of_threads_finish_on_one_slot(make_scheduler, pytestconfig):
    chance = random.Random(pytestconfig.getoption("randomly_seed"))
    for _ in range(1 if make_scheduler.is_shared else 3):
        scheduler, busy, nested = make_scheduler(slots=1), Busy(), tree(chance)
        with ThreadPoolExecutor(NODES + 1) as pool:
            job = pool.submit(agent_in_threads, scheduler, nested, busy, pool)
            job.result(LIMIT)
        assert busy.total == 2 * size(nested)
        assert busy.most == 1
        assert not scheduler.state().turns


@on_a_loop
async def test_a_semaphore_hangs_on_the_same_trees(pytestconfig):
    """What is used today: one permit per agent for as long as it lives."""
    chance = random.Random(pytestconfig.getoption("randomly_seed"))
    nested, permits = tree(chance), asyncio.Semaphore(1)
    while not nested:
        nested = tree(chance)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(agent_in_tasks(lambda _: permits, nested, Busy()), 0.5)


# ------------------------------------------------------------------ accounts and priorities


@on_a_loop
async def test_children_are_charged_to_the_root_and_go_with_its_priority(make_scheduler):
    scheduler = make_scheduler(slots=1)
    async with (
        scheduler.turn(agent="planner", weight=3, priority=5, input_tokens=100, max_output_tokens=0) as outer,
        scheduler.turn(agent="worker", input_tokens=10, max_output_tokens=0) as inner,
        scheduler.turn(agent="helper", priority=9, input_tokens=1, max_output_tokens=0) as innermost,
    ):
        requests = [turn.request for turn in (outer, inner, innermost)]
        phases = {turn.agent: turn.phase for turn in scheduler.state().turns}
    assert {request.account for request in requests} == {("default", "planner")}
    assert [request.priority for request in requests] == [5, 5, 9]
    assert {request.weight for request in requests} == {3}
    assert phases == {"planner": "lent", "worker": "lent", "helper": "running"}
    assert scheduler.usage("planner").cost == 111


@on_a_loop
async def test_spawning_children_does_not_multiply_a_share(make_scheduler):
    scheduler = make_scheduler(slots=1, affinity_slack=0)
    order = []

    async def call(agent):
        async with scheduler.turn(agent=agent, input_tokens=100, max_output_tokens=0):
            order.append(agent[0])
            await asyncio.sleep(0)

    async def forks():
        async with scheduler.turn(agent="many", input_tokens=100, max_output_tokens=0):
            await asyncio.gather(*(call(f"m{number}") for number in range(20)))

    async def alone():
        await asyncio.gather(*(call("one") for _ in range(10)))

    await asyncio.gather(forks(), alone())
    assert 8 <= order[:20].count("o") <= 11


@on_a_loop
async def test_a_task_that_outlives_its_turn_stands_for_itself(make_scheduler):
    scheduler = make_scheduler(slots=1)
    ended = asyncio.Event()

    async def later():
        await ended.wait()
        async with scheduler.turn(agent="orphan") as turn:
            return turn.request.account, turn.outer

    async with scheduler.turn(agent="parent"):
        task = asyncio.create_task(later())
    ended.set()
    assert await task == (("default", "orphan"), None)


@on_a_loop
async def test_a_task_inside_a_turn_that_ends_before_it(make_scheduler):
    scheduler = make_scheduler(slots=1)
    inside, leave = asyncio.Event(), asyncio.Event()

    async def child():
        async with scheduler.turn(agent="child"):
            inside.set()
            await leave.wait()

    async with scheduler.turn(agent="parent"):
        task = asyncio.create_task(child())
        await inside.wait()
    assert [turn.agent for turn in scheduler.state().turns] == ["child"]
    leave.set()
    await task
    assert not scheduler.state().turns


# ------------------------------------------------------------------ getting the slot back


def has_given_up(scheduler):
    return not any(turn.agent == "inner" for turn in scheduler.state().turns)


@on_a_loop
async def test_after_a_time_out_the_outer_turn_has_its_slot_again(make_scheduler):
    scheduler, busy = make_scheduler(slots=1), Busy()

    async def other(begun):
        async with scheduler.turn(agent="other"):
            with busy:
                begun.set()
                while not has_given_up(scheduler):  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.001)

    for give_up in (within_scheduler, within_asyncio):
        begun = asyncio.Event()
        async with scheduler.turn(agent="outer"):
            task = asyncio.create_task(other(begun), context=contextvars.Context())
            while not scheduler.state().turns[1:]:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.001)
            with pytest.raises(TimeoutError):
                await give_up(scheduler, begun)
            assert begun.is_set()
            with busy:
                await asyncio.sleep(0)
        await task
    assert busy.most == 1


async def within_scheduler(scheduler, _):
    async with scheduler.turn(agent="inner", timeout=0.01):
        raise AssertionError


async def within_asyncio(scheduler, begun):
    """Its time runs from when the slot was lent: who is cancelled before that has asked for nothing."""

    async def limit(allowed):
        await begun.wait()
        allowed.reschedule(asyncio.get_running_loop().time() + 0.01)

    async with asyncio.timeout(None) as timeout:
        limiting = asyncio.create_task(limit(timeout))
        try:
            async with scheduler.turn(agent="inner"):
                raise AssertionError
        finally:
            limiting.cancel()


def test_threads_get_their_slot_back_after_a_time_out(make_scheduler):
    scheduler, busy = make_scheduler(slots=1), Busy()
    begun = threading.Event()

    def other():
        with scheduler.turn(agent="other"), busy:
            begun.set()
            until(lambda: has_given_up(scheduler), "the inner turn gives up")

    thread = threading.Thread(target=other)
    with scheduler.turn(agent="outer"):
        thread.start()
        until(lambda: scheduler.state().turns[1:], "the other one waits")
        with pytest.raises(TurnTimeout), scheduler.turn(agent="inner", timeout=0.01):
            pass
        assert begun.is_set()
        with busy:
            pass
    thread.join()
    assert busy.most == 1


# ------------------------------------------------------------------ two schedulers, sync in async, forks


def test_two_schedulers_used_in_both_orders_do_not_lock_each_other_out(make_scheduler):
    first, second = make_scheduler(slots=1), make_scheduler(slots=1)

    def nest(outer, inner):
        for _ in range(200):
            with outer.turn(agent="a"), inner.turn(agent="b"):
                pass

    threads = [threading.Thread(target=nest, args=order, daemon=True) for order in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert first.state().running == second.state().running == 0


@on_a_loop
async def test_a_sync_agent_inside_an_async_one_uses_its_slot(make_scheduler):
    scheduler = make_scheduler(slots=1)
    async with scheduler.turn(agent="outer"):
        with scheduler.turn(agent="inner"):
            pass
        await asyncio.to_thread(sync_call, scheduler)
    assert scheduler.usage("outer").turns == 3


def sync_call(scheduler):
    with scheduler.turn(agent="in a thread") as turn:
        assert turn.outer is not None


def test_a_forked_child_starts_empty(make_scheduler):
    scheduler = make_scheduler(slots=1)
    with scheduler.turn(agent="parent"):
        pid = os.fork()
        if not pid:
            code = 1
            with contextlib.suppress(BaseException), scheduler.turn(agent="child"):
                code = 0 if scheduler.state().running == 1 else 1
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert scheduler.state().running == 0
