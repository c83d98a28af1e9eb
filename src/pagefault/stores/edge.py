"""The embedded store: a real Qdrant engine inside the process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

from qdrant_edge import EdgeShard, HasIdCondition

from pagefault.errors import MemoryClosed, StoreError, StoreLocked
from pagefault.ports import Header, Hit, Reach, Record, RecordKind, Runner, Scope, Sparse, Tally, Where
from pagefault.stores import layout
from pagefault.stores.adapter import Adapter
from pagefault.stores.durability import WalSync
from pagefault.stores.edge_calls import Calls, census
from pagefault.stores.engine import Engine
from pagefault.stores.frequencies import Frequencies
from pagefault.stores.lists import are_apart
from pagefault.stores.scopes import check_scope, reach_of
from pagefault.stores.vectors import query_sparse

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)
# Windows: how much one engine call may touch, since it holds the interpreter lock meanwhile.
_IDS: Final = 64
_TERMS: Final = 16
_LOCK_POLL_SECONDS: Final = 0.05
_FULL_LOGS: Final = 8  # of 32 MiB each; a flush (0.1 s) then lets the engine drop them


class EdgeStore(Adapter):
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
        super().__init__(ids=_IDS, vectors=layout.UNIT_RECORDS)
        self._run = run
        self._offload = offload
        self._lock_timeout = lock_timeout
        self._engine = Engine(Path(path))
        self._path = self._engine.directory
        self._wal = WalSync(self._engine.wal)
        self._pid: int | None = None
        self._closed = False
        self._warned = False
        self._counted = Frequencies()
        self._calls = Calls(self._read, self._write, apart=False, counted=self._counted)

    @property
    def is_gone(self) -> bool:
        """Whether its directory was deleted, moved or replaced while it was open."""
        return self._engine.is_gone

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
            self._ready()
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
                self._calls = Calls(self._read, self._write, apart=are_apart(settled), counted=self._counted)
                self._pid, self._dimension = os.getpid(), settled.dimension
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
        calls = self._ready(scope)
        for unit in await calls.put(scope, records, dimension=self._dimension):
            await calls.write(scope, unit)

    async def search(
        self, scope: Reach, queries: Sequence[Sparse | Sequence[float]], where: Where, *, limit: int
    ) -> list[list[Hit]]:
        """As any store's. Where a query has many words, others have their turns while they are weighed."""
        for query in queries:
            if isinstance(query, Sparse) and len(query.indices) > _TERMS:
                await self.idf(scope, query.indices, kind=where.kind)
        return await super().search(scope, queries, where, limit=limit)

    async def count(self, scope: Reach, where: Where, *, limit: int | None = None) -> int:
        """How many records there are; how many of a kind, which every recall asks of its items, is kept in mind."""
        calls = self._ready(scope)
        if where != Where(kind=where.kind):
            return await super().count(scope, where, limit=limit)
        found = self._counted.size(reach_of(scope, where.kind))
        if found is None:
            found = await calls.size(scope, where.kind)
        return found if limit is None else min(found, limit)

    async def idf(self, scope: Reach, terms: Sequence[int], *, kind: RecordKind = "page") -> dict[int, float]:
        """The IDF weight of each sparse index over this scope's records of a kind; absent terms are missing.

        A term is counted when it is asked for or searched for the first time.
        """
        calls = self._ready(scope)
        distinct = tuple(dict.fromkeys(terms))
        query_sparse(Sparse(indices=distinct, values=(1.0,) * len(distinct)))
        with contextlib.suppress(KeyError):  # what a search has just weighed costs nothing more
            return self._counted.weights(reach_of(scope, kind), distinct)
        weights: dict[int, float] = {}
        for window in layout.windows(distinct, _TERMS):
            weights |= await calls.idf(scope, window, kind)
        return weights

    async def census(self) -> list[Tally]:
        """What each space of every tenant holds."""
        self._ready()
        return await self._call(census, urgent=False)

    async def sync(self) -> None:
        """Make everything stored durable (meant to survive power loss).

        Raises:
            StoreError: The disk refused.
        """
        self._ready()
        # Not on the engine's thread: waiting for the disk takes no interpreter lock, and a fault
        # must not queue behind it. The log on disk is all it touches.
        full_logs = await self._offload(self._sync)
        if full_logs is None and not self._warned:
            self._warned = True
            _LOG.warning("%s has no write-ahead log to sync; flushing the engine instead, which is slower", self._path)
        if full_logs is None or full_logs >= _FULL_LOGS:
            await self._run(partial(self._engine.flush, needed=full_logs is None), urgent=False)

    def _sync(self) -> int | None:
        self._engine.check_place()
        return self._wal.sync()

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

    def _units(self, rows: Iterable[layout.Row]) -> Iterator[list[layout.Row]]:
        return layout.units(rows)

    def _has_id(self, ids: Sequence[UUID]) -> HasIdCondition:
        return HasIdCondition(set(ids))

    async def _read(self, fn: Callable[[EdgeShard], T]) -> T:
        return await self._call(fn, urgent=True)

    async def _write(self, fn: Callable[[EdgeShard], T]) -> T:
        return await self._run(partial(self._engine.write, fn), urgent=False)

    async def _call(self, fn: Callable[[EdgeShard], T], *, urgent: bool) -> T:
        return await self._run(partial(self._engine.call, fn), urgent=urgent)

    def _ready(self, scope: Reach | None = None) -> Calls:
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
            check_scope(scope)
        return self._calls
