"""Paging between the steps of any ``StateGraph``."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.channels import BinaryOperatorAggregate
from langgraph.types import Command
from typing_extensions import TypedDict

from pagefault import Budget, Memory, Space
from pagefault.errors import PagefaultError, StoreError
from pagefault.paths.dropped import Kept
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Prompt
from pagefault.paths.rejoin import Rejoined
from pagefault.window.view import merge_records
from pagefault_langgraph.drop import Standing, add_paged_messages, is_stale, leave, leaving, shown, standing
from pagefault_langgraph.identity import Identity
from pagefault_langgraph.locate import Budgets, identify
from pagefault_langgraph.messages import LANGCHAIN, lead_of
from pagefault_langgraph.model import NotPageable
from pagefault_langgraph.state import MESSAGES_KEY, PROMPT_KEY, VIEW_KEY, OneStep, read, record_of, told_of

_log: Final = logging.getLogger("pagefault")
_SHOWN: Final = ("blocks", "previews", "notes", "items")
"""What in a view record makes a prompt differ from the history."""
Update = dict[str, Any]
Written = Update | Command[Any]


class NotPaged(PagefaultError, RuntimeError):
    """The prompt was asked for where no paging node has left one."""


class _Turn(NamedTuple):
    """One call of the node or of its condition.

    Attributes:
        space: Whose conversation it is.
        messages: The state's messages as they stand.
        state: The same, told apart.
        record: The view record in the state.
    """

    space: Space
    messages: list[Any]
    state: Standing
    record: Mapping[str, Any] | None


class _Pager:
    """What node and condition share."""

    def __init__(self, memory: Memory, budget: Budget | None, identity: Identity | None, messages_key: str) -> None:
        self.memory = memory
        self._budgets = Budgets(memory, budget)
        self._identity = identity
        self._key = messages_key

    @property
    def budget(self) -> Budget:
        return self._budgets.fixed

    def turn(self, state: Any, config: Mapping[str, Any]) -> _Turn:
        messages = read(state, self._key)
        if not isinstance(messages, list):
            raise NotPageable(
                f"the state has no list of messages under {self._key!r}, got {type(messages).__name__}; "
                "say where they are with messages_key='...'"
            )
        space = self.memory.at(identify(self._identity, config, messages))
        told = standing(messages, space.assembly(LANGCHAIN).known(messages))
        return _Turn(space, messages, told, record_of(state, self._key))

    def rejoin(self, turn: _Turn) -> Rejoined | None:
        if turn.state.dropped is None:
            return None
        return turn.space.assembly(LANGCHAIN).rejoin(turn.state.kept, turn.state.dropped, record=turn.record)

    async def arejoin(self, turn: _Turn) -> Rejoined | None:
        if turn.state.dropped is None:
            return None
        return await turn.space.assembly(LANGCHAIN).arejoin(turn.state.kept, turn.state.dropped, record=turn.record)

    def step(self, turn: _Turn, joined: Rejoined | None) -> Prompt:
        natives = turn.messages if joined is None else joined.natives
        return turn.space.step(natives, LANGCHAIN, self.budget, now=time.time(), record=turn.record)

    def is_needed(self, turn: _Turn, joined: Rejoined | None) -> bool:
        """Whether the state's messages are not what the model should be sent."""
        if not turn.messages:
            return False
        path = turn.space.path(turn.messages, LANGCHAIN, record=turn.record) if joined is None else joined.path
        if turn.space.assembly(LANGCHAIN).is_due(path, self.budget):
            return True
        is_away = turn.state.dropped is not None or not path.view.is_plain or _is_other(turn.record)
        return is_away and not _is_shown(turn.state, turn.record)


class _Node:
    """The paging node's two forms."""

    def __init__(self, pager: _Pager, messages_key: str, prompt_key: str, *, drop: bool) -> None:
        self._pager = pager
        self._messages_key = messages_key
        self._prompt_key = prompt_key
        self._drop = drop
        self._is_stuck = False

    def page(self, state: Any, config: RunnableConfig) -> Written:
        self._pager.memory.ready()
        turn = self._pager.turn(state, config)
        if not turn.messages:
            return {self._prompt_key: []}
        joined = self._pager.rejoin(turn)
        prompt = self._pager.step(turn, joined)
        secured = False
        if self._wants_to_drop(turn, joined, prompt):
            try:
                turn.space.assembly(LANGCHAIN).secure(prompt.lineage)
                secured = True
            except StoreError as error:
                self._stuck(turn.space, error)
        return self._update(turn, joined, prompt, secured=secured)

    async def apage(self, state: Any, config: RunnableConfig) -> Written:
        await self._pager.memory.aready()
        turn = self._pager.turn(state, config)
        if not turn.messages:
            return {self._prompt_key: []}
        joined = await self._pager.arejoin(turn)
        prompt = self._pager.step(turn, joined)
        secured = False
        if self._wants_to_drop(turn, joined, prompt):
            try:
                await turn.space.assembly(LANGCHAIN).asecure(prompt.lineage)
                secured = True
            except StoreError as error:
                self._stuck(turn.space, error)
        return self._update(turn, joined, prompt, secured=secured)

    def _wants_to_drop(self, turn: _Turn, joined: Rejoined | None, prompt: Prompt) -> bool:
        path = prompt.lineage
        if not self._drop:
            return False
        pages, again = (joined.pages, joined.again) if joined else (set[int](), set[int]())
        away = (path.slots[seq - 1].content for seq in path.absent if seq not in pages or seq in again)
        if any(content is None or not content.opaque for content in away):
            return True
        return is_stale(path, turn.state, _text(path), pages)

    def _stuck(self, space: Space, error: StoreError) -> None:
        if not self._is_stuck:  # said once, not at every step
            _log.warning(
                "nothing is dropped from the state of %s for now, prompts stay within the budget: %s", space.id, error
            )
        self._is_stuck = True

    def _update(self, turn: _Turn, joined: Rejoined | None, prompt: Prompt, *, secured: bool) -> Written:
        path = prompt.lineage
        natives = prompt.natives
        if natives is None:
            natives = list(path.seen) if joined else list(turn.messages)
        sent = _placed(natives, path, turn, drop=self._drop)
        update: Update = {self._prompt_key: sent}
        if prompt.record is not None:
            update[VIEW_KEY] = told_of(prompt.record, self._messages_key)
        if secured:
            self._is_stuck = False
            update |= self._dropped(turn, joined, path, sent)
        known = {m.id for m in turn.messages}
        if all(m.id in known for m in sent):
            return update
        return Command(update=list(update.items()))  # a stream of messages does not look into it

    def _dropped(self, turn: _Turn, joined: Rejoined | None, path: Lineage, sent: list[Any]) -> Update:
        pages = joined.pages if joined else set[int]()
        again = joined.again if joined else set[int]()
        leaves = leaving(path, turn.state.kept, pages, again)
        text = _text(path)
        if not leaves and not is_stale(path, turn.state, text, pages):
            return {}
        left = leave(path, turn.state, turn.messages, pages | leaves, text)
        if [m.id for m in sent] == left.order and not path.view.previews:
            left = shown(left, path.view.generation)
        kept = Kept(left.dropped, left.kept, len(path.seen)) if left.dropped is not None else None
        turn.space.assembly(LANGCHAIN).leave_behind(path, leaves, kept)
        return {self._messages_key: left.update}


def paging_node(
    memory: Memory,
    *,
    budget: Budget | None = None,
    identity: Identity | None = None,
    messages_key: str = MESSAGES_KEY,
    prompt_key: str = PROMPT_KEY,
    drop: bool = False,
) -> RunnableLambda[Any, Written]:
    """A graph node that pages between steps.

    It puts the messages to send into ``state["llm_input_messages"]``, for the node that runs right
    after it, and its decisions into ``state["pagefault_view"]``. Use :class:`PagedState`, let the
    model node send ``prompt_of(state)``, and give ``recall_tool(memory)`` to the ``ToolNode``.

    Args:
        memory: From ``pagefault.open(...)``.
        budget: For the messages; leave room for system prompt and tools, which a node does not see.
        identity: From the run's config to a :class:`SpaceId`.
        messages_key: Where the history is. A state may have several, each with a paging node.
        prompt_key: Where the messages to send go; one of its own for each paging node of the same superstep.
        drop: Take what left the window out of the state as well, once it is durable. The state
            then holds one message in its place. No other node of the same superstep may touch
            messages that leave; see :class:`ParallelDrop`.

    Raises:
        NotPageable: When added to a graph whose messages have a reducer that cannot drop safely, and at a superstep in
            which two nodes leave different prompts under one key.

    Example:
        >>> import pagefault
        >>> from langchain_core.messages import AIMessage
        >>> from langgraph.graph import START, StateGraph
        >>> from pagefault_langgraph import PagedState
        >>> memory = pagefault.open(":memory:", embedder=None)
        >>> builder = StateGraph(PagedState)
        >>> _ = builder.add_node("page", paging_node(memory, budget=pagefault.Budget(window=8_000)))
        >>> _ = builder.add_node("model", lambda s: {"messages": [AIMessage(f"{len(prompt_of(s))} message")]})
        >>> _ = builder.add_edge(START, "page").add_edge("page", "model")
        >>> done = builder.compile().invoke({"messages": [("user", "Hi")]}, {"configurable": {"thread_id": "t"}})
        >>> done["messages"][-1].content
        '1 message'
        >>> memory.close()
    """
    pager = _Pager(memory, budget, identity, messages_key)
    node = _Node(pager, messages_key, prompt_key, drop=drop)

    def call(self: RunnableLambda[Any, Written], state: Any, config: RunnableConfig | None = None) -> Written:
        return self.invoke(state, config)

    # LangGraph reads from a node's annotation what it takes, and adds channels that the graph lacks.
    call.__annotations__ = {"state": _taken(messages_key, prompt_key, drop=drop)}
    paging: type[RunnableLambda[Any, Written]] = type("PagingNode", (RunnableLambda,), {"__call__": call})
    return paging(node.page, afunc=node.apage, name="page")


def needs_paging(
    memory: Memory,
    *,
    budget: Budget | None = None,
    identity: Identity | None = None,
    messages_key: str = MESSAGES_KEY,
) -> RunnableLambda[Any, bool]:
    """A condition for ``add_conditional_edges``: whether the model needs the paging node first.

    True when the history is above the high watermark, and when something that left the window
    still stands in the state.

    Example:
        ``builder.add_conditional_edges("tools", needs_paging(memory), {True: "page", False: "model"})``
    """
    pager = _Pager(memory, budget, identity, messages_key)

    def needs(state: Any, config: RunnableConfig) -> bool:
        memory.ready()
        turn = pager.turn(state, config)
        return pager.is_needed(turn, pager.rejoin(turn))

    async def aneeds(state: Any, config: RunnableConfig) -> bool:
        await memory.aready()
        turn = pager.turn(state, config)
        return pager.is_needed(turn, await pager.arejoin(turn))

    return RunnableLambda(needs, afunc=aneeds, name="needs_paging")


def prompt_of(state: Any, *, messages_key: str = MESSAGES_KEY, prompt_key: str = PROMPT_KEY) -> list[BaseMessage]:
    """What to send to the model: the prompt that the paging node left, else the history.

    Raises:
        NotPaged: The history alone would show what has left the window.
    """
    prompt: list[BaseMessage] | None = read(state, prompt_key)
    if prompt is not None:
        return prompt
    if read(state, VIEW_KEY) is None:
        raise NotPaged(
            f"this state has no {VIEW_KEY!r}; build the graph with StateGraph(PagedState), or have this "
            f"node's input_schema name {VIEW_KEY!r} and {prompt_key!r}"
        )
    record = record_of(state, messages_key)
    history: list[BaseMessage] = read(state, messages_key) or []
    told = standing(history)
    if (told.dropped or _is_other(record)) and not _is_shown(told, record):
        raise NotPaged(
            "some of this history has left the window, and no paging node ran right before this node; add an edge from "
            "the paging node to it, or choose with needs_paging(memory)"
        )
    return history


def _is_other(record: Mapping[str, Any] | None) -> bool:
    """Whether a prompt differs from the history by this record, or did before the history was changed."""
    return any((record or {}).get(key) for key in _SHOWN)


def _is_shown(told: Standing, record: Mapping[str, Any] | None) -> bool:
    """Whether the state's messages are themselves the prompt."""
    return told.dropped is not None and told.dropped.shown > 0 and told.dropped.shown == (record or {}).get("gen")


def _text(path: Lineage) -> str:
    return path.view.block.text if path.view.block else ""


def _placed(natives: list[Any], path: Lineage, turn: _Turn, *, drop: bool) -> list[Any]:
    """The prompt with its block under the id of the first message that left, as the state has it.

    A stream of messages passes over ids that it has seen, so users are not shown contents. Where
    messages are dropped the block stands where the state has it, or will have it.
    """
    if path.view.block is None:
        return natives
    lead = lead_of(natives) + bool(path.view.folded)  # pinned items come first
    block, rest = natives[lead], [*natives[:lead], *natives[lead + 1 :]]
    message = turn.state.message
    start = path.slots[min(path.absent) - 1].start
    name = path.key_at(start) if message is None else message.id
    at = lead
    if message is not None:
        before = {m.id for m in turn.messages[: _index(turn.messages, message)]}
        at = max((i + 1 for i, m in enumerate(rest) if m.id in before), default=lead)
    elif drop:
        at = start + bool(path.view.folded)
    return [*rest[:at], block.model_copy(update={"id": name or block.id}), *rest[at:]]


def _index(messages: list[Any], message: Any) -> int:
    return next(i for i, m in enumerate(messages) if m is message)


class _Guarded(BinaryOperatorAggregate[Any]):
    """A channel that is added to no graph: comparing it to the graph's own finds one that cannot drop safely."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BinaryOperatorAggregate) or other.operator is not add_paged_messages:
            raise NotPageable(
                "paging_node(drop=True) needs messages whose reducer notices parallel writes; build the graph with "
                "StateGraph(PagedState), or annotate them with Annotated[list, add_paged_messages]"
            )
        return True

    __hash__ = None  # type: ignore[assignment]  # never a key


def _taken(messages_key: str, prompt_key: str, *, drop: bool) -> Any:
    """The state that the node takes."""
    guarded = Annotated[list[Any], _Guarded(list, add_paged_messages)]
    keys: dict[str, Any] = {
        messages_key: guarded if drop else list[Any],
        VIEW_KEY: Annotated[dict[str, Any], merge_records],
        prompt_key: Annotated[list[Any], OneStep],
    }
    return TypedDict("PagingInput", keys)  # type: ignore[operator]  # its keys are known at run time only
