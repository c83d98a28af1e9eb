"""Grants turns inside one process. Whoever comes or goes decides inline, under a lock, who is next."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Final

from pagefault.coordination.port import Glance, Seat, Until, glances
from pagefault.coordination.waiters import Waiter
from pagefault.errors import SchedulerClosed, SchedulerError
from pagefault.scheduling import AccountId, AccountUsage, Dispatcher, Phase, Rules, Token, Usage, check_pause, recount

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
        self._seats: dict[int, Seat] = {}
        self._is_deciding = False
        self._waiters: dict[int, list[Waiter]] = {}
        self._alarm: threading.Timer | None = None
        self._alarm_at = math.inf

    # ------------------------------------------------------------------- turns

    def ask(self, seat: Seat, outer: Seat | None) -> bool:
        """Queue a turn and lend its outer one's slot; whether it was granted at once.

        Raises:
            SchedulerClosed: Nobody is let in any more.
            QuotaExceeded: It could never fit.
            QueueFull: Too many of its account wait.
        """
        with self._lock:
            if self._closed:
                raise SchedulerClosed("this scheduler is closed; make another one with pagefault.Scheduler(...)")
            if self._is_deciding:
                self._make_good()
            self._is_deciding, now = True, time.monotonic()
            try:
                number = seat.number = self._dispatcher.submit(seat.request, now)
            except SchedulerError:
                self._is_deciding = False
                raise
            self._seats[number] = seat
            if outer is not None and self._knows(outer):
                self._dispatcher.lend(outer.number, now)
            is_granted = number in self._pump(now)
            self._is_deciding = False
            return is_granted

    def lend(self, seat: Seat) -> None:
        """A turn of another scheduler was opened inside this one."""
        with self._lock:
            if self._knows(seat):
                if self._is_deciding:
                    self._make_good()
                self._is_deciding, now = True, time.monotonic()
                self._dispatcher.lend(seat.number, now)
                seat.elsewhere += 1
                self._pump(now)
                self._is_deciding = False

    def regain(self, seat: Seat) -> None:
        """A turn of another scheduler inside this one has ended."""
        with self._lock:
            if self._knows(seat):
                if self._is_deciding:
                    self._make_good()
                self._is_deciding, now = True, time.monotonic()
                seat.elsewhere -= 1
                self._dispatcher.regain(seat.number, now)
                self._pump(now)
                self._is_deciding = False

    def finish(self, seat: Seat, outer: Seat | None, usage: Usage | None, *, failed: bool) -> bool:
        """A turn has ended or gives up; whether its outer one has to wait for its slot.

        Twice, or in a forked child: nothing happens.
        """
        with self._lock:
            if self._is_deciding:
                self._make_good()
            self._is_deciding, now = True, time.monotonic()
            if self._knows(seat):
                self._dispatcher.finish(seat.number, now, usage=usage, failed=failed)
                del self._seats[seat.number]
                self._waiters.pop(seat.number, None)
                if outer is not None and self._knows(outer):
                    self._dispatcher.regain(outer.number, now)
                self._pump(now)
            self._is_deciding = False
            return outer is not None and self._phase(outer) is Phase.RETURNING

    def refused(self, retry_after: float | None) -> None:
        """The backend answered 429."""
        check_pause(retry_after)
        with self._lock:
            self._dispatcher.refused(retry_after, time.monotonic())

    # ----------------------------------------------------------------- waiting

    def register(self, seat: Seat, waiter: Waiter, until: Until) -> bool:
        """Wake ``waiter`` when that has come; ``False`` if it has. Answers are given at once."""
        phase = _WHILE.get(until)
        with self._lock:
            if phase is None or self._phase(seat) is not phase or (self._closed and phase is Phase.WAITING):
                return False
            self._waiters.setdefault(seat.number, []).append(waiter)
            return True

    def is_granted(self, seat: Seat) -> bool:
        """Whether the turn may go.

        Raises:
            SchedulerClosed: It never will.
        """
        with self._lock:
            waits = self._phase(seat) is Phase.WAITING
            if waits and self._closed:
                raise SchedulerClosed(f"the scheduler was closed while agent {seat.request.agent!r} waited for it")
            return not waits

    def token(self, seat: Seat) -> Token | None:  # the port's
        """None: no holder is ever replaced."""
        del seat
        return None

    def why(self, seat: Seat) -> str:
        """What it waits for, in words."""
        with self._lock:
            return self._dispatcher.why(seat.number, time.monotonic()) if self._phase(seat) else ""

    def needs(self, loop: asyncio.AbstractEventLoop | None, seat: Seat) -> bool:
        """Whether a turn needs this event loop that is neither this one nor around it."""
        if loop is None:
            return False
        with self._lock:
            return any(each.loop is loop and not each.is_around(seat) for each in self._seats.values())

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

    def _make_good(self) -> None:
        """An exception from outside cut a decision short: count anew what follows from the turns that are left."""
        turns = self._dispatcher.turns
        self._seats = {number: seat for number, seat in self._seats.items() if number in turns}
        inner = {number: seat.elsewhere for number, seat in self._seats.items()}
        for seat in self._seats.values():
            if seat.outer is not None and self._knows(seat.outer):
                inner[seat.outer.number] += 1
        recount(self._dispatcher, inner)
        self._alarm_at = math.inf
        self._pump(time.monotonic())
        waits = {number for number, entry in turns.items() if entry.phase in _WHILE.values()}
        self._wake([number for number in self._waiters if number not in waits])

    def _knows(self, seat: Seat) -> bool:
        return self._seats.get(seat.number) is seat

    def _phase(self, seat: Seat) -> Phase | None:
        entry = self._dispatcher.turns.get(seat.number) if self._knows(seat) else None
        return None if entry is None else entry.phase

    def _pump(self, now: float) -> list[int]:
        newly = moved = self._dispatcher.pump(now)
        while newly and self._waiters and (gone := self._wake(newly)):  # not by recursion: it may be thousands
            for number in gone:
                self._let_go(number, now)
            newly = self._dispatcher.pump(now)
            moved += newly
        if self._dispatcher.wake_at < self._alarm_at:
            self._set_alarm(now)
        return moved

    def _let_go(self, number: int, now: float) -> None:
        """Its event loop was closed while it waited: nobody will take this turn."""
        outer = self._seats[number].outer
        self._dispatcher.finish(number, now, failed=True)
        del self._seats[number]
        if outer is not None and self._knows(outer):
            self._dispatcher.regain(outer.number, now)

    def _wake(self, numbers: Iterable[int]) -> list[int]:
        """Wake who waits for these; the turns that nobody can be woken for."""
        gone: list[int] = []
        for number in numbers:
            woken = [waiter.wake() for waiter in self._waiters.get(number, ())]
            self._waiters.pop(number, None)
            if woken and not any(woken) and number in self._seats and not self._seats[number].is_open:
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
            if self._is_deciding:
                self._make_good()
            self._is_deciding, now = True, time.monotonic()
            if threading.current_thread() is self._alarm:  # else another was set meanwhile; a coarse clock may be early
                self._alarm, self._alarm_at = None, math.inf
                self._pump(now)
            self._is_deciding = False


_all: weakref.WeakSet[LocalCoordinator] = weakref.WeakSet()


def _after_fork() -> None:
    for coordinator in tuple(_all):
        coordinator._start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
