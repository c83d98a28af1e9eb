"""The fault path: by address or by query, always checked against one's own chain.

Runs on the kernel's loop thread. What to show is decided by the pure modules of
``pagefault.recall``; here is only the I/O between them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from uuid import UUID

from pagefault.embedders.calls import Vectors
from pagefault.errors import BadAddress, EmbedderError, PagefaultError, PageNotFound, PagesLost, StoreUnwritable
from pagefault.faults.loading import Loader, at_hand
from pagefault.faults.others import Other, Others, Past, Sight, named
from pagefault.kernel import Kernel
from pagefault.page import Address, Page, SpaceId, in_words
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.paths.points import Points
from pagefault.paths.restore import Read
from pagefault.ports import Hit, PageStore, Scope, Sparse, TokenCounter, Where
from pagefault.recall import (
    FOLLOWED,
    NEAR,
    NEXT,
    Found,
    Outcome,
    Question,
    RecalledPage,
    apart,
    counts,
    fuse,
    in_order,
    is_remark,
    judge,
    leading,
    left_out,
    query_vector,
    query_words,
    render,
    said_by,
    starts,
    trust_of,
)
from pagefault.writing.writeback import WriteBack

CANDIDATES: Final = 64
MAX_CANDIDATES: Final = 1_024
"""So many hits are looked at for pages on a present path, where several conversations are searched."""
OVERFETCH: Final = 4
JUDGED: Final = 12
"""So many candidates are read at least, however few are to be shown: of LoCoMo's questions 20 decide each as 10 do."""
TIES: Final = 16
"""So many more are asked for, since of equal scores the newest pages count, and a store need not know them."""
SHORT_CHARS: Final = 16_384
"""Up to so much is judged where it was read: to hand it to another thread takes as long, on a busy machine longer."""
_SEEN: Final = ("chain", "created_at")
_log: Final = logging.getLogger("pagefault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for.

    Attributes:
        text: The question.
        limit: Pages returned at most.
        after: Only pages first seen at or after this time, Unix seconds.
        before: Only pages first seen before this time, Unix seconds.
        budget: Tokens that the rendering may use.
        skip_resident: Leave out what is in the window already; it is named, not repeated.
        crosses: Also look into the user's other conversations.
    """

    text: str
    limit: int
    budget: int
    after: float | None = None
    before: float | None = None
    skip_resident: bool = False
    crosses: bool = False

    @property
    def is_timed(self) -> bool:
        """Whether only some time is looked at."""
        return self.after is not None or self.before is not None

    def is_in_time(self, moment: float) -> bool:
        """Whether something of this moment is looked for."""
        late = self.after is None or moment >= self.after
        return late and (self.before is None or moment < self.before)


class _Gathered(NamedTuple):
    """What was read, by number: pages to judge, as candidates, which of them only ask; others; what is damaged."""

    pages: dict[int, Read]
    found: dict[int, RecalledPage]
    asking: set[int]
    beside: dict[int, Read]
    damaged: list[str]


class Retrieval:
    """Faults and searches over one store."""

    def __init__(self, kernel: Kernel, store: PageStore, writeback: WriteBack, vectors: Vectors) -> None:
        self._kernel = kernel
        self._store = store
        self._writeback = writeback
        self._vectors = vectors
        self._others = Others(store)
        self._loader = Loader(kernel, store, writeback, self._others)
        self._points = Points()
        self._is_deaf = False

    async def fault(
        self,
        paging: Paging,
        past: Past,
        addresses: Sequence[Address],
        counter: TokenCounter,
        budget: int,
        *,
        crosses: bool = False,
    ) -> Found:
        """The exact pages at some addresses of this path; with ``crosses``, of the user's other conversations, too.

        Pages whose messages are here are answered with them (a minor fault), the others by the store.

        Raises:
            PageNotFound: An address beyond the last closed page of its path.
            BadAddress: An address in another conversation, where only this one is to be read.
            PagesLost: The store lacks a page, and this process cannot write it again.
            CorruptPage: A page does not match its hash.
        """
        home, lineage = paging.space, past.path
        addresses = [replace(a, alias="") if a.alias == home.alias else a for a in addresses]
        sight = _sight(paging, past)
        if crosses and any(address.alias for address in addresses):
            sight = replace(sight, others=await self._named(home, addresses))
        wanted = _sequence(addresses, sight)
        own = [seq for other, seq in map(sight.split, wanted) if other is None]
        pages = await self._kernel.run(lambda: at_hand(paging, lineage, own), urgent=True)
        if rest := [number for number in wanted if number not in pages]:
            behind = [seq for seq in own if seq not in pages]
            await self._writeback.drain(paging, lineage, behind)  # before all write-backs that it does not need
            pages |= {number: each.page for number, each in (await self._loader.pages(sight, rest)).items()}
        _used(sight, wanted)
        found = [_recalled(pages[number], 1.0, sight, number) for number in wanted]
        text = await self._kernel.run(
            lambda: render(found, Outcome.ANSWER, counter=counter, budget=budget, addresses=addresses), urgent=True
        )
        return Found(outcome=Outcome.ANSWER, pages=tuple(found), text=text)

    async def search(
        self, paging: Paging, past: Past, query: Query, counter: TokenCounter, vector: Sequence[Sequence[float]]
    ) -> Found:
        """The pages of this path that answer a query, or an abstention; ``vector`` is the query's, as below."""
        lineage = past.path
        sight, unsearched = await self._searchable(paging, past)
        if query.crosses:
            sight = replace(sight, others=list((await self._others.of(paging.space)).values()))
        sparse = query_vector(query.text)
        dense, sparsely = await self._candidates(sight, query, vector, sparse)
        ranked = fuse(dense or {}, sparsely)
        with paging.lock:
            request = lineage.request if query.skip_resident and lineage.is_shown(lineage.request) else 0
        words = query_words(query.text)
        asked = Question(terms=sparse.indices, words=words, weights={}, dense=None, pages=sight.pages, request=request)
        got = await self._gather(sight, ranked, query, asked)
        pages, found, _, _, damaged = got
        near = [each.point for each in pages.values()]
        weights = await self._store.idf(sight.reach, sparse.indices, near=near) if sparse.indices else {}
        similar = None if dense is None else {sight.address(n): dense[n] for n in pages if n in dense}
        question = replace(asked, weights=weights, dense=similar)
        terms = {page.address: pages[number].terms for number, page in found.items()}
        evident, copies = apart(ranked, got.found, got.asking, dense=dense or {}, sparse=sparsely)
        best = in_order(evident, terms, question)
        numbers = {page.address: number for number, page in found.items()}
        order = [numbers[page.address] for page in best] + [n for n, _ in ranked if n in got.asking]
        behind = await self._behind(sight, order, query, asked, got)

        def judged() -> Found:
            skip, notice = query.skip_resident, left_out(unsearched, damaged)
            only = {page.address for page in copies}
            outcome, answers = judge(
                [*best, *copies], terms, question, asking=only, behind=behind, limit=query.limit, skip_resident=skip
            )
            room = query.budget - (counter.count(notice) if notice else 0)
            addresses = starts(answers, weights, room, skip_resident=skip)
            text = render(answers, outcome, counter=counter, budget=room, addresses=addresses, skip_resident=skip)
            return Found(outcome=outcome, pages=tuple(answers), text=text + notice)

        is_short = sum(len(each.page.body) for each in pages.values()) <= SHORT_CHARS
        result = judged() if is_short else await self._kernel.run(judged, urgent=True)
        shown = [page for page in result.pages if page.space is None and not (query.skip_resident and page.resident)]
        _used(sight, [page.page.seq for page in shown])
        return result

    async def bring_back(self, paging: Paging, lineage: Lineage, seqs: Sequence[int]) -> None:
        """Have the messages of these pages in the path, loading those left behind in the store."""
        with paging.lock:
            missing = lineage.left_behind(seqs)
        pages = await self._loader.own(paging, lineage, missing)
        with paging.lock:
            for each in pages.values():
                lineage.put_back(each.page)

    async def settle(self, paging: Paging, lineage: Lineage) -> None:
        """Bring a path to where the user's other conversations see it: what it holds is stored, its head says so.

        What fails is logged: it is another conversation's trouble.
        """
        try:
            await self._writeback.settle(paging, lineage)
            if self._vectors.is_on:
                await self._index(Scope(tenant=paging.space.tenant, space=paging.space.key))
        except PagefaultError as error:
            _log.warning("the newest pages of %s are not seen from other conversations yet: %s", paging.space, error)

    async def _searchable(self, paging: Paging, past: Past) -> tuple[Sight, Address | None]:
        """What a search can find, and the newest pages where a full disk does not take them."""
        sight, unsearched = _sight(paging, past), None
        try:
            await self._writeback.drain(paging, past.path)
        except StoreUnwritable:
            with paging.lock:
                stored = min((slot.seq - 1 for slot in past.path.unstored(1)), default=sight.length)
            if stored < sight.length:
                unsearched = Address(first=stored + 1, last=sight.length)
            sight = replace(sight, length=min(stored, sight.length))
        return sight, unsearched

    async def _candidates(
        self, sight: Sight, query: Query, vector: Sequence[Sequence[float]], sparse: Sparse
    ) -> tuple[dict[int, float] | None, dict[int, float]]:
        """Scores by similarity, ``None`` without a working embedder, and by words."""
        queries: list[Sparse | Sequence[float]] = [*vector, *([sparse] if sparse.indices else [])]
        if not queries:
            return None, {}
        if vector:
            home = sight.paging.space
            await self._index(Scope(tenant=home.tenant, space=home.key))
        find = self._within if sight.others is None else self._across
        scores = await find(sight, query, queries)
        return scores[0] if vector else None, scores[-1] if sparse.indices else {}

    async def _across(
        self, sight: Sight, query: Query, queries: Sequence[Sparse | Sequence[float]]
    ) -> list[dict[int, float]]:
        """Scores of pages on the present paths of all conversations; what is not on them makes no room scarce."""
        wide = max(CANDIDATES, 2 * query.limit)
        limit = wide
        while True:
            lists = await self._store.search(sight.reach, queries, Where(kind="page", fields=_SEEN), limit=limit)
            numbers = await self._numbers(sight, [hit for hits in lists for hit in hits])
            scores = [
                {numbers[hit.id]: hit.score for hit in hits if hit.id in numbers and query.is_in_time(_time_of(hit))}
                for hits in lists
            ]
            short = [len(found) < wide and len(hits) == limit for found, hits in zip(scores, lists, strict=True)]
            if not any(short) or limit >= MAX_CANDIDATES:
                return [dict(list(found.items())[:wide]) for found in scores]
            limit *= 4

    async def _numbers(self, sight: Sight, hits: Sequence[Hit]) -> dict[UUID, int]:
        """The numbers of those hits that are on a present path."""
        paths: dict[str, tuple[int, Sequence[str]]] = {}
        for index, other in enumerate(sight.others or ()):
            if any(hit.space == other.space.key for hit in hits):
                try:
                    paths[other.space.key] = index, await self._others.path(other)
                except PagesLost as error:
                    _log.warning("recall leaves out a conversation: %s", error)
        found: dict[UUID, int] = {}
        for hit in hits:
            if hit.space == sight.paging.space.key:
                if _is_own(hit, sight):
                    found[hit.id] = hit.seq
            elif hit.space in paths:
                index, path = paths[hit.space]
                if 0 < hit.seq <= len(path) and path[hit.seq - 1] == hit.fields.get("chain"):
                    found[hit.id] = sight.number(index, hit.seq)
        return found

    async def _named(self, home: SpaceId, addresses: Sequence[Address]) -> list[Other]:
        """The other conversations that these addresses name.

        Raises:
            PageNotFound: One of them is none of this user's.
        """
        there = list((await self._others.of(home)).values())
        names = dict.fromkeys(address.alias for address in addresses if address.alias)
        return [named(there, name) for name in names]

    async def _within(
        self, sight: Sight, query: Query, queries: Sequence[Sparse | Sequence[float]]
    ) -> list[dict[int, float]]:
        """Scores of pages on the asker's path.

        Where other paths' pages are in the space, too, more are asked for before the store is told
        every page to look at, which takes longer than all the rest.
        """
        lineage, wide, where = sight.lineage, max(CANDIDATES, 2 * query.limit), Where(kind="page", bare=True)
        known = await self._points.of(lineage, sight.paging.space.key)

        def is_sought(seq: int) -> bool:
            is_past = 0 < seq <= sight.length
            return is_past and (not query.is_timed or query.is_in_time(lineage.slots[seq - 1].created_at))

        def mine(hits: Sequence[Hit]) -> list[tuple[float, int]]:
            return [(-hit.score, -seq) for hit in hits if is_sought(seq := known.get(hit.id.int, 0))]

        def best(found: list[tuple[float, int]]) -> dict[int, float]:
            return {-seq: -score for score, seq in sorted(found)[:wide]}

        for limit in (wide + TIES, OVERFETCH * wide):
            lists = await self._store.search(sight.reach, queries, where, limit=limit)
            own = [mine(hits) for hits in lists]
            if all(len(found) >= wide or len(hits) < limit for found, hits in zip(own, lists, strict=True)):
                return [best(found) for found in own]
        where = replace(where, ids=[UUID(int=number) for number, seq in known.items() if is_sought(seq)])
        lists = await self._store.search(sight.reach, queries, where, limit=wide + TIES)
        return [best(mine(hits)) for hits in lists]

    async def _index(self, scope: Scope) -> None:
        try:
            await self._writeback.index(scope)
        except (EmbedderError, StoreUnwritable) as error:  # their vectors are missing, their words are not
            _log.warning("the newest pages are found by full text alone for now: %s", error)

    async def vector(self, tenant: str, text: str) -> list[Sequence[float]]:
        """The query's vector; none when the embedder is down, since full text finds pages all the same."""
        if not self._vectors.is_on:
            return []
        try:
            await self._writeback.verify()
            vector = await self._vectors.of_query(tenant, text)
        except EmbedderError as error:
            if not self._is_deaf:  # said once, not at every recall
                _log.warning("recall goes by full text alone for now: %s", error)
            self._is_deaf = True
            return []
        self._is_deaf = False
        return [vector]

    async def _gather(
        self, sight: Sight, ranked: Sequence[tuple[int, float]], query: Query, asked: Question
    ) -> _Gathered:
        """The best pages, some more at a time until enough of them can answer: copies of a question come before it."""
        got = _Gathered({}, {}, set(), {}, [])
        size, best, said = max(JUDGED, query.limit * 5 // 4), 0.0, set[object]()
        ahead = [each for number, _ in ranked[: FOLLOWED + 1] for each in sight.following(number, NEXT)]
        for first in range(0, len(ranked), size):
            if len(said) >= query.limit or ranked[first][1] < NEAR * best:
                break
            batch = dict(ranked[first : first + size])
            pages, damaged = await self._loader.intact(sight, list(dict.fromkeys([*batch, *([] if first else ahead)])))
            got.beside.update((number, pages.pop(number)) for number in ahead if number in pages.keys() - batch.keys())
            got.pages.update(pages)
            got.damaged.extend(damaged)
            for number, each in pages.items():
                page = got.found[number] = _recalled(each.page, batch[number], sight, number)
                if counts(page, each.terms, asked):
                    best = max(best, page.score)
                    said.add(said_by(page))
                else:
                    got.asking.add(number)
        return got

    async def _behind(
        self, sight: Sight, order: Sequence[int], query: Query, asked: Question, got: _Gathered
    ) -> dict[str, RecalledPage]:
        """The remark right behind each of the best messages, and of the best ones that only ask, by their address."""
        best = ((n, got.pages[n].page) for n in order if n != asked.request)
        following = {n: sight.following(n, NEXT) for n in leading(best, got.asking)}
        known = got.pages | got.beside
        if rest := sorted({each for some in following.values() for each in some} - known.keys()):
            pages, damaged = await self._loader.intact(sight, rest)
            known.update(pages)
            got.damaged.extend(damaged)

        def remark(number: int, before: int) -> RecalledPage | None:
            each = known[number]
            page = got.found.get(number) or _recalled(each.page, 0.0, sight, number)
            after, asks = known[before].page, before in got.asking
            is_one = is_remark(page.page, each.terms, asked.words, before=after, asks=asks)
            is_one = is_one and query.is_in_time(page.page.created_at) and counts(page, each.terms, asked)
            return page if is_one else None

        remarks = {at: (page for n in some if n in known and (page := remark(n, at))) for at, some in following.items()}
        return {sight.address(at): first for at, some in remarks.items() if (first := next(some, None)) is not None}


def _used(sight: Sight, seqs: Sequence[int]) -> None:
    """Pages of one's own path were wanted."""
    with sight.paging.lock:
        for seq in seqs:
            if sight.split(seq)[0] is None:
                sight.lineage.slots[seq - 1].uses += 1


def _sight(paging: Paging, past: Past) -> Sight:
    with paging.lock:
        return Sight(paging=paging, lineage=past.path, length=past.length)


def _sequence(addresses: Sequence[Address], sight: Sight) -> list[int]:
    """The numbers of all pages that are addressed."""
    others = {other.space.alias: (index, other) for index, other in enumerate(sight.others or ())}
    numbers: list[int] = []
    for address in addresses:
        index, other = others.get(address.alias, (-1, None))
        if other is None and address.alias:
            raise BadAddress(f"{address} is in another conversation; only pages of this one can be read here")
        there = sight.length if other is None else other.length
        if address.last > there:
            pages = in_words([str(Address(first=1, last=there))]) if there else "no complete page yet"
            raise PageNotFound(f"there is no page {address} here; this conversation has {pages}")
        seqs = range(address.first, address.last + 1)
        numbers += seqs if other is None else [sight.number(index, seq) for seq in seqs]
    return list(dict.fromkeys(numbers))


def _time_of(hit: Hit) -> float:
    moment = hit.fields.get("created_at", 0.0)
    return moment if isinstance(moment, float | int) else 0.0  # damaged: who reads the page says so


def _is_own(hit: Hit, sight: Sight) -> bool:
    """Whether a hit is a page of this path: its number has one place in it, and that place one chain."""
    return 1 <= hit.seq <= sight.length and sight.lineage.slots[hit.seq - 1].chain == hit.fields.get("chain")


def _recalled(page: Page, score: float, sight: Sight, number: int) -> RecalledPage:
    other, lineage = sight.split(number)[0], sight.lineage
    is_here = other is None and lineage.is_shown(page.seq) and lineage.slots[page.seq - 1].preview is None
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
