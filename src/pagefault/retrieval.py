"""The fault path: by address or by query, always checked against one's own chain.

Runs on the kernel's loop thread. What to show is decided by the pure modules of
``pagefault.recall``; here is only the I/O between them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pagefault.chain import point_id
from pagefault.errors import CorruptPage, EmbedderError, PageNotFound, PagesLost
from pagefault.indexing import index_text
from pagefault.kernel import Kernel
from pagefault.lineage import Lineage
from pagefault.page import Address, Page
from pagefault.paging import Paging
from pagefault.ports import Hit, PageStore, Scope, Sparse, TokenCounter, Where
from pagefault.recall import (
    Found,
    Outcome,
    Question,
    RecalledPage,
    counts,
    document_vector,
    fuse,
    judge,
    query_vector,
    render,
    starts,
    trust_of,
)
from pagefault.restore import bodies
from pagefault.vectors import Vectors
from pagefault.writeback import WriteBack

CANDIDATES: Final = 64
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
    """

    text: str
    limit: int
    budget: int
    after: float | None = None
    before: float | None = None
    skip_resident: bool = False

    def is_in_time(self, moment: float) -> bool:
        """Whether something of this moment is looked for."""
        late = self.after is None or moment >= self.after
        return late and (self.before is None or moment < self.before)


class Retrieval:
    """Faults and searches over one store."""

    def __init__(self, kernel: Kernel, store: PageStore, writeback: WriteBack, vectors: Vectors) -> None:
        self._kernel = kernel
        self._store = store
        self._writeback = writeback
        self._vectors = vectors
        self._is_deaf = False

    async def fault(
        self, paging: Paging, lineage: Lineage, addresses: Sequence[Address], counter: TokenCounter, budget: int
    ) -> Found:
        """The exact pages at some addresses of this path.

        Raises:
            PageNotFound: An address beyond this path's last closed page.
            PagesLost: The store lacks a page, and this process cannot write it again.
            CorruptPage: A page does not match its hash.
        """
        with paging.lock:
            length = lineage.length
        wanted = _sequence(addresses, length)
        await self._writeback.drain(paging, lineage)
        pages = await self._load(paging, lineage, wanted)
        with paging.lock:
            for seq in wanted:
                lineage.slots[seq - 1].uses += 1
        found = [_recalled(pages[seq], 1.0, lineage) for seq in wanted]
        text = await self._kernel.run(
            lambda: render(found, Outcome.ANSWER, counter=counter, budget=budget, addresses=addresses), urgent=True
        )
        return Found(outcome=Outcome.ANSWER, pages=tuple(found), text=text)

    async def search(self, paging: Paging, lineage: Lineage, query: Query, counter: TokenCounter) -> Found:
        """The pages of this path that answer a query, or an abstention."""
        await self._writeback.drain(paging, lineage)
        scope = Scope(tenant=paging.space.tenant, space=paging.space.key)
        sparse = await self._kernel.run(lambda: query_vector(query.text), urgent=True)
        dense, words = await self._candidates(paging, lineage, query, sparse)
        ranked = fuse(dense or {}, words)[: query.limit * 2]
        pages, damaged = await self._load_intact(paging, lineage, [seq for seq, _ in ranked])
        weights = await self._store.idf(scope, sparse.indices) if sparse.indices else {}
        with paging.lock:
            request = lineage.request if query.skip_resident else 0
        question = Question(terms=sparse.indices, weights=weights, dense=dense, pages=lineage.length, request=request)

        def judged() -> tuple[Outcome, list[RecalledPage]]:
            terms = {seq: set(document_vector(index_text(page)).indices) for seq, page in pages.items()}
            asking = {seq for seq, page in pages.items() if not counts(page, terms[seq], question)}
            scores = [{s: v for s, v in part.items() if s not in asking} for part in (dense or {}, words)]
            order = [*fuse(*scores), *((seq, 0.0) for seq in sorted(asking, reverse=True))]
            found = [_recalled(pages[seq], score, lineage) for seq, score in order if seq in pages]
            return judge(found, terms, question, skip_resident=query.skip_resident)

        outcome, answers = await self._kernel.run(judged, urgent=True)
        answers = answers[: query.limit]
        with paging.lock:
            for page in answers:
                if not (query.skip_resident and page.resident):
                    lineage.slots[page.page.seq - 1].uses += 1
        notice = _damage(damaged)

        def shown() -> str:
            room = query.budget - (counter.count(notice) if notice else 0)
            addresses = starts(answers, weights, room)
            skip = query.skip_resident
            text = render(answers, outcome, counter=counter, budget=room, addresses=addresses, skip_resident=skip)
            return text + notice

        return Found(outcome=outcome, pages=tuple(answers), text=await self._kernel.run(shown, urgent=True))

    async def bring_back(self, paging: Paging, lineage: Lineage, seqs: Sequence[int]) -> None:
        """Have the messages of these pages in the path, loading those left behind in the store."""
        with paging.lock:
            missing = lineage.left_behind(seqs)
        pages = await self._load(paging, lineage, missing)
        with paging.lock:
            for page in pages.values():
                lineage.put_back(page)

    async def _candidates(
        self, paging: Paging, lineage: Lineage, query: Query, sparse: Sparse
    ) -> tuple[dict[int, float] | None, dict[int, float]]:
        """Scores by similarity, ``None`` without a working embedder, and by words."""
        vector = await self.vector(query.text)
        queries: list[Sparse | Sequence[float]] = [*vector, *([sparse] if sparse.indices else [])]
        if not queries:
            return None, {}
        scope = Scope(tenant=paging.space.tenant, space=paging.space.key)
        if vector:
            await self._index(scope)
        with paging.lock:
            own = {slot.chain: slot.seq for slot in lineage.slots if slot.stored}
        wide = max(CANDIDATES, 2 * query.limit)
        where = Where(kind="page", first=1, last=max(1, len(own)))
        lists = await self._store.search(scope, queries, where, limit=wide)
        if any(hit.fields.get("chain") not in own for hits in lists for hit in hits):
            ids = [point_id(scope.space, chain) for chain in own]
            lists = await self._store.search(scope, queries, Where(kind="page", ids=ids), limit=wide)
        scores = [_scores(hits, own, query) for hits in lists]
        return scores[0] if vector else None, scores[-1] if sparse.indices else {}

    async def _index(self, scope: Scope) -> None:
        try:
            await self._writeback.index(scope)
        except EmbedderError as error:  # their vectors are missing, their words are not
            _log.warning("the newest pages are found by full text alone for now: %s", error)

    async def vector(self, text: str) -> list[Sequence[float]]:
        """The query's vector; none when the embedder is down, since full text finds pages all the same."""
        if not self._vectors.is_on:
            return []
        try:
            await self._writeback.verify()
            vector = await self._vectors.of_query(text)
        except EmbedderError as error:
            if not self._is_deaf:  # said once, not at every recall
                _log.warning("recall goes by full text alone for now: %s", error)
            self._is_deaf = True
            return []
        self._is_deaf = False
        return [vector]

    async def _load_intact(
        self, paging: Paging, lineage: Lineage, seqs: Sequence[int]
    ) -> tuple[dict[int, Page], list[int]]:
        """As ``_load``, but what is damaged is left out and named: it must not hide the others."""
        try:
            return await self._load(paging, lineage, seqs), []
        except (CorruptPage, PagesLost):
            pages: dict[int, Page] = {}
            damaged: list[int] = []
        for seq in seqs:
            try:
                pages |= await self._load(paging, lineage, [seq])
            except (CorruptPage, PagesLost) as error:
                _log.warning("recall in %s leaves out page %d: %s", paging.space, seq, error)
                damaged.append(seq)
        return pages, damaged

    async def _load(self, paging: Paging, lineage: Lineage, seqs: Sequence[int]) -> dict[int, Page]:
        scope = Scope(tenant=paging.space.tenant, space=paging.space.key)
        with paging.lock:
            wanted = [(seq, lineage.slots[seq - 1].chain) for seq in dict.fromkeys(seqs)]
        try:
            return await bodies(self._store, scope, wanted)
        except PagesLost:
            if not await self._kernel.run(lambda: _write_again(paging, lineage, seqs), urgent=True):
                raise
        await self._writeback.drain(paging, lineage)
        return await bodies(self._store, scope, wanted)


def _write_again(paging: Paging, lineage: Lineage, seqs: Sequence[int]) -> bool:
    """Mark pages for writing once more where the framework's state still holds their messages."""
    with paging.lock:
        return lineage.doubt(seqs)


def _damage(seqs: Sequence[int]) -> str:
    if not seqs:
        return ""
    pages = ", ".join(map(str, sorted(seqs)))
    return f"\nLeft out, because what is stored does not match its hash any more: page {pages}."


def _sequence(addresses: Sequence[Address], length: int) -> list[int]:
    for address in addresses:
        if address.last > length:
            pages = f"pages 1-{length}" if length else "no complete page yet"
            raise PageNotFound(f"there is no page {address} here; this conversation has {pages}")
    return list(dict.fromkeys(seq for a in addresses for seq in range(a.first, a.last + 1)))


def _scores(hits: Sequence[Hit], own: dict[str, int], query: Query) -> dict[int, float]:
    """Scores by page number, of this path's own pages in the wanted time."""
    scores: dict[int, float] = {}
    for hit in hits:
        seq = own.get(str(hit.fields.get("chain")))
        seen = float(hit.fields.get("created_at", 0.0))
        if seq is not None and query.is_in_time(seen):
            scores[seq] = hit.score
    return scores


def _recalled(page: Page, score: float, lineage: Lineage) -> RecalledPage:
    return RecalledPage(
        address=str(page.seq),
        page=page,
        score=score,
        message_ids=tuple(m.message_id for m in page.messages if m.message_id),
        trust=trust_of(page),
        resident=page.seq not in lineage.absent and lineage.slots[page.seq - 1].preview is None,
        superseded_by=None,
    )
