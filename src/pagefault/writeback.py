"""Write-back: pages go to the store behind the agent, so that eviction is only forgetting.

Paths with something to write wait in one queue; a unit of at most 16 pages is taken from one
path at a time, so none waits behind another's backlog. A failing store is retried with a
growing pause while the pages stay where they are, in the paths themselves: nothing is lost
and nothing has to be copied.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pagefault.chain import head_id, point_id
from pagefault.embedders import fingerprint, validate_vectors
from pagefault.errors import EmbedderError, PagefaultError, StoreError, StoreLocked, StoreMismatch, StoreUnwritable
from pagefault.kernel import Kernel
from pagefault.lineage import Lineage, Slot
from pagefault.page import Kind, Page, Role
from pagefault.paging import Paging
from pagefault.ports import Embedder, Header, PageStore, Record, Scope, Sparse
from pagefault.recall.terms import document_vector
from pagefault.view import to_record
from pagefault import canonical

UNIT_PAGES: Final = 16
UNIT_BYTES: Final = 2**20
PAUSES: Final = (0.1, 0.3, 1.0, 3.0, 5.0)
BREATH_SECONDS: Final = 0.00005
TURN_SECONDS: Final = 0.02
"""Pages of one moment are written together, and the step that noted them is not disturbed."""
LINGER_TURNS: Final = 50
"""An awake writer needs no signal, which would cost the step a system call."""
_log: Final = logging.getLogger("pagefault")


@dataclass(eq=False, slots=True)
class Task:
    """One path of one space in the queue."""

    paging: Paging
    lineage: Lineage


class WriteBack:
    """Writes closed pages and their vectors. Its coroutines run on the kernel's loop thread."""

    def __init__(self, kernel: Kernel, store: PageStore, embedder: Embedder | None) -> None:
        self._kernel = kernel
        self._store = store
        self._embedder = embedder
        self._queue: deque[Task] = deque()
        self._active: list[Task] = []
        self._unindexed: deque[tuple[Scope, UUID, str]] = deque()
        self._awake = False
        self._pumping: asyncio.Task[None] | None = None
        self._opened = False
        self._opening = asyncio.Lock()
        self._indexing = asyncio.Lock()
        self._writing: dict[int, asyncio.Lock] = {}
        self._unsynced = False
        self.trouble: PagefaultError | None = None

    # -- from the caller's thread ----------------------------------------------------------

    def note(self, paging: Paging, lineage: Lineage) -> None:
        """A path has something to write. Never blocks."""
        if not lineage.queued:
            lineage.queued = True
            self._queue.append(Task(paging, lineage))
        if not self._awake:
            self._awake = True
            self._kernel.signal(self._wake)

    def _wake(self) -> None:
        self._pumping = asyncio.get_running_loop().create_task(self._pump())  # the loop itself keeps no hold on it

    @property
    def has_work(self) -> bool:
        """Whether something accepted is not durable yet."""
        return bool(self._queue or self._active or self._unindexed or self._unsynced)

    def stop(self) -> None:
        """End the writer; on the loop thread."""
        if self._pumping is not None:
            self._pumping.cancel()

    # -- on the loop thread ----------------------------------------------------------------

    async def open(self) -> None:
        """Open the store once; the embedder's header is checked against it."""
        if self._opened:
            return
        async with self._opening:
            if not self._opened:
                header = await self._kernel.run(lambda: header_of(self._embedder), urgent=True)
                await self._store.open(header)
                self._opened = True

    async def drain(self, paging: Paging, lineage: Lineage) -> None:
        """Write all closed pages of one path now."""
        await self.open()
        while await self._unit(Task(paging, lineage)):
            pass

    async def flush(self) -> None:
        """Everything accepted is stored, indexed and durable on return.

        Raises:
            PagefaultError: The store or the embedder failed; nothing is lost, call again.
        """
        await self.open()
        for task in [*self._queue, *self._active]:
            await self.drain(task.paging, task.lineage)
        while self._unindexed:
            await self._index()
        await self._sync()
        self.trouble = None

    async def _pump(self) -> None:
        failures = idle = 0
        while idle < LINGER_TURNS:
            await asyncio.sleep(TURN_SECONDS)
            idle = 0 if self.has_work else idle + 1
            try:
                await self._catch_up()
                failures, self.trouble = 0, None
            except PagefaultError as error:
                if self.trouble is None:
                    _log.warning("write-back waits, the agent goes on with what is resident: %s", error)
                self.trouble = error
                if isinstance(error, (StoreLocked, StoreUnwritable, StoreMismatch)):
                    break  # waiting does not mend these; the next verb raises it
                await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1
        self._awake = False
        if self._queue and self.trouble is None:  # noted between the last look and going to sleep
            self._awake = True
            self._wake()

    async def _catch_up(self) -> None:
        while self.has_work:
            await self.open()
            await self._turn()

    async def _turn(self) -> None:
        if self._queue:
            task = self._queue.popleft()
            task.lineage.queued = False
            self._active.append(task)
            try:
                more = await self._unit(task)
            except BaseException:
                self._requeue(task)
                raise
            finally:
                self._active.remove(task)
            if more:
                self._requeue(task)
        elif self._unindexed:
            await self._index()
        else:
            await self._sync()

    async def _sync(self) -> None:
        self._unsynced = False
        try:
            await self._store.sync()
        except BaseException:
            self._unsynced = True
            raise

    def _requeue(self, task: Task) -> None:
        if not task.lineage.queued:
            task.lineage.queued = True
            self._queue.append(task)

    async def _unit(self, task: Task) -> bool:
        """Write one unit of a path; whether there is more."""
        lock = self._writing.setdefault(id(task.lineage), asyncio.Lock())
        try:
            async with lock:
                return await self._write(task)
        finally:
            if not lock.locked():
                self._writing.pop(id(task.lineage), None)

    async def _write(self, task: Task) -> bool:
        scope = Scope(tenant=task.paging.space.tenant, space=task.paging.space.key)
        slots = await self._kernel.run(lambda: _take(task), urgent=False)
        if not slots:
            return False
        known = await self._known(scope, slots)
        pages = await self._kernel.run(lambda: _pages(task, slots, known), urgent=False)
        if pages:
            records = await self._kernel.run(lambda: [_record(scope, p) for p in pages], urgent=False)
            await self._store.put(scope, [*records, _head(task, slots[-1])])
            self._unsynced = True
        with task.paging.lock:
            for slot in slots:
                task.lineage.settle(slot)
        if self._embedder is not None:
            self._unindexed.extend((scope, point_id(scope.space, p.chain), index_text(p)) for p in pages if _is_indexed(p))
        return True

    async def _known(self, scope: Scope, slots: Sequence[Slot]) -> set[UUID]:
        old = [point_id(scope.space, slot.chain) for slot in slots if not slot.fresh]
        return set(await self._store.get(scope, old, bodies=False)) if old else set()

    async def _index(self) -> None:
        async with self._indexing:
            await self._index_batch()

    async def _index_batch(self) -> None:
        batch = [self._unindexed[i] for i in range(min(UNIT_PAGES, len(self._unindexed)))]
        texts = [text for _, _, text in batch]
        vectors = await self._kernel.run(lambda: embed(self._embedder, texts), urgent=False)
        by_scope: dict[Scope, dict[UUID, Sequence[float]]] = {}
        for (scope, point, _), vector in zip(batch, vectors, strict=True):
            by_scope.setdefault(scope, {})[point] = vector
        for scope, found in by_scope.items():
            await self._store.index(scope, found)
        for _ in batch:
            self._unindexed.popleft()
        self._unsynced = True


def header_of(embedder: Embedder | None) -> Header:
    """What the store is opened with."""
    if embedder is None:
        return Header()
    return Header(embedder=embedder.name, dimension=embedder.dimension, fingerprint=fingerprint(embedder))


def embed(embedder: Embedder | None, texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """Vectors of some texts, checked.

    Raises:
        EmbedderError: The embedder raised, or its vectors are unusable.
    """
    if embedder is None:
        return []
    try:
        vectors = embedder.embed(texts)
    except Exception as error:
        raise EmbedderError(f"embedder {embedder.name!r} failed on {len(texts)} texts: {error!r}") from error
    validate_vectors(embedder, texts, vectors)
    return vectors


def index_text(page: Page) -> str:
    """What full-text and dense search see of a page: everything but copies of other pages."""
    lines: list[str] = []
    for message in page.messages:
        if not message.recalled:
            lines += [message.name, message.text, *(f"{c.name} {c.arguments}" for c in message.calls)]
    return "\n".join(line for line in lines if line)


def _is_indexed(page: Page) -> bool:
    return page.kind is Kind.MESSAGE


def _take(task: Task) -> list[Slot]:
    """The next slots to write, materialised and chained."""
    with task.paging.lock:
        waiting = task.lineage.unstored(UNIT_PAGES)
    slots: list[Slot] = []
    size = 0
    for slot in waiting:
        if slots and size + slot.upper > UNIT_BYTES:
            break
        if slot.content is None:
            content = task.lineage.content_of(slot)
            with task.paging.lock:
                slot.content = slot.content or content
            time.sleep(BREATH_SECONDS)  # lets other threads have the interpreter
        size += slot.upper
        slots.append(slot)
    with task.paging.lock:
        if slots:
            task.lineage.link_up_to(slots[-1].seq)
    return slots


def _pages(task: Task, slots: Sequence[Slot], known: set[UUID]) -> list[Page]:
    key = task.paging.space.key
    return [task.lineage.page(slot) for slot in slots if point_id(key, slot.chain) not in known]


def _record(scope: Scope, page: Page) -> Record:
    sparse: Sparse | None = None
    if _is_indexed(page):
        sparse = document_vector(index_text(page))
        time.sleep(BREATH_SECONDS)
    return Record(
        id=point_id(scope.space, page.chain),
        kind="page",
        seq=page.seq,
        fields={
            "chain": page.chain,
            "parent": page.parent,
            "type": page.kind.value,
            "format": page.format,
            "tokens": page.tokens,
            "gist": page.gist.encode("utf-8", "replace").decode("utf-8"),
            "created_at": page.created_at,
            "opaque": page.opaque,
            "messages": len(page.messages),
            "role": page.messages[0].role.value,
            "has_user": any(m.role is Role.USER for m in page.messages),
        },
        body=page.body,
        sha256=page.sha256,
        sparse=sparse if sparse is not None and sparse.indices else None,
    )


def _head(task: Task, last: Slot) -> Record:
    """Length and tip of the path last written, for readers that have no framework state."""
    with task.paging.lock:
        body = canonical.dump({"tip": last.chain, "view": to_record(task.lineage.view)})[0]
    return Record(
        id=head_id(task.paging.space.key),
        kind="head",
        seq=last.seq,
        fields={"chain": last.chain},
        body=body,
        sha256=canonical.sha256(body),
    )
