"""How those who wait for a turn sleep: a thread on an event, a task on its own event loop."""

from __future__ import annotations

import asyncio
import threading


class ThreadWaiter:
    """A thread that sleeps until its turn comes."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def wake(self) -> bool:
        """Wake it, from any thread."""
        self._event.set()
        return True

    def wait(self, seconds: float | None = None) -> None:
        """Until woken, or so many seconds."""
        self._event.wait(seconds)


class LoopWaiter:
    """A task that sleeps on its own event loop until its turn comes."""

    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()

    @property
    def is_awake(self) -> bool:
        """Whether it was woken."""
        return self._future.done()

    def wake(self) -> bool:
        """Wake it, from any thread; whether its loop is still there."""
        try:
            self._loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:  # the loop is closed, and the task is gone with it
            return False
        return True

    async def wait(self, seconds: float | None = None) -> None:
        """Until woken, or so many seconds."""
        await asyncio.wait((self._future,), timeout=seconds)

    def _resolve(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


Waiter = ThreadWaiter | LoopWaiter


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs on this thread, if any."""
    return asyncio._get_running_loop()  # asked in every turn, and the public one raises where there is none
