"""A simulated inference server: slots, a prompt cache, and the time that calls take."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Self

from benchmarks.scheduling.workload import Call, Scenario

CACHE_TOKENS = 40_000
PREFILL, TOGETHER = 2_500.0, 5_000.0
DECODE = 60.0
BLOCK = 64
Key = tuple[str, int]


class Backend:
    """Tokens that are not in its cache are computed at 2,500 a second, answers written at 60 a second in each slot.

    Where a scenario says so, prompts are computed one after the other instead, at 5,000 a second.
    The cache holds 40,000 tokens in blocks of 64; what was unused for longest goes first, a
    conversation from its end.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.slots = scenario.slots
        self.capacity: float = CACHE_TOKENS
        self._in_turn = scenario.in_turn
        self._free_at = 0.0
        self._cache: OrderedDict[Key, int] = OrderedDict()
        self._used = 0

    def endless(self) -> Self:
        """The same with a cache that forgets nothing: what a scheduler as fair as that can reach at most."""
        self.capacity = math.inf
        return self

    def cached(self, call: Call) -> int:
        """How many tokens of this prompt are cached now."""
        system = self._cache.get((call.agent, -1), 0)
        own = self._cache.get((call.agent, call.session), 0)
        if system < call.system // BLOCK * BLOCK:
            return min(system, call.input_tokens)
        return min(system + own, call.input_tokens // BLOCK * BLOCK)

    def seconds(self, call: Call, now: float) -> tuple[float, int]:
        """Run a call: how long it takes, and how much was cached."""
        hit = self.cached(call)
        self._keep((call.agent, call.session), call.input_tokens + call.output - call.system)
        self._keep((call.agent, -1), call.system)
        self._evict()
        whole = self._prefill(call.input_tokens - hit, now) + call.output / DECODE
        return (whole / 2 if call.fails else whole), hit

    def _prefill(self, tokens: int, now: float) -> float:
        if not self._in_turn:
            return tokens / PREFILL
        self._free_at = max(self._free_at, now) + tokens / TOGETHER
        return self._free_at - now

    def _keep(self, key: Key, tokens: int) -> None:
        self._used -= self._cache.pop(key, 0)
        self._cache[key] = tokens // BLOCK * BLOCK
        self._used += self._cache[key]

    def _evict(self) -> None:
        while self._used > self.capacity:
            oldest = next(iter(self._cache))
            self._cache[oldest] -= BLOCK
            self._used -= BLOCK
            if self._cache[oldest] <= 0:
                del self._cache[oldest]
