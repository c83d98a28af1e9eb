"""Grants turns to several processes, which read one log: what happens is shared, decisions are made by each for itself.

Verbs put events into a queue and never wait. One thread sends them and takes in what others did; a
second one listens while a turn of this process waits.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from typing import Final

from pagefault.coordination.conversation import Conversation
from pagefault.coordination.member import Member
from pagefault.coordination.place import MeetingPlace
from pagefault.coordination.port import Glance, Seat, Until, glances
from pagefault.coordination.stakes import Event, Stake
from pagefault.coordination.valkey_log import ValkeyLog
from pagefault.coordination.waiters import ThreadWaiter, Waiter
from pagefault.errors import SchedulerClosed
from pagefault.scheduling import AccountId, AccountUsage, Rules, Token, Usage, check_pause


class SharedCoordinator:
    """The turns of one process among those of others.

    Nothing is sent before the first turn. A forked child starts empty, as another process.

    Args:
        rules: The same for all who share the backend.
        place: Where they meet.

    Raises:
        MissingDependency: The client library is not installed.
    """

    def __init__(self, rules: Rules, place: MeetingPlace) -> None:
        self._rules = rules
        self._place = place
        self._is_closed = False
        self._start_afresh()
        _all.add(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # of C: nothing comes between taking it and the block that gives it back
        self._changed = threading.Condition(self._lock)
        self._member = Member(self._rules)
        self._member.is_closed = self._is_closed
        self._talk = Conversation(self._member, ValkeyLog(self._place), self._place.lease, self._changed)

    # ------------------------------------------------------------------- turns

    def ask(self, seat: Seat, outer: Seat | None) -> bool:
        """Queue a turn; it is granted at the earliest when the server has answered.

        Raises:
            SchedulerClosed: Nobody is let in any more.
            SchedulerUnreachable: The server was away a moment ago. Also what else it answered then.
        """
        with self._lock:
            if self._is_closed:
                raise SchedulerClosed("this scheduler is closed; make another one with pagefault.Scheduler(...)")
            error = self._talk.error
            if error is not None and self._talk.is_given_up:
                raise type(error)(*error.args)
            around = None if outer is None else self._member.stakes.get(outer)
            stake = self._member.stakes[seat] = Stake(seat, around)
            self._say(Event("ask", stake, outer=around))
            return False

    def lend(self, seat: Seat) -> None:
        """A turn of another scheduler was opened inside this one."""
        with self._lock:
            stake = self._member.stakes.get(seat)
            if stake is not None:
                self._say(Event("lend", stake))

    def regain(self, seat: Seat) -> None:
        """A turn of another scheduler inside this one has ended."""
        with self._lock:
            stake = self._member.stakes.get(seat)
            if stake is not None:
                self._say(Event("regain", stake))

    def finish(self, seat: Seat, outer: Seat | None, usage: Usage | None, *, failed: bool) -> bool:
        """A turn has ended or gives up; that the server knows has to be waited for.

        Twice, in a forked child, or for a turn that failed: nothing happens.
        """
        with self._lock:
            stake = self._member.stakes.get(seat)
            if stake is None or stake.is_ending:
                return outer is not None
            if stake.number is not None or not self._member.take_back(stake):
                self._say(Event("finish", stake, outer=stake.outer, usage=usage, failed=failed))
            stake.is_ending = True
            return True

    def refused(self, retry_after: float | None) -> None:
        """The backend answered 429."""
        check_pause(retry_after)
        with self._lock:
            if self._talk.error is None:
                self._say(Event("refused", retry_after=retry_after))

    # ----------------------------------------------------------------- waiting

    def register(self, seat: Seat, waiter: Waiter, until: Until) -> bool:
        """Wake ``waiter`` when that has come; ``False`` if it has."""
        with self._lock:
            stake = self._member.stakes.get(seat)
            if stake is None or self._member.has_come(stake, until):
                return False
            stake.sleepers.append((waiter, until))
            if until is not Until.ANSWERED:
                self._talk.listen()
            return True

    def is_granted(self, seat: Seat) -> bool:
        """Whether the turn may go.

        Raises:
            SchedulerClosed: It never will.
        """
        with self._lock:
            stake = self._member.stakes.get(seat)
            if stake is None or stake.is_granted:
                return True
            if self._is_closed:
                raise SchedulerClosed(f"the scheduler was closed while agent {seat.request.agent!r} waited for it")
            return False

    def token(self, seat: Seat) -> Token | None:
        """The token of the slot that the turn holds; ``None`` while it holds none."""
        with self._lock:
            stake = self._member.stakes.get(seat)
            return None if stake is None or stake.number is None else self._member.replica.token(stake.number)

    def why(self, seat: Seat) -> str:
        """What it waits for, in words."""
        with self._lock:
            stake = self._member.stakes.get(seat)
            if stake is None or self._member.phase(stake) is None:
                return "the server" if stake is not None else ""
            replica = self._member.replica
            return replica.dispatcher.why(stake.number or 0, self._talk.now(), replica.time)

    def needs(self, loop: asyncio.AbstractEventLoop | None, seat: Seat) -> bool:
        """Whether a turn needs this event loop that is neither this one nor around it."""
        if loop is None:
            return False
        with self._lock:
            return any(
                stake.seat.loop is loop and not stake.is_ending and not stake.seat.is_around(seat)
                for stake in self._member.stakes.values()
            )

    # -------------------------------------------------------------------- looks

    def usage(self, account: AccountId) -> AccountUsage | None:
        """What an account was charged for, as far as this process has heard; ``None`` for one that nobody knows."""
        with self._lock:
            return self._member.replica.dispatcher.accounts.usage(account)

    def look(self) -> tuple[int, int, list[Glance]]:
        """Slots that may be in use, slots in use, and all turns of all processes, as far as this one has heard."""
        with self._lock:
            replica = self._member.replica
            dispatcher = replica.dispatcher
            return dispatcher.slots, dispatcher.running, glances(dispatcher, self._talk.now(), replica.time)

    def close(self, waiter: Waiter | None = None) -> bool:
        """Let nobody in any more, and tell those who wait; leave when no turn is open.

        Returns:
            Whether ``waiter`` will be woken when that is done; not while turns are open.
        """
        with self._lock:
            self._is_closed = self._member.is_closed = True
            stakes = tuple(self._member.stakes.values())
            for stake in stakes:
                self._member.wake(stake)
            is_open = any(stake.is_granted and not stake.is_ending for stake in stakes)
            return self._talk.end(None if is_open else waiter) and not is_open

    def abandon(self) -> None:
        """Nobody holds the scheduler any more; takes no lock, since that is found out anywhere."""
        self._talk.is_abandoned = True

    # ----------------------------------------------------------------- details

    def _say(self, event: Event) -> None:
        self._member.say(event)
        self._talk.begin()


AT_EXIT: Final = 2.0
_all: weakref.WeakSet[SharedCoordinator] = weakref.WeakSet()


def _after_fork() -> None:
    for coordinator in tuple(_all):
        coordinator._start_afresh()


def _leave_all() -> None:
    """At interpreter exit: others need not wait for a lease to end."""
    for coordinator in tuple(_all):
        waiter = ThreadWaiter()
        if coordinator.close(waiter):
            waiter.wait(AT_EXIT)


atexit.register(_leave_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
