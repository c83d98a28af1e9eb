"""Which prompts would find their beginning in the backend's prompt cache: a model of that cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pagefault.errors import BadTurn
from pagefault.scheduling.numbers import whole

WARM_SECONDS: Final = 300.0
MOST_PREFIXES: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A prompt's first ``tokens`` tokens have this digest."""

    digest: str | bytes
    tokens: int


Prefix = str | bytes | Sequence[tuple[str | bytes, int]] | None
"""How a prompt begins: a digest that stands for the conversation, or pairs of digest and tokens, shortest first."""


def marks(prefix: Prefix, input_tokens: int) -> tuple[Mark, ...]:
    """A prefix as its user gives it.

    Raises:
        BadTurn: Neither a digest nor pairs of digest and tokens.
    """
    if prefix is None:
        return ()
    if isinstance(prefix, str | bytes):
        return (Mark(digest=prefix, tokens=input_tokens),)
    found: list[Mark] = []
    try:
        pairs: list[tuple[object, object]] = [(digest, tokens) for digest, tokens in prefix]
    except (TypeError, ValueError) as error:
        raise BadTurn(f"prefix is a digest, or pairs of digest and tokens; got {prefix!r:.60}") from error
    for digest, tokens in pairs:
        if not isinstance(digest, str | bytes):
            raise BadTurn(f"a prefix's digest is text or bytes, got {digest!r:.60}")
        found.append(Mark(digest=digest, tokens=whole("prefix tokens", tokens)))
    return tuple(found)


class WarmPrefixes:
    """Prefixes sent lately, forgotten as a prompt cache forgets: the longest unused first, all after five minutes.

    A guess about the backend: it orders turns and estimates costs. What was really cached is
    reported at completion and corrects the charge.

    Attributes:
        capacity: Tokens the backend's cache holds; ``None`` if nobody knows.
    """

    __slots__ = ("_seen", "_tokens", "capacity")

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self._tokens = 0
        self._seen: OrderedDict[str | bytes, _Seen] = OrderedDict()

    def cached(self, prompt: Sequence[Mark], now: float) -> int:
        """How many tokens of this prompt are probably cached."""
        longest = 0
        for mark in prompt:
            known = self._seen.get(mark.digest)
            if known is not None and now - known.at < WARM_SECONDS:
                longest = max(longest, min(known.tokens, mark.tokens))
        return longest

    def touch(self, prompt: Sequence[Mark], now: float) -> None:
        """This prompt is sent now. What begins many prompts is forgotten last."""
        shorter = [0, *(mark.tokens for mark in prompt)]
        for mark, before in zip(reversed(prompt), reversed(shorter[:-1]), strict=True):
            self._drop(mark.digest)
            own = max(0, mark.tokens - before)
            self._seen[mark.digest] = _Seen(mark.tokens, own, now)
            self._tokens += own
        while len(self._seen) > MOST_PREFIXES or (self.capacity is not None and self._tokens > self.capacity):
            self._drop(next(iter(self._seen)))

    def _drop(self, digest: str | bytes) -> None:
        known = self._seen.pop(digest, None)
        if known is not None:
            self._tokens -= known.own


class _Seen(NamedTuple):
    tokens: int
    own: int
    at: float
