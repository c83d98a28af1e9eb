"""Agents of one workflow, each with a space of its own.

A workflow gives all its agents one memory: the session. There they hear each other: questions,
answers and handoffs. What else an agent does, its tool calls and what came of them, is in its own
space only, between the same questions and answers. So each agent pages, and recalls, its own past.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary, ref

from llama_index.core.agent.workflow import BaseWorkflowAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock

from pagefault.held import Held
from pagefault.messages.projection import project
from pagefault.paths.lineage import Lineage
from pagefault.paths.slot import LeftBehind
from pagefault_llamaindex.memory import PagefaultMemory
from pagefault_llamaindex.messages import LLAMAINDEX, is_equal
from pagefault_llamaindex.model import NotPageable
from pagefault_llamaindex.rendering import match, restate

A = TypeVar("A", bound=BaseWorkflowAgent)
HANDOFF: Final = "handoff"
"""LlamaIndex's name for the tool that hands over."""
_MARK: Final = "__pagefault_own_space__"


def own_space(agent: A) -> A:
    """A copy of ``agent`` that keeps its conversation in a space of its own, session and agent's name.

    It hears what the session's :class:`PagefaultMemory` holds, and says its answers and handoffs
    there; its tool steps are its own. ``memory.for_agent(agent.name)`` is its memory, for its
    recall tool.

    Args:
        agent: A ``FunctionAgent``, ``ReActAgent`` or the like, with a name of its own in the workflow.

    Raises:
        NotPageable: Not an agent, or one that has its own space already.
    """
    if not isinstance(agent, BaseWorkflowAgent):
        raise NotPageable(f"own_space() takes a LlamaIndex agent, got {type(agent).__name__} {agent!r:.60}")
    if hasattr(type(agent), _MARK):
        raise NotPageable(f"{agent.name!r:.60} has a space of its own already; use it as it is")
    base: Any = type(agent)
    body: dict[str, Any] = {"__module__": base.__module__, "__doc__": base.__doc__, "__qualname__": base.__qualname__}
    subclass: Any = type(base)(base.__name__, (_OwnSpace, base), body)
    setattr(subclass, _MARK, True)
    copy = agent.model_copy()
    object.__setattr__(copy, "__class__", subclass)
    return copy


class _OwnSpace:
    """Stands before an agent's class: what reaches the session's memory there reaches two here."""

    __slots__ = ()

    async def take_step(self, ctx: Any, llm_input: list[ChatMessage], tools: Any, memory: Any) -> Any:
        own = await _own(self, memory)
        found = match(llm_input)
        if found is None or found.rendering.held.space != memory.space.id:
            raise NotPageable(
                f"the request of agent {own.agent!r:.60} does not go on from what the session's memory gave out; "
                "use the agent without own_space, or leave the messages of memory.get() in the request"
            )
        await _catch_up(memory._conversation(), own._conversation())
        history = await own.aget()
        last, given = found.rendering.shown.natives[-1], llm_input[found.stop - 1]
        if history and _same(history[-1], last):
            restate(history[-1], given.blocks)  # the workflow may have written its state into the last message
        request = [*llm_input[: found.start], *history, *llm_input[found.stop :]]
        return await super().take_step(ctx, request, tools, own)  # type: ignore[misc]  # the agent's class

    async def handle_tool_call_results(self, ctx: Any, results: Any, memory: Any) -> None:
        await super().handle_tool_call_results(ctx, results, await _own(self, memory))  # type: ignore[misc]  # as above

    async def finalize(self, ctx: Any, output: Any, memory: Any) -> Any:
        own = await _own(self, memory)
        session, mine = memory._conversation(), own._conversation()
        length = len((await mine.aready()).seen)
        in_step = _known(await session.aready(), await mine.aready())
        output = await super().finalize(ctx, output, own)  # type: ignore[misc]  # as above
        said = [each for each in heard((await mine.aready()).seen[length:]) if each is not None]
        if said:
            await session.aput(said)
        if in_step == length:
            _note(session, mine)
        return output


async def _own(agent: Any, memory: object) -> PagefaultMemory:
    if not isinstance(memory, PagefaultMemory):
        raise NotPageable(
            f"agent {agent.name!r:.60} has a space of its own in the session that a PagefaultMemory holds, got "
            f"{type(memory).__name__}; pass memory=PagefaultMemory.from_defaults(...) to run()"
        )
    if memory.agent == agent.name:
        raise NotPageable(
            f"the session's memory is agent {agent.name!r:.60}'s own; pass the one of the session, without agent="
        )
    await memory.aspace()
    return memory.for_agent(agent.name)


def heard(messages: Sequence[Any]) -> list[ChatMessage | None]:
    """What the other agents hear of each message: calls of tools and their results are its own, handoffs are not.

    Of one that is damaged nothing is heard.
    """
    found: list[ChatMessage | None] = []
    shared: set[str] = set()
    for message in messages:
        if isinstance(message, LeftBehind):
            found.append(None)
            continue
        extra = message.additional_kwargs
        if message.role is MessageRole.TOOL:
            found.append(message if extra.get("tool_call_id") in shared else None)
        elif "tool_calls" not in extra and not any(isinstance(block, ToolCallBlock) for block in message.blocks):
            found.append(message)
        else:
            calls = project(LLAMAINDEX.format, LLAMAINDEX.encode(message)).calls
            handoffs = [call for call in calls if call.name == HANDOFF]
            shared = {call.id for call in handoffs}
            found.append(_only(message, handoffs, len(calls)) if handoffs else None)
    return found


def _only(message: ChatMessage, handoffs: Sequence[Any], calls: int) -> ChatMessage:
    """The message with no calls but these."""
    if len(handoffs) == calls:
        return message
    blocks = [block for block in message.blocks if not isinstance(block, ToolCallBlock) or block.tool_name == HANDOFF]
    there = {block.tool_call_id for block in blocks if isinstance(block, ToolCallBlock)}
    older = [  # of those that integrations write beside the blocks
        ToolCallBlock(tool_call_id=call.id or None, tool_name=call.name, tool_kwargs=call.arguments)
        for call in handoffs
        if (call.id or None) not in there
    ]
    extra = {key: value for key, value in message.additional_kwargs.items() if key != "tool_calls"}
    return ChatMessage(role=message.role, blocks=[*blocks, *older], additional_kwargs=extra)


# -- what an agent has heard of its session -----------------------------------------------------


class _Heard(NamedTuple):
    """How far an agent has listened: to which conversation, how many messages of it, and how many it has then."""

    session: ref[Lineage]
    taken: int
    length: int


_heard: Final[WeakKeyDictionary[Lineage, _Heard]] = WeakKeyDictionary()


def _note(session: Held, own: Held) -> None:
    theirs, mine = session.known(), own.known()
    if theirs is not None and mine is not None:
        _heard[mine] = _Heard(ref(theirs), len(theirs.seen), len(mine.seen))


def _known(theirs: Lineage, mine: Lineage) -> int | None:
    """The agent's number of messages, if it is known to have heard all of the session."""
    known = _heard.get(mine)
    if known is None or known.session() is not theirs or known.taken != len(theirs.seen):
        return None
    return known.length


async def _catch_up(session: Held, own: Held) -> None:
    """Let an agent hear what was said since its last turn."""
    theirs, mine = await session.aready(), await own.aready()
    known = _heard.get(mine)
    news: list[Any] | None = None
    if known is not None and known.session() is theirs and known.length == len(mine.seen):
        news = theirs.seen[known.taken :]
    if news is None or any(isinstance(each, LeftBehind) for each in news):
        (said, _), (past, _) = await session.aintact(), await own.aintact()  # a page that is damaged costs itself alone
        kept, taken = _aligned(said, past)
        news = _whole(said[taken:])
        if kept < len(past):  # the session was set anew
            await own.areplace([*_whole(past[:kept]), *news])
            news = []
    if news:
        await own.aput(news)
    _note(session, own)


def _whole(messages: Sequence[Any]) -> list[Any]:
    """Those that are not damaged."""
    return [message for message in messages if not isinstance(message, LeftBehind)]


def _aligned(said: Sequence[Any], past: Sequence[Any]) -> tuple[int, int]:
    """How many of an agent's messages agree with its session, and how many of the session's it has.

    A damaged one of the session's may be any; one of the agent's may be one of the session's, or its own.
    """
    taken = unknown = 0
    for index, (message, public) in enumerate(zip(past, heard(past), strict=True)):
        if isinstance(message, LeftBehind):
            unknown += 1
            continue
        ahead = said[taken : taken + unknown + 1]
        found = [at for at, each in enumerate(ahead) if _same(message, each) or _same(public, each)]
        if public is not None:
            found += [at for at, each in enumerate(ahead) if isinstance(each, LeftBehind)]
        if found:
            taken, unknown = taken + found[0] + 1, unknown - found[0]
        elif public is not None:
            return index, taken
    return len(past), taken


def _same(one: ChatMessage | None, other: Any) -> bool:
    return one is not None and not isinstance(other, LeftBehind) and is_equal(one, other)
