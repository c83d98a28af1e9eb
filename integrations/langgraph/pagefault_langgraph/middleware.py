"""Paging as agent middleware: the whole change a user makes.

A view, not a rewrite: ``state["messages"]`` is never touched. What the model is sent is
rendered in ``wrap_model_call``; the decisions behind it live in one small private state key.
Remove the middleware and the graph is as if it had never been there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Token
from typing import Any, Final

from langchain.agents.middleware.types import AgentMiddleware, ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from pagefault import Budget, Memory, Source, Space, SpaceId
from pagefault.arguments import ScopeName
from pagefault.asking import NAME as RECALL
from pagefault.messages.equal import is_equal
from pagefault.paths.paging import Prompt
from pagefault.window.calibration import Gauge
from pagefault_langgraph.identity import Identity, calling, space_of, tool_name, watch
from pagefault_langgraph.locate import IN_TURN, OWNED, Budgets
from pagefault_langgraph.messages import LANGCHAIN
from pagefault_langgraph.model import NotPageable
from pagefault_langgraph.overhead import overhead_of, shapes, transient
from pagefault_langgraph.state import VIEW_KEY, PagingState
from pagefault_langgraph.tools import recall_tool
from pagefault_langgraph.window import window_tools

_log: Final = logging.getLogger("pagefault")
Answer = ToolMessage | Command[Any]
Response = ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]
_Around = tuple[BaseChatModel | None, Any, list[Any], Any, Gauge, int]


class PagingMiddleware(AgentMiddleware[PagingState, Any, Any]):
    """Keeps an agent's prompt inside a budget and loses nothing.

    Give it to ``create_agent`` last, so that it sees what other middleware did to the request; only
    :class:`SchedulingMiddleware` comes after it, and what hides contents from the model request by request: the table
    of contents and the ``recall`` tool quote the state, not what was masked on its way.

    Args:
        memory: From ``pagefault.open(...)``; stays open when the agent is done.
        budget: For every call. By default the memory's own budget, else the window in the
            model's profile, else 32,000 tokens (said once).
        identity: From the run's config to a :class:`SpaceId`; see ``space_of`` for the default.
        recall: Whether to give the model the ``recall`` tool.
        scope: ``"user"`` lets ``recall`` find pages of all conversations of this user; see :func:`recall_tool`.
        sources: What ``recall`` asks besides; see :func:`recall_tool`.
        manage: Whether to let it manage its window: the tools ``release`` and ``pin_item``, and a notice at
            the end of the prompt, once between reclaims, before pages leave.

    Example:
        >>> import pagefault
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models.fake_chat_models import FakeListChatModel
        >>> memory = pagefault.open(":memory:", embedder=None)
        >>> model = FakeListChatModel(responses=["Hello!"])
        >>> agent = create_agent(model, middleware=[PagingMiddleware(memory, recall=False)])
        >>> agent.invoke({"messages": [("user", "Hi")]})["messages"][-1].content
        'Hello!'
        >>> memory.close()
    """

    state_schema = PagingState

    def __init__(
        self,
        memory: Memory,
        *,
        budget: Budget | None = None,
        identity: Identity | None = None,
        recall: bool = True,
        scope: ScopeName = "thread",
        sources: Sequence[Source] = (),
        manage: bool = False,
    ) -> None:
        super().__init__()
        self._memory = memory
        self._identity = identity
        self._last: tuple[SpaceId, Space, bool] | tuple[None, None, None] = None, None, None
        self._budgets = Budgets(memory, budget)
        self._core = memory.core
        self._overhead = overhead_of(memory)
        self._shape: tuple[Any, list[Any]] = None, []
        self._around: _Around = None, None, [], None, Gauge(Budget()), 0
        self._manage = manage
        self._has_warned = False
        tools = [recall_tool(memory, identity=identity, budget=budget, scope=scope, sources=sources)] if recall else []
        tools += window_tools(memory, identity=identity) if manage else []
        self.tools: Sequence[BaseTool] = tools

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Response:
        """Page, then call the model."""
        if not self._core.is_ready:
            self._core.ready()
        prompt, token = self._step(request)
        try:
            response: Response = handler(request if prompt.natives is None else _paged(request, prompt.natives))
        finally:
            OWNED.reset(token)
        return response if prompt.record is None else _noted(response, prompt.record)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> Response:
        """Async twin of :meth:`wrap_model_call`."""
        if not self._core.is_ready:
            await self._core.aready()
        prompt, token = self._step(request)
        try:
            response: Response = await handler(request if prompt.natives is None else _paged(request, prompt.natives))
        finally:
            OWNED.reset(token)
        return response if prompt.record is None else _noted(response, prompt.record)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Answer]) -> Answer:
        """Run the tool; an unnamed sub-agent in it is told by the tool's name."""
        with calling(request.tool_call["name"], request.runtime.config):
            return handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Answer]]
    ) -> Answer:
        """Async twin of :meth:`wrap_tool_call`."""
        with calling(request.tool_call["name"], request.runtime.config):
            return await handler(request)

    def _step(self, request: ModelRequest[Any]) -> tuple[Prompt, Token[Prompt | None]]:
        state: Mapping[str, Any] = request.state
        history = state["messages"]
        requested: list[Any] | None = request.messages
        if requested is history or is_equal(requested, history):
            requested = None
        model, system, tools, shape, gauge, overhead = self._around  # an agent calls many times in a row
        if (
            model is not request.model
            or system is not request.system_message
            or shape is not request.response_format
            or tools != request.tools
        ):
            gauge, overhead = self._look_around(request)
        if requested is not None:
            overhead += self._overhead.messages(transient(requested, history))
        config = var_child_runnable_config.get() or {}
        space_id = space_of(config, history) if self._identity is None else self._identity(config)
        known, space, is_below = self._last
        if space is None or known is not space_id:
            self._check_order()
            space, is_below = self._memory.at(space_id), self._identity is not None or "/" in space_id.agent
            self._last = space_id, space, is_below
        if is_below:
            watch(space.paging, config, self, request.tools)
        prompt = space.step(
            history,
            LANGCHAIN,
            gauge,
            now=time.time(),
            overhead=overhead,
            record=state.get(VIEW_KEY),
            requested=requested,
            notices=self._manage,
        )
        return prompt, OWNED.set(prompt)

    def _look_around(self, request: ModelRequest[Any]) -> tuple[Gauge, int]:
        """The budget of the model of this call, and the tokens of what surrounds its conversation."""
        model, system, tools, shape = request.model, request.system_message, request.tools, request.response_format
        self._check_names(tools)
        if shape is not self._shape[0]:
            self._shape = shape, shapes(shape)
        gauge = self._budgets.of(model)
        overhead = self._overhead.schemas([*tools, *self._shape[1]])
        if system is not None:
            overhead += self._overhead.messages([system])
        if isinstance(model, BaseChatModel):  # of any other, the run's config may choose what is called
            self._around = model, system, list(tools), shape, gauge, overhead
        return gauge, overhead

    def _check_names(self, tools: Sequence[Any]) -> None:
        """Of two tools by one name LangChain keeps the agent's, without a word."""
        ours = {tool.name: tool for tool in self.tools}
        for tool in tools:
            own = ours.get(name := tool_name(tool))
            if own is not None and tool is not own and not own.args.keys() <= getattr(tool, "args", {}).keys():
                way = "recall=False" if name == RECALL else "manage=False"
                raise NotPageable(
                    f"the agent has a tool {name!r} of its own, so its model would not get the one that this "
                    f"middleware brings along; rename that tool, or make it PagingMiddleware(memory, {way})"
                )

    def _check_order(self) -> None:
        if IN_TURN.get() and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "PagingMiddleware comes after SchedulingMiddleware: a slot of the backend is held while it pages, and "
                "the scheduler does not know the prompt. Give PagingMiddleware to create_agent first"
            )


def _paged(request: ModelRequest[Any], natives: list[Any]) -> ModelRequest[Any]:
    """What ``request.override`` does, which filters warnings for as long as all the rest of a step takes."""
    if type(request) is not ModelRequest:
        return request.override(messages=natives)
    paged = object.__new__(ModelRequest)
    vars(paged).update(vars(request), messages=natives)
    return paged


def _noted(response: Any, record: dict[str, Any]) -> Response:
    return ExtendedModelResponse(model_response=response, command=Command(update={VIEW_KEY: record}))
