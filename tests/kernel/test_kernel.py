"""The kernel's own threads: order, errors, cancellation, the end."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from pagefault.errors import MemoryClosed
from pagefault.kernel import Kernel, Worker
from tests.kernel.support import threads_since, until


@pytest.fixture
def kernel():
    kernel = Kernel("test")
    yield kernel
    closing = kernel.finish(asyncio.sleep(0))
    if closing is not None:
        closing.result()
        kernel.join()


async def value(x):
    return x


def test_nothing_starts_before_first_use():
    before = set(threading.enumerate())
    kernel = Kernel("test")
    assert threads_since(before) == []
    assert kernel.finish(value(1)) is None
    with pytest.raises(MemoryClosed, match=r"test is closed; open it again"):
        kernel.call(value(1))


def test_urgent_calls_go_before_others():
    worker = Worker("test")
    gate, order = threading.Event(), []
    first = worker.submit(gate.wait, urgent=False)
    later = [worker.submit(lambda n=n: order.append(n), urgent=n >= 2) for n in range(4)]
    gate.set()
    first.result()
    for future in later:
        future.result()
    worker.stop()
    worker.join()
    assert order == [2, 3, 0, 1]
    with pytest.raises(MemoryClosed):
        worker.submit(lambda: None, urgent=True)


@pytest.mark.parametrize(("urgent", "after"), [(True, []), (False, ["breath"])])
def test_between_two_calls_others_may_have_the_interpreter(monkeypatch, urgent, after):
    """A worker really sleeps before the next call; where nobody waits, only after what is not urgent."""
    order = []
    monkeypatch.setattr("pagefault.breath.time.sleep", lambda _: order.append("breath"))
    worker = Worker("test")
    is_running, gate = threading.Event(), threading.Event()

    def held():
        is_running.set()
        gate.wait()

    calls = [worker.submit(held, urgent=urgent)]
    is_running.wait()
    calls += [worker.submit(lambda n=n: order.append(n), urgent=urgent) for n in range(2)]
    gate.set()
    worker.stop()
    worker.join()
    assert all(call.done() for call in calls)
    assert order == ["breath", 0, "breath", 1, *after]


def test_a_worker_that_stops_does_what_is_queued():
    worker = Worker("test")
    gate, done = threading.Event(), []
    worker.submit(gate.wait, urgent=False)
    for n in range(5):
        worker.submit(lambda n=n: done.append(n), urgent=False)
    worker.stop()
    gate.set()
    worker.join()
    assert done == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("error", [SystemExit("bye"), KeyboardInterrupt(), StopIteration(), asyncio.CancelledError()])
def test_no_error_of_a_call_ends_the_threads(kernel, error):
    def fail():
        raise error

    async def verb():
        await kernel.run(fail, urgent=True)

    with pytest.raises((RuntimeError, TypeError)):
        kernel.call(verb())
    assert kernel.call(value(7)) == 7


def test_context_variables_come_along_to_the_worker(kernel):
    user = contextvars.ContextVar("user", default="nobody")

    async def verb():
        return await kernel.run(user.get, urgent=True)

    user.set("ada")
    assert kernel.call(verb()) == "ada"
    assert asyncio.run(kernel.acall(verb())) == "ada"


def test_a_sync_verb_inside_a_running_loop_blocks_that_loop_only(kernel):
    async def main():
        return kernel.call(value(3))

    assert asyncio.run(main()) == 3


@pytest.mark.parametrize("place", ["loop", "worker", "disk"])
def test_a_sync_verb_on_the_kernels_own_threads_raises_instead_of_waiting_for_itself(kernel, place):
    def nested():
        with pytest.raises(RuntimeError, match="own threads"):
            kernel.call(value(1))
        return True

    async def verb():
        match place:
            case "worker":
                return await kernel.run(nested, urgent=True)
            case "disk":
                return await kernel.offload(nested)
        return nested()

    assert kernel.call(verb())


def test_an_async_verb_on_the_kernels_own_loop_works(kernel):
    async def verb():
        return await kernel.acall(value(5))

    assert kernel.call(verb()) == 5


def test_cancelling_the_caller_cancels_the_verb(kernel):
    began, ended = threading.Event(), threading.Event()

    async def verb():
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def main():
        task = asyncio.create_task(kernel.acall(verb()))
        await asyncio.to_thread(began.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    until(ended.is_set, "the verb's end")
    assert kernel.call(value(1)) == 1


def test_finishing_waits_for_running_verbs_and_refuses_new_ones(kernel):
    began, gate, order = threading.Event(), threading.Event(), []

    async def verb():
        began.set()
        await kernel.offload(gate.wait)
        order.append("verb")

    async def last():
        order.append("last")

    running = kernel.start(verb())
    began.wait()
    closing = kernel.finish(last())
    assert closing is not None
    with pytest.raises(MemoryClosed):
        kernel.start(value(1))
    with pytest.raises(MemoryClosed):
        kernel.signal(order.clear)
    gate.set()
    closing.result()
    kernel.join()
    assert running.result() is None
    assert order == ["verb", "last"]
    assert kernel.finish(value(1)) is None


def test_an_interrupt_closes_no_verb_that_the_loop_has_already(kernel, monkeypatch):
    """Whoever closed it from this thread would end it at a random place of its work, and its task never."""
    began, gate, ended = threading.Event(), threading.Event(), []
    hand_over = asyncio.run_coroutine_threadsafe

    async def verb():
        try:
            began.set()
            await kernel.offload(gate.wait)
        finally:
            ended.append(threading.current_thread() is threading.main_thread())

    def interrupted(*args):
        hand_over(*args)
        began.wait()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pagefault.kernel.asyncio.run_coroutine_threadsafe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kernel.start(verb())
    before = list(ended)
    gate.set()
    kernel.finish(value(2)).result(10)
    assert (before, ended) == ([], [False])


def test_what_still_runs_at_the_end_is_cancelled_not_left_hanging(kernel):
    ended = []

    async def forever():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)

    async def verb():
        kernel.left = asyncio.create_task(forever())
        await asyncio.sleep(0)

    kernel.call(verb())
    closing = kernel.finish(value(9))
    assert closing is not None
    assert closing.result() == 9
    kernel.join()
    assert ended == [True]


def test_threads_end_and_loops_are_closed():
    before = set(threading.enumerate())
    kernel = Kernel("test")
    kernel.call(value(1))
    threads, closing = kernel._threads, kernel.finish(value(1))
    assert threads is not None
    assert closing is not None
    closing.result()
    kernel.join()
    assert threads.loop.is_closed()
    assert threads_since(before) == []
