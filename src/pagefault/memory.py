"""What users hold: a Memory over one store, and the spaces in it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import weakref
from concurrent.futures import Future, wait
from functools import partial
from types import TracebackType
from typing import Final, Self

from pagefault.core import Core, EmbedderChoice, Options
from pagefault.errors import PagefaultError, StoreError
from pagefault.kernel import refuse_other_loops
from pagefault.page import SpaceId
from pagefault.ports import TokenCounter
from pagefault.rooted import Rooted
from pagefault.space import Space
from pagefault.targets import key_of, place_of
from pagefault.window.budget import Budget
from pagefault.window.calibration import Gauge

_lock = threading.Lock()
_open: Final[dict[str, Core]] = {}
_living: Final[weakref.WeakSet[Core]] = weakref.WeakSet()


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
    options = Options(embedder, counter, budget, require_tenant)
    place = place_of(target)
    key = key_of(place)
    with _lock:
        core = _open.get(key)
        if core is None or core.is_gone:
            core = Core(place, options)
            _living.add(core)
            if key:
                _open[key] = core
        elif core.options != options:
            raise StoreError(
                f"{place} is open already with other options; close it first, or open it with the same ones"
            )
        core.holders += 1
        return Memory(core)


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
    """A handle of the open memory whose :attr:`Memory.place` this is, if there is one; asks no file system.

    To close it closes nothing: the place stays its opener's.
    """
    if place.startswith(":memory:"):
        core = next((each for each in list(_living) if each.place == place and not each.is_closed), None)
    else:
        with _lock:
            core = _open.get(place)
    return None if core is None else Memory(core, is_given_back=True)


class Memory(Rooted):
    """A handle of one store and the spaces in it. Made by :func:`open`; works from any thread and loop.

    All handles of an open memory share what it knows (``core``, for adapters). Each can be closed twice without
    closing another one's.
    """

    def __init__(self, core: Core, *, is_given_back: bool = False) -> None:
        self.core = core
        self._is_given_back = is_given_back

    @property
    def place(self) -> str:
        """What ``attach`` finds this memory by: its real path or its server's URL."""
        return self.core.place

    # -- spaces ----------------------------------------------------------------------------

    @property
    def budget(self) -> Budget:
        """The budget for calls that name none."""
        return self.core.budget

    @property
    def has_budget(self) -> bool:
        """Whether the budget was given, not assumed."""
        return self.core.options.budget is not None

    @property
    def counter(self) -> TokenCounter:
        """The token counter, loaded at first use."""
        return self.core.counter

    def space(self, *, thread: str, tenant: str | None = None, user: str = "", agent: str = "") -> Space:
        """The space of one agent's conversation.

        Raises:
            InvalidId: An id is no usable string, or the tenant is missing where it is required.
            MemoryClosed: After ``close()``.
        """
        return self.at(SpaceId(tenant=self.core.tenant(tenant), user=user, thread=thread, agent=agent))

    def at(self, space_id: SpaceId) -> Space:
        """The space with this id, as an adapter's ``identity`` gives it."""
        return Space(self.core, self.core.paging(space_id))

    @property
    def gauges(self) -> tuple[Gauge, ...]:
        """What usage reports have made of the budgets: one gauge for each model and budget, of the last 1,024."""
        return self.core.gauges

    @property
    def trouble(self) -> PagefaultError | None:
        """Why something accepted is not durable yet, for a health check; ``None`` when nothing is wrong."""
        return self.core.writeback.trouble

    # -- life ------------------------------------------------------------------------------

    def ready(self) -> None:
        """Open the store now, so that what is wrong with it is raised here. Cheap afterwards."""
        self.core.ready()

    async def aready(self) -> None:
        """Async twin of :meth:`ready`."""
        await self.core.aready()

    def flush(self) -> None:
        """On return, everything accepted is stored, indexed and durable.

        Raises:
            PagefaultError: The store or embedder failed; nothing is lost, call again.
            RuntimeError: As for :meth:`close`.
        """
        self.core.refuse_in_between()
        self.core.kernel.call(self.core.writeback.flush())

    async def aflush(self) -> None:
        """Async twin of :meth:`flush`."""
        await self.core.kernel.acall(self.core.writeback.flush())

    def close(self) -> None:
        """Give back what ``open`` gave; the last one flushes and releases the store. Idempotent.

        Verbs that are running end first. While others have the same place open, the memory stays open. Where it is
        being closed already, as by an ``aclose`` that was cancelled, this waits until that is done.

        Raises:
            PagefaultError: The last flush failed; the memory is closed all the same, and the log names what is lost.
            RuntimeError: In a signal handler that broke into another verb, which would be waited for in vain. Raise
                there instead, as ``sys.exit()`` does: a ``with`` block closes it then, and so does the interpreter.
        """
        core = self.core
        core.kernel.refuse_own_threads()
        core.refuse_in_between()
        closing = self._last_close()
        if closing is not None:
            try:
                closing.result()
            finally:
                core.kernel.join()
        elif core.closing is not None:
            wait([core.closing])  # its error is for whoever began it
            core.kernel.join()

    async def aclose(self) -> None:
        """Async twin of :meth:`close`. Cancelling it does not stop the closing."""
        refuse_other_loops()
        closing = self._last_close()
        if closing is not None:
            await asyncio.shield(asyncio.wrap_future(closing))
        elif self.core.closing is not None:
            await asyncio.gather(asyncio.shield(asyncio.wrap_future(self.core.closing)), return_exceptions=True)

    def _last_close(self) -> Future[None] | None:
        """Begin to close when nobody else holds this memory and something runs."""
        core = self.core
        with _lock:
            if not core.is_closed:
                if self._is_given_back:
                    return None
                self._is_given_back = True
                core.holders -= 1
                if core.holders > 0:
                    return None
                core.is_closed = True
                if _open.get(core.key) is core:
                    del _open[core.key]
            if core.closing is not None:
                return None
            return core.finish()  # also where an interrupt cut it short before

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
        return f"<pagefault.Memory {self.core.name!r}{' closed' if self.core.is_closed else ''}>"


def _close_all() -> None:
    """At interpreter exit: write what was accepted, and wait for those who are closing already."""
    for core in list(_living):
        core.holders = 1
        memory = Memory(core)
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
    for core in list(_living):
        core.after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
