"""Runs one workload under one policy and a virtual clock, and measures what came of it."""

from __future__ import annotations

import heapq
import itertools
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass

from benchmarks.scheduling.backend import SLOTS, Backend
from benchmarks.scheduling.policies import POLICIES, cost
from benchmarks.scheduling.workload import Call, workload

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


def simulate(policy_name: str, scenario: str, seed: int) -> Result:
    """One run of 400 virtual seconds. Equal arguments give equal results."""
    backend, books, order = Backend(), Books(), itertools.count()
    policy = POLICIES[policy_name](backend)
    events: list[tuple[float, int, Call, int]] = []
    asked: dict[int, float] = {}
    first: dict[str, float] = {}
    waiting: Counter[str] = Counter()
    running = 0
    for call in workload(scenario, seed):
        heapq.heappush(events, (call.at, next(order), call, -1))
    before = 0.0
    while events and events[0][0] <= HORIZON:
        now, _, call, cached = heapq.heappop(events)
        if running < SLOTS and waiting.total():
            books.idle += now - before
        before = now
        if cached < 0:
            asked[id(call)] = now
            first.setdefault(call.agent, now)
            waiting[call.agent] += 1
            policy.comes(call, now)
        else:
            running -= 1
            policy.ends(call, cached, now)
            for follower in call.after:
                heapq.heappush(events, (now + follower.at, next(order), follower, -1))
        while granted := policy.lets_in(now):
            for each in granted:
                running += 1
                waiting[each.agent] -= 1
                seconds, hit = backend.seconds(each)
                heapq.heappush(events, (now + seconds, next(order), each, hit))
                books.waits[each.agent].append(now - asked[id(each)])
                books.dearest = max(books.dearest, cost(each, hit, each.max_output))
                if not each.fails:
                    books.work[each.agent] += cost(each, hit, each.output)
                    books.tokens += each.input_tokens + each.output
                    books.inputs += each.input_tokens
                    books.hits += hit
                books.drift({agent for agent, count in waiting.items() if count})
        books.drift({agent for agent, count in waiting.items() if count})
    for agent, count in waiting.items():
        if count and not books.waits[agent]:  # never served: it has waited ever since
            books.waits[agent].append(HORIZON - first[agent])
    return books.result()
