"""The scheduler's core: events in, grants out. The time is an argument; equal events give equal grants.

A turn waits, runs, and ends. While turns nested in it are open its slot is *lent*: free for
anybody. When the last of them has ended it *returns*, before all who wait for a first slot.
"""

from __future__ import annotations

import itertools
import math
from enum import Enum
from typing import Final

from pagefault.errors import QueueFull
from pagefault.scheduling.accounts import Accounts
from pagefault.scheduling.affinity import Mark, WarmPrefixes, conversation
from pagefault.scheduling.costs import NOTHING, Usage
from pagefault.scheduling.fairness import FairClass, Line, classes_in_order
from pagefault.scheduling.limits import Meter
from pagefault.scheduling.pace import Pace
from pagefault.scheduling.rules import Request, Rules

MOST_PASSED: Final = 16
MOST_LOOKED_AT: Final = 64


class Phase(Enum):
    """Where a turn is."""

    WAITING = "waiting"
    RUNNING = "running"
    LENT = "lent"
    RETURNING = "returning"


class LiveTurn:
    """What the dispatcher knows of one turn that has not ended.

    Attributes:
        request: What was asked for.
        phase: Where it is.
        since: When it came into this phase.
        expected: The usage it was let in with.
        tokens: The same, input and output together.
        meters: What it has to fit: the backend's limits, then its quotas.
        cost: What it was charged for that.
        inner: How many turns nested in it are open.
        prompt: How its prompt begins; where the backend's cache is known the last mark stands for all of it.
    """

    __slots__ = ("cost", "expected", "inner", "line", "meters", "phase", "prompt", "request", "since", "tokens")

    line: Line

    def __init__(self, request: Request, expected: Usage, meters: tuple[Meter, ...], now: float) -> None:
        self.request = request
        self.expected = expected
        self.tokens = expected.input_tokens + expected.output_tokens
        self.meters = meters
        self.phase = Phase.WAITING
        self.since = now
        self.cost = 0.0
        self.inner = 0
        self.prompt = request.marks


class Dispatcher:
    """Who may use one backend now.

    Attributes:
        wake_at: After ``pump``: when time alone will let somebody in; infinity if only the end of a turn can.
        turns: All turns that have not ended.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.wake_at = math.inf
        self.turns: dict[int, LiveTurn] = {}
        self.accounts = Accounts(rules)
        self._numbers = itertools.count(1)
        self._backend = Meter(rules.limits)
        self._pace = Pace(rules.slots)
        self._warm = WarmPrefixes(rules.limits.kv_tokens)
        self._has_cache = rules.limits.kv_tokens is not None
        self._classes: dict[int, FairClass] = {}
        self._everyone = (self._backend,)
        self._waiting = 0
        self._returning: list[int] = []
        self._kept: set[int] = set()
        self._moved: list[int] = []

    # ------------------------------------------------------------------ events

    def submit(self, request: Request, now: float, *, number: int | None = None) -> int:
        """Somebody asks for a turn; its number.

        Args:
            request: What is asked for.
            now: The time.
            number: A number above all earlier ones; by default the next one.

        Raises:
            QuotaExceeded: It could never fit a limit.
            QueueFull: Too many turns of its account wait.
        """
        quotas = self.accounts.quotas(request)
        expected = self.accounts.expected(request)
        self._backend.check("the backend", expected.tokens)
        for whose, quota in quotas:
            quota.check(whose, expected.tokens)
        if number is None:
            number = next(self._numbers)
        meters = (self._backend, *(quota for _, quota in quotas)) if quotas else self._everyone
        entry = LiveTurn(request, expected, meters, now)
        if self._has_cache:
            entry.prompt = self._prompt(request, expected)
        if self._is_open_to(entry, now):
            self._expect(entry, now)
            entry.line = self._class(request.priority).pass_by(request.account, entry.cost / request.weight, now)
            self._start(entry, number, now)
        else:
            self._check_queue(request)
            entry.line = self._class(request.priority).join(request.account, number, now)
            self._waiting += 1
        self.turns[number] = entry
        return number

    def adopt(self, request: Request, now: float, *, number: int, inner: int, holds: bool) -> None:
        """A turn that was let in elsewhere goes on here, whether there is room for it or not.

        Args:
            request: What was asked for.
            now: The time.
            number: A number above all earlier ones.
            inner: How many turns nested in it are open; if any, its slot is lent.
            holds: Whether it holds a slot otherwise; if not, it waits for its slot to return.
        """
        quotas = tuple(quota for _, quota in self.accounts.quotas(request))
        entry = self.turns[number] = LiveTurn(request, self.accounts.expected(request), (self._backend, *quotas), now)
        entry.prompt = self._prompt(request, entry.expected)
        fair = self._class(request.priority)
        self._expect(entry, now)
        entry.line = fair.join(request.account, number, now)
        fair.serve(entry.line, number, tuple(fair.waiting.values()), entry.cost / request.weight, now)
        self._start(entry, number, now)
        if inner or not holds:
            self._give(entry, entry.tokens, now)
            entry.inner, entry.phase = inner, Phase.LENT if inner else Phase.RETURNING
        if entry.phase is Phase.RETURNING:
            self._returning.append(number)

    def finish(self, number: int, now: float, *, usage: Usage | None = None, failed: bool = False) -> None:
        """A turn has ended, or nobody waits for it any more.

        Args:
            number: The turn.
            now: The time.
            usage: What it used, if that is known. Otherwise what was expected, or nothing if it failed.
            failed: Whether the call raised or was cancelled.
        """
        entry = self.turns.pop(number)
        if entry.phase is Phase.WAITING:
            self._waiting -= 1
            self._classes[entry.request.priority].leave(entry.line, number)
            self._tidy(entry.request.priority)
            return
        if entry.phase is Phase.RUNNING:
            self._give(entry, entry.tokens if usage is None else usage.tokens, now)
        elif entry.phase is Phase.RETURNING:
            self._returning.remove(number)
            self._moved.append(number)
        used = usage or (NOTHING if failed else entry.expected)
        cost = entry.cost if used is entry.expected else self.rules.prices.cost(used)
        self._classes[entry.request.priority].correct(entry.line, (cost - entry.cost) / entry.request.weight)
        if used is not entry.expected:
            for meter in entry.meters:
                meter.settle(number, entry.tokens, used.tokens, now)
        self.accounts.charge(entry.request, used, cost, failed=failed)
        if not failed:
            self._pace.succeeded()
        self._tidy(entry.request.priority)
        if self.accounts.have_quotas:
            self.accounts.tidy(self.turns.values(), now)

    def lend(self, number: int, now: float) -> None:
        """A turn is opened inside this one: its slot is free until ``regain``."""
        entry = self.turns[number]
        entry.inner += 1
        if entry.phase is Phase.RUNNING:
            self._give(entry, entry.tokens, now)
        elif entry.phase is Phase.RETURNING:
            self._returning.remove(number)
            self._moved.append(number)
        entry.phase, entry.since = Phase.LENT, now

    def regain(self, number: int, now: float) -> None:
        """A turn inside this one has ended; after the last one it wants its slot back."""
        entry = self.turns[number]
        if not entry.inner:
            return  # said twice
        entry.inner -= 1
        if not entry.inner:
            entry.phase, entry.since = Phase.RETURNING, now
            self._returning.append(number)

    def refused(self, retry_after: float | None, now: float) -> None:
        """The backend said 429."""
        self._pace.refused(retry_after, now)

    def pause(self, until: float) -> None:
        """Let nobody in before that time, so that all who run something can say so."""
        self._pace.wait_for_others(until)

    # --------------------------------------------------------------- decisions

    def pump(self, now: float) -> list[int]:
        """Let in whoever may go; the turns that wait no longer."""
        self.wake_at = math.inf
        if self._bring_back(now) and self._waiting:
            while self._let_in(now) and self._waiting:
                pass
        if self._kept:
            self._kept = set()
        if not self._moved:
            return []
        moved, self._moved = self._moved, []
        return moved

    def why(self, number: int, now: float, at: float | None = None) -> str:
        """What a turn waits for, in words; empty if it does not wait.

        Args:
            number: The turn.
            now: The time.
            at: The time of the last event, where that may be before ``now``: what is older than a minute now is not
                let go of, since the next event may be older still.
        """
        then = now if at is None else min(now, at)
        entry = self.turns[number]
        if entry.phase is not Phase.WAITING:
            return "its slot, after the turns inside it" if entry.phase is Phase.RETURNING else ""
        if entry.line.waiting[0] != number:
            return "an earlier turn of its account"
        if any(quota.fits_at(entry.tokens, then) > then for quota in entry.meters[1:]):
            return "its quota"
        if now < self._pace.until:
            return f"{self._pace.reason}; {self._pace.until - now:.1f} s to go"
        if self._backend.running >= self._pace.slots:
            return "a slot"
        return self._why_not_now(entry, then)

    @property
    def running(self) -> int:
        """Slots in use."""
        return self._backend.running

    @property
    def slots(self) -> int:
        """Slots that may be in use now: fewer than the rules say after a refusal."""
        return self._pace.slots

    # ----------------------------------------------------------------- details

    def _why_not_now(self, entry: LiveTurn, now: float) -> str:
        if self._backend.fits_at(entry.tokens, now) > now:
            return "the backend's limits"
        return "room beside the conversations in use" if self._fits_at(entry, now) > now else "its share"

    def _prompt(self, request: Request, expected: Usage) -> tuple[Mark, ...]:
        return conversation(request.marks, expected.input_tokens) if self._has_cache else request.marks

    def _class(self, priority: int) -> FairClass:
        fair = self._classes.get(priority)
        if fair is None:
            fair = self._classes[priority] = FairClass()
        return fair

    def _bring_back(self, now: float) -> bool:
        """Slots for turns that return; whether anything is left for others. A quota that one waits for is not."""
        if not self._returning:
            return True
        for number in tuple(self._returning):
            entry = self.turns[number]
            full = [id(quota) for quota in entry.meters[1:] if not quota.has_room(entry.tokens)]
            if full:
                self._kept.update(full)
                continue
            if not self._backend.has_room(entry.tokens):
                return False
            self._returning.remove(number)
            self._take(entry, number, now)
        return True

    def _let_in(self, now: float) -> bool:
        if self._backend.running >= self._pace.slots:
            return False
        for fair in self._in_order(now):
            lines = self._eligible(fair, now)
            if not lines:
                continue
            if now < self._pace.until:
                self.wake_at = min(self.wake_at, self._pace.until)
                return False
            for number in self._preferred(lines, now):
                at = self._fits_at(self.turns[number], now)
                if at <= now:
                    self._grant(number, fair, lines, now)
                    return True
                self.wake_at = min(self.wake_at, at)
            return False
        return False

    def _in_order(self, now: float) -> list[FairClass]:
        waiting = [fair for fair in self._classes.values() if fair.waiting]
        if len(waiting) > 1:
            since = {priority: fair.since for priority, fair in self._classes.items() if fair.waiting}
            waiting = [self._classes[priority] for priority in classes_in_order(since, now, self.rules.aging)]
        return waiting

    def _eligible(self, fair: FairClass, now: float) -> list[Line]:
        if not self.accounts.have_quotas:
            return list(fair.waiting.values())
        return fair.eligible(lambda number: self._is_held_back(number, now))

    def _is_held_back(self, number: int, now: float) -> bool:
        """Whether a quota of its own holds a turn back; then others of its class go on."""
        entry = self.turns[number]
        for quota in entry.meters[1:]:
            if id(quota) in self._kept:
                return True
            at = quota.fits_at(entry.tokens, now)
            if at > now:
                self.wake_at = min(self.wake_at, at)
                return True
        return False

    def _fits_at(self, entry: LiveTurn, now: float) -> float:
        """When a turn fits the backend's limits and, if it is new to its cache, beside those in use."""
        at = self._backend.fits_at(entry.tokens, now)
        return max(at, self._warm.room_at(entry.prompt, entry.tokens, now)) if self._is_new(entry, now) else at

    def _is_new(self, entry: LiveTurn, now: float) -> bool:
        return self._has_cache and self._warm.is_new(entry.prompt, entry.expected.input_tokens, now)

    def _preferred(self, lines: list[Line], now: float) -> list[int]:
        """The turns that may go, best first: one of each account within the slack, the warmest, then the least charged.

        If the size of the backend's cache is known, conversations in it go first, the least charged of them.
        """
        edge = min(line.counter for line in lines) + self.rules.affinity_slack
        within = [(line, *self._warmest(line, now)) for line in lines if line.counter <= edge]
        if self._has_cache:
            ranks = [(self._is_new(self.turns[number], now), line.counter, number) for line, number, _ in within]
            return [number for *_, number in sorted(ranks)]
        within.sort(key=lambda each: (-each[2], each[0].counter))
        return [number for _, number, _ in within]

    def _warmest(self, line: Line, now: float) -> tuple[int, int]:
        """The turn of an account that finds most of its prompt cached, and how much; the oldest of equals.

        Accounts lose nothing by that. No turn is passed by more than 16 younger ones of its account.
        """
        best, most = line.waiting[0], self._cached(line.waiting[0], now)
        if len(line.waiting) > 1 and line.passed < MOST_PASSED:
            for number in itertools.islice(line.waiting, 1, MOST_LOOKED_AT):
                warm = self._cached(number, now)
                if warm > most and not self._is_held_back(number, now):
                    best, most = number, warm
        return best, most

    def _cached(self, number: int, now: float) -> int:
        prompt = self.turns[number].prompt
        return self._warm.cached(prompt, now) if prompt else 0

    def _is_open_to(self, entry: LiveTurn, now: float) -> bool:
        """Whether a turn need not wait: nobody does, and it fits."""
        if self._waiting or self._returning or self._backend.running >= self._pace.slots or now < self._pace.until:
            return False
        for meter in entry.meters:  # a third of the time of all(...), in every turn
            if meter.fits_at(entry.tokens, now) > now:
                return False
        return not self._has_cache or self._fits_at(entry, now) <= now

    def _check_queue(self, request: Request) -> None:
        lines = (fair.waiting.get(request.account) for fair in self._classes.values())
        if sum(len(line.waiting) for line in lines if line is not None) >= self.rules.max_waiting:
            raise QueueFull(
                f"agent {request.account[1]!r} has as many turns waiting as it may "
                f"(max_waiting={self.rules.max_waiting}); ask for fewer at a time, or wait for some to end"
            )

    def _grant(self, number: int, fair: FairClass, among: list[Line], now: float) -> None:
        entry = self.turns[number]
        self._expect(entry, now)
        fair.serve(entry.line, number, among, entry.cost / entry.request.weight, now)
        self._waiting -= 1
        self._start(entry, number, now)

    def _expect(self, entry: LiveTurn, now: float) -> None:
        """What it will cost, now that it is known what is warm."""
        prompt, expected = entry.request.marks, entry.expected
        if prompt:
            cached = min(self._warm.cached(prompt, now), expected.input_tokens)
            entry.expected = expected = Usage(
                input_tokens=expected.input_tokens, output_tokens=expected.output_tokens, cached_tokens=cached
            )
        entry.cost = self.rules.prices.cost(expected)

    def _start(self, entry: LiveTurn, number: int, now: float) -> None:
        self._take(entry, number, now)
        for meter in entry.meters:
            meter.count(number, entry.tokens, now)

    def _take(self, entry: LiveTurn, number: int, now: float) -> None:
        entry.phase, entry.since = Phase.RUNNING, now
        self._moved.append(number)
        for meter in entry.meters:
            meter.take(entry.tokens)
        if entry.prompt or self._has_cache:
            self._warm.begin(entry.prompt, entry.tokens, now)

    def _give(self, entry: LiveTurn, used: int, now: float) -> None:
        for meter in entry.meters:
            meter.give(entry.tokens)
        if self._has_cache:
            self._warm.end(entry.prompt, entry.tokens, used, now)

    def _tidy(self, priority: int) -> None:
        if priority and self._classes[priority].is_idle:
            del self._classes[priority]
