"""A chat model that pages what it is sent: for graphs that are not built with ``create_agent``.

The result is an instance of a dynamic subclass of the model's own class, so tool binding,
structured output, profiles and ``isinstance`` checks of the provider's class keep working. Only
the wire methods that the class defines are wrapped. They call each other at times, and other
paging may sit further out; a request is paged once.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage

from pagefault import Budget, Memory
from pagefault.errors import PagefaultError
from pagefault_langgraph.identity import Identity, watch
from pagefault_langgraph.locate import OWNED, SENT, Budgets, Sent, config_of, identify
from pagefault_langgraph.messages import LANGCHAIN, lead_of
from pagefault_langgraph.overhead import overhead_of, shapes_of
from pagefault_langgraph.wire import M, Wire, rewired

_MARK: Final = "__pagefault_pager__"


class NotPageable(PagefaultError, TypeError):
    """A model, state, reducer or tool that does not go with paging; the message says what to do."""


def paged(
    model: M,
    memory: Memory,
    *,
    budget: Budget | None = None,
    identity: Identity | None = None,
) -> M:
    """A copy of ``model`` that keeps every request inside the budget.

    Give it the whole history at each call, as ``model.invoke([system, *state["messages"]])``.
    System messages at the start are sent as they are and not numbered. Outside of a graph give the
    config with the call, ``model.invoke(history, config)``, or an ``identity``.

    Args:
        model: A chat model; wrap it before ``bind_tools``, ``with_retry`` and the like.
        memory: From ``pagefault.open(...)``.
        budget: For every call; by default the memory's, else the window in the model's profile.
        identity: From the run's config to a :class:`SpaceId`.

    Raises:
        NotPageable: Not a chat model, or one that is paged already.
    """
    if not isinstance(model, BaseChatModel):
        raise NotPageable(
            f"paged() takes a chat model, got {type(model).__name__}; wrap the model itself first, then call "
            "bind_tools, with_retry or with_fallbacks on the result; one that the run's config chooses is wrapped once "
            "it is chosen, in the node that calls it: paged(init_chat_model(name), memory)"
        )
    if hasattr(type(model), _MARK):
        raise NotPageable(f"{type(model).__name__} is paged already; use it as it is")
    pager = Pager(memory, budget, identity)
    return rewired(model, {name: partial(wrap, pager) for name, wrap in _WRAPPERS.items()}, _MARK, value=pager)


def pager_of(model: BaseChatModel) -> Pager | None:
    """The pager of a paged model, so that whoever wraps it can page before it does anything else."""
    pager: Pager | None = getattr(type(model), _MARK, None)
    return pager


class Pager:
    """Renders requests of one paged model."""

    def __init__(self, memory: Memory, budget: Budget | None, identity: Identity | None) -> None:
        self.memory = memory
        self._budgets = Budgets(memory, budget)
        self._identity = identity
        self._overhead = overhead_of(memory)

    def page(self, model: BaseChatModel, messages: list[BaseMessage], extra: Mapping[str, Any]) -> list[BaseMessage]:
        """What to send for ``messages``."""
        self.memory.ready()
        return self._render(model, messages, extra)

    async def apage(
        self, model: BaseChatModel, messages: list[BaseMessage], extra: Mapping[str, Any]
    ) -> list[BaseMessage]:
        """Async twin of :meth:`page`."""
        await self.memory.aready()
        return self._render(model, messages, extra)

    def _render(self, model: BaseChatModel, messages: list[BaseMessage], extra: Mapping[str, Any]) -> list[BaseMessage]:
        """What to send for ``messages``; remembers it, so that an inner wire method passes it on."""
        known = SENT.get()
        if OWNED.get() is not None or (known is not None and known.messages is messages):
            return messages
        lead = lead_of(messages)
        history = messages[lead:]
        if not history:
            return messages
        tools: Sequence[Any] = extra.get("tools") or ()
        overhead = self._overhead.messages(messages[:lead]) + self._overhead.schemas([*tools, *shapes_of(extra)])
        config = config_of()
        space = self.memory.at(identify(self._identity, config, history))
        watch(space.paging, config, self, tools)
        prompt = space.step(history, LANGCHAIN, self._budgets.of(model), now=time.time(), overhead=overhead)
        sent = messages if prompt.natives is None else [*messages[:lead], *prompt.natives]
        SENT.set(Sent(sent, prompt))
        return sent


def _generate(pager: Pager, wire: Wire) -> Wire:
    def generate(self: Any, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        return wire(self, pager.page(self, messages, kwargs), *args, **kwargs)

    return generate


def _agenerate(pager: Pager, wire: Wire) -> Wire:
    async def agenerate(self: Any, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        return await wire(self, await pager.apage(self, messages, kwargs), *args, **kwargs)

    return agenerate


def _stream(pager: Pager, wire: Wire) -> Wire:
    def stream(self: Any, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from wire(self, pager.page(self, messages, kwargs), *args, **kwargs)

    return stream


def _astream(pager: Pager, wire: Wire) -> Wire:
    async def astream(self: Any, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async for chunk in wire(self, await pager.apage(self, messages, kwargs), *args, **kwargs):
            yield chunk

    return astream


_WRAPPERS: Final[Mapping[str, Callable[[Pager, Wire], Wire]]] = {
    "_generate": _generate,
    "_agenerate": _agenerate,
    "_stream": _stream,
    "_astream": _astream,
}
