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
from typing import Any, Final, NamedTuple

from llama_index.core.base.llms.types import ChatMessage

from pagefault.held import Held, Shown
from pagefault_llamaindex.encoding import MARK
from pagefault_llamaindex.messages import LLAMAINDEX


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
    if any(LLAMAINDEX.sketch(native).role != "system" for native in rendering.shown.natives[:skipped]):
        return None  # someone took out more than the system messages: it is another request
    return Match(rendering, start, stop, skipped)


def _is_given(rendering: Rendering, index: int, message: ChatMessage) -> bool:
    mark = _mark(message)
    if (mark.rendering is rendering and mark.index == index) or rendering.given[index]() is message:
        return True
    return not _blocks(message) and not rendering.shown.natives[index].blocks  # nothing that could carry a mark


def _mark(message: ChatMessage) -> _Mark:
    marks = (getattr(block, "__dict__", {}).get(MARK) for block in _blocks(message))
    return next((mark for mark in marks if mark is not None), _NONE)


def _blocks(message: Any) -> Sequence[Any]:
    """Of whatever a caller sends; what is no message is for the LLM to refuse."""
    return getattr(message, "blocks", None) or ()


def _set(message: ChatMessage, mark: _Mark) -> None:
    for block in message.blocks:
        vars(block)[MARK] = mark
