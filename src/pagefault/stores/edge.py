"""The embedded store: a real Qdrant engine inside the process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

from qdrant_edge import EdgeShard, HasIdCondition

from pagefault.errors import CorruptPage, MemoryClosed, StoreError, StoreLocked
from pagefault.ports import Dense, Header, Hit, Reach, Record, RecordKind, Runner, Scope, Sparse, Swap, Tally, Where
from pagefault.stores import edge_calls, layout
from pagefault.stores.durability import WalSync
from pagefault.stores.engine import Engine
from pagefault.stores.frequencies import Frequencies
from pagefault.stores.lists import are_apart
from pagefault.stores.vectors import dense_units, dense_vectors, query_sparse, vector

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)
# Windows: how much one engine call may touch, since it holds the interpreter lock meanwhile.
_IDS: Final = 64
_BODIES: Final = 32
_CHUNKS: Final = 4
_SCAN: Final = 256
_TERMS: Final = 16
_LOCK_POLL_SECONDS: Final = 0.05
_FULL_LOGS: Final = 8  # of 32 MiB each; a flush (0.1 s) then lets the engine drop them


class EdgeStore:
    """A page store on an embedded Qdrant engine; one data directory holds all tenants.

    Args:
        path: The data directory; created, readable by its owner alone, when it is missing.
        run: Runs blocking calls on the one thread that owns the engine.
        lock_timeout: Seconds to wait for another process to let go of the directory, for
            development servers that start the new process before the old one is gone.
        offload: Runs a call that only waits for the disk, beside the engine's thread.

    Example:
        >>> import asyncio, tempfile
        >>> from pagefault.ports import Header
        >>> from pagefault.testing import ThreadRunner
        >>> async def main(path: str) -> None:
        ...     with ThreadRunner() as run:
        ...         store = EdgeStore(path, run=run)
        ...         await store.open(Header())
        ...         await store.close()
        >>> with tempfile.TemporaryDirectory() as path:
        ...     asyncio.run(main(path))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        run: Runner,
        lock_timeout: float = 2.0,
        offload: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread,
    ) -> None:
        self._run = run
        self._offload = offload
        self._lock_timeout = lock_timeout
        self._engine = Engine(Path(path))
        self._path = self._engine.directory
        self._wal = WalSync(self._engine.wal)
        self._pid: int | None = None
        self._dimension = 0
        self._apart = False
        self._closed = False
        self._warned = False
        self._counted = Frequencies()
        self._ids: tuple[Sequence[UUID] | None, HasIdCondition | None] = (None, None)

    async def open(self, header: Header | None) -> Header:
        """Create or load the data directory; without a header, only load it. Idempotent.

        Raises:
            StoreMissing: There is nothing to load, and no header was given.
            StoreLocked: Another process, or another store in this one, has it open.
            StoreUnwritable: It cannot be created or written, or the disk is nearly full.
            StoreMismatch: It was written with another header.
            MemoryClosed: This store was closed; make a new one.
        """
        if self._pid is not None or self._closed:
            self._check()
        deadline = time.monotonic() + self._lock_timeout
        while True:
            try:
                settled = await self._run(partial(self._engine.open, header), urgent=True)
            except StoreLocked:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(_LOCK_POLL_SECONDS)
            else:
                if self._pid is None:
                    self._wal = WalSync(self._engine.wal)
                self._pid, self._dimension, self._apart = os.getpid(), settled.dimension, are_apart(settled)
                return settled

    async def put(self, scope: Scope, records: Sequence[Record]) -> None:
        """Write records; on return they survive a process kill.

        A page whose id exists is left as it is; a head is replaced. When a call fails after
        validation, records before the failing unit are written: writing all again is safe.

        Raises:
            StoreUnwritable: The disk is nearly full; so it is for everything else that writes.
            StoreError: A record cannot be stored exactly (nothing is written then), an id
                names a record of another space, or the engine failed.
        """
        self._check(scope)
        how = self._how
        put = partial(edge_calls.put, scope=scope, records=records, dimension=self._dimension, **how)
        for unit in await self._write(put):
            await self._write(partial(edge_calls.write, scope=scope, unit=unit, **how))

    async def swap(self, scope: Scope, swaps: Sequence[Swap]) -> list[bool]:
        """Write items whose stored version is the expected one; whether each was written.

        Raises:
            StoreError: A record cannot be stored exactly (nothing is written then), an id
                names a record of another space or kind, or the engine failed.
        """
        self._check(scope)
        laid = layout.swapped(scope, swaps, dimension=self._dimension)
        versions = {row.id: version for row, version in laid}
        chunks = [row for row, _ in laid if row.kind == layout.CHUNK]
        how = self._how
        for unit in layout.units(chunks):
            await self._write(partial(edge_calls.write, scope=scope, unit=unit, **how))
        won: list[bool] = []
        for unit in layout.units(row for row, _ in laid if row.kind != layout.CHUNK):
            pairs = [(row, versions[row.id]) for row in unit]
            won += await self._write(partial(edge_calls.swap, scope=scope, unit=pairs, **how))
        return won

    async def remove(self, scope: Scope, where: Where) -> None:
        """Delete the items with ``where.ids``; with ``where.last``, only versions up to it."""
        self._check(scope)
        last = layout.MAX_INT if where.last is None else where.last
        for ids in layout.windows(layout.named(where), _IDS):
            await self._write(partial(edge_calls.remove, scope=scope, ids=ids, last=last, counted=self._counted))

    async def amend(self, scope: Scope, where: Where, fields: Mapping[str, layout.Scalar]) -> None:
        """Set some fields of the items with ``where.ids``; with ``where.last``, of versions up to it."""
        self._check(scope)
        plain = layout.plain_fields(fields)
        last = layout.MAX_INT if where.last is None else where.last
        for ids in layout.windows(layout.named(where), _IDS):
            await self._write(partial(edge_calls.amend, scope=scope, ids=ids, fields=plain, last=last))

    async def index(self, scope: Scope, vectors: Mapping[UUID, Dense]) -> None:
        """Add the dense vectors of pages already stored, in place of older ones; ids not in scope are ignored.

        Raises:
            StoreError: A vector has the wrong length or values; nothing is written then.
        """
        self._check(scope)
        plain = {id_: dense_vectors(v, dimension=self._dimension, of=str(id_)) for id_, v in vectors.items()}
        for unit in dense_units(plain, layout.UNIT_RECORDS):
            await self._write(partial(edge_calls.add_vectors, scope=scope, vectors=unit))

    async def get(
        self, scope: Scope, ids: Sequence[UUID], *, bodies: bool = True, words: bool = False
    ) -> dict[UUID, Record]:
        """The records with these ids that are in scope, in the order asked for.

        Raises:
            CorruptPage: A chunk of a large body is missing.
        """
        self._check(scope)
        found: dict[UUID, Record] = {}
        for window in layout.windows(list(dict.fromkeys(ids)), _BODIES if bodies else _IDS):
            read = partial(edge_calls.fetch, scope=scope, ids=window, bodies=bodies, words=words, apart=self._apart)
            for id_, (payload, sparse) in (await self._read(read)).items():
                if bodies and "chunks" in payload:
                    found[id_] = replace(await self._assemble(scope, id_, payload), sparse=sparse)
                else:
                    found[id_] = layout.restore(id_, payload, str(payload.get("body", "")), sparse=sparse)
        return found

    async def scan(self, scope: Reach, where: Where, *, limit: int) -> list[Record]:
        """Up to ``limit`` records ordered by (seq, id), or the newest first, without bodies and vectors."""
        self._check(scope)
        found: list[Record] = []
        at = layout.start_of(where)
        ids = self._id_condition(where)
        while at is not None and len(found) < limit:
            size = min(_SCAN, limit - len(found) + 1)
            window, at = await self._read(
                partial(edge_calls.scan_window, scope=scope, where=where, ids=ids, at=at, size=size)
            )
            found += window
        return found[: max(limit, 0)]

    async def search(
        self, scope: Reach, queries: Sequence[Sparse | Sequence[float]], where: Where, *, limit: int
    ) -> list[list[Hit]]:
        """For each query (sparse: BM25 with IDF over this scope; else dense: cosine) its best hits.

        Raises:
            StoreError: A query vector has the wrong length or values.
        """
        self._check(scope)
        plain = [self._query(query) for query in queries]
        hits: list[list[Hit]] = [[] for _ in plain]
        if limit <= 0 or layout.is_empty(where):
            return hits
        ids = self._id_condition(where)
        asked = [i for i, query in enumerate(plain) if not isinstance(query, Sparse) or query.indices]
        if asked:
            ask = [plain[i] for i in asked]
            search = partial(
                edge_calls.search, scope=scope, queries=ask, where=where, ids=ids, limit=limit, **self._how
            )
            for i, answer in zip(asked, await self._read(search), strict=True):
                hits[i] = answer
        return hits

    async def count(self, scope: Reach, where: Where) -> int:
        """How many records there are."""
        self._check(scope)
        if layout.is_empty(where):
            return 0
        if where == Where(kind=where.kind):  # which every recall asks of its items
            known = self._counted.size(layout.reach_of(scope, where.kind))
            size = partial(edge_calls.size, scope=scope, kind=where.kind, counted=self._counted)
            return known if known is not None else await self._read(size)
        return await self._read(partial(edge_calls.count, scope=scope, where=where, ids=self._id_condition(where)))

    async def idf(
        self, scope: Reach, terms: Sequence[int], *, kind: RecordKind = "page", near: Sequence[UUID] = ()
    ) -> dict[int, float]:
        """The IDF weight of each sparse index over this scope's records of a kind; absent terms are missing.

        A term is counted when it is asked for or searched for the first time. One that a record ``near`` holds then
        costs a sixth of what others do.
        """
        self._check(scope)
        distinct = tuple(dict.fromkeys(terms))
        query_sparse(Sparse(indices=distinct, values=(1.0,) * len(distinct)))
        with contextlib.suppress(KeyError):  # what a search has just weighed costs nothing more
            return self._counted.weights(layout.reach_of(scope, kind), distinct)
        weights: dict[int, float] = {}
        for window in layout.windows(distinct, _TERMS):
            weigh = partial(edge_calls.idf, scope=scope, terms=window, kind=kind, near=tuple(near[:_IDS]), **self._how)
            weights |= await self._read(weigh)
        return weights

    async def census(self) -> list[Tally]:
        """What each space of every tenant holds."""
        self._check()
        return await self._call(edge_calls.census, urgent=False)

    async def sync(self) -> None:
        """Make everything stored durable (meant to survive power loss).

        Raises:
            StoreError: The disk refused.
        """
        self._check()
        # Not on the engine's thread: waiting for the disk takes no interpreter lock, and a fault
        # must not queue behind it. The log on disk is all it touches.
        full_logs = await self._offload(self._wal.sync)
        if full_logs is None and not self._warned:
            self._warned = True
            _LOG.warning("%s has no write-ahead log to sync; flushing the engine instead, which is slower", self._path)
        if full_logs is None or full_logs >= _FULL_LOGS:
            await self._run(partial(self._engine.flush, needed=full_logs is None), urgent=False)

    async def close(self) -> None:
        """Flush and release. Idempotent; in a forked child it only forgets the store.

        Raises:
            StoreUnwritable: The disk is nearly full. Nothing stored is lost; the directory stays locked until this
                process ends, or opens it again.
        """
        inherited = self._pid is not None and self._pid != os.getpid()
        if self._closed or inherited:
            self._closed = True
            return
        self._closed = True
        # Not urgent: what was put before comes first.
        await self._run(self._engine.close, urgent=False)

    async def _assemble(self, scope: Scope, id_: UUID, payload: layout.Payload) -> Record:
        while True:
            parts: list[str] = []
            try:
                for window in layout.windows(layout.chunk_ids(id_, str(payload["chunks"])), _CHUNKS):
                    parts += await self._read(partial(edge_calls.fetch_chunks, scope=scope, ids=window, owner=id_))
                return layout.restore(id_, payload, "".join(parts))
            except CorruptPage:  # unless a head was replaced between two reads
                read = partial(edge_calls.fetch, scope=scope, ids=[id_], bodies=True, apart=self._apart)
                again = await self._read(read)
                fresh = again[id_][0] if id_ in again else None
                if fresh is None or fresh.get("chunks") == payload["chunks"]:
                    raise
                if "chunks" not in fresh:
                    return layout.restore(id_, fresh, str(fresh["body"]))
                payload = fresh

    def _query(self, query: Sparse | Sequence[float]) -> Sparse | list[float]:
        if isinstance(query, Sparse):
            return query_sparse(query)
        return vector(query, dimension=self._dimension, of="the query")

    @property
    def _how(self) -> dict[str, Any]:
        """How the words of records lie, and what is known of them."""
        return {"apart": self._apart, "counted": self._counted}

    def _id_condition(self, where: Where) -> HasIdCondition | None:
        """The condition on ids; the last one is kept, since building one takes 1 us an id."""
        if where.ids is None:
            return None
        kept, condition = self._ids
        if condition is None or kept is not where.ids:
            condition = HasIdCondition(set(where.ids))
            if isinstance(where.ids, tuple):  # it cannot have changed when it comes again
                self._ids = (where.ids, condition)
        return condition

    async def _read(self, fn: Callable[[EdgeShard], T]) -> T:
        return await self._call(fn, urgent=True)

    async def _write(self, fn: Callable[[EdgeShard], T]) -> T:
        return await self._run(partial(self._engine.write, fn), urgent=False)

    async def _call(self, fn: Callable[[EdgeShard], T], *, urgent: bool) -> T:
        return await self._run(partial(self._engine.call, fn), urgent=urgent)

    def _check(self, scope: Reach | None = None) -> None:
        if self._closed:
            raise MemoryClosed(f"the store at {self._path} is closed; open it again")
        if self._pid is None:
            raise StoreError(f"the store at {self._path} is not open; await its open() first")
        if self._pid != os.getpid():
            raise StoreError(
                f"the store at {self._path} was opened before this process was forked and cannot be used here; "
                "open it after the fork"
            )
        if scope is not None:
            layout.check_scope(scope)
