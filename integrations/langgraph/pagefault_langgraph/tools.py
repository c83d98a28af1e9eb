"""The model's own page fault: a tool that returns exact originals by address or by query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple

from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BeforeValidator

from pagefault import Budget, Memory, Source
from pagefault.arguments import ScopeName
from pagefault.asking import (
    ADDRESSES,
    AFTER,
    BEFORE,
    NAME,
    QUERY,
    asked,
    description_of,
    failed,
    few,
    said,
    said_addresses,
    told,
)
from pagefault.errors import PagefaultError
from pagefault.faults.others import Past
from pagefault.messages.projection import RECALL_MARK
from pagefault.recall import Found
from pagefault.space import Space
from pagefault_langgraph.drop import Standing, standing
from pagefault_langgraph.identity import Identity
from pagefault_langgraph.locate import identify
from pagefault_langgraph.messages import LANGCHAIN, lead_of
from pagefault_langgraph.model import NotPageable
from pagefault_langgraph.state import read, record_of

Answer = tuple[str, dict[str, Any]]
Runtime = ToolRuntime[Any, Any]
OUTSIDE: Final[Any] = None
"""What a tool gets for a runtime where no ``ToolNode`` calls it, but ``tool.invoke(call)``."""
Said = Annotated[str, BeforeValidator(said)]
"""Text of a model, which may also send ``null``, a number or a list; its schema says text."""
SaidAddresses = Annotated[str, BeforeValidator(said_addresses)]


def recall_tool(
    memory: Memory,
    *,
    identity: Identity | None = None,
    budget: Budget | None = None,
    scope: ScopeName = "thread",
    sources: Sequence[Source] = (),
    messages_key: str = "messages",
) -> BaseTool:
    """The ``recall`` tool for an agent or a ``ToolNode``.

    ``PagingMiddleware`` brings it along; build it yourself only for other graphs. Whose
    conversation is read comes from the run's config and state, never from the model.

    Args:
        memory: From ``pagefault.open(...)``.
        identity: The same as given to the middleware.
        budget: A result uses at most a quarter of its target, all results of one step together half
            of it. By default the budget that the agent's last call had.
        scope: ``"user"`` lets it find pages of all conversations of this user, marked; the model cannot set it.
        sources: Asked at each query as well, such as a :class:`StoreSource`; what they say stands apart.
        messages_key: Where the state has its messages; the same as given to ``paging_node`` and ``ToolNode``.

    Raises:
        ValueError: No such scope.
    """
    tool = _Recall(Asker(memory, identity, messages_key), budget, scope, sources)
    return StructuredTool.from_function(
        tool.recall, tool.arecall, name=NAME, description=description_of(scope), response_format="content_and_artifact"
    )


class _Recall(NamedTuple):
    """The two forms of a recall tool, and what it was built with."""

    asker: Asker
    budget: Budget | None
    scope: ScopeName
    sources: Sequence[Source]

    def recall(
        self,
        addresses: Annotated[SaidAddresses, ADDRESSES] = "",
        query: Annotated[Said, QUERY] = "",
        after: Annotated[Said, AFTER] = "",
        before: Annotated[Said, BEFORE] = "",
        runtime: Runtime = OUTSIDE,
    ) -> Answer:
        place = self.asker.place(runtime)
        space, share = place.space, self.asker.share(place.space, self.budget, runtime)
        try:
            how: Any = {"path": place.past(), "budget": share, "scope": self.scope}
            if addresses:
                return _answer(space.fault(few(addresses), **how))
            wanted = asked(query, after, before)
            return _answer(told(space.recall(**wanted, skip_resident=True, sources=self.sources, **how), wanted))
        except (PagefaultError, ValueError) as error:
            return _refusal(error)

    async def arecall(
        self,
        addresses: Annotated[SaidAddresses, ADDRESSES] = "",
        query: Annotated[Said, QUERY] = "",
        after: Annotated[Said, AFTER] = "",
        before: Annotated[Said, BEFORE] = "",
        runtime: Runtime = OUTSIDE,
    ) -> Answer:
        place = self.asker.place(runtime)
        space, share = place.space, self.asker.share(place.space, self.budget, runtime)
        try:
            how: Any = {"path": await place.apast(), "budget": share, "scope": self.scope}
            if addresses:
                return _answer(await space.afault(few(addresses), **how))
            wanted = asked(query, after, before)
            found = await space.arecall(**wanted, skip_resident=True, sources=self.sources, **how)
            return _answer(told(found, wanted))
        except (PagefaultError, ValueError) as error:
            return _refusal(error)


class Place(NamedTuple):
    """The conversation that a tool call is part of.

    Attributes:
        space: Whose it is.
        state: The state's messages up to that call, told apart.
        record: The view record in the state.
    """

    space: Space
    state: Standing
    record: Any

    def past(self) -> Past:
        """All of it up to that call.

        Raises:
            PagefaultError: The state has dropped pages, and the store, which has to be read for them, is down, or lost
                them. That is nothing that ends a run: a tool tells it to its model.
        """
        kept, dropped = self.state.kept, self.state.dropped
        if dropped is None:
            return self._of_state()
        joined = self.space.assembly(LANGCHAIN).rejoin(kept, dropped, record=self.record)
        return Past(joined.path, len(joined.natives))

    async def apast(self) -> Past:
        """Async twin of :meth:`past`."""
        kept, dropped = self.state.kept, self.state.dropped
        if dropped is None:
            return self._of_state()
        joined = await self.space.assembly(LANGCHAIN).arejoin(kept, dropped, record=self.record)
        return Past(joined.path, len(joined.natives))

    def _of_state(self) -> Past:
        kept = self.state.kept
        return Past(self.space.path(kept, LANGCHAIN, record=self.record), len(kept))


class Asker(NamedTuple):
    """Whose tool call it is, and of what it may speak.

    Attributes:
        memory: The memory.
        identity: The same as given to the middleware.
        messages_key: Where the state has its messages.
    """

    memory: Memory
    identity: Identity | None
    messages_key: str

    def place(self, runtime: Runtime) -> Place:
        """Where a tool is called. The store is not needed for it.

        Raises:
            NotPageable: The call brings no messages along.
        """
        history = self._history(runtime)
        space = self.memory.at(identify(self.identity, runtime.config, history))
        lead = lead_of(history)
        if 0 < lead < len(history) and space.begins_with(history[lead], LANGCHAIN):
            history = history[lead:]  # a paged model does not number the system messages at the start
        return Place(space, standing(history), record_of(runtime.state, self.messages_key))

    def share(self, space: Space, budget: Budget | None, runtime: Runtime) -> int:
        """Tokens that one result may use."""
        limit = space.share if budget is None else min(space.share, budget.target // 4)
        return min(limit, 2 * limit // max(1, _asked_at_once(self._history(runtime))))

    def _history(self, runtime: Runtime | None) -> list[Any]:
        if runtime is None:
            raise NotPageable(
                "this tool reads the messages of the conversation, and tool.invoke(call) brings none; run it in a "
                "ToolNode, in a function with @task as well: ToolNode(tools).invoke({'messages': messages})"
            )
        state: Any = runtime.state
        history = state if isinstance(state, list) else read(state, self.messages_key)
        if not isinstance(history, list):
            raise NotPageable(
                f"the state of this tool call has no list of messages under {self.messages_key!r}, got "
                f"{type(history).__name__}; say where they are with messages_key='...', to the tool as to its ToolNode"
            )
        return history


def _asked_at_once(history: Sequence[BaseMessage]) -> int:
    """How many recalls the model asked for in this step: they share the room, since they share a page."""
    asking = next((m for m in reversed(history) if isinstance(m, AIMessage)), None)
    return sum(call["name"] == NAME for call in asking.tool_calls) if asking is not None else 0


def _answer(found: Found) -> Answer:
    return found.text, {RECALL_MARK: [page.address for page in found.quoted], "outcome": found.outcome.value}


def _refusal(error: Exception) -> Answer:
    return failed(NAME, error), {RECALL_MARK: [], "outcome": "error"}
