"""Grants turns inside one process. Whoever comes or goes decides inline, under a lock, who is next."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pagefault.coordination.port import Glance, Until, glances
from pagefault.coordination.waiters import Waiter
from pagefault.errors import SchedulerClosed
from pagefault.scheduling import AccountId, AccountUsage, Dispatcher, Phase, Rules, Token, Usage

if TYPE_CHECKING:
    from pagefault.turn import Turn

_WHILE: Final = {Until.GRANTED: Phase.WAITING, Until.RETURNED: Phase.RETURNING}


class LocalCoordinator:
    """The dispatcher of one process with those who wait for it.

    Every method may be called from any thread; none blocks for longer than a decision takes.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._closed = False
        self._start_afresh()
        _all.add(self)

    def _start_afresh(self) -> None:
        """As after a fork: nobody of the parent's turns goes on in the child."""
        self._lock = threading.Lock()
        self._dispatcher = Dispatcher(self._rules)
        self._turns: dict[int, Turn] = {}
        self._waiters: dict[int, list[Waiter]] = {}
        self._alarm: threading.Timer | None = None
        self._alarm_at = math.inf

    # ------------------------------------------------------------------- turns

    def ask(self, turn: Turn, outer: Turn | None) -> bool:
        """Queue a turn and lend its outer one's slot; whether it was granted at once.

        Raises:
            SchedulerClosed: Nobody is let in any more.
            QuotaExceeded: It could never fit.
            QueueFull: Too many of its account wait.
        """
        with self._lock:
            if self._closed:
                raise SchedulerClosed("this scheduler is closed; make another one with pagefault.Scheduler(...)")
            now = time.monotonic()
            number = turn.number = self._dispatcher.submit(turn.request, now)
            self._turns[number] = turn
            if outer is not None and self._knows(outer):
                self._dispatcher.lend(outer.number, now)
            return number in self._pump(now)

    def lend(self, turn: Turn) -> None:
        """A turn of another scheduler was opened inside this one."""
        with self._lock:
            if self._knows(turn):
                now = time.monotonic()
                self._dispatcher.lend(turn.number, now)
                self._pump(now)

    def regain(self, turn: Turn) -> None:
        """A turn of another scheduler inside this one has ended."""
        with self._lock:
            if self._knows(turn):
                now = time.monotonic()
                self._dispatcher.regain(turn.number, now)
                self._pump(now)

    def finish(self, turn: Turn, outer: Turn | None, usage: Usage | None, *, failed: bool) -> bool:
        """A turn has ended or gives up; whether its outer one has to wait for its slot.

        Twice, or in a forked child: nothing happens.
        """
        with self._lock:
            if not self._knows(turn):
                return False
            now = time.monotonic()
            del self._turns[turn.number]
            self._waiters.pop(turn.number, None)
            self._dispatcher.finish(turn.number, now, usage=usage, failed=failed)
            returning = outer is not None and self._knows(outer)
            if outer is not None and returning:
                self._dispatcher.regain(outer.number, now)
            self._pump(now)
            return returning and outer is not None and self._phase(outer) is Phase.RETURNING

    def refused(self, retry_after: float | None) -> None:
        """The backend answered 429."""
        with self._lock:
            self._dispatcher.refused(retry_after, time.monotonic())

    # ----------------------------------------------------------------- waiting

    def register(self, turn: Turn, waiter: Waiter, until: Until) -> bool:
        """Wake ``waiter`` when that has come; ``False`` if it has. Answers are given at once."""
        phase = _WHILE.get(until)
        with self._lock:
            if phase is None or self._phase(turn) is not phase or (self._closed and phase is Phase.WAITING):
                return False
            self._waiters.setdefault(turn.number, []).append(waiter)
            return True

    def is_granted(self, turn: Turn) -> bool:
        """Whether the turn may go.

        Raises:
            SchedulerClosed: It never will.
        """
        with self._lock:
            waits = self._phase(turn) is Phase.WAITING
            if waits and self._closed:
                raise SchedulerClosed(f"the scheduler was closed while agent {turn.request.agent!r} waited for it")
            return not waits

    def token(self, turn: Turn) -> Token | None:  # the port's
        """None: no holder is ever replaced."""
        del turn
        return None

    def why(self, turn: Turn) -> str:
        """What it waits for, in words."""
        with self._lock:
            return self._dispatcher.why(turn.number, time.monotonic()) if self._knows(turn) else ""

    def needs(self, loop: asyncio.AbstractEventLoop | None, turn: Turn) -> bool:
        """Whether a turn needs this event loop that is neither this one nor around it."""
        if loop is None:
            return False
        with self._lock:
            return any(each.loop is loop and not each.is_around(turn) for each in self._turns.values())

    # -------------------------------------------------------------------- looks

    def usage(self, account: AccountId) -> AccountUsage | None:
        """What an account was charged for; ``None`` for one that nobody knows."""
        with self._lock:
            return self._dispatcher.accounts.usage(account)

    def look(self) -> tuple[int, int, list[Glance]]:
        """Slots that may be in use, slots in use, and all turns, oldest first."""
        with self._lock:
            dispatcher = self._dispatcher
            return dispatcher.slots, dispatcher.running, glances(dispatcher, time.monotonic())

    def close(self, waiter: Waiter | None = None) -> bool:
        """Let nobody in any more, and tell those who wait. Nothing is left to wait for."""
        del waiter
        with self._lock:
            self._closed = True
            self._wake([n for n, entry in self._dispatcher.turns.items() if entry.phase is Phase.WAITING])
        return False

    # ------------------------------------------------------------------ details

    def _knows(self, turn: Turn) -> bool:
        return self._turns.get(turn.number) is turn

    def _phase(self, turn: Turn) -> Phase | None:
        return self._dispatcher.turns[turn.number].phase if self._knows(turn) else None

    def _pump(self, now: float) -> list[int]:
        moved = self._dispatcher.pump(now)
        if moved and self._waiters:
            for number in self._wake(moved):
                # Its event loop was closed while it waited: nobody will take this turn.
                if self._turns.pop(number, None) is not None:
                    self._dispatcher.finish(number, now, failed=True)
                    self._pump(now)
        if self._dispatcher.wake_at < self._alarm_at:
            self._set_alarm(now)
        return moved

    def _wake(self, numbers: Iterable[int]) -> list[int]:
        """Wake who waits for these; the turns that nobody can be woken for."""
        gone: list[int] = []
        for number in numbers:
            woken = [waiter.wake() for waiter in self._waiters.pop(number, ())]
            if woken and not any(woken) and not self._turns[number].is_open:
                gone.append(number)
        return gone

    def _set_alarm(self, now: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = self._dispatcher.wake_at
        self._alarm = threading.Timer(self._alarm_at - now, self._ring)
        self._alarm.name, self._alarm.daemon = "pagefault-scheduler", True
        self._alarm.start()

    def _ring(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._alarm_at:
                return  # another alarm was set meanwhile
            self._alarm, self._alarm_at = None, math.inf
            self._pump(now)


_all: weakref.WeakSet[LocalCoordinator] = weakref.WeakSet()


def _after_fork() -> None:
    for coordinator in tuple(_all):
        coordinator._start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
