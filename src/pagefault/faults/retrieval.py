"""The fault path: by address or by query, always checked against one's own chain.

Runs on the kernel's loop thread. What to show is decided by the pure modules of
``pagefault.recall``; here is only the I/O between them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from pagefault.embedders.calls import Vectors
from pagefault.errors import BadAddress, EmbedderError, PagefaultError, PageNotFound, StoreUnwritable
from pagefault.estimate import cost_of
from pagefault.faults.candidates import Candidates
from pagefault.faults.gathering import Gathering, recalled
from pagefault.faults.loading import Loader, at_hand
from pagefault.faults.others import Other, Others, Past, Sight, named
from pagefault.faults.query import Query
from pagefault.kernel import Kernel
from pagefault.page import Address, SpaceId, in_words
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.ports import PageStore, Scope, TokenCounter
from pagefault.recall import (
    Found,
    Outcome,
    Question,
    apart,
    fuse,
    in_order,
    judge,
    latest_of,
    left_out,
    names_in,
    query_vector,
    query_words,
    render,
    sought,
    starts,
    stressed,
    weighed,
)
from pagefault.writing.writeback import WriteBack

T = TypeVar("T")
SHORT_CHARS: Final = 16_384
"""Up to so much is read and judged where it is: another thread takes as long to get it, on a busy machine longer."""
_log: Final = logging.getLogger("pagefault")


class Retrieval:
    """Faults and searches over one store."""

    def __init__(self, kernel: Kernel, store: PageStore, writeback: WriteBack, vectors: Vectors) -> None:
        self._kernel = kernel
        self._store = store
        self._writeback = writeback
        self._vectors = vectors
        self._others = Others(store)
        self._loader = Loader(kernel, store, writeback, self._others)
        self._candidates = Candidates(store, self._others)
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
        found = [recalled(pages[number], 1.0, sight, number) for number in wanted]
        text = await self._kernel.run(
            lambda: render(found, Outcome.ANSWER, counter=counter, budget=budget, addresses=addresses), urgent=True
        )
        return Found(outcome=Outcome.ANSWER, pages=tuple(found), text=text)

    async def search(
        self, paging: Paging, past: Past, query: Query, counter: TokenCounter, vector: Sequence[Sequence[float]]
    ) -> Found:
        """The pages of this path that answer a query, or an abstention; ``vector`` is the query's, as below."""
        sight, unsearched = await self._searchable(paging, past)
        if query.crosses:
            sight = replace(sight, others=await self._others.of(paging.space))
        if vector:
            await self._index(Scope(tenant=paging.space.tenant, space=paging.space.key))
        sparse = query_vector(query.text)
        wanted = sought(query.text, sparse.indices)
        by_meaning, by_words = await self._candidates.of(sight, query, vector, stressed(sparse, wanted))
        ranked = fuse(by_meaning or {}, by_words)
        request = _request(sight) if query.skip_resident else 0
        words = await self._where_short(len(query.text), lambda: query_words(query.text))
        asked = Question(
            terms=sparse.indices,
            sought=wanted,
            names=names_in(query.text, wanted),
            words=words,
            weights={},
            dense=None,
            pages=sight.pages,
            request=request,
        )
        got = Gathering(self._loader, sight, query, asked)
        await got.read(ranked, _latest(sight, ranked, by_words))
        weights = await self._store.idf(sight.reach, sparse.indices) if sparse.indices else {}
        similar = None if by_meaning is None else got.by_address(by_meaning)
        question, terms = replace(asked, weights=weights, dense=similar), got.terms
        evident, copies = apart(ranked, got.found, got.asking, dense=by_meaning or {}, sparse=by_words)
        alone = weighed(terms, question)
        best = in_order(evident, terms, question, alone)
        behind = await got.behind(best, ranked)

        def judged() -> Found:
            skip, notice = query.skip_resident, left_out(unsearched, got.damaged)
            both, only = [*best, *copies], {page.address for page in copies}
            outcome, answers = judge(
                both, terms, question, alone, asking=only, behind=behind, limit=query.limit, skip_resident=skip
            )
            room = query.budget - cost_of(notice, counter)
            addresses = starts(answers, weights, room, skip_resident=skip)
            text = render(answers, outcome, counter=counter, budget=room, addresses=addresses, skip_resident=skip)
            return Found(outcome=outcome, pages=tuple(answers), text=text + notice)

        result = await self._where_short(got.chars, judged)
        shown = [page for page in result.pages if page.space is None and not (query.skip_resident and page.resident)]
        _used(sight, [page.page.seq for page in shown])
        return result

    async def _where_short(self, chars: int, work: Callable[[], T]) -> T:
        """Do what takes as long as so many characters: here, or, where that is too long, beside the loop."""
        return work() if chars <= SHORT_CHARS else await self._kernel.run(work, urgent=True)

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

    async def _named(self, home: SpaceId, addresses: Sequence[Address]) -> list[Other]:
        """The other conversations that these addresses name.

        Raises:
            PageNotFound: One of them is none of this user's.
        """
        there = await self._others.of(home)
        names = dict.fromkeys(address.alias for address in addresses if address.alias)
        return [named(there, name) for name in names]

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


def _used(sight: Sight, seqs: Sequence[int]) -> None:
    """Pages of one's own path were wanted."""
    with sight.paging.lock:
        for seq in seqs:
            if sight.split(seq)[0] is None:
                sight.lineage.slots[seq - 1].uses += 1


def _latest(sight: Sight, ranked: Sequence[tuple[int, float]], by_words: Mapping[int, float]) -> int:
    """The newest page that may say anew what the best candidate says; 0 without any."""
    if sight.others is None:
        return latest_of(by_words)
    home = sight.split(ranked[0][0])[0] if ranked else None
    return latest_of({number: score for number, score in by_words.items() if sight.split(number)[0] is home})


def _sight(paging: Paging, past: Past) -> Sight:
    with paging.lock:
        return Sight(paging=paging, lineage=past.path, length=past.length)


def _request(sight: Sight) -> int:
    """The page with the user's present request, where the asker sees it; else 0."""
    with sight.paging.lock:
        request = sight.lineage.request
        return request if sight.lineage.is_shown(request) else 0


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
