"""What one open memory consists of: its store, and what writes to it and reads from it."""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
import weakref
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from pagefault.embedders import check_embedder, default_embedder
from pagefault.embedders.calls import Vectors
from pagefault.errors import InvalidId, MemoryClosed
from pagefault.faults.retrieval import Retrieval
from pagefault.faults.sources import Sources
from pagefault.kernel import Kernel
from pagefault.page import SpaceId, check_id
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.ports import Embedder, PageStore, Scope, TokenCounter
from pagefault.rooted import Rooted
from pagefault.shelf import Shelf, shelf_scope
from pagefault.stores import EdgeStore
from pagefault.targets import Place, key_of
from pagefault.tokens import check_counter, default_counter
from pagefault.window.budget import Budget, check_budget
from pagefault.window.calibration import Gauge
from pagefault.writing.writeback import WriteBack, refuse_in_between

MAX_LIVE_SPACES: Final = 512
MAX_GAUGES: Final = 1_024
"""A program that makes up a budget for each request would fill the memory with what they taught."""
DEFAULT_TENANT: Final = "default"
EmbedderChoice = Embedder | Literal["default"] | None


@dataclass(frozen=True, slots=True)
class Options:
    """What ``open`` was asked for; two opens of one directory must agree."""

    embedder: EmbedderChoice
    counter: TokenCounter | None
    budget: Budget | None
    require_tenant: bool

    def __post_init__(self) -> None:
        check_embedder(self.embedder)
        check_budget(self.budget)
        check_counter(self.counter)


class Core(Rooted):
    """The parts of one memory, whoever holds a handle of it. For spaces, shelves and adapters.

    Attributes:
        target: Where it is.
        key: What tells it from other places; empty for a throw-away one.
        options: What it was opened with.
        kernel: Runs what waits for the store or the embedder.
        store: Where the pages are.
        vectors: Asks the embedder.
        writeback: Writes behind the agents.
        retrieval: Brings pages back.
        sources: Asks what lies outside.
        is_ready: The store was opened. A call of an agent asks first, since this costs next to nothing.
        is_closed: Nothing is taken in any more.
        closing: Its last flush, once that has begun.
        holders: How many handles are not closed yet.
    """

    kernel: Kernel
    store: PageStore
    vectors: Vectors
    writeback: WriteBack
    retrieval: Retrieval
    sources: Sources

    def __init__(self, target: Place, options: Options) -> None:
        self.target = target
        self.key = key_of(target)
        self.options = options
        self.is_ready = False
        self.is_closed = False
        self.closing: Future[None] | None = None
        self.holders = 0
        self._lock = threading.Lock()
        self._recent: OrderedDict[SpaceId, Paging] = OrderedDict()
        self._pagings: weakref.WeakValueDictionary[SpaceId, Paging] = weakref.WeakValueDictionary()
        self._gauges: OrderedDict[tuple[str, Budget], Gauge] = OrderedDict()
        self._counter = options.counter
        self._temporary: Path | None = None
        self._build()

    @property
    def place(self) -> str:
        """What ``attach`` finds it by: its real path or its server's URL."""
        return self.target if isinstance(self.target, str) else self.key or f":memory:{id(self):x}"

    @property
    def name(self) -> str:
        """Where it is, in words."""
        return str(self.target or ":memory:")

    def _build(self) -> None:
        chosen = self.options.embedder
        embedder = default_embedder() if isinstance(chosen, str) else chosen
        self.kernel = Kernel(f"pagefault {self.name}")
        self.store = self._make_store()
        self.vectors = Vectors(self.kernel, embedder)
        is_shared = isinstance(self.target, str)
        self.writeback = WriteBack(
            self.kernel, self.store, self.vectors, counter=lambda: self.counter, is_shared=is_shared
        )
        self.retrieval = Retrieval(self.kernel, self.store, self.writeback, self.vectors)
        self.sources = Sources(self.kernel, self.vectors)
        self._shelves: weakref.WeakValueDictionary[Scope, Shelf] = weakref.WeakValueDictionary()

    def _make_store(self) -> PageStore:
        path = self.target
        if isinstance(path, str):
            from pagefault.stores.server import ServerStore  # noqa: PLC0415  # its client takes a second to load

            return ServerStore(path)
        if path is None:
            self._temporary = path = Path(tempfile.gettempdir()) / f"pagefault-{uuid.uuid4().hex}"
        return EdgeStore(path, run=self.kernel.run, offload=self.kernel.offload)

    def after_fork(self) -> None:
        """In a forked child: none of the parent's threads exist, so start afresh."""
        self._lock = threading.Lock()
        if self.is_closed:  # the parent writes what is left, and the child would wait for that in vain
            self.closing = Future()
            self.closing.set_result(None)
        self.is_ready = False
        for paging in list(self._pagings.values()):
            paging.after_fork()
            if self.target is None:  # the child's throw-away store is another one, and empty
                for lineage in paging.lineages:
                    for slot in lineage.slots:
                        lineage.doubt([slot.seq])
        if not self.is_closed:
            self._build()

    @property
    def is_gone(self) -> bool:
        """Whether its directory was deleted or moved: what is opened there now is another memory."""
        return bool(getattr(self.store, "is_gone", False))  # a server knows no such thing

    # -- what was given --------------------------------------------------------------------

    @property
    def budget(self) -> Budget:
        """The budget for calls that name none."""
        return self.options.budget or Budget()

    @property
    def counter(self) -> TokenCounter:
        """The token counter, loaded at first use."""
        if self._counter is None:
            self._counter = default_counter()
        return self._counter

    def tenant(self, tenant: str | None) -> str:
        """The tenant to use where this one was given.

        Raises:
            InvalidId: It is no usable string, or missing where it is required.
        """
        if tenant is None and self.options.require_tenant:
            raise InvalidId("this memory requires a tenant everywhere; pass tenant='...'")
        return check_id("tenant", DEFAULT_TENANT if tenant is None else tenant)

    # -- what is in it ---------------------------------------------------------------------

    def paging(self, space_id: SpaceId) -> Paging:
        """The state of a space in this process; that of the last 512 is kept.

        Raises:
            InvalidId: It is none.
            MemoryClosed: After the last handle was closed.
        """
        self.check_open()
        if not isinstance(space_id, SpaceId):
            raise InvalidId(f"a space is named by a SpaceId, got {type(space_id).__name__} {space_id!r:.60}")
        with self._lock:
            paging = self._pagings.get(space_id)
            if paging is None:
                paging = self._pagings[space_id] = Paging(space_id, counter=lambda: self.counter, note=self._note)
            self._recent[space_id] = paging
            self._recent.move_to_end(space_id)
            if len(self._recent) > MAX_LIVE_SPACES:
                self._recent.popitem(last=False)
            return paging

    def _note(self, paging: Paging, lineage: Lineage) -> None:
        self.writeback.note(paging, lineage)

    def neighbours(self, home: SpaceId) -> list[tuple[Paging, Lineage]]:
        """The user's other conversations that are at work in this process, each with the path last used."""
        with self._lock:
            there = list(self._pagings.values())
        same = [p for p in there if (p.space.tenant, p.space.user) == (home.tenant, home.user) and p.space != home]
        return [(paging, paging.lineages[0]) for paging in same if paging.lineages]

    def shelf(self, *, tenant: str | None = None, kind: str, name: str) -> Shelf:
        """The items of one user, store or the like; its coroutines run on the kernel.

        Raises:
            InvalidId: The tenant is no usable string, or missing where it is required.
            MemoryClosed: After the last handle was closed.
        """
        self.check_open()
        scope = shelf_scope(self.tenant(tenant), kind, name)
        with self._lock:
            shelf = self._shelves.get(scope)
            if shelf is None:
                shelf = self._shelves[scope] = Shelf(
                    scope,
                    kernel=self.kernel,
                    store=self.store,
                    writeback=self.writeback,
                    retrieval=self.retrieval,
                    vectors=self.vectors,
                )
            return shelf

    def gauge(self, model: str, budget: Budget) -> Gauge:
        """The gauge of a model under a budget: one for all agents that call it through this memory."""
        with self._lock:
            gauge = self._gauges.setdefault((model, budget), Gauge(budget, model))
            self._gauges.move_to_end((model, budget))
            if len(self._gauges) > MAX_GAUGES:
                self._gauges.popitem(last=False)
            return gauge

    @property
    def gauges(self) -> tuple[Gauge, ...]:
        """One for each model and budget, those of the last 1,024 that were asked for."""
        with self._lock:
            return tuple(self._gauges.values())

    # -- life ------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Refuse to go on with a closed memory.

        Raises:
            MemoryClosed: After the last handle was closed.
        """
        if self.is_closed:
            raise MemoryClosed(f"memory {self.name} is closed; open it again with pagefault.open(...)")

    def ready(self) -> None:
        """Open the store now, so that what is wrong with it is raised here. Cheap afterwards."""
        if not self.is_ready:
            self.kernel.call(self.writeback.open())
            self.is_ready = True

    async def aready(self) -> None:
        """Async twin of :meth:`ready`."""
        if not self.is_ready:
            await self.kernel.acall(self.writeback.open())
            self.is_ready = True

    def refuse_in_between(self) -> None:
        """Refuse to wait in a signal handler that broke into a verb on this thread.

        Raises:
            RuntimeError: It would wait for that verb, which waits for it.
        """
        refuse_in_between(self._pagings.valuerefs())

    def finish(self) -> Future[None] | None:
        """Begin the last flush; ``None`` when nothing ever ran."""
        self.closing = self.kernel.finish(self._shut())
        if self.closing is None:
            self.writeback.refuse()
        return self.closing

    async def _shut(self) -> None:
        try:
            try:
                await self.writeback.close()
            finally:
                await self.store.close()
        finally:
            if self._temporary is not None:
                await self.kernel.run(partial(shutil.rmtree, self._temporary, ignore_errors=True), urgent=True)

    def __repr__(self) -> str:
        return f"<pagefault.Core {self.name!r}>"
