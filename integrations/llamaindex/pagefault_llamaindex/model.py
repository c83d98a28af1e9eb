"""An LLM that pages what it is sent: the one place that sees the whole request.

Agents keep their tool steps in a scratchpad outside of any memory, and engines put prompts and
context before it; only the LLM sees them together. The result is an instance of a dynamic
subclass of the LLM's own class, with only the chat methods wrapped. They call each other at
times; a request is paged once.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, NamedTuple

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import LLM

from pagefault import Budget, Memory, SpaceId
from pagefault.errors import PagefaultError, UnsupportedMessage
from pagefault.held import Shown
from pagefault.paths import content
from pagefault.paths.overhead import Overhead
from pagefault.paths.paging import Prompt
from pagefault.window.budget import check_budget
from pagefault_llamaindex.memory import PagefaultMemory
from pagefault_llamaindex.messages import LLAMAINDEX, accept_one, copy_of, is_plain, lead_of
from pagefault_llamaindex.rendering import Match, match
from pagefault_llamaindex.wire import L, Wire, rewired

Identity = Callable[[Sequence[ChatMessage]], SpaceId | None]
"""Says from a request's messages whose conversation it is; ``None`` sends the request as it is."""
_WIRE: Final = {"chat": False, "stream_chat": False, "achat": True, "astream_chat": True}
_MARK: Final = "__pagefault_pager__"
_log: Final = logging.getLogger("pagefault")


class Sent(NamedTuple):
    """What a paged LLM sends, and what is known of it: a name for how it begins, and tokens at most.

    ``prefix`` is empty for a request that is no conversation.
    """

    messages: Sequence[ChatMessage]
    prefix: str = ""
    tokens: int | None = None


_sent: Final[ContextVar[Sent | None]] = ContextVar("pagefault_sent", default=None)


class NotPageable(PagefaultError, TypeError):
    """What was given to ``paged`` is no LLM, or is paged already."""


def paged(
    llm: L, memory: PagefaultMemory | Memory, *, budget: Budget | None = None, identity: Identity | None = None
) -> L:
    """A copy of ``llm`` that keeps every request inside the budget, a long tool loop included.

    It knows by itself which session a request belongs to, when its history came out of a
    :class:`PagefaultMemory` at the same place, and shares the pages with it. Any other request is sent as it is,
    unless ``identity`` names the space of a history that the caller carries along.

    Args:
        llm: A chat model.
        memory: The session's memory, or the one that several sessions are in.
        budget: For every call. By default the memory's token limit within the LLM's context window.
        identity: From a request's messages to the space they belong to, for histories that no
            ``PagefaultMemory`` gave out; ``None`` for requests that are no conversation.

    Raises:
        NotPageable: Not an LLM, or one that is paged already.
    """
    if not isinstance(llm, LLM):
        raise NotPageable(f"paged() takes a LlamaIndex LLM, got {type(llm).__name__} {llm!r:.60}")
    if hasattr(type(llm), _MARK):
        raise NotPageable(f"{type(llm).__name__} is paged already; use it as it is")
    pager = Pager(memory, budget, identity)
    return rewired(
        llm, {name: partial(_awaited if waits else _called, pager) for name, waits in _WIRE.items()}, _MARK, value=pager
    )


def pager_of(llm: LLM) -> Pager | None:
    """The pager of a paged LLM, so that whoever wraps it can page before it does anything else."""
    pager: Pager | None = getattr(type(llm), _MARK, None)
    return pager


def known_of(messages: Sequence[ChatMessage]) -> Sent:
    """What paging made of the request on its way to the LLM: a paged LLM's, else what a memory gave out for it."""
    sent = _sent.get()
    if sent is not None and sent.messages is messages:
        return sent
    found = match(messages)
    return Sent(messages) if found is None else _sent_of(messages, found.rendering.held.space, found.rendering.shown)


def _sent_of(messages: Sequence[ChatMessage], space: SpaceId, made: Prompt | Shown) -> Sent:
    """The prefix stays the same for as long as the prompt only grows."""
    return Sent(messages, f"{space.key}:{made.lineage.view.generation}", made.tokens)


class Pager:
    """Renders requests of one paged LLM."""

    def __init__(self, memory: PagefaultMemory | Memory, budget: Budget | None, identity: Identity | None) -> None:
        if not isinstance(memory, PagefaultMemory | Memory):
            raise TypeError(
                "memory is a PagefaultMemory or what pagefault.open(...) returns, "
                f"got {type(memory).__name__} {memory!r:.60}"
            )
        check_budget(budget)
        self._home = memory
        self._budget = budget
        self._identity = identity
        self._overhead = Overhead(LLAMAINDEX, lambda: self.memory.counter, _schema)
        self._accepted = Accepted()
        self._told = False

    @property
    def memory(self) -> Memory:
        """The memory that its sessions are in; of a session that was written down, opened at first use."""
        return self._home if isinstance(self._home, Memory) else self._home.memory

    def page(self, llm: LLM, messages: Sequence[ChatMessage], extra: Mapping[str, Any]) -> Sequence[ChatMessage]:
        """What to send for ``messages``."""
        self.memory.ready()
        return self._render(llm, messages, extra)

    async def apage(self, llm: LLM, messages: Sequence[ChatMessage], extra: Mapping[str, Any]) -> Sequence[ChatMessage]:
        """Async twin of :meth:`page`."""
        if isinstance(self._home, PagefaultMemory):
            await self._home.aspace()
        await self.memory.aready()
        return self._render(llm, messages, extra)

    def _render(self, llm: LLM, messages: Sequence[ChatMessage], extra: Mapping[str, Any]) -> Sequence[ChatMessage]:
        """Remembers what is sent, so that an inner wire method passes it on.

        Always a list of its own: the caller's may grow in place and come again.
        """
        known = _sent.get()
        if known is not None and messages is known.messages:
            return messages
        found = match(messages)
        if found is not None and found.rendering.held.core is not self.memory.core:
            self._tell_once(found.rendering.held.core.place)
            found = None
        if found is not None:
            sent = self._paged(llm, messages, found, extra)
        else:
            space = self._identity(messages) if self._identity is not None else None
            sent = Sent(list(messages)) if space is None else self._carried(llm, messages, space, extra)
        _sent.set(sent)
        return sent.messages

    def _tell_once(self, place: str) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "a request goes on from a session at %s, and its LLM pages the memory at %s: it is sent as it is; give "
                "paged(llm, ...) the memory that the agent or engine has",
                place, self.memory.place,
            )  # fmt: skip

    def _paged(self, llm: LLM, messages: Sequence[ChatMessage], found: Match, extra: Mapping[str, Any]) -> Sent:
        """A request that goes on from what a memory gave out."""
        rendering, start, stop, skipped = found
        before, given, after = list(messages[:start]), messages[start:stop], list(messages[stop:])
        natives = rendering.shown.natives[skipped:]
        overhead = self._around(before, extra) + self._changed(natives, given)
        shown = rendering.held.branch(
            rendering.shown.lineage,
            rendering.shown.shared,
            self._accepted.of(after),
            self._budget_of(llm, rendering.limit),
            overhead=overhead,
            by_turns=True,
        )
        ours = {id(native): message for native, message in zip(natives, given, strict=True)}
        tail = shown.lineage.seen[rendering.shown.shared : rendering.shown.shared + len(after)]
        ours |= {id(native): message for native, message in zip(tail, after, strict=True)}
        sent = [*before, *(ours.get(id(native)) or copy_of(native) for native in shown.natives)]
        return _sent_of(sent, rendering.held.space, shown)

    def _carried(self, llm: LLM, messages: Sequence[ChatMessage], space: SpaceId, extra: Mapping[str, Any]) -> Sent:
        """A request that brings its whole history along."""
        lead = lead_of(messages)
        before, history = list(messages[:lead]), list(messages[lead:])
        if not history:
            return Sent(before)
        overhead = self._around(before, extra)
        budget = self._budget_of(llm, None)
        prompt = self.memory.at(space).step(history, LLAMAINDEX, budget, now=time.time(), overhead=overhead)
        sent = [*before, *(history if prompt.natives is None else prompt.natives)]
        return _sent_of(sent, space, prompt)

    def _budget_of(self, llm: LLM, limit: int | None) -> Budget:
        if self._budget is not None:
            return self._budget
        if limit is None and self.memory.has_budget:
            return self.memory.budget
        whole = Budget(window=max(1, llm.metadata.context_window))
        if limit is None:
            return whole
        return Budget(window=whole.window, target=min(limit, whole.window - whole.reserve), reserve=whole.reserve)

    def _around(self, before: Sequence[ChatMessage], extra: Mapping[str, Any]) -> int:
        return self._overhead.messages(before) + self._overhead.schemas(list(extra.get("tools") or ()))

    def _changed(self, natives: Sequence[Any], given: Sequence[ChatMessage]) -> int:
        """Tokens that the last message has gained since it was given out: agents write their state into it."""
        if not given or LLAMAINDEX.is_same(natives[-1], given[-1]):
            return 0
        return max(0, self._overhead.messages([given[-1]]) - self._overhead.messages([natives[-1]]))


class Accepted:
    """What the messages of runs are kept as. An agent sends all steps of its run again in every request.

    To see that one still says the same takes a tenth of the time that it takes to keep it anew, and the path that it
    is in needs not be compared with it.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[ChatMessage], list[Any], ChatMessage]] = {}

    def of(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Each of a request's messages as it is kept.

        Raises:
            UnsupportedMessage: As for :func:`accept`.
        """
        seen: set[int] = set()
        kept: list[ChatMessage] = []
        for message in messages:
            is_new = id(message) not in seen  # in a path each is an object of its own
            kept.append(self._one(message) if is_new and not is_plain(message) else accept_one(message))
            seen.add(id(message))
        return kept

    def _one(self, message: ChatMessage) -> ChatMessage:
        key = id(message)
        known = self._known.get(key)
        if known is not None and known[0]() is message and _reads_as(message, known[1]):
            return known[2]
        said = _said(message)  # before it is kept: were it changed just now, it would be kept anew next time
        kept = accept_one(message)
        if said is not None:
            self._known[key] = weakref.ref(message, lambda _: self._known.pop(key, None)), said, kept
        return kept


def _said(message: ChatMessage) -> list[Any] | None:
    try:
        return content.copy_of([message], LLAMAINDEX)
    except UnsupportedMessage:  # is said where it is kept
        return None


def _reads_as(message: ChatMessage, said: list[Any]) -> bool:
    try:
        return content.read_as([message], said, LLAMAINDEX)
    except UnsupportedMessage:  # as above
        return False


def _schema(tool: Any) -> Any:
    """What of a tool is sent; a kind that only its provider knows is counted as it prints."""
    if isinstance(tool, dict | str):
        return tool
    metadata = getattr(tool, "metadata", None)
    return metadata.to_openai_tool(skip_length_check=True) if metadata is not None else repr(tool)


def _called(pager: Pager, wire: Wire) -> Wire:
    def call(self: Any, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return wire(self, pager.page(self, messages, kwargs), *args, **kwargs)

    return call


def _awaited(pager: Pager, wire: Wire) -> Wire:
    async def call(self: Any, messages: Sequence[ChatMessage], *args: Any, **kwargs: Any) -> Any:
        return await wire(self, await pager.apage(self, messages, kwargs), *args, **kwargs)

    return call
