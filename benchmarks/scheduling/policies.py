"""Ours and the policies to compare with. Each hears who comes and goes and says who may go."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

from benchmarks.scheduling.backend import CACHE_TOKENS, Backend
from benchmarks.scheduling.workload import Call
from pagefault.scheduling import Dispatcher, Limits, Mark, Prices, Request, Rules, Usage

PRICES = Prices()


def cost(call: Call, cached: int, output: int) -> float:
    """What a call is charged."""
    return PRICES.cost(Usage(input_tokens=call.input_tokens, cached_tokens=cached, output_tokens=output))


class Policy(Protocol):
    @property
    def wake_at(self) -> float: ...

    def comes(self, call: Call, now: float) -> None: ...

    def ends(self, call: Call, cached: int, now: float) -> None: ...

    def lets_in(self, now: float) -> list[Call]: ...


class Ours:
    """The shipped dispatcher. It guesses what is cached; the backend tells it afterwards."""

    def __init__(self, backend: Backend, slack: float, kv_tokens: int | None = None) -> None:
        self._dispatcher = Dispatcher(
            Rules(limits=Limits(slots=backend.slots, kv_tokens=kv_tokens), affinity_slack=slack)
        )
        self._numbers: dict[int, int] = {}
        self._calls: dict[int, Call] = {}

    @property
    def wake_at(self) -> float:
        return self._dispatcher.wake_at

    def comes(self, call: Call, now: float) -> None:
        request = Request(
            account=("", call.agent),
            agent=call.agent,
            priority=call.priority,
            input_tokens=call.input_tokens,
            max_output_tokens=call.max_output,
            marks=(
                Mark(digest=call.agent, tokens=call.system),
                Mark(digest=f"{call.agent} {call.session}", tokens=call.input_tokens),
            ),
        )
        number = self._dispatcher.submit(request, now)
        self._numbers[id(call)] = number
        self._calls[number] = call

    def ends(self, call: Call, cached: int, now: float) -> None:
        usage = Usage(input_tokens=call.input_tokens, cached_tokens=cached, output_tokens=call.output)
        number = self._numbers.pop(id(call))
        self._dispatcher.finish(number, now, usage=None if call.fails else usage, failed=call.fails)

    def lets_in(self, now: float) -> list[Call]:
        return [self._calls.pop(number) for number in self._dispatcher.pump(now)]


class Ordered:
    """Takes the waiting call with the least key. The keys may look into the backend's cache, as a server can."""

    wake_at = math.inf

    def __init__(self, key: Callable[[Ordered, Call], tuple[float, ...]], backend: Backend) -> None:
        self.backend = backend
        self.arrived: dict[int, int] = {}
        self.served: defaultdict[str, int] = defaultdict(int)
        self.waiting: list[Call] = []
        self._key = key
        self._running = 0
        self._count = 0

    def comes(self, call: Call, now: float) -> None:  # noqa: ARG002  # these policies need no clock
        self._count += 1
        self.arrived[id(call)] = self._count
        self.waiting.append(call)

    def ends(self, call: Call, cached: int, now: float) -> None:  # noqa: ARG002  # most do not look back
        self._running -= 1

    def lets_in(self, now: float) -> list[Call]:  # noqa: ARG002  # these policies need no clock
        if not self.waiting or self._running >= self.backend.slots:
            return []
        call = min(self.candidates(), key=lambda each: self._key(self, each))
        self.waiting.remove(call)
        self._running += 1
        self._count += 1
        self.served[call.agent] = self._count
        self.starts(call)
        return [call]  # one at a time: each start changes the cache

    def candidates(self) -> list[Call]:
        return self.waiting

    def starts(self, call: Call) -> None:
        """Nothing to note."""


def by_arrival(policy: Ordered, call: Call) -> tuple[float, ...]:
    return (policy.arrived[id(call)],)


def by_turns(policy: Ordered, call: Call) -> tuple[float, ...]:
    return (policy.served[call.agent], policy.arrived[id(call)])


def by_rank(policy: Ordered, call: Call) -> tuple[float, ...]:
    return (int(call.agent.split()[-1]), policy.arrived[id(call)])


def by_prefix(policy: Ordered, call: Call) -> tuple[float, ...]:
    return (-policy.backend.cached(call), policy.arrived[id(call)])


class DeficitPrefix(Ordered):
    """DLPM (arXiv 2501.14312): longest prefix first among those who have something left of their quantum."""

    def __init__(self, quantum: float, backend: Backend) -> None:
        super().__init__(by_prefix, backend)
        self._quantum = quantum
        self._left: defaultdict[str, float] = defaultdict(float)

    def candidates(self) -> list[Call]:
        while not (able := [call for call in self.waiting if self._left[call.agent] > 0]):
            for agent in {call.agent for call in self.waiting}:
                self._left[agent] += self._quantum
        return able

    def starts(self, call: Call) -> None:
        self._left[call.agent] -= cost(call, self.backend.cached(call), 0)

    def ends(self, call: Call, cached: int, now: float) -> None:
        super().ends(call, cached, now)
        self._left[call.agent] -= 0.0 if call.fails else PRICES.output * call.output


ENDLESS = "(slack 4,000, endless cache)"
POLICIES: dict[str, Callable[[Backend], Policy]] = {
    "first come, first served": lambda backend: Ordered(by_arrival, backend),
    "round robin": lambda backend: Ordered(by_turns, backend),
    "strict priority": lambda backend: Ordered(by_rank, backend),
    "longest prefix first": lambda backend: Ordered(by_prefix, backend),
    "DLPM, quantum 4,000": lambda backend: DeficitPrefix(4_000, backend),
    "DLPM, quantum 16,000": lambda backend: DeficitPrefix(16_000, backend),
    "ours, slack 0": lambda backend: Ours(backend, 0, CACHE_TOKENS),
    "ours, slack 1,000": lambda backend: Ours(backend, 1_000, CACHE_TOKENS),
    "ours, slack 4,000": lambda backend: Ours(backend, 4_000, CACHE_TOKENS),
    "ours, slack 16,000": lambda backend: Ours(backend, 16_000, CACHE_TOKENS),
    "ours, slack 64,000": lambda backend: Ours(backend, 64_000, CACHE_TOKENS),
    "ours, slack 4,000, cache size unknown": lambda backend: Ours(backend, 4_000),
    ENDLESS: lambda backend: Ours(backend.endless(), 4_000),
}
LOAD_CONTROL = tuple(name for name in POLICIES if name.startswith("ours") and "unknown" not in name)
"""Those that may leave a slot empty."""
