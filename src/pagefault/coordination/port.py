"""The port: where turns are granted, inside one process or for several, and what is known there of a turn."""

from __future__ import annotations

import asyncio
import weakref
from enum import Enum
from typing import NamedTuple, Protocol

from pagefault.coordination.waiters import Waiter
from pagefault.errors import SchedulerError
from pagefault.scheduling import AccountId, AccountUsage, Dispatcher, Phase, Request, Token, Usage


class Until(Enum):
    """What somebody sleeps for.

    Attributes:
        ANSWERED: All that was said about the turn has reached whoever decides.
        GRANTED: The turn need not wait any more.
        RETURNED: It has its slot again, after the turns inside it.
    """

    ANSWERED = "answered"
    GRANTED = "granted"
    RETURNED = "returned"


class Glance(NamedTuple):
    """One turn as it is now; ``waits_for`` in words."""

    account: AccountId
    agent: str
    priority: int
    phase: Phase
    seconds: float
    waits_for: str


def glances(dispatcher: Dispatcher, now: float, at: float | None = None) -> list[Glance]:
    """All turns of a dispatcher, oldest first; ``at`` is as for its ``why``."""
    return [
        Glance(
            entry.request.account,
            entry.request.agent,
            entry.request.priority,
            entry.phase,
            max(0.0, now - entry.since),
            dispatcher.why(number, now, at),
        )
        for number, entry in dispatcher.turns.items()
    ]


class Coordinator(Protocol):
    """Grants turns. Every method may be called from any thread, and none waits for a network.

    What went wrong with a turn behind its back is put into ``Seat.failure``; whoever sleeps for it is woken.
    """

    def ask(self, seat: Seat, outer: Seat | None) -> bool:
        """Queue a turn and lend its outer one's slot; whether it was granted at once.

        Raises:
            SchedulerClosed: Nobody is let in any more.
            SchedulerError: It could never be let in.
        """
        ...

    def lend(self, seat: Seat) -> None:
        """A turn of another scheduler was opened inside this one."""
        ...

    def regain(self, seat: Seat) -> None:
        """A turn of another scheduler inside this one has ended."""
        ...

    def finish(self, seat: Seat, outer: Seat | None, usage: Usage | None, *, failed: bool) -> bool:
        """A turn has ended or gives up; whether its ``ANSWERED`` or its outer one's ``RETURNED`` has to be waited for.

        Twice, in a forked child, or for a turn that failed: nothing happens.
        """
        ...

    def refused(self, retry_after: float | None) -> None:
        """The backend answered 429."""
        ...

    def register(self, seat: Seat, waiter: Waiter, until: Until) -> bool:
        """Wake ``waiter`` when that has come; ``False`` if it has."""
        ...

    def is_granted(self, seat: Seat) -> bool:
        """Whether the turn may go.

        Raises:
            SchedulerClosed: It never will.
        """
        ...

    def token(self, seat: Seat) -> Token | None:
        """What a resource can tell a holder that was replaced by; ``None`` where nobody is replaced."""
        ...

    def why(self, seat: Seat) -> str:
        """What it waits for, in words."""
        ...

    def needs(self, loop: asyncio.AbstractEventLoop | None, seat: Seat) -> bool:
        """Whether a turn needs this event loop that is neither this one nor around it."""
        ...

    def usage(self, account: AccountId) -> AccountUsage | None:
        """What an account was charged for; ``None`` for one that nobody knows."""
        ...

    def look(self) -> tuple[int, int, list[Glance]]:
        """Slots that may be in use, slots in use, and all turns, oldest first."""
        ...

    def close(self, waiter: Waiter | None = None) -> bool:
        """Let nobody in any more, and tell those who wait; whether ``waiter`` will be woken when all is left."""
        ...


class Seat:
    """One turn among others, from when it is asked for until it has ended. The turn itself is its user's to throw away.

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
