"""LangGraph's long-term store on versioned items: correct from any thread and loop, searched by words and meaning."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

from langgraph.store.base import (
    NOT_PROVIDED,
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    TTLConfig,
)

import pagefault
from pagefault import CorruptPage, Memory, PagefaultError, VersionConflict
from pagefault import items as rules
from pagefault.shelf import Change, Search, Shelf
from pagefault_langgraph.store_ops import change_of, namespace_page, plan

PLACE: Final = "PAGEFAULT_MEMORY"
"""The environment variable that says where the memory of :func:`open_store` is."""
_MINUTE: Final = 60.0
_log: Final = logging.getLogger("pagefault")


class VersionedItem(Item):
    """An item that says its version, to be given back to ``compare_and_set``."""

    __slots__ = ("version",)

    def __init__(self, *, version: int, **more: Any) -> None:
        super().__init__(**more)
        self.version = version

    def dict(self) -> Any:
        """All of it in plain values, from which it is made anew: so a checkpoint keeps it."""
        return {**super().dict(), "version": self.version}


class PagefaultStore(BaseStore):
    """A ``BaseStore`` over a memory: ``graph.compile(store=PagefaultStore(memory))``.

    Namespaces are compared label by label. A search with a query goes by words and, with an
    embedder, by meaning, both in one ranking; without one the newest come first. Within a batch
    reads come before writes and the last write of a key wins; an operation that cannot be
    understood fails its own batch before anything is done, and nobody else's. Expired items are
    never returned. The memory stays the caller's to close.

    Args:
        memory: From ``pagefault.open(...)``.
        name: Stores of different names share nothing.
        tenant: Whose items; the default tenant if not given.
        ttl: ``default_ttl`` in minutes, ``refresh_on_read`` and ``sweep_interval_minutes``, as for LangGraph's other
            stores; sweeps are begun by the first use after each interval.
        fields: Paths of a value that search sees, such as ``"text"`` or ``"notes[*].title"``; by
            default all of it. ``put(index=...)`` says it for one item.

    Example:
        >>> import pagefault
        >>> with pagefault.open(":memory:", embedder=None) as memory:
        ...     store = PagefaultStore(memory)
        ...     store.put(("users", "ada"), "diet", {"text": "vegan since 2020"})
        ...     [item.key for item in store.search(("users",), query="who is vegan?")]
        ['diet']
    """

    supports_ttl = True

    def __init__(
        self,
        memory: Memory,
        *,
        name: str = "langgraph",
        tenant: str | None = None,
        ttl: TTLConfig | None = None,
        fields: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(memory, Memory):
            raise TypeError(f"memory is what pagefault.open(...) returns, got {type(memory).__name__} {memory!r:.60}")
        if isinstance(fields, str):
            raise TypeError(f"fields is a list of paths, got the text {fields!r:.60}; write [{fields!r:.60}]")
        self._memory = memory
        self._name = name
        self._tenant = tenant
        self._fields = None if fields is None else list(fields)
        self.ttl_config = ttl
        self._swept = time.time()
        self._shelf()  # so that an odd tenant is refused here

    # -- LangGraph's interface -------------------------------------------------------------

    def batch(self, ops: Iterable[Op], *, return_exceptions: bool = False) -> list[Result]:
        """Execute operations: reads see what was there before the batch, writes follow.

        Args:
            ops: Gets, puts, searches, listings.
            return_exceptions: Leave an operation's error in its place and execute the others,
                as ``asyncio.gather`` does; otherwise the first error is raised and nothing done.

        Raises:
            ValueError: An operation that cannot be executed: a namespace, filter, limit or value.
            StoreError: The store failed.
        """
        plans = self._plans(ops, return_exceptions=return_exceptions)
        return self._memory.core.kernel.call(self._execute(plans, return_exceptions)) if plans else []

    async def abatch(self, ops: Iterable[Op], *, return_exceptions: bool = False) -> list[Result]:
        """Async twin of :meth:`batch`; never blocks the loop."""
        plans = self._plans(ops, return_exceptions=return_exceptions)
        return await self._memory.core.kernel.acall(self._execute(plans, return_exceptions)) if plans else []

    # -- beyond it -------------------------------------------------------------------------

    def compare_and_set(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any] | None,
        *,
        version: int,
        index: Literal[False] | list[str] | None = None,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> int:
        """Write (or, with ``None``, delete) an item only if it is still the version that you read.

        Args:
            namespace: Of the item.
            key: Of the item.
            value: The new value.
            version: ``item.version`` of what :meth:`get` returned, 0 for "there is none".
            index: As for ``put``.
            ttl: As for ``put``, in minutes.

        Returns:
            The new version, 0 after a deletion.

        Raises:
            VersionConflict: Somebody else was faster; read again and decide anew.
        """
        change = self._change(PutOp(namespace, str(key), value, index), version, ttl)
        return self._memory.core.kernel.call(self._compare(change))

    async def acompare_and_set(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any] | None,
        *,
        version: int,
        index: Literal[False] | list[str] | None = None,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> int:
        """Async twin of :meth:`compare_and_set`."""
        change = self._change(PutOp(namespace, str(key), value, index), version, ttl)
        return await self._memory.core.kernel.acall(self._compare(change))

    def sweep_ttl(self) -> None:
        """Remove expired items from the store; no read returns them anyhow."""
        self._memory.core.kernel.call(self._shelf().sweep())

    async def asweep_ttl(self) -> None:
        """Async twin of :meth:`sweep_ttl`."""
        await self._memory.core.kernel.acall(self._shelf().sweep())

    # -- inside ----------------------------------------------------------------------------

    def _shelf(self) -> Shelf:
        return self._memory.core.shelf(tenant=self._tenant, kind="store", name=self._name)

    def _plans(self, ops: Iterable[Op], *, return_exceptions: bool) -> list[Op | Change | Search | Exception]:
        plans: list[Op | Change | Search | Exception] = []
        for op in ops:
            try:
                plans.append(plan(op, self._fields))
            except (ValueError, TypeError) as error:
                if not return_exceptions:
                    raise
                plans.append(error)
        return plans

    def _change(self, op: PutOp, version: object, ttl: float | NotProvided | None) -> Change:
        if not isinstance(version, int) or isinstance(version, bool) or version < 0:
            raise ValueError(f"version={version!r:.60}; give item.version of what get() returned, or 0 for no item")
        default = (self.ttl_config or {}).get("default_ttl")
        minutes = default if isinstance(ttl, NotProvided) else ttl
        return change_of(op._replace(ttl=minutes), self._fields, version=version)

    async def _compare(self, change: Change) -> int:
        (written,) = await self._shelf().write([change])
        if isinstance(written, VersionConflict):
            raise written
        return 0 if written is None else written.version

    async def _execute(self, plans: Sequence[Op | Change | Search | Exception], is_apart: bool) -> list[Result]:  # noqa: FBT001  # positional from two places
        shelf = self._shelf()
        self._sweep_in_time(shelf)
        results: list[Any] = [each if isinstance(each, Exception) else None for each in plans]
        await self._get(shelf, plans, results, is_apart=is_apart)
        for i, each in enumerate(plans):
            if isinstance(each, Search):
                found = await shelf.search(each)
                results[i] = [_search_item(item, score) for item, score in found]
                if each.refresh:
                    await shelf.refresh([item for item, _ in found])
            elif isinstance(each, ListNamespacesOp):
                under = next((c.path for c in each.match_conditions or () if c.match_type == "prefix"), ())
                plain = under[: under.index("*")] if "*" in under else under
                results[i] = namespace_page(await shelf.namespaces(plain), each)
        last = {(each.namespace, each.key): each for each in plans if isinstance(each, Change)}
        if last:
            await shelf.write(list(last.values()))
        return results

    async def _get(self, shelf: Shelf, plans: Sequence[Any], results: list[Any], *, is_apart: bool) -> None:
        gets = [(i, each) for i, each in enumerate(plans) if isinstance(each, GetOp)]
        if not gets:
            return
        found = await self._found(shelf, [(op.namespace, op.key) for _, op in gets], is_apart=is_apart)
        for (i, _), item in zip(gets, found, strict=True):
            results[i] = _item(item) if isinstance(item, rules.Item) else item
        living = zip(gets, found, strict=True)
        await shelf.refresh([item for (_, op), item in living if isinstance(item, rules.Item) and op.refresh_ttl])

    async def _found(
        self, shelf: Shelf, names: list[tuple[rules.Namespace, str]], *, is_apart: bool
    ) -> Sequence[rules.Item | CorruptPage | None]:
        try:
            return await shelf.get(names)
        except CorruptPage as error:
            if not is_apart:
                raise
            if len(names) == 1:
                return [error]
        return [each for name in names for each in await self._found(shelf, [name], is_apart=True)]

    def _sweep_in_time(self, shelf: Shelf) -> None:
        """Begin a sweep if the last one is long ago; nobody waits for it but closing."""
        interval = (self.ttl_config or {}).get("sweep_interval_minutes")
        now = time.time()
        # A clock that was set back must not put off the next sweep until it has caught up.
        if interval is not None and not 0 <= now - self._swept < _MINUTE * interval:
            self._swept = now
            self._memory.core.kernel.start(_logged(shelf.sweep()))


@contextlib.asynccontextmanager
async def open_store(place: str | None = None) -> AsyncIterator[PagefaultStore]:
    """A store with a memory of its own, for ``langgraph.json``.

    Name it there as ``"store": {"path": "./my_store.py:open_store"}``, where that file imports it.

    Args:
        place: As for ``pagefault.open``; by default the environment variable ``PAGEFAULT_MEMORY``,
            else ``./agent-memory``.
    """
    async with await pagefault.aopen(place or os.environ.get(PLACE) or "./agent-memory") as memory:
        yield PagefaultStore(memory)


async def _logged(sweep: Coroutine[Any, Any, None]) -> None:
    try:
        await sweep
    except PagefaultError as error:
        _log.warning("expired items are not removed yet, no read returns them: %s", error)


def _item(item: rules.Item) -> VersionedItem:
    return VersionedItem(version=item.version, **_parts(item))


def _search_item(item: rules.Item, score: float | None) -> SearchItem:
    return SearchItem(score=score, **_parts(item))


def _parts(item: rules.Item) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": cast("dict[str, Any]", item.value),
        "created_at": datetime.fromtimestamp(item.created_at, UTC),
        "updated_at": datetime.fromtimestamp(item.updated_at, UTC),
    }
