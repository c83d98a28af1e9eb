"""The port: where turns are granted, inside one process or for several."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import NamedTuple, Protocol

from pagefault.coordination.seat import Seat
from pagefault.coordination.waiters import Waiter
from pagefault.scheduling import AccountId, AccountUsage, Dispatcher, Phase, Token, Usage


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


def glances(dispatcher: Dispatcher, now: float) -> list[Glance]:
    """All turns of a dispatcher, oldest first."""
    return [
        Glance(
            entry.request.account,
            entry.request.agent,
            entry.request.priority,
            entry.phase,
            max(0.0, now - entry.since),
            dispatcher.why(number, now),
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
