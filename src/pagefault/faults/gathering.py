"""What one search reads: the best candidates, until enough of them can answer, and what was said after them.

Runs on the kernel's loop thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from pagefault.faults.loading import Loader
from pagefault.faults.others import Sight
from pagefault.faults.query import Query
from pagefault.page import Page, Role
from pagefault.paths.restore import LONG_CHARS, Read
from pagefault.recall import (
    FOLLOWED,
    NEAR,
    NEXT,
    Question,
    RecalledPage,
    counts,
    is_remark,
    leading,
    only_asks,
    said_by,
    trust_of,
)

JUDGED: Final = 12
"""So many candidates are read at least, however few are to be shown: of LoCoMo's questions 20 decide each as 10 do."""


class Gathering:
    """The pages that one search has read.

    Attributes:
        found: Candidates that were read, by number.
        asking: Numbers of those that only ask what the query asks.
        damaged: Addresses of what does not match its hash.
    """

    def __init__(self, loader: Loader, sight: Sight, query: Query, asked: Question) -> None:
        self.found: dict[int, RecalledPage] = {}
        self.asking: set[int] = set()
        self.damaged: list[str] = []
        self._loader = loader
        self._sight = sight
        self._query = query
        self._asked = asked
        self._read: dict[int, Read] = {}
        self._beside: dict[int, Read] = {}

    @property
    def terms(self) -> dict[str, frozenset[int]]:
        """Term ids of each candidate, by address."""
        return {page.address: self._read[number].terms for number, page in self.found.items()}

    @property
    def chars(self) -> int:
        """Characters of their bodies together."""
        return sum(len(each.page.body) for each in self._read.values())

    def by_address(self, scores: Mapping[int, float]) -> dict[str, float]:
        """The scores of candidates that were read, by address."""
        return {page.address: scores[number] for number, page in self.found.items() if number in scores}

    async def read(self, ranked: Sequence[tuple[int, float]], latest: int = 0) -> None:
        """The best pages, some more at a time until enough of them can answer: copies of a question come before it.

        Args:
            ranked: All candidates and their fused scores, best first.
            latest: The newest candidate that may say anew what the best ones say (``latest_of``), which is read in any
                case; 0 for none.
        """
        sight, limit = self._sight, self._query.limit
        size, best, said = max(JUDGED, limit * 5 // 4), 0.0, set[object]()
        ahead = [each for number, _ in ranked[: FOLLOWED + 1] for each in self._remarks_of(number)]
        for first in range(0, len(ranked), size):
            if len(said) >= limit or ranked[first][1] < NEAR * best:
                break
            batch = dict(ranked[first : first + size])
            if not first and latest:
                batch[latest] = dict(ranked)[latest]
            batch = {number: score for number, score in batch.items() if number not in self.found}
            pages = await self._load([*batch, *([] if first else ahead)])
            self._beside.update((number, pages.pop(number)) for number in pages.keys() - batch.keys())
            self._read.update(pages)
            for number, each in pages.items():
                page = self.found[number] = recalled(each.page, batch[number], sight, number)
                if counts(page, each.terms, self._asked):
                    best = max(best, page.score)
                    said.add(said_by(page))
                else:
                    self.asking.add(number)
                if len(each.page.body) > LONG_CHARS:
                    await asyncio.sleep(0)  # whether a long one says anything takes a while

    async def behind(
        self, best: Sequence[RecalledPage], ranked: Sequence[tuple[int, float]]
    ) -> dict[str, RecalledPage]:
        """The remark right behind each of the best messages, and of the best ones that only ask, by their address.

        Args:
            best: Candidates that may answer, best first.
            ranked: As for :meth:`read`.
        """
        numbers = {page.address: number for number, page in self.found.items()}
        order = [numbers[page.address] for page in best] + [n for n, _ in ranked if n in self.asking]
        pages = ((n, self._read[n].page) for n in order if n != self._asked.request)
        following = {n: self._remarks_of(n) for n in leading(pages, self.asking)}
        wanted = {each for some in following.values() for each in some}
        self._beside.update(await self._load(sorted(wanted - self._read.keys() - self._beside.keys())))
        remarks: dict[str, RecalledPage] = {}
        for at, some in following.items():
            asks = at in self.asking or self._only_asks(at)
            first = next(filter(None, (self._remark(number, at, asks=asks) for number in some)), None)
            if first is not None:
                remarks[self.found[at].address] = first
        return remarks

    async def _load(self, numbers: Sequence[int]) -> dict[int, Read]:
        pages, damaged = await self._loader.intact(self._sight, list(dict.fromkeys(numbers)))
        self.damaged += [each for each in damaged if each not in self.damaged]
        return pages

    def _remarks_of(self, number: int) -> list[int]:
        """The pages among which the first remark behind a message is; a call with its results is neither."""
        sight = self._sight
        return list(filter(sight.may_be_said, sight.following(number, NEXT))) if sight.may_be_said(number) else []

    def _only_asks(self, number: int) -> bool:
        spoken = self._read[number].page.messages[0]
        return spoken.role is Role.USER and only_asks(spoken.text, set(self._asked.words))

    def _remark(self, number: int, before: int, *, asks: bool) -> RecalledPage | None:
        """A page as the remark that answers or corrects the one before it, ``None`` where it is none."""
        each = self._read.get(number) or self._beside.get(number)
        if each is None:  # damaged
            return None
        page = self.found.get(number) or recalled(each.page, 0.0, self._sight, number)
        after = self._read[before].page
        is_one = is_remark(page.page, each.terms, self._asked.words, before=after, asks=asks)
        is_one = is_one and self._query.is_in_time(page.page.created_at) and counts(page, each.terms, self._asked)
        return page if is_one else None


def recalled(page: Page, score: float, sight: Sight, number: int) -> RecalledPage:
    """A page as it is brought back to who sees so much."""
    other, lineage = sight.split(number)[0], sight.lineage
    is_here = other is None and lineage.is_shown(page.seq) and page.seq not in lineage.previews
    return RecalledPage(
        address=sight.address(number),
        page=page,
        score=score,
        message_ids=tuple(m.message_id for m in page.messages if m.message_id),
        trust=trust_of(page),
        resident=is_here,
        superseded_by=None,
        space=other.space if other else None,
    )
