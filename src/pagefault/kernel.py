"""The kernel: one loop thread that coordinates, one worker thread that owns engine and embedder.

Everything that may block crosses into it like a system call, so every verb works from any
thread and any event loop, and blocks only its caller. Nothing starts before first use; after a
fork the child's ``Memory`` makes a new kernel.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from pagefault.errors import MemoryClosed

T = TypeVar("T")
REST_SECONDS: Final = 0.0005
_Job = tuple[int, int, Callable[[], Any], "Future[Any]", bool]


class Worker:
    """One thread that runs blocking calls: urgent ones first, a rest after each other one.

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

    def submit(self, fn: Callable[[], T], *, urgent: bool) -> Future[T]:
        """Queue ``fn``; the future gives its result."""
        future: Future[T] = Future()
        with self._ready:
            if self._stopping:
                raise MemoryClosed("this memory is closed; open it again with pagefault.open(...)")
            heapq.heappush(self._jobs, (0 if urgent else 1, next(self._order), fn, future, urgent))
            self._ready.notify()
        return future

    def stop(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._jobs and not self._stopping:
                    self._ready.wait()
                if not self._jobs:
                    return
                _, _, fn, future, urgent = heapq.heappop(self._jobs)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn())
                except BaseException as error:  # noqa: BLE001  # handed to whoever awaits the future, even a panic
                    future.set_exception(error)
            del fn, future
            if not urgent:
                time.sleep(REST_SECONDS)


class Kernel:
    """Runs coroutines on a loop thread of its own and blocking calls on one worker thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._threads: tuple[asyncio.AbstractEventLoop, threading.Thread, Worker] | None = None
        self._closed = False

    @property
    def is_started(self) -> bool:
        """Whether its threads run."""
        return self._threads is not None

    def _running(self) -> tuple[asyncio.AbstractEventLoop, threading.Thread, Worker]:
        threads = self._threads
        if threads is not None:
            return threads
        with self._lock:
            if self._closed:
                raise MemoryClosed(f"{self._name} is closed; open it again with pagefault.open(...)")
            if self._threads is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name=f"{self._name} loop", daemon=True)
                thread.start()
                self._threads = loop, thread, Worker(f"{self._name} worker")
            return self._threads

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop thread; context variables come along."""
        try:
            loop, _, _ = self._running()
        except BaseException:
            work.close()
            raise
        return asyncio.run_coroutine_threadsafe(work, loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and block the calling thread until it is done."""
        if self._threads is not None and threading.current_thread() is self._threads[1]:
            work.close()
            raise RuntimeError("a sync verb was called on the kernel's own loop; use the async form")
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # the caller was interrupted (no effect when the coroutine itself failed)
            raise

    async def acall(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and await it from any event loop; cancelling the caller cancels it."""
        return await asyncio.wrap_future(self.start(work))

    def signal(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` soon on the loop thread, without waiting."""
        loop, _, _ = self._running()
        loop.call_soon_threadsafe(callback)

    def run(self, fn: Callable[[], T], /, *, urgent: bool) -> Awaitable[T]:
        """The ``Runner`` that stores get: from the loop thread, await ``fn`` on the worker."""
        _, _, worker = self._running()
        return asyncio.wrap_future(worker.submit(fn, urgent=urgent))

    def stop(self) -> None:
        """End both threads after what is queued. Idempotent."""
        with self._lock:
            threads, self._threads, self._closed = self._threads, None, True
        if threads is None:
            return
        loop, thread, worker = threads
        worker.stop()
        loop.call_soon_threadsafe(loop.stop)
        if threading.current_thread() is not thread:
            thread.join()
            loop.close()
