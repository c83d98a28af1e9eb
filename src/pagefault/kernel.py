"""The kernel: one loop thread that coordinates, one worker thread that owns the engine, one for the embedder.

Everything that may block crosses into it like a system call, so every verb works from any
thread and any event loop of asyncio, and blocks only its caller. Nothing starts before first use; after a
fork the child's ``Memory`` makes a new kernel.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  # registers an exit hook, impossible when the last pages are written
import contextvars
import heapq
import itertools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

from pagefault.breath import rest
from pagefault.errors import MemoryClosed

T = TypeVar("T")
R = TypeVar("R")
GUEST_SECONDS: Final = 1.0
"""Closing waits so long for code that is not ours to come back."""
_Job = tuple[int, int, Callable[[], Any], "Future[Any]"]
"""Urgency, order, what to run and whose result it is."""


class Worker:
    """One thread that runs blocking calls, urgent ones first, with a rest after each that is not the last urgent one.

    The engine holds the interpreter lock while it works. Without a real sleep between two
    calls the user's event loop would starve for the whole burst.
    """

    def __init__(self, name: str) -> None:
        self._jobs: list[_Job] = []
        self._order = itertools.count()
        self._ready = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.current_thread() is self._thread

    def submit(self, fn: Callable[[], T], *, urgent: bool) -> Future[T]:
        """Queue ``fn``, before what is not ``urgent`` if it is; the future gives its result."""
        future: Future[T] = Future()
        with self._ready:
            if self._stopping:
                raise MemoryClosed("this memory is closed; open it again with pagefault.open(...)")
            heapq.heappush(self._jobs, (0 if urgent else 1, next(self._order), fn, future))
            self._ready.notify()
        return future

    def stop(self) -> None:
        """Finish what is queued, then end the thread. Does not wait for it."""
        with self._ready:
            self._stopping = True
            self._ready.notify()

    def join(self, seconds: float | None = None) -> None:
        """Wait until the thread has ended, or for so long."""
        if not self.is_current:
            self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._jobs and not self._stopping:
                    self._ready.wait()
                if not self._jobs:
                    return
                later, _, fn, future = heapq.heappop(self._jobs)
            if future.set_running_or_notify_cancel():
                _settle(future, fn)
            del fn, future
            if later or self._jobs:
                rest()


def _settle(future: Future[T], fn: Callable[[], T]) -> None:
    try:
        result = fn()
    except BaseException as error:  # noqa: BLE001  # handed to whoever awaits the future
        if not isinstance(error, Exception) or isinstance(error, StopIteration):
            # An exit or a panic would end the loop thread, and no future can carry a StopIteration.
            broken = RuntimeError(f"a call on the kernel's thread ended with {error!r:.200}")
            broken.__cause__ = error
            error = broken
        future.set_exception(error)
    else:
        future.set_result(result)


class _Answer(Generic[T]):
    """What a coroutine gives, for the thread that waits for it.

    Behind a lock of the interpreter's own. That of a ``concurrent.futures.Future`` is taken in Python, where an
    interrupt may come in between: then it stays taken, and the loop's thread waits for it for ever.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def begin(self, tasks: set[asyncio.Task[Any]]) -> None:
        """On the loop thread: run it, as one of ``tasks`` while it runs."""
        self._task = asyncio.get_running_loop().create_task(self._work)
        tasks.add(self._task)
        self._task.add_done_callback(tasks.discard)
        self._task.add_done_callback(self._tell)

    def cancel(self) -> None:
        """On the loop thread: nobody waits for it any more."""
        if self._task is not None:
            self._task.cancel()

    def wait(self) -> T:
        """In the thread that wants it: its result, or its error."""
        self._done.acquire()
        task = self._task
        if task is None or task.cancelled():
            raise CancelledError
        return task.result()

    def _tell(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # whoever waited has it; when nobody does any more, nobody needs it
        self._done.release()


class _Threads(NamedTuple):
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    worker: Worker
    disk: Worker
    guest: Worker

    @property
    def are_current(self) -> bool:
        here = threading.current_thread() is self.thread
        return here or self.worker.is_current or self.disk.is_current or self.guest.is_current


class Kernel:
    """Runs coroutines on a loop thread of its own and blocking calls on one worker thread.

    A third thread only waits for the disk, so that nothing queues behind it, and a fourth runs
    what somebody else wrote and may hang. All are our own: an executor of the event loop would be
    gone when the interpreter exits, which is when the last pages are written.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._threads: _Threads | None = None
        self._closing = False
        self._verbs: set[Future[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._asked: set[Future[Any]] = set()
        self._overdue: Future[Any] | None = None

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop thread; context variables come along.

        Raises:
            MemoryClosed: After ``finish``.
        """

        def begin(loop: asyncio.AbstractEventLoop) -> Future[T]:
            future = asyncio.run_coroutine_threadsafe(work, loop)
            self._verbs.add(future)
            return future

        future = self._hand_over(work, begin)
        future.add_done_callback(self._verbs.discard)
        return future

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and block the calling thread until it is done."""
        try:
            self.refuse_own_threads()
        except BaseException:
            work.close()
            raise
        answer = _Answer(work)

        def begin(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
            loop.call_soon_threadsafe(answer.begin, self._tasks)
            return loop

        loop = self._hand_over(work, begin)
        try:
            return answer.wait()
        except BaseException:
            loop.call_soon_threadsafe(answer.cancel)  # the caller was interrupted (no effect when it is done)
            raise

    async def acall(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and await it from any event loop of asyncio; cancelling the caller cancels it."""
        try:
            refuse_other_loops()
        except BaseException:
            work.close()
            raise
        return await asyncio.wrap_future(self.start(work))

    def signal(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` soon on the loop thread, without waiting."""
        with self._lock:
            self._refuse_closed()
            self._running().loop.call_soon_threadsafe(callback)

    def run(self, fn: Callable[[], T], /, *, urgent: bool) -> Awaitable[T]:
        """The ``Runner`` that stores get: from the loop thread, await ``fn`` on the worker."""
        work = partial(contextvars.copy_context().run, fn)
        return asyncio.wrap_future(self._live().worker.submit(work, urgent=urgent))

    def offload(self, fn: Callable[[], T], /) -> Awaitable[T]:
        """From the loop thread, await ``fn`` beside the worker: for calls that only wait for the disk."""
        return asyncio.wrap_future(self._live().disk.submit(fn, urgent=True))

    async def consult(self, fn: Callable[[], T], /, *, urgent: bool, seconds: float) -> T:
        """From the loop thread, await ``fn`` on the thread for code that is not ours.

        A call that outlives its time is left behind, not waited for: as long as it has not come
        back, others are refused at once. So there is never more than one such thread.

        Raises:
            TimeoutError: No answer in time, or an earlier call has not come back yet.
        """
        if self._overdue is not None and not self._overdue.done():
            raise TimeoutError
        call = self._live().guest.submit(partial(contextvars.copy_context().run, fn), urgent=urgent)
        self._asked.add(call)
        call.add_done_callback(self._asked.discard)
        answer = asyncio.wrap_future(call)
        answer.add_done_callback(take_error)
        # Not wait_for, which in Python 3.11 may take an answer for a reason to ignore a cancellation.
        done, _ = await asyncio.wait([answer], timeout=seconds)
        if done:
            return answer.result()
        call.cancel()  # where it only waited; nothing can stop the one that runs
        self._overdue = next((each for each in list(self._asked) if each.running()), None)
        raise TimeoutError

    def finish(self, work: Coroutine[Any, Any, T]) -> Future[T] | None:
        """Run a last coroutine: new ones are refused, those running end first, the threads end after it.

        Gives ``None`` when nothing ever ran: then there is nothing to finish either.
        """
        with self._lock:
            if self._closing or self._threads is None:
                self._closing = True
                work.close()
                return None
            self._closing = True
            return asyncio.run_coroutine_threadsafe(self._last(work), self._threads.loop)

    def join(self) -> None:
        """Wait until the threads have ended, once ``finish`` is done."""
        if self._threads is not None and not self._threads.are_current:
            self._threads.worker.join()
            self._threads.disk.join()
            self._threads.guest.join(GUEST_SECONDS)
            self._threads.thread.join()

    # -- inside ----------------------------------------------------------------------------

    def _hand_over(self, work: Coroutine[Any, Any, Any], begin: Callable[[asyncio.AbstractEventLoop], R]) -> R:
        """Have ``begin`` give a coroutine to the loop; close one that could not be given."""
        is_ours = True
        try:
            with self._lock:  # so that whatever got in before ``finish`` is waited for
                self._refuse_closed()
                loop = self._running().loop
                is_ours = False  # an interrupt from here on must not close what the loop's thread may be running
                return begin(loop)
        except BaseException:
            if is_ours:
                work.close()
            raise

    def _running(self) -> _Threads:
        """With the lock held: the threads, started if need be."""
        if self._threads is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_run, args=(loop,), name=f"{self._name} loop", daemon=True)
            thread.start()
            workers = [Worker(f"{self._name} {each}") for each in ("worker", "disk", "guest")]
            self._threads = _Threads(loop, thread, *workers)
        return self._threads

    def _live(self) -> _Threads:
        if self._threads is None:
            raise RuntimeError("the kernel runs blocking calls only for its own coroutines")
        return self._threads

    def _refuse_closed(self) -> None:
        if self._closing:
            raise MemoryClosed(f"{self._name} is closed; open it again with pagefault.open(...)")

    def refuse_own_threads(self) -> None:
        """Where a blocking verb would wait for itself, say so instead.

        Raises:
            RuntimeError: On one of the kernel's own threads.
        """
        if self._threads is not None and self._threads.are_current:
            raise RuntimeError(
                "a sync verb was called on one of the kernel's own threads, where it would wait for itself; "
                "an embedder or store must not use the memory it serves"
            )

    async def _last(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            verbs = [*map(asyncio.wrap_future, list(self._verbs)), *self._tasks]
            await asyncio.gather(*verbs, return_exceptions=True)
            return await work
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}  # verbs whose callers gave up, still unwinding
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            threads = self._live()
            threads.worker.stop()
            threads.disk.stop()
            threads.guest.stop()
            threads.loop.call_soon(threads.loop.stop)


def refuse_other_loops() -> None:
    """Before an async verb begins.

    Raises:
        RuntimeError: It is awaited where asyncio does not run, as under Trio.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "async verbs of pagefault run on asyncio's event loop (or uvloop's), and none runs here; under Trio call "
            "the sync verb in a thread: await trio.to_thread.run_sync(space.recall, '...')"
        ) from None


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def take_error(answer: asyncio.Future[Any]) -> None:
    """A callback: whoever waited has the error; when nobody did, nobody needs it, nor asyncio's complaint."""
    if not answer.cancelled():
        answer.exception()
