"""Dense vectors for pages that are stored already, made behind the agent.

A page without its vector is found by full text all the same. So a failing embedder holds up
nothing, and a text that an embedder cannot take does not hold up the others.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from pagefault.chain import point_id
from pagefault.embedders import PROBE
from pagefault.embedders.calls import Vectors
from pagefault.errors import CorruptPage, EmbedderError
from pagefault.kernel import Kernel
from pagefault.page import Kind, Page
from pagefault.paths.restore import page_from
from pagefault.ports import Dense, PageStore, Record, Scope, Sparse
from pagefault.recall.terms import document_vector

UNIT_PAGES: Final = 16
UNIT_CHARS: Final = 2**20
FULL_PAGES: Final = 256
"""So many waiting pages are indexed before more is written."""
KEPT_CHARS: Final = 2**23
"""Texts kept for their vectors; beyond that they are read from the store again."""
QUICK_SECONDS: Final = 0.002
"""An embedder that takes less for a piece of text makes vectors before the page is stored: one write, not two."""
_NAMED: Final = 8
_log: Final = logging.getLogger("pagefault")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A stored page without its vector; ``text`` is ``None`` when only the store has it."""

    scope: Scope
    point: UUID
    seq: int
    text: str | None


class Indexer:
    """The queue of pages that wait for their vectors. Used on the kernel's loop thread.

    Attributes:
        is_verified: The embedder is the one that the store was written with.
    """

    def __init__(self, kernel: Kernel, store: PageStore, vectors: Vectors) -> None:
        self._kernel = kernel
        self._store = store
        self._vectors = vectors
        self._waiting: OrderedDict[UUID, _Waiting] = OrderedDict()
        self._refused: OrderedDict[UUID, _Waiting] = OrderedDict()
        self._lowest: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._kept = 0
        self._pace = math.inf
        self._turn = asyncio.Lock()
        self.is_verified = not vectors.is_on

    @property
    def is_on(self) -> bool:
        """Whether there is an embedder at all."""
        return self._vectors.is_on

    @property
    def has_work(self) -> bool:
        """Whether a page waits that no embedder refused yet."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether to index before more is written."""
        return len(self._waiting) >= FULL_PAGES

    async def at_once(self, texts: Sequence[str]) -> Sequence[Dense | None]:
        """For each text of some new pages vectors to store along with it; none where that would hold up storing."""
        none = [None] * len(texts)
        is_quick = self.is_on and self.is_verified and self._pace <= QUICK_SECONDS
        if not is_quick or sum(map(len, texts)) > UNIT_CHARS:
            return none
        try:
            made = iter(await self._embed([text for text in texts if text]))
        except EmbedderError:  # they wait for their vectors like others, and that says what is wrong
            self._pace = math.inf
            return none
        return [next(made) if text else None for text in texts]

    def add(self, scope: Scope, pages: Iterable[tuple[Page, str]]) -> None:
        """These pages are stored; make vectors of the texts of those that are searched for."""
        if not self.is_on:
            return
        for page, text in pages:
            if text:
                self._put(scope, point_id(scope.space, page.chain), page.seq, text)

    def add_stored(self, scope: Scope, stored: Iterable[tuple[int, str]]) -> None:
        """Pages stored by an earlier process, by number and chain, that may have no vector yet."""
        if self.is_on:
            for seq, chain in stored:
                self._put(scope, point_id(scope.space, chain), seq, None)

    def indexed_up_to(self, scope: Scope, length: int, new: Sequence[Page] = ()) -> int:
        """The last page up to which all pages of a space have their vectors; never too high."""
        if not self.is_on:
            return length
        low = [self._lowest[scope.space]] if scope.space in self._lowest else []
        return min([*low, *(page.seq for page in new), length + 1]) - 1

    async def work(self) -> None:
        """Index one unit.

        Raises:
            EmbedderError: The embedder fails whatever the text; the unit goes on waiting.
            StoreError: The store refused the vectors.
        """
        async with self._turn:
            if self._waiting:
                await self.verify()
                await self._unit()

    def try_again(self) -> None:
        """What was refused before waits once more."""
        for waiting in self._refused.values():
            self._waiting.setdefault(waiting.point, waiting)
        self._refused.clear()

    async def finish(self) -> None:
        """Index all that waits now.

        Raises:
            EmbedderError: As for ``work``, or the embedder refuses pages among it.
            StoreError: The store refused the vectors.
        """
        pages: list[str] = []
        for point in list(self._waiting):
            while point in self._waiting:
                await self.work()
            if point in self._refused:
                pages.append(str(self._refused[point].seq))
        if pages:
            raise EmbedderError(
                f"embedder {self._vectors.name!r} has no usable vector for pages {', '.join(pages[:_NAMED])}"
                f"{', ...' if len(pages) > _NAMED else ''}; they are stored and found by full text. "
                "Mend the embedder and flush again"
            )

    async def catch_up(self, scope: Scope) -> None:
        """Index what waits of one space now, before the rest, unless it is a lot; what is added meanwhile may wait.

        Raises:
            EmbedderError: As for ``work``.
            StoreError: The store refused the vectors.
        """
        mine = [waiting for waiting in self._waiting.values() if waiting.scope == scope]
        if len(mine) > FULL_PAGES:
            return
        for waiting in reversed(mine):
            self._waiting.move_to_end(waiting.point, last=False)
        for waiting in mine:
            while waiting.point in self._waiting and next(iter(self._waiting.values())).scope == scope:
                await self.work()

    # -- inside ----------------------------------------------------------------------------

    def _put(self, scope: Scope, point: UUID, seq: int, text: str | None) -> None:
        if point in self._waiting:
            return
        kept = text if text is not None and self._kept + len(text) <= KEPT_CHARS else None
        self._kept += len(kept or "")
        self._waiting[point] = _Waiting(scope=scope, point=point, seq=seq, text=kept)
        if self._refused.pop(point, None) is None:
            self._counts[scope.space] = self._counts.get(scope.space, 0) + 1
        self._lowest[scope.space] = min(seq, self._lowest.get(scope.space, seq))

    def _done(self, waiting: _Waiting) -> None:
        if self._waiting.pop(waiting.point, None) is None:
            return
        self._kept -= len(waiting.text or "")
        space = waiting.scope.space
        self._counts[space] -= 1
        if not self._counts[space]:
            del self._counts[space], self._lowest[space]

    def _refuse(self, waiting: _Waiting, error: EmbedderError) -> None:
        self._waiting.pop(waiting.point, None)
        self._kept -= len(waiting.text or "")
        self._refused[waiting.point] = replace(waiting, text=None)
        _log.warning("page %d is found by full text alone: %s", waiting.seq, error)

    async def verify(self) -> None:
        """Where the embedder could not be probed when the store was opened, do so now.

        Raises:
            EmbedderError: It fails on a probe.
            StoreMismatch: It is not the one that the store was written with.
        """
        if not self.is_verified:
            await self._store.open(await self._vectors.header())
            self.is_verified = True

    async def _unit(self) -> None:
        batch = await self._read(self._first())
        texts = [w.text or "" for w in batch]
        try:
            vectors = await self._embed(texts)
        except EmbedderError:
            await self._embed([PROBE])  # raises when the embedder is down; else it is about these texts
            await self._one_by_one(batch)
            return
        await self._store_vectors(batch, vectors)

    def _first(self) -> list[_Waiting]:
        """The oldest pages that wait, of all spaces of one tenant, as far as a unit goes: agents share a batch."""
        first: list[_Waiting] = []
        size = 0
        for waiting in self._waiting.values():
            size += len(waiting.text or "")
            is_other = bool(first) and waiting.scope.tenant != first[0].scope.tenant
            if is_other or len(first) == UNIT_PAGES or (first and size > UNIT_CHARS):
                break
            first.append(waiting)
        return first

    async def _read(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """The same with their texts, as far as the store has them intact."""
        found: list[_Waiting] = []
        for waiting in batch:
            text = waiting.text
            if text is None:
                text = await self._text(waiting)
            if text:
                found.append(replace(waiting, text=text))
            else:
                self._done(waiting)
        return found

    async def _text(self, waiting: _Waiting) -> str:
        try:
            record = (await self._store.get(waiting.scope, [waiting.point])).get(waiting.point)
            return "" if record is None else await self._kernel.run(lambda: _text_of(record), urgent=False)
        except CorruptPage as error:
            _log.warning("page %d has no vector: %s", waiting.seq, error)
            return ""

    async def _embed(self, texts: Sequence[str]) -> Sequence[Dense]:
        if not texts:
            return []
        vectors, self._pace = await self._vectors.of_texts(texts)
        return vectors

    async def _one_by_one(self, batch: Sequence[_Waiting]) -> None:
        for waiting in batch:
            try:
                vectors = await self._embed([waiting.text or ""])
            except EmbedderError as error:
                self._refuse(waiting, error)
            else:
                await self._store_vectors([waiting], vectors)

    async def _store_vectors(self, batch: Sequence[_Waiting], vectors: Sequence[Dense]) -> None:
        found: dict[Scope, dict[UUID, Dense]] = {}
        for waiting, vector in zip(batch, vectors, strict=True):
            found.setdefault(waiting.scope, {})[waiting.point] = vector
        for scope, made in found.items():
            await self._store.index(scope, made)
            for waiting in batch:
                if waiting.point in made:
                    self._done(waiting)


def vector_text(page: Page) -> str:
    """What a page's vector is made of; nothing for one that is not searched for, or says nothing."""
    return index_text(page) if page.kind is Kind.MESSAGE else ""


def words_of(text: str) -> Sparse | None:
    """The words of what a search sees, ``None`` where it has none."""
    words = document_vector(text)
    return words if words.indices else None


def index_text(page: Page) -> str:
    """What full-text and dense search see of a page: all but copies of other pages, and what was asked for them."""
    copied = {m.call_id for m in page.messages if m.recalled} - {""}
    lines: list[str] = []
    for message in page.messages:
        if not message.recalled:  # a call without an id is answered by its tool's name, if at all
            calls = [call for call in message.calls if (call.id or call.name) not in copied]
            own = message.text if message.own is None else message.own
            lines += [message.name, own, *(f"{c.name} {c.arguments}" for c in calls)]
    return "\n".join(line for line in lines if line)


def _text_of(record: Record) -> str:
    return vector_text(page_from(record))
