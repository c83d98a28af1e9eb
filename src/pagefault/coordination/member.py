"""One process as a member of a shared log: its replica, its turns, and what it has yet to tell. No I/O, no thread.

Whoever calls holds the coordinator's lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

from pagefault.coordination.port import Seat, Until
from pagefault.coordination.stakes import Event, Stake
from pagefault.coordination.valkey_log import Membership, Reply
from pagefault.errors import LeaseLost, SchedulerError
from pagefault.scheduling import Phase, Replica, Rules
from pagefault.scheduling.replica import Applied, Entry


class Member:
    """What a process knows and wants.

    Attributes:
        replica: Its copy of what was decided.
        me: Who it is in the log; ``None`` while it has not joined.
        before: Who it was, if its turns of then go on.
        stakes: Its turns that have not ended.
        unsent: What it has to tell, oldest first.
        batch: Counts what was sent.
        is_closed: Whether nobody is let in any more.
        is_behind: Whether it has to read again before it can go on.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.replica = Replica(rules)
        self.me: Membership | None = None
        self.before = Membership()
        self.stakes: dict[Seat, Stake] = {}
        self.unsent: list[Event] = []
        self.batch = 0
        self.is_closed = False
        self.is_behind = False
        self._in_flight: list[Event] = []
        self._bodies: list[str] = []
        self._events: dict[int, Event] = {}
        self._numbers: dict[int, Stake] = {}
        self._ids = itertools.count(1)

    # ----------------------------------------------------------------- telling

    def say(self, event: Event) -> None:
        """Tell the others, with the next batch."""
        self._name(event)
        self.unsent.append(event)
        self._expect(event)  # last: an exception from outside lets nobody wait for what is not on its way

    def take_back(self, stake: Stake) -> bool:
        """Never ask for this turn; ``False`` if that is on its way already."""
        event = next((each for each in self._events.values() if each.kind == "ask" and each.stake is stake), None)
        if event in self._in_flight:
            return False
        self._forget(stake)
        if event is not None:  # else an exception from outside came before it was asked
            self._drop(event)
        return True

    def next_batch(self) -> list[str]:
        """What to send now: what is on its way since a call that failed, else all that is unsent."""
        if not self._in_flight and self.has_news:
            self._in_flight = [event for event in self.unsent if _can_be_told(event)]
            self.unsent = [event for event in self.unsent if not _can_be_told(event)]
            self._bodies = [event.body() for event in self._in_flight]
            self.batch += 1
        return self._bodies

    def going_on(self) -> list[str]:
        """For a log that does not know them: the turns that hold something, with all that is on its way put back."""
        self._put_back()
        held = [stake for stake in self.stakes.values() if stake.is_granted]
        events = [Event("adopt", stake, holds=self.phase(stake) is not Phase.RETURNING) for stake in held]
        for event in events:
            self._register(event)
        self._in_flight, self._bodies = events, [event.body() for event in events]
        return self._bodies

    def know(self) -> Membership:
        """Who one is, and how far one has read."""
        return replace(self.me or Membership(), position=self.replica.position)

    # ------------------------------------------------------------------ hearing

    def start_from(self, reply: Reply) -> None:
        """Read a whole log, from its snapshot on."""
        first = reply.entries[0].number - 1 if reply.entries else 0
        if reply.state:
            self.replica = Replica.of_text(self.rules, reply.state, reply.membership.position)
        else:
            self.replica = Replica(self.rules, f"{first}-0")
        if self.me is None or self.me.client != reply.membership.client:
            self.me, self.batch, self._numbers = reply.membership, 0, {}
        self.take(reply.entries)
        for number, stake in tuple(self._numbers.items()):  # what the snapshot decided, nobody was told
            if not stake.is_granted and self.phase(stake) is not Phase.WAITING and number <= self.replica.number:
                self._grant(stake)

    def take(self, entries: Iterable[Entry]) -> None:
        """Apply what follows; wake whose time has come."""
        for entry in entries:
            if self.me is None or entry.number <= self.replica.number:
                continue
            if entry.number != self.replica.number + 1:
                self.is_behind = True
                return
            applied = self.replica.apply(entry)
            if entry.client == self.me.client:
                self._settle(applied, entry.number)
            for number in applied.moved:
                stake = self._numbers.get(number)
                if stake is not None:
                    self._grant(stake)
            if applied.gone == self.me.client:
                self.start_again(goes_on=False)

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._in_flight) or any(_can_be_told(event) for event in self.unsent)

    @property
    def is_answered(self) -> bool:
        """Whether nothing is on its way."""
        return not self._in_flight

    @property
    def waits(self) -> bool:
        """Whether a turn of this process waits for what others do."""
        return any(not stake.is_granted or self.phase(stake) is Phase.RETURNING for stake in self.stakes.values())

    # ------------------------------------------------------------------- turns

    def phase(self, stake: Stake) -> Phase | None:
        """Where a turn is; ``None`` while, or since, the log does not know it."""
        entry = None if stake.number is None else self.replica.dispatcher.turns.get(stake.number)
        return None if entry is None else entry.phase

    def has_come(self, stake: Stake, until: Until) -> bool:
        """Whether there is nothing to sleep for."""
        if stake.pending:
            return False
        if until is Until.GRANTED:
            return stake.is_granted or self.is_closed
        return until is Until.ANSWERED or self.phase(stake) is not Phase.RETURNING

    def wake(self, stake: Stake) -> None:
        """Wake who sleeps for a turn, if it is time; end a turn whose event loop was closed."""
        ready = [waiter for waiter, until in stake.sleepers if self.has_come(stake, until)]
        stake.sleepers = [(waiter, until) for waiter, until in stake.sleepers if not self.has_come(stake, until)]
        woken = [waiter.wake() for waiter in ready]
        if woken and not any(woken) and not stake.seat.is_open and not stake.is_ending:
            stake.is_ending = True
            self.say(Event("finish", stake, outer=stake.outer, failed=True))

    # ---------------------------------------------------------------- mishaps

    def start_again(self, *, goes_on: bool) -> None:
        """Who one was in the log is over. Turns that wait ask again; others go on where one joins, or are lost."""
        self._put_back()
        self.before = self.know() if goes_on and self.me is not None else Membership()
        self.me, self._numbers = None, {}
        for stake in reversed(tuple(self.stakes.values())):
            if stake.number is None:
                continue
            if stake.is_granted:
                if not goes_on:
                    self.fail(stake, _lease_lost(stake))
            elif stake.is_ending:
                self.fail(stake, None)
            else:
                self._ask_again(stake)

    def fail_waiting(self, error: SchedulerError) -> None:
        """Nobody can be reached: turns that wait fail, those that ended are left to their lease, others go on."""
        self._put_back()
        for event in tuple(self.unsent):
            if event.kind != "ask":
                event.count()
            self._drop(event)
        for stake in tuple(self.stakes.values()):
            if not stake.is_granted or self.phase(stake) is Phase.RETURNING:
                self.fail(stake, error)
            elif stake.is_ending:
                self.fail(stake, None)
        if self.me is not None:
            self.before, self.me, self._numbers = self.know(), None, {}

    def fail(self, stake: Stake, error: SchedulerError | None) -> None:
        """A turn is over for this process."""
        stake.seat.failure = None if error is None else type(error)(*error.args)  # each with its own traceback
        stake.give_back()
        self._forget(stake)
        for event in tuple(self.unsent):
            if event.stake is stake:
                self._drop(event)
            elif event.outer is stake:
                event.outer = None
        for other in self.stakes.values():
            if other.outer is stake:
                other.outer = None
        stake.number, stake.pending, stake.is_granted = None, 0, True
        self.wake(stake)

    # ----------------------------------------------------------------- details

    def _register(self, event: Event) -> None:
        self._name(event)
        self._expect(event)

    def _name(self, event: Event) -> None:
        event.id = next(self._ids)
        self._events[event.id] = event

    def _expect(self, event: Event) -> None:
        for stake in event.stakes:
            stake.pending += 1

    def _drop(self, event: Event) -> None:
        if event in self.unsent:
            self.unsent.remove(event)
        self._events.pop(event.id, None)
        for stake in event.stakes:
            stake.pending = max(0, stake.pending - 1)
            self.wake(stake)

    def _put_back(self) -> None:
        back = [event for event in self._in_flight if event.id in self._events]
        self._in_flight, self._bodies = [], []
        for event in back:
            if event.kind == "adopt":
                self._drop(event)
        self.unsent[:0] = [event for event in back if event.kind != "adopt"]

    def _settle(self, applied: Applied, number: int) -> None:
        event = self._events.pop(applied.event, None)
        if event is None:
            return
        if event in self._in_flight:
            self._in_flight.remove(event)
        stake = event.stake
        if applied.refusal is not None and stake is not None:
            self.fail(stake, applied.refusal)
        else:
            event.count()
            if stake is not None and event.kind in {"ask", "adopt"}:
                stake.number = number
                self._numbers[number] = stake
            if stake is not None and event.kind == "finish":
                self._forget(stake)
        for each in event.stakes:
            each.pending = max(0, each.pending - 1)
            self.wake(each)
        if not self._in_flight:
            self._bodies = []

    def _grant(self, stake: Stake) -> None:
        stake.is_granted = True
        self.wake(stake)

    def _forget(self, stake: Stake) -> None:
        self.stakes.pop(stake.seat, None)
        stake.outer = None  # let go of: turns that overlap would keep all before them
        if stake.number is not None:
            self._numbers.pop(stake.number, None)

    def _ask_again(self, stake: Stake) -> None:
        stake.number = None
        stake.give_back()
        event = Event("ask", stake, outer=stake.outer)
        self._register(event)
        self.unsent.insert(0, event)


def _can_be_told(event: Event) -> bool:
    """What comes after a question that is on its way needs the number it gets."""
    return event.stake is None or event.kind == "ask" or event.stake.number is not None


def _lease_lost(stake: Stake) -> LeaseLost:
    return LeaseLost(
        f"the turn of agent {stake.seat.request.agent!r} is over: this process was not heard for longer than its "
        "lease, and its slots were given to others. What the call did stands; ask for another turn to go on"
    )
