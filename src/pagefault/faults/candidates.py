"""Which pages a query finds, by similarity and by words, among those that the asker may see.

Runs on the kernel's loop thread.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from pagefault.errors import PagesLost
from pagefault.faults.others import Others, Sight
from pagefault.faults.query import Query
from pagefault.paths.points import Points
from pagefault.ports import Hit, PageStore, Sparse, Where

CANDIDATES: Final = 64
MAX_CANDIDATES: Final = 1_024
"""So many hits are looked at for pages on a present path, where several conversations are searched, and for the newest
where many score alike by their words."""
MAX_TIMED: Final = 4_096
"""So many where only some time is looked at: all that is said about a matter may be of another one."""
OVERFETCH: Final = 4
TIES: Final = 16
"""So many more are asked for, since of equal scores the newest pages count, and a store need not know them: a fact that
changes often is said in the same words each time. Where these are as good, too, up to ``MAX_CANDIDATES``."""
_SEEN: Final = ("chain", "created_at")
_log: Final = logging.getLogger("pagefault")


class Candidates:
    """Finds them in one store."""

    def __init__(self, store: PageStore, others: Others) -> None:
        self._store = store
        self._others = others
        self._points = Points()

    async def of(
        self, sight: Sight, query: Query, vector: Sequence[Sequence[float]], sparse: Sparse
    ) -> tuple[dict[int, float] | None, dict[int, float]]:
        """Scores by similarity, ``None`` where the query has no vector, and by words; by the pages' numbers."""
        queries: list[Sparse | Sequence[float]] = [*vector, *([sparse] if sparse.indices else [])]
        if not queries:
            return None, {}
        find = self._within if sight.others is None else self._across
        scores = await find(sight, query, queries)
        return scores[0] if vector else None, scores[-1] if sparse.indices else {}

    async def _across(
        self, sight: Sight, query: Query, queries: Sequence[Sparse | Sequence[float]]
    ) -> list[dict[int, float]]:
        """Scores of pages on the present paths of all conversations; what is not on them makes no room scarce."""
        wide = max(CANDIDATES, 2 * query.limit)
        limit, most = wide + TIES, MAX_TIMED if query.is_timed else MAX_CANDIDATES
        scores: list[dict[int, float]] = [{} for _ in queries]
        where, short = Where(kind="page", fields=_SEEN), [*range(len(queries))]
        while short:
            lists = await self._store.search(sight.reach, [queries[at] for at in short], where, limit=limit)
            numbers = await self._numbers(sight, [hit for hits in lists for hit in hits])
            for at, hits in zip(short, lists, strict=True):
                there = [hit for hit in hits if hit.id in numbers and query.is_in_time(_time_of(hit))]
                scores[at] = {numbers[hit.id]: hit.score for hit in there}
            short = [
                at
                for at, hits in zip(short, lists, strict=True)
                if limit == len(hits) < most
                and (len(scores[at]) < wide or _is_tied(queries[at], [*scores[at].values()][wide - 1], hits, limit))
            ]
            limit *= OVERFETCH
        return [dict(list(found.items())[:wide]) for found in scores]

    async def _numbers(self, sight: Sight, hits: Sequence[Hit]) -> dict[UUID, int]:
        """The numbers of those hits that are on a present path."""
        paths: dict[str, tuple[int, Sequence[str]]] = {}
        there = {hit.space for hit in hits}
        for index, other in enumerate(sight.others or ()):
            if other.key in there:
                try:
                    paths[other.key] = index, await self._others.path(other)
                except PagesLost as error:
                    _log.warning("recall leaves out a conversation: %s", error)
        found: dict[UUID, int] = {}
        home = sight.paging.space.key
        for hit in hits:
            if hit.space == home:
                if _is_own(hit, sight):
                    found[hit.id] = hit.seq
            elif hit.space in paths:
                index, path = paths[hit.space]
                if 0 < hit.seq <= len(path) and path[hit.seq - 1] == hit.fields.get("chain"):
                    found[hit.id] = sight.number(index, hit.seq)
        return found

    async def _within(
        self, sight: Sight, query: Query, queries: Sequence[Sparse | Sequence[float]]
    ) -> list[dict[int, float]]:
        """Scores of pages on the asker's path.

        Where other paths' pages are in the space, too, more are asked for before the store is told
        every page to look at, which takes longer than all the rest.
        """
        lineage, wide, where = sight.lineage, max(CANDIDATES, 2 * query.limit), Where(kind="page", bare=True)
        known = await self._points.of(lineage, sight.paging.space.key)
        number, length = known.get, sight.length

        def is_in_time(seq: int) -> bool:
            return not query.is_timed or query.is_in_time(lineage.slots[seq - 1].created_at)

        def mine(hits: Sequence[Hit]) -> list[tuple[float, int]]:
            past = [(hit.score, seq) for hit in hits if 0 < (seq := number(hit.id.int, 0)) <= length]
            return [each for each in past if is_in_time(each[1])] if query.is_timed else past

        def is_short(lists: Sequence[Sequence[Hit]], limit: int) -> bool:
            return any(len(hits) == limit and len(mine(hits)) < wide for hits in lists)

        limit = wide + TIES
        lists = await self._store.search(sight.reach, queries, where, limit=limit)
        if is_short(lists, limit):
            limit = OVERFETCH * wide
            lists = await self._store.search(sight.reach, queries, where, limit=limit)
        if is_short(lists, limit):
            limit = wide + TIES
            ids = [UUID(int=id_) for id_, seq in known.items() if seq <= length and is_in_time(seq)]
            where = replace(where, ids=ids)
            lists = await self._store.search(sight.reach, queries, where, limit=limit)
        found: list[dict[int, float]] = []
        for at, asked in enumerate(queries):
            hits, most = lists[at], limit
            best = sorted(mine(hits), reverse=True)
            while most < MAX_CANDIDATES and len(best) >= wide and _is_tied(asked, best[wide - 1][0], hits, most):
                most = min(OVERFETCH * most, MAX_CANDIDATES)
                (hits,) = await self._store.search(sight.reach, [asked], where, limit=most)
                best = sorted(mine(hits), reverse=True)
            found.append({seq: score for score, seq in best[:wide]})
        return found


def _is_tied(query: Sparse | Sequence[float], last: float, hits: Sequence[Hit], limit: int) -> bool:
    """Whether a page that the store left out may be as good by its words as the last of the best ones.

    By similarity it would be one of the same text, which is as good by its words; and that search takes longer.
    """
    return isinstance(query, Sparse) and len(hits) == limit and last <= hits[-1].score


def _time_of(hit: Hit) -> float:
    moment = hit.fields.get("created_at", 0.0)
    return moment if isinstance(moment, float | int) else 0.0  # damaged: who reads the page says so


def _is_own(hit: Hit, sight: Sight) -> bool:
    """Whether a hit is a page of this path: its number has one place in it, and that place one chain."""
    return 1 <= hit.seq <= sight.length and sight.lineage.slots[hit.seq - 1].chain == hit.fields.get("chain")
