"""Fakes that fail on purpose: an outage, a slow disk, an embedder that misbehaves."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

from pagefault.errors import StoreError
from pagefault.ports import (
    Dense,
    Embedder,
    Header,
    Hit,
    PageStore,
    Reach,
    Record,
    RecordKind,
    Scope,
    Sparse,
    Swap,
    Tally,
    Versions,
    Where,
)

CALLS: Final = frozenset(
    (
        *("open", "put", "swap", "remove", "amend", "index"),
        *("get", "scan", "search", "count", "idf", "census", "sync", "close"),
    )
)


class FlakyStore:
    """A fake outage: a real store whose calls fail as long as they are told to.

    Attributes:
        calls: How often each method was called, failures included.

    Example:
        >>> from pagefault.testing import ThreadRunner
        >>> from pagefault.stores import EdgeStore
        >>> store = FlakyStore(EdgeStore("nowhere", run=ThreadRunner()))
        >>> store.fail("sync")
        >>> asyncio.run(store.sync())
        Traceback (most recent call last):
        ...
        pagefault.errors.StoreError: the fake outage has hit sync
    """

    def __init__(self, inner: PageStore) -> None:
        self.inner: Final = inner
        self.calls: Final[Counter[str]] = Counter()
        self._errors: dict[str, Exception] = {}
        self._only: Callable[[str, Reach | None], bool] = lambda _call, _scope: True

    def fail(self, *calls: str, error: Exception | None = None, tenant: str | None = None) -> None:
        """From now on these calls raise ``error``, by default a ``StoreError``.

        Args:
            calls: Names of port methods; all but ``open`` and ``close`` when there are none.
            error: What is raised.
            tenant: Only calls about this tenant fail.
        """
        for call in calls or CALLS - {"open", "close"}:
            self._errors[call] = error or StoreError(f"the fake outage has hit {call}")
        self._only = lambda _call, scope: tenant is None or (scope is not None and scope.tenant == tenant)

    def heal(self) -> None:
        """The outage is over."""
        self._errors = {}

    async def _before(self, call: str, scope: Reach | None = None) -> None:
        self.calls[call] += 1
        if call in self._errors and self._only(call, scope):
            raise self._errors[call]

    async def open(self, header: Header | None) -> Header:
        """As the store inside."""
        await self._before("open")
        return await self.inner.open(header)

    async def put(self, scope: Scope, records: Sequence[Record]) -> None:
        """As the store inside."""
        await self._before("put", scope)
        await self.inner.put(scope, records)

    async def swap(self, scope: Scope, swaps: Sequence[Swap]) -> list[bool]:
        """As the store inside."""
        await self._before("swap", scope)
        return await self.inner.swap(scope, swaps)

    async def remove(self, scope: Scope, versions: Versions) -> None:
        """As the store inside."""
        await self._before("remove", scope)
        await self.inner.remove(scope, versions)

    async def amend(self, scope: Scope, versions: Versions, fields: Mapping[str, str | int | float | bool]) -> None:
        """As the store inside."""
        await self._before("amend", scope)
        await self.inner.amend(scope, versions, fields)

    async def index(self, scope: Scope, vectors: Mapping[UUID, Dense]) -> None:
        """As the store inside."""
        await self._before("index", scope)
        await self.inner.index(scope, vectors)

    async def get(
        self, scope: Scope, ids: Sequence[UUID], *, bodies: bool = True, words: bool = False
    ) -> dict[UUID, Record]:
        """As the store inside."""
        await self._before("get", scope)
        return await self.inner.get(scope, ids, bodies=bodies, words=words)

    async def scan(self, scope: Reach, where: Where, *, limit: int) -> list[Record]:
        """As the store inside."""
        await self._before("scan", scope)
        return await self.inner.scan(scope, where, limit=limit)

    async def search(
        self, scope: Reach, queries: Sequence[Sparse | Sequence[float]], where: Where, *, limit: int
    ) -> list[list[Hit]]:
        """As the store inside."""
        await self._before("search", scope)
        return await self.inner.search(scope, queries, where, limit=limit)

    async def count(self, scope: Reach, where: Where, *, limit: int | None = None) -> int:
        """As the store inside."""
        await self._before("count", scope)
        return await self.inner.count(scope, where, limit=limit)

    async def idf(self, scope: Reach, terms: Sequence[int], *, kind: RecordKind = "page") -> dict[int, float]:
        """As the store inside."""
        await self._before("idf", scope)
        return await self.inner.idf(scope, terms, kind=kind)

    async def census(self) -> list[Tally]:
        """See :meth:`PageStore.census`."""
        await self._before("census")
        return await self.inner.census()

    async def sync(self) -> None:
        """As the store inside."""
        await self._before("sync")
        await self.inner.sync()

    async def close(self) -> None:
        """As the store inside."""
        await self._before("close")
        await self.inner.close()


class SlowStore(FlakyStore):
    """A fake slow disk: while it is held, the calls it is told to wait for do not go on.

    It waits for permission, not for a time, so a test decides what happens in which order.

    Example:
        >>> from pagefault.testing import ThreadRunner
        >>> from pagefault.stores import EdgeStore
        >>> store = SlowStore(EdgeStore("nowhere", run=ThreadRunner()))
        >>> store.hold("put")
        >>> store.waiting
        0
        >>> store.let_go()
    """

    def __init__(self, inner: PageStore) -> None:
        super().__init__(inner)
        self._held: frozenset[str] = frozenset()
        self.waiting = 0

    def hold(self, *calls: str) -> None:
        """From now on these calls wait."""
        self._held = frozenset(calls)

    def let_go(self) -> None:
        """All calls go on."""
        self._held = frozenset()

    async def _before(self, call: str, scope: Reach | None = None) -> None:
        self.waiting += 1
        try:
            while call in self._held:  # noqa: ASYNC110  # the test that lets go is on another thread
                await asyncio.sleep(0.001)
        finally:
            self.waiting -= 1
        await super()._before(call, scope)


Fault = Literal["", "raises", "exits", "count", "nothing", "nan", "dimension", "hangs"]


class BrokenEmbedder:
    """A fake embedder that misbehaves: it is another one, until a fault is set.

    Attributes:
        fault: How it fails now, ``""`` for not at all: it ``raises``, ``exits`` (raises
            ``SystemExit``), returns one vector too few (``count``), ``None`` (``nothing``), NaN,
            vectors of another ``dimension``, or ``hangs`` until ``release`` is set.
        refuses: Texts that contain this make it raise, whatever the fault; ``""`` for none.
        release: Ends a hang.
        hanging: It hangs now.
        calls: Texts it was given, one entry for each call.

    Example:
        >>> from pagefault.testing.embedders import HashingEmbedder
        >>> embedder = BrokenEmbedder(HashingEmbedder())
        >>> embedder.fault = "count"
        >>> len(embedder.embed(["one", "two"]))
        1
    """

    def __init__(self, inner: Embedder, fault: Fault = "") -> None:
        self._inner = inner
        self.fault: Fault = fault
        self.refuses = ""
        self.release = threading.Event()
        self.hanging = threading.Event()
        self.calls: list[list[str]] = []

    @property
    def name(self) -> str:
        """The name of the one inside."""
        return self._inner.name

    @property
    def dimension(self) -> int:
        """The dimension of the one inside."""
        return self._inner.dimension

    def embed(self, texts: Sequence[str]) -> Any:
        """Vectors, unless it fails."""
        self.calls.append(list(texts))
        if self.refuses and any(self.refuses in text for text in texts):
            raise ValueError(f"this fake refuses texts with {self.refuses!r}")
        vectors = [list(vector) for vector in self._inner.embed(texts)]
        match self.fault:
            case "raises":
                raise OSError("the fake embedder is down")
            case "exits":
                raise SystemExit("the fake embedder wants to leave")
            case "count":
                return vectors[1:]
            case "nothing":
                return None
            case "nan":
                return [[float("nan"), *vector[1:]] for vector in vectors]
            case "dimension":
                return [[*vector, 1.0] for vector in vectors]
            case "hangs":
                self.hanging.set()
                self.release.wait()
        return vectors
