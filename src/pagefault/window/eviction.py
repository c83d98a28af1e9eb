"""The replacement policy: a pure function that chooses which pages leave the window.

It sees only values, so the same events always give the same victims.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from pagefault.page import Kind

FAULT_COST: Final = 1.0
_SEQ: Final = attrgetter("seq")
_RECALLED: Final = Kind.RECALLED


class Candidate(Protocol):
    """What the policy reads of one resident page. The slots of a path are candidates as they are: none is made."""

    @property
    def seq(self) -> int:
        """Page number."""
        ...

    @property
    def tokens(self) -> int:
        """What keeping it costs."""
        ...

    @property
    def kind(self) -> Kind:
        """Recalled pages are copies of others and leave first."""
        ...

    @property
    def uses(self) -> float:
        """Decayed count of times the page was wanted; 1 when it was written."""
        ...

    @property
    def born(self) -> float:
        """The policy's clock (``L`` of GDSF) when the page came in."""
        ...


class PageCost(NamedTuple):
    """A candidate by its values."""

    seq: int
    tokens: int
    kind: Kind = Kind.MESSAGE
    uses: float = 1.0
    born: float = 0.0


def priority(page: Candidate) -> float:
    """GDSF: ``L + uses * fault cost / size``; the least valuable page leaves first.

    Source: L. Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency
    caching policy", HP Labs 1998. The fault cost is one model round trip whatever the size.
    """
    return priorities((page,))[0]


def priorities(pages: Iterable[Candidate]) -> list[float]:
    """The :func:`priority` of each, in one go: a reclaim asks for thousands."""
    return [p.born + p.uses * FAULT_COST / (p.tokens or 1) for p in pages]


def gdsf(pages: Sequence[Candidate], need: int) -> list[Candidate]:
    """Victims that free at least ``need`` tokens: recalled pages, then lowest GDSF priority.

    Ties leave oldest first. Frees all pages given when ``need`` cannot be met.

    Example:
        >>> [page.seq for page in gdsf([PageCost(seq=1, tokens=10), PageCost(seq=2, tokens=90)], 50)]
        [2]
    """
    by_age = sorted(pages, key=_SEQ)
    order = sorted(range(len(by_age)), key=priorities(by_age).__getitem__)
    ordered = _recalled_first([by_age[place] for place in order])
    freed = list(accumulate([p.tokens for p in ordered], initial=0))
    return ordered[: bisect_left(freed, need)]


def clock_after(pages: Iterable[Candidate], victims: Iterable[int], clock: float) -> float:
    """GDSF's aging clock after an eviction: the highest priority that left, never lower than before."""
    gone = set(victims)
    return max([clock, *priorities([p for p in pages if p.seq in gone and p.kind is not _RECALLED])])


def _recalled_first(pages: list[Candidate]) -> list[Candidate]:
    recalled = [p for p in pages if p.kind is _RECALLED]
    return [*recalled, *(p for p in pages if p.kind is not _RECALLED)] if recalled else pages
