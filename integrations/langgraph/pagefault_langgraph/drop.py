"""Dropping evicted messages from a graph's state: the mark they leave, and the reducer that guards it.

The first message dropped gives its id to one that stands for all of them and carries the mark
(in ``response_metadata``, which no provider is sent); the others are removed by id. Other nodes
of the same superstep cannot be seen from a node, but the reducer sees every write in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage, RemoveMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages

from pagefault.errors import PagefaultError
from pagefault.paths.content import digest
from pagefault.paths.dropped import Dropped, from_mark, to_mark
from pagefault.paths.lineage import Lineage
from pagefault.paths.rejoin import dropped_of
from pagefault_langgraph.messages import LANGCHAIN

MARK: Final = "pagefault"
OVER: Final = "pagefault_over"


class ParallelDrop(PagefaultError, ValueError):
    """Two nodes of one superstep touched a message that left the state in it; nothing was applied.

    So does a graph that passes its messages on to a subgraph which drops some of them: drop in the outer graph.
    """


class Standing(NamedTuple):
    """A state's messages, told apart.

    Attributes:
        kept: All but the one that stands for what was dropped.
        message: That one, if there is one.
        dropped: What its mark says.
    """

    kept: list[Any]
    message: BaseMessage | None = None
    dropped: Dropped | None = None


def standing(messages: list[Any], known: int = 0) -> Standing:
    """Tell a state's messages apart; the first ``known`` are known to carry no mark."""
    for index in range(known, len(messages)):
        dropped = _mark_of(messages[index])
        if dropped is not None:
            return Standing([*messages[:index], *messages[index + 1 :]], messages[index], dropped)
    return Standing(messages)


def _mark_of(message: Any) -> Dropped | None:
    metadata = getattr(message, "response_metadata", None)
    return from_mark(metadata.get(MARK)) if metadata else None


# -- what a paging node writes ---------------------------------------------------------------


def leaving(path: Lineage, kept: Sequence[Any], pages: set[int], again: set[int]) -> set[int]:
    """Absent pages whose messages the state still holds and may let go of.

    A page whose body is not exact stays in the state, where alone it is whole; so does one whose
    messages have no id to be removed by.
    """
    names = [m.id for m in kept]
    once = {name for name in names if name is not None}
    if len(once) < len(names):
        once -= {name for name in once if names.count(name) > 1}

    def may_leave(seq: int) -> bool:
        slot = path.slots[seq - 1]
        keys = [path.key_at(i) for i in range(slot.start, slot.stop)]
        is_exact = slot.stored and slot.content is not None and not slot.content.opaque
        return is_exact and (seq in again or all(key in once for key in keys))

    return {seq for seq in path.absent if (seq not in pages or seq in again) and may_leave(seq)}


def is_stale(path: Lineage, state: Standing, text: str, pages: set[int]) -> bool:
    """Whether the message that stands for what was dropped no longer says what is so."""
    if state.message is None or state.dropped is None:
        return False
    if not pages:
        return True
    now = dropped_of(pages, path)
    is_same = (now.ranges, now.tip) == (state.dropped.ranges, state.dropped.tip) and not state.dropped.removed
    return not is_same or (bool(text) and state.message.content != text)


class Leave(NamedTuple):
    """What a state is told.

    Attributes:
        update: For the reducer.
        kept: What the state holds then, without the message that stands for the rest.
        dropped: What that message's mark says; ``None`` when nothing of it is left.
        order: Ids of the state's messages then.
    """

    update: list[BaseMessage]
    kept: list[Any]
    dropped: Dropped | None
    order: list[str | None]


def leave(path: Lineage, state: Standing, messages: Sequence[Any], pages: set[int], text: str) -> Leave:
    """Have the state hold one message in place of these pages.

    Args:
        path: The path, all of it durable.
        state: The state's messages told apart.
        messages: The state's messages as they stand.
        pages: All pages dropped from now on.
        text: What left, as the model reads it.
    """
    slots = [path.slots[seq - 1] for seq in sorted(pages)]
    gone = {path.key_at(i) for slot in slots for i in range(slot.start, slot.stop)}
    leaves = [m for m in state.kept if m.id in gone]
    first = state.message if state.message is not None else leaves[0]
    kept = [m for m in state.kept if m.id not in gone]
    order = [m.id for m in messages if m is first or m.id not in gone]
    update: list[BaseMessage] = [_removed(m) for m in [first, *(m for m in leaves if m is not first)]]
    if not pages:
        return Leave(update, kept, None, [m.id for m in kept])
    dropped = dropped_of(pages, path)
    block = HumanMessage(content=text or first.content, id=first.id, response_metadata={MARK: to_mark(dropped)})
    return Leave([*update, block], kept, dropped, order)


def shown(left: Leave, generation: int) -> Leave:
    """Note that the state's messages are the prompt, as long as no further decision is made."""
    if left.dropped is None:
        return left
    dropped = Dropped(ranges=left.dropped.ranges, tip=left.dropped.tip, shown=generation)
    left.update[-1].response_metadata = {MARK: to_mark(dropped)}
    return left._replace(dropped=dropped)


def _removed(message: BaseMessage) -> RemoveMessage:
    """Remove it by its id, provided that it still says what it said here."""
    return RemoveMessage(id=str(message.id), response_metadata={OVER: digest([message], LANGCHAIN).hex()})


# -- the reducer -----------------------------------------------------------------------------


def add_paged_messages(left: Any, right: Any) -> Any:
    """``add_messages`` for a state from which a paging node drops messages.

    A removal of a dropped message takes it out of the conversation that is paged, as the removal
    of any other does.

    Raises:
        ParallelDrop: Another node of this superstep changed, removed or dropped a message that
            the paging node drops. Nothing is applied.
    """
    state = standing(left) if isinstance(left, list) else Standing([])
    writes: list[Any] = right if isinstance(right, list) else [right]
    removes = [m for m in writes if isinstance(m, RemoveMessage)]
    if state.message is None and not any(OVER in m.response_metadata for m in removes):
        return add_messages(left, right)
    if any(m.id == REMOVE_ALL_MESSAGES for m in removes):
        return add_messages(left, right)
    known = {m.id: m for m in left}
    ours = {m.id for m in removes if OVER in m.response_metadata}
    for remove in removes:
        if remove.id in ours and not _is_over(known.get(remove.id), remove):
            raise _conflict(str(remove.id), "was changed, removed or dropped")
    if state.message is not None and state.message.id not in ours and any(_id(m) == state.message.id for m in writes):
        raise _conflict(str(state.message.id), "stands for what was dropped and was written to")
    unknown = {str(m.id) for m in removes if m.id not in known}
    if not unknown:
        return add_messages(left, right)
    writes = [m for m in writes if not (isinstance(m, RemoveMessage) and str(m.id) in unknown)]
    return add_messages([_without(m, unknown) if m is state.message else m for m in left], writes)


def _is_over(message: Any, remove: RemoveMessage) -> bool:
    return isinstance(message, BaseMessage) and digest([message], LANGCHAIN).hex() == remove.response_metadata[OVER]


def _without(message: Any, removed: set[str]) -> Any:
    """The message that stands for what was dropped, which now includes less."""
    mark: Mapping[str, Any] = message.response_metadata[MARK]
    metadata = {**message.response_metadata, MARK: {**mark, "removed": sorted({*mark.get("removed", ()), *removed})}}
    return message.model_copy(update={"response_metadata": metadata})


def _id(write: Any) -> Any:
    return write.get("id") if isinstance(write, Mapping) else getattr(write, "id", None)


def _conflict(name: str, what: str) -> ParallelDrop:
    return ParallelDrop(
        f"message {name!r} {what} by another node of the superstep in which paging_node(drop=True) takes messages "
        "out of the state; nothing was applied. Give the paging node a superstep of its own (edges from all branches "
        "to it), or use drop=False there; a subgraph that shares its messages with the graph around it cannot drop them"
    )
