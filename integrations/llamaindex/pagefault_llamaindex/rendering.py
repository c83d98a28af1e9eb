"""Which conversation a request goes on from.

LlamaIndex's messages have no ids, agents run each step in a task of its own, and engines make a
prompt's messages anew from a template. So the content blocks that a memory gives out carry a
mark: beside their fields, where it is part of no comparison, JSON or request to a provider. A
template copies it along, whatever it does to the text.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import is_
from typing import Any, Final, NamedTuple

from llama_index.core.base.llms.types import ChatMessage

from pagefault.errors import UnsupportedMessage
from pagefault.held import Held, Shown
from pagefault.paths.slot import LeftBehind
from pagefault_llamaindex.encoding import MARK
from pagefault_llamaindex.messages import LLAMAINDEX, is_equal


@dataclass(frozen=True, eq=False, slots=True)
class Rendering:
    """What a memory gave out once.

    Attributes:
        held: The conversation.
        shown: Its messages as we hold them.
        given: The copies that were given out, weakly.
        limit: Tokens that the memory may use.
    """

    held: Held
    shown: Shown
    given: Sequence[weakref.ref[ChatMessage]]
    limit: int


class Match(NamedTuple):
    """Where a request repeats a rendering.

    Attributes:
        rendering: Which one.
        start: Index of its first message in the request.
        stop: Index after its last one.
        skipped: How many of its messages the request leaves out at the start.
    """

    rendering: Rendering
    start: int
    stop: int
    skipped: int


class _Mark:
    """Says of a block in which message of which rendering it was given out. What is written down says nothing."""

    __slots__ = ("index", "rendering")

    def __init__(self, rendering: Rendering | None = None, index: int = 0) -> None:
        self.rendering = rendering
        self.index = index

    def says(self, rendering: Rendering, index: int) -> bool:
        """Whether it is this one."""
        return self.rendering is rendering and self.index == index

    def __deepcopy__(self, memo: object) -> _Mark:
        return self

    def __reduce__(self) -> tuple[type[_Mark], tuple[()]]:
        return _Mark, ()


_NONE: Final = _Mark()


def note(held: Held, shown: Shown, copies: Sequence[ChatMessage], limit: int) -> None:
    """Mark what is given out."""
    rendering = Rendering(held, shown, [weakref.ref(each) for each in copies], limit)
    for index, message in enumerate(copies):
        _set(message, _Mark(rendering, index))


def restate(message: ChatMessage, blocks: Sequence[Any]) -> None:
    """Have a message that was given out say something else; it is known again all the same."""
    mark = _mark(message)
    message.blocks = list(map(copy.copy, blocks))
    _set(message, mark)


def meant(messages: Sequence[ChatMessage], accepted: list[ChatMessage], held: Held) -> list[Any]:
    """The conversation that messages mean which begin as a memory gave them out: with all that its blocks stand for.

    Args:
        messages: Such as a memory's own, with the last answer changed or left out.
        accepted: The same as they are kept.
        held: Whose conversation they are to be.

    Raises:
        UnsupportedMessage: They stand for messages of a session that was set anew since.
    """
    rendering, now = _mark(messages[0]).rendering if messages else None, held.ready()
    if rendering is None:  # such as from JSON: they are known by what they say, until more leaves
        natives, path, shared = held.shows(), now, len(now.seen)
    elif rendering.held.core is held.core and rendering.held.space == held.space:
        natives, path, shared = rendering.shown.natives, rendering.shown.lineage, rendering.shown.shared
    else:
        return accepted
    place = {id(native): at for at, native in enumerate(path.seen[:shared])}
    places = [place.get(id(native)) for native in natives]
    pairs = enumerate(zip(messages, natives, accepted, strict=False))
    agreed = ((rendering is None or _mark(m).says(rendering, at)) and is_equal(n, a) for at, (m, n, a) in pairs)
    same = sum(takewhile(bool, agreed))
    top = next((at for at, where in enumerate(places) if where is not None and not _is_system(natives[at])), same + 1)
    if same < top:
        return accepted  # a block was left out, and with it what it stands for
    if same < len(natives) and places[same] is None and LLAMAINDEX.sketch(natives[same]).role == "tool":
        stop = 1 + max(where for where in places[:same] if where is not None)  # a result that is shown in part
    else:
        stop = next((where for where in places[same:] if where is not None), shared)
    pages = sum(takewhile(bool, map(is_, path.slots, now.slots)))
    known = path.slots[pages - 1].stop if pages else 0  # these are in the conversation as it is now, too
    if any(isinstance(native, LeftBehind) for native in path.seen[known:stop]):
        raise UnsupportedMessage(
            "these messages begin with contents of a session that was set anew since, and what they stand for is in "
            "the store alone; keep what get_all() gives where a session is to be set back to it"
        )
    return [*now.seen[: min(known, stop)], *path.seen[known:stop], *accepted[same:]]


def match(request: Sequence[ChatMessage]) -> Match | None:
    """The rendering that a request goes on from, if it does from any."""
    for place in range(len(request) - 1, -1, -1):
        mark = _mark(request[place])
        if mark.rendering is not None:
            return _found(mark.rendering, request, place - mark.index)
    return None


def _found(rendering: Rendering, request: Sequence[ChatMessage], first: int) -> Match | None:
    """Where it stands in a request whose message ``first`` would be its first one."""
    stop = first + len(rendering.given)
    if stop > len(request):
        return None
    start = stop
    while start > max(0, first) and _is_given(rendering, start - 1 - first, request[start - 1]):
        start -= 1
    skipped = start - first
    if not all(map(_is_system, rendering.shown.natives[:skipped])):
        return None  # someone took out more than the system messages: it is another request
    return Match(rendering, start, stop, skipped)


def _is_given(rendering: Rendering, index: int, message: ChatMessage) -> bool:
    if _mark(message).says(rendering, index) or rendering.given[index]() is message:
        return True
    return not _blocks(message) and not rendering.shown.natives[index].blocks  # nothing that could carry a mark


def _mark(message: ChatMessage) -> _Mark:
    marks = (getattr(block, "__dict__", {}).get(MARK) for block in _blocks(message))
    return next((mark for mark in marks if mark is not None), _NONE)


def _is_system(native: Any) -> bool:
    return LLAMAINDEX.sketch(native).role == "system"


def _blocks(message: Any) -> Sequence[Any]:
    """Of whatever a caller sends; what is no message is for the LLM to refuse."""
    return getattr(message, "blocks", None) or ()


def _set(message: ChatMessage, mark: _Mark) -> None:
    for block in message.blocks:
        vars(block)[MARK] = mark
