"""Which prompts would find their beginning in the backend's prompt cache: a model of that cache."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pagefault.errors import BadTurn
from pagefault.scheduling.numbers import whole

WARM_SECONDS: Final = 300.0
IN_USE_SECONDS: Final = 2.0
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


def conversation(prompt: Sequence[Mark], input_tokens: int) -> tuple[Mark, ...]:
    """A prompt whose last mark stands for all of it; nothing of one without marks."""
    if not prompt or prompt[-1].tokens >= input_tokens:
        return tuple(prompt)
    return (*prompt[:-1], Mark(digest=prompt[-1].digest, tokens=input_tokens))


class WarmPrefixes:
    """The backend's prompt cache as it probably is: the longest unused is forgotten first, all after five minutes.

    A guess: it orders turns and estimates costs. What was really cached is reported at completion
    and corrects the charge. Where the capacity is known it also says who fits: a prompt that would
    push out conversations *in use*, that run or did in the last two seconds, has to wait.

    Attributes:
        capacity: Tokens the backend's cache holds; ``None`` if nobody knows.
    """

    __slots__ = ("_others", "_seen", "_tokens", "capacity")

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self._tokens = 0
        self._others = 0
        self._seen: OrderedDict[str | bytes, _Seen] = OrderedDict()

    def cached(self, prompt: Sequence[Mark], now: float) -> int:
        """How many tokens of this prompt are probably cached."""
        longest = 0
        for mark in prompt:
            known = self._seen.get(mark.digest)
            if known is not None and now - known.at < WARM_SECONDS:
                longest = max(longest, min(known.tokens, mark.tokens))
        return longest

    def begin(self, prompt: Sequence[Mark], tokens: int, now: float) -> None:
        """A call sends this prompt; with its answer it needs ``tokens``. What begins many prompts is forgotten last."""
        if not prompt:
            self._others += tokens
        self._note(prompt, tokens, now, calls=0 if self.capacity is None else 1)

    def end(self, prompt: Sequence[Mark], tokens: int, used: int, now: float) -> None:
        """That call has ended or lent its slot; with its answer it took ``used`` instead of ``tokens``."""
        if not prompt:
            self._others -= tokens
        self._note(prompt, used, now, calls=-1)

    def is_new(self, prompt: Sequence[Mark], tokens: int, now: float) -> bool:
        """Whether most of a prompt of so many tokens is not cached."""
        return 2 * self.cached(prompt, now) < tokens

    def room_at(self, prompt: Sequence[Mark], tokens: int, now: float) -> float:
        """When it fits beside the conversations in use: ``now``, a later time, or infinity for when a call ends."""
        own = {mark.digest for mark in prompt}
        known = sum(self._seen[digest].own for digest in own if digest in self._seen)
        at, lacks = now, self._tokens + self._others - known + tokens - self._most
        for digest, seen in self._seen.items():
            if lacks <= 0:
                break
            if not seen.busy and digest not in own:
                at, lacks = max(at, seen.at + IN_USE_SECONDS), lacks - seen.own
        return at if lacks <= 0 else math.inf

    def remember(self, others: int, seen: Sequence[tuple[str | bytes, int, int, float, int]]) -> None:
        """As it was elsewhere: tokens of calls without marks; of each prefix, longest unused first, what is known."""
        self._others = others
        for digest, tokens, own, at, busy in seen:
            self._seen[digest] = _Seen(tokens, own, at, busy)
            self._tokens += own

    @property
    def _most(self) -> float:
        return math.inf if self.capacity is None else self.capacity

    def _note(self, prompt: Sequence[Mark], tokens: int, now: float, *, calls: int) -> None:
        ends = [0, *itertools.accumulate((mark.tokens for mark in prompt), max)]
        sizes = [end - start for start, end in itertools.pairwise(ends)]
        for mark, size in zip(reversed(prompt), reversed(sizes), strict=True):
            known = self._drop(mark.digest)
            answer = max(0, tokens - ends[-1]) if mark is prompt[-1] else 0
            busy = calls if known is None else known.busy + calls
            self._seen[mark.digest] = _Seen(mark.tokens, size + answer, now, busy)
            self._tokens += size + answer
        if self._is_full():
            for digest in [digest for digest, seen in self._seen.items() if not seen.busy]:
                if not self._is_full():
                    break
                self._drop(digest)

    def _is_full(self) -> bool:
        return self._tokens + self._others > self._most or len(self._seen) > MOST_PREFIXES

    def _drop(self, digest: str | bytes) -> _Seen | None:
        known = self._seen.pop(digest, None)
        if known is not None:
            self._tokens -= known.own
        return known


class _Seen(NamedTuple):
    """A prefix: its tokens, those that no shorter one of its prompt has, its last use, and the calls that use it."""

    tokens: int
    own: int
    at: float
    busy: int
