"""Where turns are granted: inside one process under a lock, or for several through a shared log."""

from __future__ import annotations

from pagefault.coordination.local import LocalCoordinator
from pagefault.coordination.place import meeting_place
from pagefault.coordination.port import Coordinator, Seat, Until
from pagefault.coordination.shared import SharedCoordinator
from pagefault.coordination.waiters import LoopWaiter, ThreadWaiter, Waiter, running_loop

__all__ = [
    "Coordinator",
    "LocalCoordinator",
    "LoopWaiter",
    "Seat",
    "SharedCoordinator",
    "ThreadWaiter",
    "Until",
    "Waiter",
    "meeting_place",
    "running_loop",
]
