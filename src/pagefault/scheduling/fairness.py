"""Who goes next: fair share by cost with affinity slack inside a priority class, and aging between classes.

Every account has a counter of what it was charged, divided by its weight. Whoever is at most
the *affinity slack* above the least counter may go, the warmest prefix first (the dispatcher knows
which is warm). Slack 0 is fair share (virtual token counters); endless slack is longest-prefix-first.
The bound that follows is derived in ``docs/scheduling.md``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

MOST_ACCOUNTS: Final = 10_000
LARGEST_TIME: Final = 1e12
"""Virtual time begins anew above it: beside a much larger number what a call costs is lost in rounding."""
AccountId = tuple[str, str]
"""Tenant and agent of a root turn: whose share a call is charged to."""


def classes_in_order(since: Mapping[int, float], now: float, aging: float) -> list[int]:
    """Priority classes in the order in which they may go next.

    The highest goes first; but a class that has waited ``aging`` seconds for each class above
    it, counted from when it was last served, goes once before them, and again only after they
    were served too. So each class always gets a share, however long the queues of the others.

    Args:
        since: For each class with turns waiting, when it was last served or began to wait.
        now: The time.
        aging: Seconds per level.

    Example:
        >>> classes_in_order({0: 0.0, 5: 29.0}, now=30.0, aging=30.0)
        [0, 5]
        >>> classes_in_order({0: 30.0, 5: 29.0}, now=90.0, aging=30.0)
        [5, 0]
    """
    falling = sorted(since, reverse=True)
    overdue: list[tuple[float, int]] = []
    earliest = math.inf  # of all classes above
    for above, priority in enumerate(falling):
        due = since[priority] + aging * above
        if above and due <= now and earliest >= since[priority]:
            overdue.append((due, -priority))
        earliest = min(earliest, since[priority])
    first = dict.fromkeys(-negative for _, negative in sorted(overdue))
    return [*first, *(priority for priority in falling if priority not in first)]


class Line:
    """One account's turns in one priority class.

    Attributes:
        account: Whose they are.
        counter: What it was charged so far, divided by its weight.
        waiting: Its waiting turns, oldest first.
        passed: How many younger turns went before the oldest one.
        open: How many of its turns have begun and not ended.
        blocked: Whether a quota held it back when somebody last looked.
    """

    __slots__ = ("account", "blocked", "counter", "open", "passed", "waiting")

    def __init__(self, account: AccountId) -> None:
        self.account = account
        self.counter = 0.0
        self.waiting: deque[int] = deque()
        self.open = 0
        self.passed = 0
        self.blocked = False


class FairClass:
    """The accounts of one priority class and its virtual time.

    Who begins to wait starts at virtual time at least: nobody saves up a share by not asking.

    Attributes:
        virtual: Virtual time: the largest least counter there ever was. All counters are set back with it now and then.
        since: When the class was last served, or began to wait.
        waiting: The lines with a turn waiting.
    """

    __slots__ = ("_lines", "_open", "_room", "since", "virtual", "waiting")

    def __init__(self) -> None:
        self.virtual = 0.0
        self.since = 0.0
        self.waiting: dict[AccountId, Line] = {}
        self._lines: dict[AccountId, Line] = {}
        self._open = 0
        self._room = MOST_ACCOUNTS

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits or runs; then nothing of it need be kept."""
        return not self.waiting and not self._open

    def join(self, account: AccountId, turn: int, now: float) -> Line:
        """A turn begins to wait."""
        line = self._line(account)
        if not line.waiting:
            if not self.waiting:
                self.since = now
            line.counter = max(line.counter, self.virtual)
            self.waiting[account] = line
        line.waiting.append(turn)
        return line

    def pass_by(self, account: AccountId, charge: float, now: float) -> Line:
        """A turn goes at once, since nobody waits: the same as to join and to be served."""
        line = self._line(account)
        line.counter = self.virtual = max(line.counter, self.virtual)
        if self.virtual > LARGEST_TIME:
            self._set_back()
        line.counter += charge
        self.since = now
        line.open += 1
        self._open += 1
        return line

    def put(self, line: Line, turn: int, *, waits: bool) -> None:
        """A turn as it is, after ``clear``; the oldest first."""
        self._lines[line.account] = line
        if waits:
            line.waiting.append(turn)
            self.waiting[line.account] = line
        else:
            line.open += 1
            self._open += 1

    def clear(self) -> None:
        """No turn waits or runs; what was charged stays."""
        self._open = 0
        self.waiting.clear()
        for line in self._lines.values():
            line.waiting.clear()
            line.open = 0

    def leave(self, line: Line, turn: int) -> None:
        """A turn gives up waiting."""
        line.waiting.remove(turn)
        self._left(line)
        self._forget()

    def eligible(self, is_blocked: Callable[[int], bool]) -> list[Line]:
        """Lines whose first turn is not held back by a quota of its own."""
        found: list[Line] = []
        for line in self.waiting.values():
            if is_blocked(line.waiting[0]):
                line.blocked = True
                continue
            if line.blocked:
                line.blocked = False
                line.counter = max(line.counter, self.virtual)
            found.append(line)
        return found

    def serve(self, line: Line, turn: int, among: Sequence[Line], charge: float, now: float) -> None:
        """A turn of ``line`` goes, which was chosen ``among`` these."""
        least = line.counter if len(among) == 1 else min(each.counter for each in among)
        self.virtual = max(self.virtual, least)
        if self.virtual > LARGEST_TIME:
            self._set_back()
        self.since = now
        line.counter += charge
        line.open += 1
        self._open += 1
        line.passed = 0 if line.waiting[0] == turn else line.passed + 1
        line.waiting.remove(turn)
        self._left(line)

    def correct(self, line: Line, difference: float) -> None:
        """One of its turns has ended and cost so much more than it was charged."""
        line.counter += difference
        line.open -= 1
        self._open -= 1
        self._forget()

    def _set_back(self) -> None:
        for line in self._lines.values():
            line.counter -= self.virtual
        self.virtual = 0.0

    def _left(self, line: Line) -> None:
        if not line.waiting:
            line.blocked = False
            del self.waiting[line.account]

    def _line(self, account: AccountId) -> Line:
        line = self._lines.get(account)
        if line is None:
            line = self._lines[account] = Line(account)
        return line

    def _forget(self) -> None:
        """Let go of accounts that would come back like new ones, so that memory does not grow with their number.

        When nobody waits or runs, virtual time passes all counters and everyone starts equal.
        """
        if not self._open and not self.waiting:
            for line in self._lines.values():
                self.virtual = max(self.virtual, line.counter)
            self._lines.clear()
            if self.virtual > LARGEST_TIME:
                self._set_back()
        elif len(self._lines) > self._room:
            idle = sorted((e for e in self._lines.values() if not e.waiting and not e.open), key=lambda e: e.counter)
            surplus = len(self._lines) - MOST_ACCOUNTS // 2
            for number, line in enumerate(idle):
                if line.counter <= self.virtual or number < surplus:
                    del self._lines[line.account]
            self._room = max(MOST_ACCOUNTS, 2 * len(self._lines))
