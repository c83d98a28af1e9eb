"""What users hold: a Memory over one store, and the spaces in it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import shutil
import tempfile
import threading
import uuid
import weakref
from collections import OrderedDict
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from pagefault.embedders import check_embedder, default_embedder
from pagefault.embedders.calls import Vectors
from pagefault.errors import InvalidId, MemoryClosed, PagefaultError, StoreError
from pagefault.faults.retrieval import Retrieval
from pagefault.faults.sources import Sources
from pagefault.kernel import Kernel, refuse_other_loops
from pagefault.page import SpaceId, check_id
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.ports import Embedder, PageStore, Scope, TokenCounter
from pagefault.rooted import Rooted
from pagefault.shelf import Shelf, shelf_scope
from pagefault.space import Space
from pagefault.stores import EdgeStore
from pagefault.targets import Place, key_of, place_of
from pagefault.tokens import check_counter, default_counter
from pagefault.window.budget import Budget, check_budget
from pagefault.window.calibration import Gauge
from pagefault.writing.writeback import WriteBack, refuse_in_between

MAX_LIVE_SPACES: Final = 512
DEFAULT_TENANT: Final = "default"
EmbedderChoice = Embedder | Literal["default"] | None
_lock = threading.Lock()
_open: Final[dict[str, Memory]] = {}
_living: Final[weakref.WeakSet[Memory]] = weakref.WeakSet()


def open(  # noqa: A001  # pagefault.open reads as it should, like gzip.open
    target: str | os.PathLike[str],
    *,
    embedder: EmbedderChoice = "default",
    counter: TokenCounter | None = None,
    budget: Budget | None = None,
    require_tenant: bool = False,
) -> Memory:
    """Open a memory. Looks where a path leads and what is installed; the store is opened at first use.

    Who opens a place that is open already has the same memory in another handle: what one writes,
    the other sees at once. It closes with the last handle, so each ``open`` wants its own ``close``.
    Adapters never close a memory that they were given.

    Args:
        target: A data directory (embedded Qdrant), ``":memory:"`` for a throw-away one, or a Qdrant
            server such as ``"qdrant://host:6333"`` (its key in ``QDRANT_API_KEY``, never in the URL).
        embedder: ``"default"`` for the small static model that comes along, ``None`` for
            full-text search alone, or an :class:`Embedder` of your own: a ``FastEmbedEmbedder`` from
            ``pagefault.embedders``, a LangChain or LlamaIndex model in its wrapper.
        counter: Counts tokens; by default tiktoken when its files are on this machine, else an
            estimate with a reserve.
        budget: For calls whose adapter names none; by default a window of 32,000 tokens.
        require_tenant: Refuse spaces that name no tenant.

    Raises:
        InvalidId: ``target`` is empty or no path.
        EmbedderError: ``embedder`` cannot be one.
        BudgetError: ``budget`` is no :class:`Budget`.
        TypeError: ``counter`` cannot count.
        StoreError: The URL of a server cannot be used, or the place is open with other options.

    Example:
        >>> with open(":memory:", embedder=None) as memory:
        ...     space = memory.space(thread="t1")
        ...     space.append([{"role": "user", "content": "My cat is called Turing."}])
        ...     space.recall("cat").pages[0].page.text
        'My cat is called Turing.'
    """
    options = _Options(embedder, counter, budget, require_tenant)
    place = place_of(target)
    if place is None:
        return Memory(place, options)
    key = key_of(place)
    with _lock:
        memory = _open.get(key)
        if memory is None:
            memory = _open[key] = Memory(place, options)
        elif memory._options != options:
            raise StoreError(
                f"{place} is open already with other options; close it first, or open it with the same ones"
            )
        return memory._handle()


async def aopen(
    target: str | os.PathLike[str],
    *,
    embedder: EmbedderChoice = "default",
    counter: TokenCounter | None = None,
    budget: Budget | None = None,
    require_tenant: bool = False,
) -> Memory:
    """Async twin of :func:`open`, which asks the file system beside the event loop.

    For whatever makes a memory on a loop that must not block, as a graph factory under ``langgraph dev``.

    Example:
        >>> async def first_use():
        ...     async with await aopen(":memory:", embedder=None) as memory:
        ...         return await memory.space(thread="t1").apinned_items()
        >>> asyncio.run(first_use())
        {}
    """
    work = partial(open, target, embedder=embedder, counter=counter, budget=budget, require_tenant=require_tenant)
    opening = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_give_back)
        raise


def _give_back(opening: asyncio.Future[Memory]) -> None:
    """Close a memory that nobody waits for any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.get_loop().run_in_executor(None, opening.result().close)


def opened(place: str) -> Memory | None:
    """The open memory whose :attr:`Memory.place` this is, if there is one; asks no file system."""
    if place.startswith(":memory:"):
        return next((memory for memory in list(_living) if memory.place == place and not memory._closed), None)
    with _lock:
        return _open.get(place)


@dataclass(frozen=True, slots=True)
class _Options:
    """What ``open`` was asked for; two opens of one directory must agree."""

    embedder: EmbedderChoice
    counter: TokenCounter | None
    budget: Budget | None
    require_tenant: bool

    def __post_init__(self) -> None:
        check_embedder(self.embedder)
        check_budget(self.budget)
        check_counter(self.counter)


class Memory(Rooted):
    """One store and the spaces in it. Made by :func:`open`; works from any thread and loop.

    Handles of one open memory share all that they know (:meth:`_handle`), so that each can be closed
    twice without closing another one's.
    """

    def __init__(self, place: Place, options: _Options) -> None:
        self._options = options
        self._place = place
        self._key = key_of(place)
        self._holders = 1 if place is None else 0
        self._given_back: weakref.WeakSet[Memory] = weakref.WeakSet()
        self._closed = False
        self._closing: Future[None] | None = None
        self._lock = threading.Lock()
        self._recent: OrderedDict[SpaceId, Space] = OrderedDict()
        self._spaces: weakref.WeakValueDictionary[SpaceId, Paging] = weakref.WeakValueDictionary()
        self._counter = options.counter
        self._gauges: dict[tuple[str, Budget], Gauge] = {}
        self._temporary: Path | None = None
        self.is_ready = False
        """Whether the store was opened; a call of an agent asks first, since this costs next to nothing."""
        self._build()
        _living.add(self)

    @property
    def place(self) -> str:
        """What ``attach`` finds this memory by: its real path or its server's URL."""
        return str(self._place) if isinstance(self._place, str) else self._key or f":memory:{id(self):x}"

    def _build(self) -> None:
        chosen = self._options.embedder
        embedder = default_embedder() if isinstance(chosen, str) else chosen
        self._kernel = Kernel(f"pagefault {self._place or ':memory:'}")
        self._store: PageStore = self._make_store()
        self._vectors = Vectors(self._kernel, embedder)
        is_shared = isinstance(self._place, str)
        self._writeback = WriteBack(
            self._kernel, self._store, self._vectors, counter=lambda: self.counter, is_shared=is_shared
        )
        self._retrieval = Retrieval(self._kernel, self._store, self._writeback, self._vectors)
        self._sources = Sources(self._kernel, self._vectors)
        self._shelves: weakref.WeakValueDictionary[Scope, Shelf] = weakref.WeakValueDictionary()

    def _handle(self) -> Memory:
        """Another holder's own object for this memory; the module's lock is held."""
        handle = object.__new__(type(self))
        handle.__dict__ = self.__dict__
        self._holders += 1
        return handle

    def _make_store(self) -> PageStore:
        path = self._place
        if isinstance(path, str):
            from pagefault.stores.server import ServerStore  # noqa: PLC0415  # its client takes a second to load

            return ServerStore(path)
        if path is None:
            self._temporary = path = Path(tempfile.gettempdir()) / f"pagefault-{uuid.uuid4().hex}"
        return EdgeStore(path, run=self._kernel.run, offload=self._kernel.offload)

    def _after_fork(self) -> None:
        """In a forked child: none of the parent's threads exist, so start afresh."""
        self._lock = threading.Lock()
        if self._closed:  # the parent writes what is left, and the child would wait for that in vain
            self._closing = Future()
            self._closing.set_result(None)
        self.is_ready = False
        for paging in list(self._spaces.values()):
            paging.after_fork()
            if self._place is None:  # the child's throw-away store is another one, and empty
                for lineage in paging.lineages:
                    lineage.doubt([slot.seq for slot in lineage.slots])
        if not self._closed:
            self._build()

    # -- spaces ----------------------------------------------------------------------------

    @property
    def budget(self) -> Budget:
        """The budget for calls that name none."""
        return self._options.budget or Budget()

    @property
    def has_budget(self) -> bool:
        """Whether the budget was given, not assumed."""
        return self._options.budget is not None

    @property
    def counter(self) -> TokenCounter:
        """The token counter, loaded at first use."""
        if self._counter is None:
            self._counter = default_counter()
        return self._counter

    def space(self, *, thread: str, tenant: str | None = None, user: str = "", agent: str = "") -> Space:
        """The space of one agent's conversation.

        Raises:
            InvalidId: An id is no usable string, or the tenant is missing where it is required.
            MemoryClosed: After ``close()``.
        """
        space_id = SpaceId(tenant=self._tenant(tenant), user=user, thread=thread, agent=agent)
        return self.at(space_id)

    def at(self, space_id: SpaceId) -> Space:
        """The space with this id, as an adapter's ``identity`` gives it."""
        self.check_open()
        if not isinstance(space_id, SpaceId):
            raise InvalidId(f"a space is named by a SpaceId, got {type(space_id).__name__} {space_id!r:.60}")
        with self._lock:
            space = self._recent.get(space_id)
            if space is None:
                paging = self._spaces.get(space_id)
                if paging is None:
                    paging = self._spaces[space_id] = Paging(space_id, counter=lambda: self.counter, note=self._note)
                space = self._recent[space_id] = Space(self, paging)
                if len(self._recent) > MAX_LIVE_SPACES:
                    self._recent.popitem(last=False)
            else:
                self._recent.move_to_end(space_id)
            return space

    def neighbours(self, home: SpaceId) -> list[tuple[Paging, Lineage]]:
        """The user's other conversations that are at work in this process, each with the path last used."""
        with self._lock:
            there = list(self._spaces.values())
        same = [p for p in there if (p.space.tenant, p.space.user) == (home.tenant, home.user) and p.space != home]
        return [(paging, paging.lineages[0]) for paging in same if paging.lineages]

    # -- budgets of models -----------------------------------------------------------------

    def gauge(self, model: str, budget: Budget) -> Gauge:
        """The gauge of a model under a budget: one for all agents that call it through this memory."""
        with self._lock:
            return self._gauges.setdefault((model, budget), Gauge(budget, model))

    @property
    def gauges(self) -> tuple[Gauge, ...]:
        """What usage reports have made of the budgets, one gauge for each model and budget so far."""
        with self._lock:
            return tuple(self._gauges.values())

    @property
    def trouble(self) -> PagefaultError | None:
        """Why something accepted is not durable yet, for a health check; ``None`` when nothing is wrong."""
        return self._writeback.trouble

    def _note(self, paging: Paging, lineage: Lineage) -> None:
        self._writeback.note(paging, lineage)

    def shelf(self, *, tenant: str | None = None, kind: str, name: str) -> Shelf:
        """For adapters: the items of one user, store or the like; its coroutines run on the kernel.

        Raises:
            InvalidId: The tenant is no usable string, or missing where it is required.
            MemoryClosed: After ``close()``.
        """
        self.check_open()
        scope = shelf_scope(self._tenant(tenant), kind, name)
        with self._lock:
            shelf = self._shelves.get(scope)
            if shelf is None:
                shelf = self._shelves[scope] = Shelf(
                    scope,
                    kernel=self._kernel,
                    store=self._store,
                    writeback=self._writeback,
                    retrieval=self._retrieval,
                    vectors=self._vectors,
                )
            return shelf

    def _tenant(self, tenant: str | None) -> str:
        if tenant is None and self._options.require_tenant:
            raise InvalidId("this memory requires a tenant everywhere; pass tenant='...'")
        return check_id("tenant", DEFAULT_TENANT if tenant is None else tenant)

    # -- life ------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Refuse to go on with a closed memory.

        Raises:
            MemoryClosed: After ``close()``.
        """
        if self._closed:
            raise MemoryClosed(f"memory {self._place or ':memory:'} is closed; open it again with pagefault.open(...)")

    def ready(self) -> None:
        """Open the store now, so that what is wrong with it is raised here. Cheap afterwards."""
        if not self.is_ready:
            self._kernel.call(self._writeback.open())
            self.is_ready = True

    async def aready(self) -> None:
        """Async twin of :meth:`ready`."""
        if not self.is_ready:
            await self._kernel.acall(self._writeback.open())
            self.is_ready = True

    def flush(self) -> None:
        """On return, everything accepted is stored, indexed and durable.

        Raises:
            PagefaultError: The store or embedder failed; nothing is lost, call again.
            RuntimeError: As for :meth:`close`.
        """
        refuse_in_between(self._spaces.valuerefs())
        self._kernel.call(self._writeback.flush())

    async def aflush(self) -> None:
        """Async twin of :meth:`flush`."""
        await self._kernel.acall(self._writeback.flush())

    def close(self) -> None:
        """Give back what ``open`` gave; the last one flushes and releases the store. Idempotent.

        Verbs that are running end first. While others have the same place open, the memory stays open. Where it is
        being closed already, as by an ``aclose`` that was cancelled, this waits until that is done.

        Raises:
            PagefaultError: The last flush failed; the memory is closed all the same, and the log names what is lost.
            RuntimeError: In a signal handler that broke into another verb, which would be waited for in vain. Raise
                there instead, as ``sys.exit()`` does: a ``with`` block closes it then, and so does the interpreter.
        """
        self._kernel.refuse_own_threads()
        refuse_in_between(self._spaces.valuerefs())
        closing = self._last_close()
        if closing is not None:
            try:
                closing.result()
            finally:
                self._kernel.join()
        elif self._closing is not None:
            wait([self._closing])  # its error is for whoever began it
            self._kernel.join()

    async def aclose(self) -> None:
        """Async twin of :meth:`close`. Cancelling it does not stop the closing."""
        refuse_other_loops()
        closing = self._last_close()
        if closing is not None:
            await asyncio.shield(asyncio.wrap_future(closing))
        elif self._closing is not None:
            await asyncio.gather(asyncio.shield(asyncio.wrap_future(self._closing)), return_exceptions=True)

    def _last_close(self) -> Future[None] | None:
        """Begin to close when nobody else holds this memory and something runs."""
        with _lock:
            if not self._closed:
                if self in self._given_back:
                    return None
                self._given_back.add(self)
                self._holders -= 1
                if self._holders > 0:
                    return None
                self._closed = True
                if (known := _open.get(self._key)) is not None and known.__dict__ is self.__dict__:
                    del _open[self._key]
            if self._closing is not None:
                return None
            _living.add(self)  # this handle lives until all is written, the first may not: at exit that is waited for
            self._closing = self._kernel.finish(self._shut())  # also where an interrupt cut it short before
        if self._closing is None:
            self._writeback.refuse()
        return self._closing

    async def _shut(self) -> None:
        try:
            try:
                await self._writeback.close()
            finally:
                await self._store.close()
        finally:
            if self._temporary is not None:
                await self._kernel.run(partial(shutil.rmtree, self._temporary, ignore_errors=True), urgent=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<pagefault.Memory {str(self._place or ':memory:')!r}{' closed' if self._closed else ''}>"


def _close_all() -> None:
    """At interpreter exit: write what was accepted, and wait for those who are closing already."""
    for memory in list(_living):
        memory._holders = 1
        memory._given_back.clear()
        try:
            memory.close()
        except Exception as error:  # the others are closed all the same
            unexpected = None if isinstance(error, PagefaultError) else error
            logging.getLogger("pagefault").error(  # noqa: TRY400  # a typed error says it all
                "%r could not be closed cleanly: %s", memory, error, exc_info=unexpected
            )


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  # the parent may have held it while forking
    _lock = threading.Lock()
    for memory in list(_living):
        memory._after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
