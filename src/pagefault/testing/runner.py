"""A runner for tests: one plain thread, first come, first served."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


class ThreadRunner:
    """Runs blocking calls one after the other on a thread of its own.

    It ignores urgency; it works from any event loop.

    Attributes:
        urgent: Calls so far that were urgent.
        other: Calls so far that were not.

    Example:
        >>> async def main() -> int:
        ...     with ThreadRunner() as run:
        ...         return await run(lambda: 1 + 1, urgent=True)
        >>> asyncio.run(main())
        2
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pagefault-store")
        self.urgent = 0
        self.other = 0

    def __call__(self, fn: Callable[[], T], /, *, urgent: bool) -> Awaitable[T]:
        """Await the result of ``fn()``."""
        if urgent:
            self.urgent += 1
        else:
            self.other += 1
        return asyncio.get_running_loop().run_in_executor(self._executor, fn)

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._executor.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
