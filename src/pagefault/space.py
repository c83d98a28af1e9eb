"""A space: one agent's conversation, and the verbs on it. Each verb has an async twin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pagefault.arguments import (
    ScopeName,
    check_key,
    check_limit,
    check_scope,
    check_time,
    checked_item,
    noted,
    numbers,
    parsed,
)
from pagefault.assembly import Assembly
from pagefault.chat import CHAT, accept
from pagefault.core import Core
from pagefault.errors import PageNotFound
from pagefault.estimate import cost_of
from pagefault.faults.others import Past, user_scope
from pagefault.faults.query import Query
from pagefault.held import Held, Shown
from pagefault.items import Item
from pagefault.page import SpaceId, check_id
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.ports import Codec, Source
from pagefault.recall import Found, render_items, with_items
from pagefault.shelf import Change, Shelf, owner_of_items
from pagefault.window.budget import Budget, check_budget

ACCEPTED_AT_ONCE: Final = 32


class Space:
    """One agent's conversation. Made by ``memory.space(...)``; cheap to make again.

    Used alone, a space takes chat dictionaries (``append``) and gives back the ones to send
    (``view``). Under a framework adapter the messages come from the framework, and the same
    space answers ``recall`` and ``fault`` for what its graph has seen.
    """

    def __init__(self, core: Core, paging: Paging) -> None:
        self._core = core
        self.paging: Final = paging
        """Its state in this process; for adapters."""
        self.step: Final = paging.step
        """What to send at one model call of a framework; for adapters, see :meth:`Paging.step`."""

    @property
    def id(self) -> SpaceId:
        """Whose conversation this is."""
        return self.paging.space

    # -- writing ---------------------------------------------------------------------------

    def append(self, messages: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> None:
        """Add chat dictionaries: ``role``, ``content``, ``tool_calls``, ``tool_call_id``.

        Each may have an ``id``, a ``name`` and a ``created_at``: the Unix seconds at which it was said, as for a
        conversation that is brought in; ``after=``, ``before=`` and what recall shows go by that of a page's first
        message. :meth:`view` gives all of them as they were appended.
        Accepted on return, stored behind you; ``memory.flush()`` waits until it is durable.
        One process at a time: what another one adds meanwhile is not seen here.
        Waits first while more than 4,096 pages of this space are not stored yet. What raises
        has added nothing. They come back as JSON has them: tuples as lists.

        Raises:
            UnsupportedMessage: Not such dictionaries, or one holds what JSON cannot: bytes, keys that are no text, or a
                ``created_at`` that is no time.
            InvalidId: An id in them is no usable string.
            MemoryClosed: After ``close()``.
            StoreError: The store cannot be opened, or fails while that many pages wait for it.
        """
        self.held(CHAT).put(list(accept(messages)))

    async def aappend(self, messages: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> None:
        """Async twin of :meth:`append`. Of two at once, either may come first: await the one, then the other."""
        accepted: list[Any] = []
        for message in accept(messages):
            accepted.append(message)
            if len(accepted) % ACCEPTED_AT_ONCE == 0:
                await asyncio.sleep(0)  # a long list must not hold up the caller's loop
        await self.held(CHAT).aput(accepted)

    # -- reading ---------------------------------------------------------------------------

    def view(self, *, budget: Budget | None = None) -> list[dict[str, Any]]:
        """The messages to send now: within the budget, prefix-stable between reclaims.

        What was said from one user message to the next leaves as a whole, so that no answer stays without its question.
        What is ours among them, such as the table of contents, has ``role`` and ``content`` alone.

        Raises:
            BudgetError: What must stay does not fit, or ``budget`` is no :class:`Budget`.
        """
        check_budget(budget)
        return _copies(self.held(CHAT).render(budget or self._core.budget, by_turns=True))

    async def aview(self, *, budget: Budget | None = None) -> list[dict[str, Any]]:
        """Async twin of :meth:`view`."""
        check_budget(budget)
        return _copies(await self.held(CHAT).arender(budget or self._core.budget, by_turns=True))

    def fault(
        self,
        addresses: str | int,
        *,
        path: Lineage | Past | None = None,
        budget: int | None = None,
        scope: ScopeName = "thread",
    ) -> Found:
        """The exact pages at some addresses: ``"12"``, ``"12-14"``, ``"3, 12.2@4000"``.

        Args:
            addresses: One address or several, as the compaction blocks give them.
            path: The path to read, where an adapter knows it.
            budget: Tokens that ``.text`` may use; a quarter of the target by default.
            scope: ``"user"`` also reads addresses that a recall of this scope gave: ``"c0f3a9e2b71:12"``.

        Raises:
            BadAddress: Not an address, or one of another conversation.
            PageNotFound: No such page in this conversation.
            CorruptPage: The stored page does not match its hash.
            PagesLost: The store lost it.
            ValueError: A budget that is no number of tokens, or no such scope.
            InvalidId: ``scope="user"`` in a conversation of no user.
        """
        return self._core.kernel.call(self._fault(addresses, path, budget, scope))

    async def afault(
        self,
        addresses: str | int,
        *,
        path: Lineage | Past | None = None,
        budget: int | None = None,
        scope: ScopeName = "thread",
    ) -> Found:
        """Async twin of :meth:`fault`."""
        return await self._core.kernel.acall(self._fault(addresses, path, budget, scope))

    async def _fault(
        self, addresses: str | int, path: Lineage | Past | None, budget: int | None, scope: ScopeName
    ) -> Found:
        wanted, crosses = parsed(addresses), self._crosses(scope)
        past = await self._past(path)
        core, share = self._core, self._share(budget)
        if crosses and any(address.alias for address in wanted):
            await self._settle_others()
        return await core.retrieval.fault(self.paging, past, wanted, core.counter, share, crosses=crosses)

    def recall(
        self,
        query: str,
        *,
        limit: int = 10,
        after: float | None = None,
        before: float | None = None,
        path: Lineage | Past | None = None,
        budget: int | None = None,
        skip_resident: bool = False,
        scope: ScopeName = "thread",
        sources: Sequence[Source] = (),
    ) -> Found:
        """What answers a query: pages of this conversation, verbatim, and items; or an abstention.

        Args:
            query: What to look for.
            limit: Pages returned at most, 1 to 100, and items likewise.
            after: Only pages first seen, and items and passages written, at or after this time, Unix seconds; a
                passage that says no time is of any.
            before: Only what was first seen or written before this time, likewise.
            path: The path to read, where an adapter knows it.
            budget: Tokens that ``.text`` may use; a quarter of the target by default.
            skip_resident: Name pages that are in the window already, without repeating them.
            scope: ``"user"`` looks into all conversations of this user. Pages of another one have its
                ``space``, an address of their own form, and stand under its thread's name. What counts
                there is what it says today: the path that it wrote last.
            sources: Asked as well. What they say is judged likewise and stands apart (``found.passages``); one
                that raises or takes more than five seconds is named in ``found.failed`` and ``found.text``.

        Raises:
            ValueError: An empty query, a limit out of range, a time that ends before it begins, a budget that is no
                number of tokens, or no such scope.
            InvalidId: ``scope="user"`` in a space without a user.

        Example:
            >>> import pagefault
            >>> with pagefault.open(":memory:", embedder=None) as memory:
            ...     memory.space(user="ada", thread="t1").append({"role": "user", "content": "My cat is Turing."})
            ...     found = memory.space(user="ada", thread="t2").recall("cat", scope="user")
            ...     found.pages[0].page.text, found.pages[0].space.thread
            ('My cat is Turing.', 't1')
        """
        wanted = self._query(query, limit, after, before, budget)
        wanted = replace(wanted, skip_resident=skip_resident, crosses=self._crosses(scope))
        return self._core.kernel.call(self._recall(wanted, path, sources))

    async def arecall(
        self,
        query: str,
        *,
        limit: int = 10,
        after: float | None = None,
        before: float | None = None,
        path: Lineage | Past | None = None,
        budget: int | None = None,
        skip_resident: bool = False,
        scope: ScopeName = "thread",
        sources: Sequence[Source] = (),
    ) -> Found:
        """Async twin of :meth:`recall`."""
        wanted = self._query(query, limit, after, before, budget)
        wanted = replace(wanted, skip_resident=skip_resident, crosses=self._crosses(scope))
        return await self._core.kernel.acall(self._recall(wanted, path, sources))

    def _query(
        self, text: object, limit: object, after: float | None, before: float | None, budget: int | None
    ) -> Query:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"recall takes a non-empty query, got {text!r:.60}")
        check_time(after, before)
        return Query(text=text, limit=check_limit(limit), after=after, before=before, budget=self._share(budget))

    def _crosses(self, scope: object) -> bool:
        """Whether a scope reaches the user's other conversations.

        Raises:
            ValueError: No such scope.
            InvalidId: There is no user.
        """
        if check_scope(scope) == "user":
            user_scope(self.id)
        return scope == "user"

    async def _settle_others(self) -> None:
        """What the user's other conversations in this process said until now can be seen."""
        for paging, lineage in self._core.neighbours(self.id):
            await self._core.retrieval.settle(paging, lineage)

    async def _recall(self, wanted: Query, path: Lineage | Past | None, sources: Sequence[Source]) -> Found:
        past = await self._past(path)
        counter = self._core.counter
        if wanted.crosses:
            await self._settle_others()
        shelf, retrieval = self._shelf, self._core.retrieval
        await self._core.writeback.open()
        there, vector = await asyncio.gather(shelf.size(), retrieval.vector(self.id.tenant, wanted.text))
        items = await shelf.recall(wanted, vector, there=there)
        text = render_items(items, counter=counter, budget=wanted.budget)
        if text:
            cost = cost_of(text, counter)
            wanted = replace(wanted, budget=max(0, wanted.budget - cost))
        if sources:
            wanted = replace(wanted, budget=wanted.budget * 2 // 3)
        found = await retrieval.search(self.paging, past, wanted, counter, vector)
        found = with_items(found, items, text)
        if not sources:
            return found
        return await self._core.sources.add_to(
            found, sources, self.id, replace(wanted, budget=wanted.budget // 2), counter
        )

    # -- items -----------------------------------------------------------------------------

    def remember(self, key: str, value: Any) -> Item:
        """Keep a value under a key until it is replaced or forgotten; ``recall`` finds it by what it says.

        The items of a user belong to all their threads and agents; without a user, to this thread.
        A new value takes the place of the one before. Stored on return, durable moments later.

        Args:
            key: Its name, such as ``"diet"``.
            value: Text, or anything else that JSON can hold; tuples come back as lists.

        Raises:
            InvalidItem: A key or value that cannot be kept.
            StoreError: The store failed.

        Example:
            >>> import pagefault
            >>> with pagefault.open(":memory:", embedder=None) as memory:
            ...     item = memory.space(user="ada", thread="t1").remember("diet", "vegan since 2020")
            ...     memory.space(user="ada", thread="t2").recall("vegan diet").items[0].item.value
            'vegan since 2020'
        """
        return self._core.kernel.call(self._remember(noted(key, value)))

    async def aremember(self, key: str, value: Any) -> Item:
        """Async twin of :meth:`remember`."""
        return await self._core.kernel.acall(self._remember(noted(key, value)))

    async def _remember(self, change: Change) -> Item:
        (written,) = await self._shelf.write([change])
        if not isinstance(written, Item):
            raise TypeError(f"an item without a condition was not written: {written!r}")
        return written

    def forget(self, *, key: str) -> bool:
        """Forget what is remembered under a key: no recall finds it from now on.

        Its bytes leave the disk when the store is vacuumed.

        Returns:
            Whether there was anything.

        Raises:
            InvalidItem: No usable key.
            StoreError: The store failed.
        """
        return self._core.kernel.call(self._forget(key))

    async def aforget(self, *, key: str) -> bool:
        """Async twin of :meth:`forget`."""
        return await self._core.kernel.acall(self._forget(key))

    async def _forget(self, key: str) -> bool:
        check_key(key)
        (known,) = await self._shelf.get([((), key)])
        await self._shelf.write([Change(namespace=(), key=key, deletes=True)])
        return known is not None

    @property
    def _shelf(self) -> Shelf:
        """The user's items, those of the thread where no user is named: nobody shares with strangers."""
        kind, name = owner_of_items(self.id.user, self.id.thread)
        return self._core.shelf(tenant=self.id.tenant, kind=kind, name=name)

    # -- pins ------------------------------------------------------------------------------

    def pin(self, addresses: str | int, *, path: Lineage | None = None) -> None:
        """Keep these pages in every prompt. A page that had left comes back: a reclaim of its own.

        In a conversation that a framework's state keeps, the next model call writes it there; until then it is known
        to this process alone. The same holds for :meth:`release` and :meth:`pin_item`.

        Raises:
            BadAddress: Not an address, or not that of whole pages of this conversation.
            PageNotFound: No such page.
            CorruptPage: The stored page does not match its hash, and its messages are not here.
            PagesLost: The store lost it, likewise.
        """
        self._core.kernel.call(self._pin(addresses, path))

    async def apin(self, addresses: str | int, *, path: Lineage | None = None) -> None:
        """Async twin of :meth:`pin`."""
        await self._core.kernel.acall(self._pin(addresses, path))

    async def _pin(self, addresses: str | int, path: Lineage | None) -> None:
        lineage = path or await self._current()
        seqs = numbers(addresses, lineage)
        await self._core.retrieval.bring_back(self.paging, lineage, seqs)
        self.paging.pin(lineage, seqs)
        self._core.writeback.note(self.paging, lineage)

    def release(self, addresses: str | int, *, path: Lineage | None = None, unpin: bool = True) -> None:
        """Let pages go: pins on them end, and at the next reclaim they are the first to leave.

        Args:
            addresses: Whole pages.
            path: The path, where an adapter knows it.
            unpin: ``False`` leaves pinned pages as they are, for a model that may not undo pins.

        Raises:
            BadAddress: Not an address, or not that of whole pages of this conversation.
            PageNotFound: No such page.
        """
        self._core.kernel.call(self._release(addresses, path, unpin=unpin))

    async def arelease(self, addresses: str | int, *, path: Lineage | None = None, unpin: bool = True) -> None:
        """Async twin of :meth:`release`."""
        await self._core.kernel.acall(self._release(addresses, path, unpin=unpin))

    async def _release(self, addresses: str | int, path: Lineage | None, *, unpin: bool) -> None:
        lineage = path or await self._current()
        self.paging.release(lineage, numbers(addresses, lineage), unpin=unpin)
        self._core.writeback.note(self.paging, lineage)

    # -- pinned items ----------------------------------------------------------------------

    def pin_item(self, key: str, text: str, *, path: Lineage | None = None) -> None:
        """Set a short text that stands in every prompt from now on, in place of the one under this key.

        The change comes at the end of the prompt first; the next reclaim moves it near the top. All
        items of a conversation together may use an eighth of the target.

        Raises:
            InvalidId: The key is no usable string.
            ValueError: The text is empty or no string.
            PinnedOverBudget: The items would not fit.
        """
        self._core.kernel.call(self._pin_item(*checked_item(key, text), path))

    async def apin_item(self, key: str, text: str, *, path: Lineage | None = None) -> None:
        """Async twin of :meth:`pin_item`."""
        await self._core.kernel.acall(self._pin_item(*checked_item(key, text), path))

    def unpin_item(self, key: str, *, path: Lineage | None = None) -> None:
        """Remove a pinned item.

        Raises:
            InvalidId: The key is no usable string.
            PageNotFound: There is none under this key.
        """
        self._core.kernel.call(self._pin_item(check_id("key", key), None, path))

    async def aunpin_item(self, key: str, *, path: Lineage | None = None) -> None:
        """Async twin of :meth:`unpin_item`."""
        await self._core.kernel.acall(self._pin_item(check_id("key", key), None, path))

    def pinned_items(self, *, path: Lineage | None = None) -> dict[str, str]:
        """The pinned items as they are now, by key."""
        return self._core.kernel.call(self._pinned_items(path))

    async def apinned_items(self, *, path: Lineage | None = None) -> dict[str, str]:
        """Async twin of :meth:`pinned_items`."""
        return await self._core.kernel.acall(self._pinned_items(path))

    async def _pinned_items(self, path: Lineage | None) -> dict[str, str]:
        lineage = path or await self._current()
        return {item.key: item.text for item in lineage.view.items}

    async def _pin_item(self, key: str, text: str | None, path: Lineage | None) -> None:
        lineage = path or await self._current()
        if text is None and key not in {item.key for item in lineage.view.items}:
            known = "; there is: " + ", ".join(repr(item.key) for item in lineage.view.items)
            raise PageNotFound(f"no pinned item {key!r:.80} here{known if lineage.view.items else ', nor any other'}")
        self.paging.pin_item(lineage, key, text, self.share // 2)
        self._core.writeback.note(self.paging, lineage)

    @property
    def share(self) -> int:
        """Tokens that one recall may use: a quarter of the target of the last call, or of the memory's budget."""
        return (self.paging.target or self._core.budget.target) // 4

    # -- for adapters ----------------------------------------------------------------------

    def begins_with(self, native: Any, codec: Codec) -> bool:
        """Whether the path last used begins with this message."""
        seen = next((lineage.seen for lineage in self.paging.lineages[:1] if lineage.codec is codec), [])
        return bool(seen) and (seen[0] is native or codec.is_same(seen[0], native))

    def path(self, natives: list[Any], codec: Codec, *, record: Mapping[str, Any] | None = None) -> Lineage:
        """The path that a framework's messages are; adapters pass it to the other verbs."""
        return self.paging.align(natives, codec, now=time.time(), record=record)

    def held(self, codec: Codec) -> Held:
        """The conversation as one that only the store keeps, in the messages of ``codec``; for adapters."""
        return Held(self._core, self.paging, codec)

    def assembly(self, codec: Codec) -> Assembly:
        """The conversation as one of which a framework's state may hold a part only; for adapters."""
        return Assembly(self._core, self.paging, codec)

    async def _past(self, path: Lineage | Past | None) -> Past:
        if isinstance(path, Past):
            return path
        lineage = path or await self._current()
        return Past(lineage, len(lineage.seen))

    async def _current(self) -> Lineage:
        """The path last used in this process, else the one that the store's head names."""
        self._core.check_open()
        lineages = self.paging.lineages
        return lineages[0] if lineages else await self.held(CHAT).own()

    def _share(self, budget: int | None) -> int:
        if budget is None:
            return self.share
        if not isinstance(budget, int) or isinstance(budget, bool) or budget < 0:
            raise ValueError(f"budget={budget!r:.60}; give a number of tokens")
        return budget

    def __repr__(self) -> str:
        return f"<pagefault.Space {self.id}>"


def _copies(shown: Shown) -> list[dict[str, Any]]:
    return [_copy(native) for native in shown.natives]


def _copy(value: Any) -> Any:
    """JSON-like data that a caller may change without changing ours."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
