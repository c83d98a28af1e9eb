"""What the coordinators know of a turn. The turn itself is its user's, who may throw it away."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from pagefault.errors import SchedulerError
from pagefault.scheduling import Request, Usage

if TYPE_CHECKING:
    from pagefault.coordination.port import Coordinator


class Seat:
    """One turn among others, from when it is asked for until it has ended.

    Attributes:
        coordinator: Who grants it.
        request: What was asked for.
        outer: The one in which it was opened, while it has not ended.
        lends: The same, once that was told to lend its slot, if another coordinator grants it.
        elsewhere: How many turns of other coordinators are open inside it.
        is_open: Whether it is granted and has not ended.
        is_thrown_away: Whether the turn was collected before it ended.
        failure: What ended it behind its back, as the loss of a lease.
        number: The coordinator's name for it.
        usage: What its call has used so far, as it was reported.
        guard: Gives back what it holds when the turn is thrown away; ``None`` while it holds nothing.
    """

    __slots__ = (
        "_loop", "coordinator", "elsewhere", "failure", "guard", "is_open", "is_thrown_away", "lends", "number",
        "outer", "request", "usage",
    )  # fmt: skip

    def __init__(self, coordinator: Coordinator, request: Request) -> None:
        self.coordinator = coordinator
        self.request = request
        self.outer: Seat | None = None
        self.lends: Seat | None = None
        self.elsewhere = 0
        self.is_open = False
        self.is_thrown_away = False
        self.failure: SchedulerError | None = None
        self.number = 0
        self.usage: Usage | None = None
        self.guard: weakref.ref[object] | None = None
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop it needs to go on, if any. It keeps none alive that nobody runs any more."""
        return None if self._loop is None else self._loop()

    def needs(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """It was entered on this event loop."""
        self._loop = None if loop is None else weakref.ref(loop)

    def is_around(self, seat: Seat | None) -> bool:
        """Whether it is this one, or one that this is nested in."""
        while seat is not None and seat is not self:
            seat = seat.outer
        return seat is self

    def ask(self) -> bool:
        """Wait in line; whether it was granted at once."""
        outer = self.outer
        granted = self.coordinator.ask(self, outer)
        if outer is not None and outer.coordinator is not self.coordinator:
            outer.coordinator.lend(outer)
            self.lends = outer
        return granted

    def leave(self, *, failed: bool) -> bool:
        """It has ended or gives up; whether there is an answer, or its outer one's slot, to wait for.

        A second time, because the first was cut short, it does what is left to do.
        """
        waits = self.coordinator.finish(self, self.outer, self.usage, failed=failed)
        lends, self.lends = self.lends, None
        if lends is not None:
            lends.coordinator.regain(lends)
            waits = True
        self.guard = None
        return waits
