"""Hooks of the scheduler: for agents, for nodes and models of any graph, and for rate limiters.

A turn covers one model call. Who calls comes from the run (the agent's name), what it will cost
from the paged prompt where there is one, and what it did cost from the answer's usage metadata.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar, overload

from langchain.agents.middleware.types import AgentMiddleware, ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from pagefault import Scheduler
from pagefault.errors import BadTurn, TurnTimeout
from pagefault.scheduler import check_scheduler
from pagefault.turn import Turn
from pagefault_langgraph.locate import IN_TURN, config_of, owned_by
from pagefault_langgraph.model import pager_of
from pagefault_langgraph.wire import M, Wire, rewired

DEFAULT_AGENT: Final = "agent"
T = TypeVar("T")
FromConfig = Callable[[Mapping[str, Any]], T]
"""Says from the config of a run who or whose it is, as in ``lambda config: space_of(config).user``."""
_MARK: Final = "__pagefault_scheduled__"
_inside: Final[ContextVar[bool]] = ContextVar("pagefault_scheduled", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asker:
    """For whom turns are asked, and how."""

    scheduler: Scheduler
    agent: str | FromConfig[str] | None
    tenant: str | FromConfig[str]
    weight: float | FromConfig[float]
    priority: int | FromConfig[int]
    timeout: float | None

    def __post_init__(self) -> None:
        check_scheduler(self.scheduler)

    def turn(self, max_output_tokens: int | None = None, messages: list[BaseMessage] | None = None) -> Turn:
        """A turn for the call that is about to be made, of these messages if it is a model's."""
        owned, config = owned_by(messages), config_of()
        return self.scheduler.turn(
            agent=_said(self.agent, config) or (config.get("metadata") or {}).get("lc_agent_name") or DEFAULT_AGENT,
            tenant=_said(self.tenant, config),
            weight=_said(self.weight, config),
            priority=_said(self.priority, config),
            input_tokens=None if owned is None else owned.tokens,
            max_output_tokens=max_output_tokens,
            prefix=None if owned is None else owned.prefix,
            timeout=self.timeout,
        )


def _said(value: Any, config: Mapping[str, Any]) -> Any:
    """What was given for all runs, or what it says of this one."""
    return value(config) if callable(value) else value


class SchedulingMiddleware(AgentMiddleware[Any, Any, Any]):
    """Asks the scheduler before every model call of an agent, and tells it what the call used.

    Give it to ``create_agent`` after :class:`PagingMiddleware`, so that a turn covers the model call
    alone and the paged prompt is known. A sub-agent called from a tool holds no slot of its parent.

    Args:
        scheduler: A :class:`pagefault.Scheduler`; one for all agents that share a backend.
        agent: Who calls; by default the agent's name. A function from the run's config where one agent serves many
            users, each with a share of their own: ``lambda config: space_of(config).user``.
        tenant: For whom; set by the application. Or a function from the run's config.
        weight: The agent's share, against 1 of others. Or a function from the run's config.
        priority: Higher goes first. Or a function from the run's config.
        timeout: Seconds to wait for a turn at most.

    Example:
        >>> import pagefault
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models.fake_chat_models import FakeListChatModel
        >>> scheduler = pagefault.Scheduler(slots=1)
        >>> model = FakeListChatModel(responses=["Hello!"])
        >>> agent = create_agent(model, middleware=[SchedulingMiddleware(scheduler, agent="greeter")])
        >>> agent.invoke({"messages": [("user", "Hi")]})["messages"][-1].content
        'Hello!'
        >>> scheduler.usage("greeter").turns
        1
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        agent: str | FromConfig[str] | None = None,
        tenant: str | FromConfig[str] = "default",
        weight: float | FromConfig[float] = 1,
        priority: int | FromConfig[int] = 0,
        timeout: float | None = None,
    ) -> None:
        super().__init__()
        self._asker = _Asker(
            scheduler=scheduler, agent=agent, tenant=tenant, weight=weight, priority=priority, timeout=timeout
        )

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        """Wait for a turn, call the model, charge what it used."""
        with self._asker.turn(_most_output(request.model, request.model_settings)) as turn:
            token = IN_TURN.set(True)
            try:
                response = handler(request)
            finally:
                IN_TURN.reset(token)
            _charge(turn, _answers(response))
            return response

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> Any:
        """Async twin of :meth:`wrap_model_call`."""
        async with self._asker.turn(_most_output(request.model, request.model_settings)) as turn:
            token = IN_TURN.set(True)
            try:
                response = await handler(request)
            finally:
                IN_TURN.reset(token)
            _charge(turn, _answers(response))
            return response


@overload
def scheduled(
    target: M,
    scheduler: Scheduler,
    *,
    agent: str | FromConfig[str] | None = None,
    tenant: str | FromConfig[str] = "default",
    weight: float | FromConfig[float] = 1,
    priority: int | FromConfig[int] = 0,
    timeout: float | None = None,
) -> M: ...
@overload
def scheduled(
    target: Callable[..., Any] | Runnable[Any, Any],
    scheduler: Scheduler,
    *,
    agent: str | FromConfig[str] | None = None,
    tenant: str | FromConfig[str] = "default",
    weight: float | FromConfig[float] = 1,
    priority: int | FromConfig[int] = 0,
    timeout: float | None = None,
) -> Runnable[Any, Any]: ...
def scheduled(
    target: Any,
    scheduler: Scheduler,
    *,
    agent: str | FromConfig[str] | None = None,
    tenant: str | FromConfig[str] = "default",
    weight: float | FromConfig[float] = 1,
    priority: int | FromConfig[int] = 0,
    timeout: float | None = None,
) -> Any:
    """A chat model or a graph node that takes its turn.

    A model is copied and takes a turn for each call; wrap it before ``bind_tools`` and the like. One that is paged
    too, in either order, pages before it asks. A node
    (a function or runnable from state to update) takes one turn for its whole run, charged by
    the usage metadata of the messages that it returns.

    Args:
        target: A chat model, or a node.
        scheduler: One for all that share a backend.
        agent: Who calls; by default the name of the agent that runs. Or a function from the run's config.
        tenant: For whom; set by the application. Or a function from the run's config.
        weight: The agent's share, against 1 of others. Or a function from the run's config.
        priority: Higher goes first. Or a function from the run's config.
        timeout: Seconds to wait for a turn at most.
    """
    asker = _Asker(scheduler=scheduler, agent=agent, tenant=tenant, weight=weight, priority=priority, timeout=timeout)
    if isinstance(target, BaseChatModel):
        return rewired(target, {name: partial(wrap, asker) for name, wrap in _WRAPPERS.items()}, _MARK)
    return _node(target if isinstance(target, Runnable) else RunnableLambda(target), asker)


class SchedulerRateLimiter(BaseRateLimiter):
    """A LangChain rate limiter that lets calls in by the scheduler's order and limits per minute.

    A limiter is not told when a call ends or what it used, so slots and fair shares by tokens need
    :class:`SchedulingMiddleware` or :func:`scheduled`; every call is charged as expected.

    Args:
        scheduler: One for all that share a backend.
        agent: Who calls; by default the name of the agent that runs. Or a function from the run's config.
        tenant: For whom; set by the application. Or a function from the run's config.
        weight: The agent's share, against 1 of others. Or a function from the run's config.
        priority: Higher goes first. Or a function from the run's config.

    Example:
        >>> import pagefault
        >>> limiter = SchedulerRateLimiter(pagefault.Scheduler(requests_per_minute=1), agent="writer")
        >>> limiter.acquire(), limiter.acquire(blocking=False)
        (True, False)
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        agent: str | FromConfig[str] | None = None,
        tenant: str | FromConfig[str] = "default",
        weight: float | FromConfig[float] = 1,
        priority: int | FromConfig[int] = 0,
    ) -> None:
        self._asker = _Asker(
            scheduler=scheduler, agent=agent, tenant=tenant, weight=weight, priority=priority, timeout=None
        )

    def acquire(self, *, blocking: bool = True) -> bool:
        """Wait until a call may begin; without ``blocking``, whether it may begin now."""
        try:
            with self._turn(blocking=blocking):
                return True
        except TurnTimeout:
            return False

    async def aacquire(self, *, blocking: bool = True) -> bool:
        """Async twin of :meth:`acquire`."""
        try:
            async with self._turn(blocking=blocking):
                return True
        except TurnTimeout:
            return False

    def _turn(self, *, blocking: bool) -> Turn:
        return (self._asker if blocking else replace(self._asker, timeout=0)).turn()


# -- usage -------------------------------------------------------------------------------------


def _charge(turn: Turn, messages: Sequence[BaseMessage]) -> None:
    """Charge what answers report; without a report that can be one the turn is charged as expected."""
    for message in messages:
        usage: Mapping[str, Any] = (message.usage_metadata if isinstance(message, AIMessage) else None) or {}
        sent, came = usage.get("input_tokens"), usage.get("output_tokens")
        if type(sent) is not int or type(came) is not int:
            continue
        cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
        with suppress(BadTurn):  # nobody loses an answer by what its provider says of it
            turn.charge(input_tokens=sent, output_tokens=came, cached_tokens=max(0, min(cached, sent)))


def _answers(response: Any) -> Sequence[BaseMessage]:
    if isinstance(response, ExtendedModelResponse):
        response = response.model_response
    if isinstance(response, ModelResponse):
        return response.result
    return [response] if isinstance(response, BaseMessage) else []


def _most_output(model: Any, settings: Mapping[str, Any]) -> int | None:
    """The limit on the answer that the call or the model sets, if any."""
    for limit in (settings.get("max_tokens"), getattr(model, "max_tokens", None)):
        if type(limit) is int and limit > 0:
            return limit
    return None


# -- models ------------------------------------------------------------------------------------


def _paged(model: Any, messages: list[BaseMessage], extra: Mapping[str, Any]) -> list[BaseMessage]:
    """A paged model pages before it asks for its turn: no slot is held for it, and the turn knows the prompt."""
    pager = pager_of(model)
    return messages if pager is None else pager.page(model, messages, extra)


async def _apaged(model: Any, messages: list[BaseMessage], extra: Mapping[str, Any]) -> list[BaseMessage]:
    pager = pager_of(model)
    return messages if pager is None else await pager.apage(model, messages, extra)


def _generate(asker: _Asker, wire: Wire) -> Wire:
    def generate(self: Any, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        if _inside.get():
            return wire(self, messages, *args, **kwargs)
        messages = _paged(self, messages, kwargs)
        with asker.turn(_most_output(self, kwargs), messages) as turn:
            token = _inside.set(True)
            try:
                result = wire(self, messages, *args, **kwargs)
            finally:
                _inside.reset(token)
            _charge(turn, [g.message for g in result.generations])
            return result

    return generate


def _agenerate(asker: _Asker, wire: Wire) -> Wire:
    async def agenerate(self: Any, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        if _inside.get():
            return await wire(self, messages, *args, **kwargs)
        messages = await _apaged(self, messages, kwargs)
        async with asker.turn(_most_output(self, kwargs), messages) as turn:
            token = _inside.set(True)
            try:
                result = await wire(self, messages, *args, **kwargs)
            finally:
                _inside.reset(token)
            _charge(turn, [g.message for g in result.generations])
            return result

    return agenerate


def _stream(asker: _Asker, wire: Wire) -> Wire:
    def stream(self: Any, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[Any]:
        if _inside.get():
            yield from wire(self, messages, *args, **kwargs)
            return
        messages = _paged(self, messages, kwargs)
        with asker.turn(_most_output(self, kwargs), messages) as turn:
            chunks = iter(wire(self, messages, *args, **kwargs))
            while (chunk := _next(chunks)) is not None:
                _charge(turn, [chunk.message])
                yield chunk

    return stream


def _next(chunks: Iterator[Any]) -> Any:
    """The next chunk, marked as inside a turn only while it is made: what the consumer does between is not."""
    token = _inside.set(True)
    try:
        return next(chunks, None)
    finally:
        _inside.reset(token)


def _astream(asker: _Asker, wire: Wire) -> Wire:
    async def astream(self: Any, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        if _inside.get():
            async for chunk in wire(self, messages, *args, **kwargs):
                yield chunk
            return
        messages = await _apaged(self, messages, kwargs)
        async with asker.turn(_most_output(self, kwargs), messages) as turn:
            chunks = aiter(wire(self, messages, *args, **kwargs))
            while (chunk := await _anext(chunks)) is not None:
                _charge(turn, [chunk.message])
                yield chunk

    return astream


async def _anext(chunks: AsyncIterator[Any]) -> Any:
    token = _inside.set(True)
    try:
        return await anext(chunks, None)
    finally:
        _inside.reset(token)


_WRAPPERS: Final[Mapping[str, Callable[[_Asker, Wire], Wire]]] = {
    "_generate": _generate,
    "_agenerate": _agenerate,
    "_stream": _stream,
    "_astream": _astream,
}


# -- nodes -------------------------------------------------------------------------------------


def _node(inner: Runnable[Any, Any], asker: _Asker) -> Runnable[Any, Any]:
    def run(state: Any, config: RunnableConfig) -> Any:
        with asker.turn() as turn:
            update = inner.invoke(state, config)
            _charge(turn, _returned(update))
            return update

    async def arun(state: Any, config: RunnableConfig) -> Any:
        async with asker.turn() as turn:
            update = await inner.ainvoke(state, config)
            _charge(turn, _returned(update))
            return update

    return RunnableLambda(run, afunc=arun, name=inner.get_name())


def _returned(update: Any) -> Sequence[BaseMessage]:
    messages = update.get("messages") if isinstance(update, Mapping) else update
    return [m for m in (messages if isinstance(messages, list) else [messages]) if isinstance(m, BaseMessage)]
