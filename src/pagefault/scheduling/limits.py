"""What a backend, a tenant or an agent may use: slots, requests and tokens, as one vector of limits."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from pagefault.errors import QuotaExceeded
from pagefault.scheduling.numbers import whole

MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may run at a time and within any 60 seconds; ``None`` is no limit.

    Attributes:
        slots: Model calls at a time.
        requests_per_minute: Turns granted within any 60 seconds.
        tokens_per_minute: Input and output tokens within any 60 seconds.
        kv_tokens: Input and output tokens of the calls that run at a time: what the backend's
            KV cache holds. The backend's own limit also switches load control on; a quota's does not.

    Raises:
        BadTurn: A limit is not a whole number above 0.

    Example:
        >>> Limits(slots=2, tokens_per_minute=30_000).slots
        2
    """

    slots: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    kv_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("slots", "requests_per_minute", "tokens_per_minute", "kv_tokens"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), least=1)

    @property
    def largest(self) -> float:
        """The tokens of the largest call that could ever fit."""
        return min(math.inf if each is None else each for each in (self.tokens_per_minute, self.kv_tokens))


class Window:
    """What was used within the last 60 seconds, exactly: no 60 seconds ever hold more than the limit."""

    __slots__ = ("_entries", "_total", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._total = 0
        self._entries: OrderedDict[int, tuple[float, int]] = OrderedDict()

    def fits_at(self, amount: int, now: float) -> float:
        """The earliest time at which ``amount`` more fits: ``now``, or when enough is a minute old."""
        self._forget(now)
        at, excess = now, self._total + amount - self.limit
        for time, used in self._entries.values():
            if excess <= 0:
                break
            at, excess = time + MINUTE, excess - used
        return at

    def is_empty(self, now: float) -> bool:
        """Whether nothing was used within the last minute."""
        self._forget(now)
        return not self._entries

    def add(self, key: int, amount: int, now: float) -> None:
        """Count ``amount`` as used now."""
        self._entries[key] = (now, amount)
        self._total += amount

    def correct(self, key: int, before: int, after: int, now: float) -> None:
        """``before`` was counted under ``key`` and ``after`` it was: less is given back, more counts from now."""
        entry = self._entries.get(key)
        if after > before:
            self.add(~key, after - before, now)
        elif entry is not None:
            self._entries[key] = (entry[0], after)
            self._total += after - before

    def _forget(self, now: float) -> None:
        while self._entries:
            key = next(iter(self._entries))
            time, amount = self._entries[key]
            if time + MINUTE > now:
                return
            del self._entries[key]
            self._total -= amount


class Meter:
    """One vector of limits and what is used of it."""

    __slots__ = ("_kv_tokens", "_largest", "_requests", "_slots", "_tokens", "in_flight", "limits", "running")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.running = 0
        self.in_flight = 0
        self._slots = math.inf if limits.slots is None else limits.slots
        self._kv_tokens = math.inf if limits.kv_tokens is None else limits.kv_tokens
        self._largest = limits.largest
        self._requests = None if limits.requests_per_minute is None else Window(limits.requests_per_minute)
        self._tokens = None if limits.tokens_per_minute is None else Window(limits.tokens_per_minute)

    def check(self, whose: str, tokens: int) -> None:
        """Refuse what could never fit.

        Raises:
            QuotaExceeded: One call of ``tokens`` is more than the limit by itself.
        """
        if tokens > self._largest:
            raise QuotaExceeded(
                f"a turn of up to {tokens} tokens can never fit {whose}'s limit of {self._largest} "
                "(tokens_per_minute or kv_tokens); send less, lower max_output_tokens or raise the limit"
            )

    def has_room(self, tokens: int) -> bool:
        """Whether a call of ``tokens`` may run beside those that run, whatever the minute holds."""
        return self.running < self._slots and self.in_flight + tokens <= self._kv_tokens

    def fits_at(self, tokens: int, now: float) -> float:
        """When a call of ``tokens`` may begin: ``now``, a later time, or infinity for when another one ends."""
        if not self.has_room(tokens):
            return math.inf
        at = now
        if self._requests is not None:
            at = max(at, self._requests.fits_at(1, now))
        if self._tokens is not None:
            at = max(at, self._tokens.fits_at(tokens, now))
        return at

    def is_like_new(self, now: float) -> bool:
        """Whether nothing runs, and nothing did within the last minute."""
        minutes = (self._requests, self._tokens)
        return not self.running and all(window is None or window.is_empty(now) for window in minutes)

    def count(self, key: int, tokens: int, now: float) -> None:
        """A call begins: it is counted in its minute."""
        if self._requests is not None:
            self._requests.add(key, 1, now)
        if self._tokens is not None:
            self._tokens.add(key, tokens, now)

    def take(self, tokens: int) -> None:
        """A slot and room in the KV cache."""
        self.running += 1
        self.in_flight += tokens

    def give(self, tokens: int) -> None:
        """Slot and room back."""
        self.running -= 1
        self.in_flight -= tokens

    def settle(self, key: int, before: int, after: int, now: float) -> None:
        """A call was let in with ``before`` tokens and used ``after``."""
        if self._tokens is not None and before != after:
            self._tokens.correct(key, before, after, now)
