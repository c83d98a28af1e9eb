"""What one process has in a shared log: its turns, and what it has to tell about them."""

from __future__ import annotations

from typing import Any, Literal

from pagefault.coordination.port import Seat, Until
from pagefault.coordination.waiters import Waiter
from pagefault.scheduling import Usage
from pagefault.scheduling import replica as steps

Kind = Literal["ask", "adopt", "lend", "regain", "finish", "refused"]


class Stake:
    """One turn of this process that has not ended.

    Attributes:
        seat: What else is known of it.
        outer: The one it is nested in, if that is of the same scheduler.
        number: Its number in the log, once it is there.
        is_granted: Whether it was let in.
        is_ending: Whether all that is left to say is that it has ended.
        pending: How many events about it have not reached the log.
        inner: How many turns inside it are open, as the log has it.
        is_inner: Whether it is one of those of its outer turn.
        sleepers: Who sleeps for it, and until when.
    """

    __slots__ = ("inner", "is_ending", "is_granted", "is_inner", "number", "outer", "pending", "seat", "sleepers")

    def __init__(self, seat: Seat, outer: Stake | None) -> None:
        self.seat = seat
        self.outer = outer
        self.number: int | None = None
        self.is_granted = False
        self.is_ending = False
        self.pending = 0
        self.inner = 0
        self.is_inner = False
        self.sleepers: list[tuple[Waiter, Until]] = []

    def give_back(self) -> None:
        """It is not inside its outer turn any more."""
        if self.is_inner and self.outer is not None:
            self.outer.inner -= 1
        self.is_inner = False


class Event:
    """Something that has to get into the log.

    Attributes:
        id: This client's own number for it.
        kind: What happened.
        stake: The turn it is about.
        outer: Another turn whose slot it lends or gives back.
        usage: Of a turn that ended.
        failed: Whether its call raised.
        retry_after: What a refusing backend asks for.
        holds: Of a turn that goes on: whether it holds a slot.
    """

    __slots__ = ("failed", "holds", "id", "kind", "outer", "retry_after", "stake", "usage")

    def __init__(
        self,
        kind: Kind,
        stake: Stake | None = None,
        *,
        outer: Stake | None = None,
        usage: Usage | None = None,
        failed: bool = False,
        retry_after: float | None = None,
        holds: bool = False,
    ) -> None:
        self.id = 0
        self.kind: Kind = kind
        self.stake = stake
        self.outer = outer
        self.usage = usage
        self.failed = failed
        self.retry_after = retry_after
        self.holds = holds

    @property
    def stakes(self) -> tuple[Stake, ...]:
        """The turns that are not settled before it is in the log."""
        return tuple(each for each in (self.stake, self.outer) if each is not None)

    def body(self) -> str:
        """It as the text of a log entry; made when it is sent, since numbers are known only then."""
        return steps.body(self.id, *self._steps())

    def _steps(self) -> list[list[Any]]:
        outer = None if self.outer is None else self.outer.number
        if self.stake is None:
            return [["refused", self.retry_after]]
        request, number = self.stake.seat.request, self.stake.number or 0
        match self.kind:
            case "ask":
                return [steps.ask(request), *([] if outer is None else [["lend", outer]])]
            case "adopt":
                return [steps.adopt(request, inner=self.stake.inner, holds=self.holds)]
            case "finish":
                done = steps.finish(number, self.usage, failed=self.failed)
                return [done, *([] if outer is None else [["regain", outer]])]
            case _:
                return [[self.kind, number]]

    def count(self) -> None:
        """It is in the log: which slots are lent now."""
        if self.stake is None:
            return
        if self.kind == "ask" and self.outer is not None:
            self.outer.inner += 1
            self.stake.is_inner = True
        elif self.kind == "finish":
            self.stake.give_back()
        else:
            self.stake.inner += {"lend": 1, "regain": -1}.get(self.kind, 0)
