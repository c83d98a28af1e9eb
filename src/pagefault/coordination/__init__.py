"""Where turns are granted: inside one process, under a lock."""

from __future__ import annotations

from pagefault.coordination.local import LocalCoordinator
from pagefault.coordination.waiters import LoopWaiter, ThreadWaiter, Waiter, running_loop

__all__ = ["LocalCoordinator", "LoopWaiter", "ThreadWaiter", "Waiter", "running_loop"]
