"""Write-back: pages go to the store behind the agent, so that eviction is only forgetting.

Paths with something to write wait in one queue; a unit of at most 16 pages is taken from one
path at a time, so none waits behind another's backlog. What fails is tried again with growing
pauses, each path for itself, while the pages stay where they are, in the paths: nothing is
lost, nothing has to be copied, and one path's trouble is not another's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final
from weakref import ref

from pagefault.embedders.calls import Vectors
from pagefault.errors import EmbedderError, MemoryClosed, PagefaultError, StoreError, StoreUnreachable
from pagefault.kernel import Kernel, take_error
from pagefault.page import SpaceId
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.paths.restore import Restored
from pagefault.ports import Header, PageStore, Scope, TokenCounter
from pagefault.tokens import load
from pagefault.writing.heads import Heads
from pagefault.writing.indexing import Indexer
from pagefault.writing.patience import Patience
from pagefault.writing.records import Task, mark_of
from pagefault.writing.writer import Writer

TURN_SECONDS: Final = 0.02
"""Pages of one moment are written together, and the step that noted them is not disturbed."""
QUIET_TURNS: Final = 10
"""A head that lags behind in what is indexed is brought up to date when nothing else is to do."""
MAX_BEHIND: Final = 64
"""Where it is never quiet, no more heads than this lag behind: each holds its conversation in memory."""
LINGER_TURNS: Final = 50
"""An awake writer needs no signal, which would cost the step a system call."""
SYNC_SECONDS: Final = 0.5
"""Under steady load, what is stored is made durable this often."""
NAMED: Final = 5
"""Conversations that are named where many are lost."""
_log: Final = logging.getLogger("pagefault")


class WriteBack:
    """Writes closed pages and their vectors. Its coroutines run on the kernel's loop thread."""

    def __init__(
        self,
        kernel: Kernel,
        store: PageStore,
        vectors: Vectors,
        *,
        counter: Callable[[], TokenCounter],
        is_shared: bool,
    ) -> None:
        self._kernel = kernel
        self._store = store
        self._vectors = vectors
        self._counter = counter
        self._indexer = Indexer(kernel, store, vectors)
        self._heads = Heads(store) if is_shared else None
        self._writer = Writer(kernel, store, self._indexer, self._heads)
        self.owes: Final = self._writer.owes
        self._gate = threading.Lock()
        self._queue: dict[Lineage, Paging] = {}
        self._closed = False
        self._growing: dict[Lineage, Paging] = {}
        self._awake = False
        self._active: list[Task] = []
        self._pumping: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._opened = False
        self._failing: dict[Patience, PagefaultError] = {}
        self._patience = {"open": Patience(), "index": Patience(), "sync": Patience(), "pump": Patience()}

    # -- from any thread -------------------------------------------------------------------

    @contextlib.contextmanager
    def growing(self, paging: Paging, lineage: Lineage) -> Iterator[None]:
        """While a path grows, with its space's lock held; it is noted then, whatever cuts that short.

        Closing waits for that lock, not for us: an exception from outside, as a signal handler's, may keep us from
        saying that it is over. So what is added is stored or refused.

        Raises:
            MemoryClosed: It would not be written any more.
        """
        with self._gate:
            self._refuse_closed()
            self._growing[lineage] = paging
        try:
            yield
        finally:
            with self._gate:
                self._enqueue(paging, lineage)
                self._growing.pop(lineage, None)
                wakes, self._awake = not self._awake, True
            self._signal(wakes=wakes)

    def note(self, paging: Paging, lineage: Lineage) -> None:
        """A path has something to write. Never blocks on the store.

        Raises:
            MemoryClosed: It will not be written any more.
        """
        with self._gate:
            self._refuse_closed()
            self._enqueue(paging, lineage)
            wakes, self._awake = not self._awake, True
        self._signal(wakes=wakes)

    def _signal(self, *, wakes: bool) -> None:
        if wakes:
            with contextlib.suppress(MemoryClosed):  # it closes just now: its last flush sees the queue
                self._kernel.signal(self._wake)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise MemoryClosed("this memory is closed, nothing was added; open it again with pagefault.open(...)")

    def refuse(self) -> None:
        """From now on nothing is taken in."""
        with self._gate:
            self._closed = True

    @property
    def trouble(self) -> PagefaultError | None:
        """Why something accepted is not durable yet; ``None`` when nothing is wrong."""
        return next(reversed(list(self._failing.values())), None)

    @property
    def has_work(self) -> bool:
        """Whether something accepted is not durable yet."""
        return self._is_busy or bool(self._writer.behind)

    @property
    def _is_busy(self) -> bool:
        is_durable = self._writer.unsynced is None and not self._writer.syncing.locked()
        return bool(self._queue or self._active or self._indexer.has_work) or not is_durable

    # -- on the loop thread ----------------------------------------------------------------

    async def open(self) -> None:
        """Open the store once; those who ask meanwhile share the attempt, and its failure."""
        if self._opened:
            return
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._open())
            self._opening.add_done_callback(take_error)
        await asyncio.shield(self._opening)

    async def verify(self) -> None:
        """Make sure that the embedder is the one that the store was written with.

        Raises:
            EmbedderError: It fails on a probe.
            StoreMismatch: It is another one.
        """
        await self._indexer.verify()

    def attach(self, paging: Paging, restored: Restored) -> None:
        """A path was rebuilt from the store."""
        lineage, indexed = restored.lineage, restored.indexed
        task = Task(paging, lineage)
        if self._heads is not None and lineage.is_sole:
            self._heads.read(paging, restored.head)
        stored = [(slot.seq, slot.chain) for slot in lineage.slots if slot.stored and slot.seq > indexed]
        self._writer.says(paging, lineage, mark_of(lineage, indexed))
        self._indexer.add_stored(task.scope, stored)
        if self._indexer.has_work:
            self._writer.lags(task)
            self.note(paging, lineage)

    async def drain(self, paging: Paging, lineage: Lineage, pages: Sequence[int] | None = None) -> None:
        """Write now what one path holds, or what it holds up to the last of some pages; what is added may wait.

        Args:
            paging: Its space.
            lineage: The path.
            pages: Who wants these alone waits for no page behind them, and for nothing where all are stored.
        """
        await self.open()
        with paging.lock:
            slots = lineage.slots
            unstored = (seq for seq in pages or () if not slots[seq - 1].stored)
            last = lineage.length if pages is None else max(unstored, default=0)
        while (first := _first_unstored(paging, lineage)) is not None and first <= last:
            await self._writer.unit(Task(paging, lineage))

    async def settle(self, paging: Paging, lineage: Lineage) -> None:
        """As ``drain``, and the space's head says so: other conversations of its user read that."""
        task = Task(paging, lineage)
        await self.drain(paging, lineage)
        while others := [t for t in self._writer.owed(task) if _first_unstored(t.paging, t.lineage) is not None]:
            await self.drain(others[0].paging, others[0].lineage)  # before that no head may name the path
        await self._writer.head(task)

    async def secure(self, paging: Paging, lineage: Lineage) -> None:
        """What one path holds is durable on return: our copy becomes the last one.

        Raises:
            StoreError: The store is down; while that is known, it is not tried here.
        """
        trouble = self.trouble
        if isinstance(trouble, StoreError):
            raise trouble
        await self.drain(paging, lineage)
        await self._writer.sync()

    async def index(self, scope: Scope) -> None:
        """Make the vectors that one space waits for, so that a search right after a write finds all.

        Raises:
            EmbedderError: The embedder is down; full text finds the pages all the same.
        """
        await self._indexer.catch_up(scope)

    def stored(self) -> None:
        """Something was written beside the pages: make it durable soon."""
        self._writer.unsynced = self._writer.unsynced or time.monotonic()
        with self._gate:
            wakes, self._awake = not self._awake, True
        if wakes:
            self._wake()

    async def relieve(self, paging: Paging, lineage: Lineage, limit: int) -> None:
        """Write until at most ``limit`` pages of one path wait."""
        await self.open()
        while is_crowded(paging, lineage, limit):
            await self._writer.unit(Task(paging, lineage))

    async def flush(self) -> None:
        """Everything accepted is stored, indexed and durable on return; what an embedder refused is tried again.

        Raises:
            PagefaultError: Something failed; nothing is lost, call again. All else is done, unless nobody answers:
                then it is not asked once more for each path, of which there may be hundreds.
        """
        self._indexer.try_again()
        await self._finish()

    async def _finish(self) -> None:
        await self.open()
        errors: list[PagefaultError] = []
        with self._gate:
            queued = [Task(paging, lineage) for lineage, paging in (self._queue | self._growing).items()]
            tasks = {task.lineage: task for task in [*queued, *self._active, *self._writer.behind.values()]}
        for work in self._remains(tasks):
            await self._collect(errors, *work)
            if errors and isinstance(errors[-1], StoreUnreachable):
                break
        if errors:
            raise errors[0]

    def _remains(self, tasks: dict[Lineage, Task]) -> Iterator[tuple[Patience, Awaitable[None]]]:
        """What a flush has to do, one after the other."""
        for task in tasks.values():
            yield self._writer.path(task.lineage).patience, self.drain(task.paging, task.lineage)
        yield self._patience["index"], self._indexer.finish()
        for task in (tasks | self._writer.behind).values():  # now that the heads can say so
            yield self._writer.path(task.lineage).patience, self.settle(task.paging, task.lineage)
        yield self._patience["sync"], self._writer.sync()

    async def close(self) -> None:
        """Refuse what comes from now on, and finish what there is; what an embedder refused was told when it did.

        Raises:
            PagefaultError: As for ``flush``; it is closed all the same.
        """
        self.refuse()
        try:
            if self.has_work or self._growing:
                await self._finish()
        except PagefaultError as error:
            self._say_what_is_lost(error)
            raise
        finally:
            if self._pumping is not None:
                self._pumping.cancel()  # what failed would be tried once more, with a store that is closed

    def _say_what_is_lost(self, error: PagefaultError) -> None:
        """The error tells of the store; what was accepted, and nobody else keeps, has to be named as well."""
        with self._gate:
            tasks = [Task(paging, lineage) for lineage, paging in (self._queue | self._growing).items()]
            tasks += [*self._active, *self._writer.behind.values()]
        lost: dict[SpaceId, int] = {}
        for task in {task.lineage: task for task in tasks if task.lineage.is_sole}.values():
            with task.paging.lock:
                pages = len(task.lineage.unstored(len(task.lineage.slots)))
            if pages:
                lost[task.paging.space] = pages
        if lost:
            named = ", ".join(f"{pages} of {space}" for space, pages in list(lost.items())[:NAMED])
            _log.error(
                "closing lost accepted pages (%d in all) that no framework's state holds, since they could not be "
                "stored: %s%s. %s",
                sum(lost.values()), named, ", ..." if len(lost) > NAMED else "", error,
            )  # fmt: skip

    # -- the pump --------------------------------------------------------------------------

    def _wake(self) -> None:
        task = asyncio.get_running_loop().create_task(self._pump())
        self._pumping = task  # the loop itself keeps no hold on it
        task.add_done_callback(self._slept)

    def _slept(self, task: asyncio.Task[None]) -> None:
        """The pump ended: in peace, with the memory, or by an error nobody thought of."""
        with self._gate:
            self._awake = False
            wakes = self._is_busy and self._opened and not self._closed and not task.cancelled()
            self._awake = wakes
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(self._patience["pump"], error)
        if wakes:
            self._wake()

    async def _pump(self) -> None:
        idle = 0
        while idle < LINGER_TURNS:
            await asyncio.sleep(TURN_SECONDS)
            idle = 0 if self._is_busy else idle + 1
            while await self._turn(is_quiet=idle >= QUIET_TURNS):
                pass
            self._mended(self._patience["pump"])
            if not self._opened and self._patience["open"] in self._failing:
                return  # the directory is not ours to use: the next verb says so, and tries again

    async def _turn(self, *, is_quiet: bool) -> bool:
        """Do the most needed thing; whether something was done."""
        patience = self._patience
        if not self._opened:
            return self.has_work and await self._try(patience["open"], self.open())
        can_sync = self._writer.unsynced is not None and patience["sync"].is_over
        if can_sync and time.monotonic() - (self._writer.unsynced or 0.0) > SYNC_SECONDS:
            return await self._try(patience["sync"], self._writer.keep_synced())
        can_index = self._indexer.has_work and patience["index"].is_over
        task = None if can_index and self._indexer.is_full else self._next()
        is_due = is_quiet or (len(self._writer.behind) > MAX_BEHIND and not self._indexer.has_work)
        if task is not None or (not can_index and is_due and (task := self._lagging()) is not None):
            return await self._written(task)
        if can_index:
            return await self._try(patience["index"], self._indexer.work())
        if can_sync:
            return await self._try(patience["sync"], self._writer.keep_synced())
        return is_quiet and bool(self._writer.unjoined) and await self._try(patience["pump"], self._writer.join_ahead())

    async def _written(self, task: Task) -> bool:
        self._active.append(task)
        path = self._writer.path(task.lineage)
        more = True
        try:
            worked = await self._try(path.patience, self._writer.unit(task))
            more = not worked or self._writer.waits(task)
            return True
        finally:
            self._active.remove(task)
            if more:
                with self._gate:
                    self._enqueue(task.paging, task.lineage)

    def _next(self) -> Task | None:
        with self._gate:
            for lineage, paging in self._queue.items():
                if self._writer.path(lineage).patience.is_over:
                    del self._queue[lineage]
                    lineage.queued = False
                    return Task(paging, lineage)
        return None

    def _lagging(self) -> Task | None:
        return next((t for t in self._writer.behind.values() if self._writer.path(t.lineage).patience.is_over), None)

    def _enqueue(self, paging: Paging, lineage: Lineage) -> None:
        """With the gate held."""
        lineage.queued = True
        self._queue[lineage] = paging

    async def _try(self, patience: Patience, work: Awaitable[None]) -> bool:
        try:
            await work
        except Exception as error:  # noqa: BLE001  # whatever it is, pages wait and somebody has to know
            self._failed(patience, error)
            return False
        self._mended(patience)
        return True

    async def _collect(self, errors: list[PagefaultError], patience: Patience, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  # raised by flush when the rest is done
            errors.append(_typed(error))
        else:
            self._mended(patience)

    def _mended(self, patience: Patience) -> None:
        patience.worked()
        if self._failing.pop(patience, None) is not None and not self._failing:
            _log.info("write-back works again")

    def _failed(self, patience: Patience, error: BaseException) -> None:
        patience.failed()
        trouble = _typed(error)
        if not any(type(known) is type(trouble) for known in self._failing.values()):  # said once, not at every retry
            unexpected = error if trouble is not error else None
            _log.warning("write-back waits, the agent goes on with what is resident: %s", trouble, exc_info=unexpected)
        self._failing[patience] = trouble

    async def _open(self) -> None:
        # Files are read for it, which must not happen where it first counts: on the caller's event loop.
        await self._kernel.run(lambda: load(self._counter()), urgent=True)
        header, probed = await self._header()
        await self._store.open(header)
        self._indexer.is_verified = probed
        self._opened = True
        self._mended(self._patience["open"])

    async def _header(self) -> tuple[Header, bool]:
        """What to open the store with, and whether the embedder could be probed.

        One that is down today must not keep pages from being stored: it is probed again before
        the first vector is made.
        """
        header = await self._vectors.identity()
        try:
            return await self._vectors.header(), True
        except EmbedderError as error:
            _log.warning("pages are stored and found by full text alone for now: %s", error)
            return header, False


def refuse_in_between(spaces: Iterable[ref[Paging]]) -> None:
    """Where a signal handler broke into a verb on this thread, what waits for that verb would wait for ever.

    Raises:
        RuntimeError: One of these spaces is being worked on by the thread that calls.
    """
    if any(_is_mine(paging.lock) for each in spaces if (paging := each()) is not None):
        raise RuntimeError(
            "a signal handler broke into a verb of this memory, and would wait for that verb, which waits for it; "
            "raise in the handler instead (sys.exit()): leaving the `with` block, or the interpreter, closes it"
        )


def _is_mine(lock: Any) -> bool:
    return bool(lock._is_owned())  # as ``threading.Condition`` asks it


def is_crowded(paging: Paging, lineage: Lineage, limit: int) -> bool:
    """Whether more than ``limit`` pages of a path wait to be stored."""
    with paging.lock:
        return lineage.is_behind(limit)


def _typed(error: BaseException) -> PagefaultError:
    if isinstance(error, PagefaultError):
        return error
    trouble = StoreError(f"write-back failed with an error that nobody foresaw, {error!r:.200}; it is tried again")
    trouble.__cause__ = error
    return trouble


def _first_unstored(paging: Paging, lineage: Lineage) -> int | None:
    with paging.lock:
        waiting = lineage.unstored(1)
    return waiting[0].seq if waiting else None
