"""Runs a workload through the dispatcher under a virtual clock, and keeps its own books beside it."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from dataclasses import dataclass

from hypothesis import strategies as st

from pagefault.scheduling import Dispatcher, Limits, Mark, Phase, Request, Rules, Usage
from tests.properties import LARGER

TENANT = "acme"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One model call of a workload: when it is asked for, what it says it costs and what it does cost."""

    agent: str
    at: float = 0.0
    priority: int = 0
    input_tokens: int = 100
    max_output: int = 50
    output: int = 50
    seconds: float = 1.0
    prefix: int | None = None
    fails: bool = False
    patience: float = math.inf


@dataclass(slots=True, kw_only=True)
class Served:
    """A call with its history."""

    call: Call
    asked: float
    granted: float = math.nan
    ended: float = math.nan
    order: int = 0
    expected: float = 0.0
    actual: float = 0.0


class Driver:
    """The events of one workload, in order of time. Watchers look after each."""

    def __init__(self, *, rules, weights=None, watchers=()):
        self.rules = rules
        self.weights = weights or {}
        self.watchers = watchers
        self.now = 0.0
        self.turns: dict[int, Served] = {}
        self.gave_up = 0
        self.dispatcher = Dispatcher(rules)
        self._events: list = []
        self._alarm = math.inf
        self._order = itertools.count()

    def run(self, calls):
        for call in calls:
            self._at(call.at, self._ask, call)
        while self._events:
            self.now, _, do, what = heapq.heappop(self._events)
            if self._alarm <= self.now:
                self._alarm = math.inf
            do(what)
            self._pump()
        return self

    def weight(self, agent):
        return self.weights.get(agent, 1.0)

    @property
    def running(self):
        return [n for n, entry in self.dispatcher.turns.items() if entry.phase is Phase.RUNNING]

    @property
    def waiting(self):
        return [n for n, entry in self.dispatcher.turns.items() if entry.phase is Phase.WAITING]

    def _at(self, time, do, what):
        heapq.heappush(self._events, (time, next(self._order), do, what))

    def _ask(self, call):
        marks = () if call.prefix is None else (Mark(digest=f"p{call.prefix}", tokens=call.input_tokens),)
        request = Request(
            account=(TENANT, call.agent),
            agent=call.agent,
            priority=call.priority,
            weight=self.weight(call.agent),
            input_tokens=call.input_tokens,
            max_output_tokens=call.max_output,
            marks=marks,
        )
        number = self.dispatcher.submit(request, self.now)
        self.turns[number] = Served(call=call, asked=self.now)
        if call.patience < math.inf:
            self._at(self.now + call.patience, self._give_up, number)

    def _give_up(self, number):
        entry = self.dispatcher.turns.get(number)
        if entry is not None and entry.phase is Phase.WAITING:
            self.dispatcher.finish(number, self.now, failed=True)
            del self.turns[number]
            self.gave_up += 1

    def _end(self, number):
        call = self.turns[number].call
        entry = self.dispatcher.turns[number]
        used = Usage(
            input_tokens=call.input_tokens, output_tokens=call.output, cached_tokens=entry.expected.cached_tokens
        )
        self.turns[number].ended = self.now
        if call.fails:
            self.dispatcher.finish(number, self.now, failed=True)
        else:
            self.dispatcher.finish(number, self.now, usage=used)

    def _pump(self):
        for number in self.dispatcher.pump(self.now):
            entry, turn = self.dispatcher.turns[number], self.turns[number]
            used = Usage(
                input_tokens=turn.call.input_tokens,
                output_tokens=turn.call.output,
                cached_tokens=entry.expected.cached_tokens,
            )
            turn.granted, turn.order = self.now, next(self._order)
            turn.expected = entry.cost
            turn.actual = 0.0 if turn.call.fails else self.rules.prices.cost(used)
            self._at(self.now + turn.call.seconds, self._end, number)
        if self.now < self.dispatcher.wake_at < min(self._alarm, math.inf):
            self._alarm = self.dispatcher.wake_at
            self._at(self.dispatcher.wake_at, lambda _: None, None)
        for watch in self.watchers:
            watch(self)


class Gaps:
    """For each pair of accounts waiting at the same time: how far their shares drifted apart meanwhile."""

    def __init__(self):
        self.gap = defaultdict(float)
        self._pairs: dict = {}

    def __call__(self, driver):
        waiting = sorted({driver.turns[n].call.agent for n in driver.waiting})
        served: defaultdict[str, float] = defaultdict(float)
        for turn in driver.turns.values():
            if not math.isnan(turn.granted):
                served[turn.call.agent] += turn.actual / driver.weight(turn.call.agent)
        pairs = {}
        for pair in itertools.combinations(waiting, 2):
            apart = served[pair[0]] - served[pair[1]]
            low, high = self._pairs.get(pair, (apart, apart))
            pairs[pair] = min(low, apart), max(high, apart)
            self.gap[pair] = max(self.gap[pair], pairs[pair][1] - pairs[pair][0])
        self._pairs = pairs


class Errors:
    """For each account: the largest estimate error that was outstanding, per weight."""

    def __init__(self):
        self.largest = defaultdict(float)

    def __call__(self, driver):
        now: defaultdict[str, float] = defaultdict(float)
        for number in driver.running:
            turn = driver.turns[number]
            now[turn.call.agent] += abs(turn.actual - turn.expected) / driver.weight(turn.call.agent)
        for agent, error in now.items():
            self.largest[agent] = max(self.largest[agent], error)


def dearest(driver):
    """The largest cost of one call per weight, as estimated or as it was."""
    return max(
        (max(t.actual, t.expected) / driver.weight(t.call.agent) for t in driver.turns.values()),
        default=0.0,
    )


AGENTS = tuple("abcde")
times = st.floats(0, 30).map(lambda t: round(t, 2))


@st.composite
def calls(draw, *, most=30 * LARGER, priorities=(0,), patience=False):
    agent = st.sampled_from(AGENTS[: draw(st.integers(1, 5))])
    one = st.builds(
        Call,
        agent=agent,
        at=st.one_of(st.just(0.0), times),
        priority=st.sampled_from(priorities),
        input_tokens=st.integers(0, 1_000),
        max_output=st.integers(0, 300),
        output=st.integers(0, 300),
        seconds=st.floats(0.01, 5),
        prefix=st.one_of(st.none(), st.integers(0, 3)),
        fails=st.booleans(),
        patience=st.one_of(st.just(math.inf), st.floats(0, 5)) if patience else st.just(math.inf),
    )
    return draw(st.lists(one, max_size=most))


weights = st.dictionaries(st.sampled_from(AGENTS), st.sampled_from((0.5, 1.0, 2.0, 5.0)))


@st.composite
def rules(draw, **limits):
    return Rules(
        limits=Limits(slots=draw(st.integers(1, 4)), **limits),
        affinity_slack=draw(st.sampled_from((0.0, 100.0, 1_000.0, 4_000.0))),
        aging=draw(st.sampled_from((0.5, 5.0, 30.0))),
    )
