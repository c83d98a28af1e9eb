"""Runs one workload under one policy and a virtual clock, and measures what came of it."""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass

from benchmarks.scheduling.backend import Backend
from benchmarks.scheduling.policies import POLICIES, cost
from benchmarks.scheduling.workload import SCENARIOS, Call, workload

HORIZON = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run.

    Attributes:
        throughput: Tokens of input and output a second, calls that failed not counted.
        hit: Share of the input that was cached.
        gap: The furthest that the costs of two agents drifted apart while both waited.
        dearest: The largest cost of one call.
        jain: Jain's index of the agents' costs; 1 is an equal share.
        wait: The 95th percentile of waiting, in seconds.
        worst_wait: The same for the agent that fares worst.
        idle: Seconds that a slot stood empty beside a waiting call.
    """

    throughput: float
    hit: float
    gap: float
    dearest: float
    jain: float
    wait: float
    worst_wait: float
    idle: float


class Books:
    """What happened, agent by agent."""

    def __init__(self) -> None:
        self.work: defaultdict[str, float] = defaultdict(float)
        self.waits: defaultdict[str, list[float]] = defaultdict(list)
        self.tokens = self.inputs = self.hits = 0
        self.gap = self.idle = self.dearest = 0.0
        self._apart: dict[tuple[str, str], tuple[float, float]] = {}

    def drift(self, waiting: set[str]) -> None:
        """How far each pair that waits has drifted since both began to."""
        apart: dict[tuple[str, str], tuple[float, float]] = {}
        for pair in itertools.combinations(sorted(waiting), 2):
            now = self.work[pair[0]] - self.work[pair[1]]
            low, high = self._apart.get(pair, (now, now))
            apart[pair] = min(low, now), max(high, now)
            self.gap = max(self.gap, apart[pair][1] - apart[pair][0])
        self._apart = apart

    def start(self, call: Call, hit: int, waited: float) -> None:
        """A call is let in."""
        self.waits[call.agent].append(waited)
        self.dearest = max(self.dearest, cost(call, hit, call.max_output))
        if not call.fails:
            self.work[call.agent] += cost(call, hit, call.output)
            self.tokens += call.input_tokens + call.output
            self.inputs += call.input_tokens
            self.hits += hit

    def result(self) -> Result:
        shares = list(self.work.values())
        waits = [wait for each in self.waits.values() for wait in each]
        return Result(
            throughput=self.tokens / HORIZON,
            hit=self.hits / self.inputs,
            gap=self.gap,
            dearest=self.dearest,
            jain=sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares)),
            wait=p95(waits),
            worst_wait=max(p95(each) for each in self.waits.values()),
            idle=self.idle,
        )


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


class Run:
    """One workload under one policy, event by event."""

    def __init__(self, policy_name: str, scenario: str, seed: int) -> None:
        self.backend, self.books = Backend(SCENARIOS[scenario]), Books()
        self.policy = POLICIES[policy_name](self.backend)
        self.running = 0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Call | None, int]] = []
        self._asked: dict[int, float] = {}
        self._first: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        for call in workload(scenario, seed):
            self._at(call.at, call)

    def play(self) -> Result:
        """Until the horizon."""
        before = 0.0
        while self._events and self._events[0][0] <= HORIZON:
            now, _, call, cached = heapq.heappop(self._events)
            if self.running < self.backend.slots and self._waiting.total():
                self.books.idle += now - before
            before = now
            if call is not None:
                self._hear(call, cached, now)
            while granted := self.policy.lets_in(now):
                for each in granted:
                    self._start(each, now)
                    self._drift()
            self._drift()
            if self.policy.wake_at < math.inf:
                self._at(self.policy.wake_at, None)
        for agent, count in self._waiting.items():
            if count and not self.books.waits[agent]:  # never served: it has waited ever since
                self.books.waits[agent].append(HORIZON - self._first[agent])
        return self.books.result()

    def _at(self, time: float, call: Call | None, cached: int = -1) -> None:
        heapq.heappush(self._events, (time, next(self._order), call, cached))

    def _drift(self) -> None:
        self.books.drift({agent for agent, count in self._waiting.items() if count})

    def _hear(self, call: Call, cached: int, now: float) -> None:
        """A call is asked for, or has ended."""
        if cached < 0:
            self._asked[id(call)] = now
            self._first.setdefault(call.agent, now)
            self._waiting[call.agent] += 1
            self.policy.comes(call, now)
        else:
            self.running -= 1
            self.policy.ends(call, cached, now)
            for follower in call.after:
                self._at(now + follower.at, follower)

    def _start(self, call: Call, now: float) -> None:
        self.running += 1
        self._waiting[call.agent] -= 1
        seconds, hit = self.backend.seconds(call, now)
        self._at(now + seconds, call, hit)
        self.books.start(call, hit, now - self._asked[id(call)])


def simulate(policy_name: str, scenario: str, seed: int) -> Result:
    """One run of 400 virtual seconds. Equal arguments give equal results."""
    return Run(policy_name, scenario, seed).play()
