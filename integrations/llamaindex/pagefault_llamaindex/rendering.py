"""Which conversation a request goes on from.

LlamaIndex's messages have no ids, and agents run each step in a task of its own. What a memory
gave out is known again by its objects, or, where an engine rebuilt them from a template, by what
they say and by the context that the memory was read in, as long as nothing was added since.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from llama_index.core.base.llms.types import ChatMessage

from pagefault.held import Held, Shown
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


_last: Final[ContextVar[Rendering | None]] = ContextVar("pagefault_rendering", default=None)
_traces: Final[dict[int, tuple[weakref.ref[ChatMessage], Rendering]]] = {}
"""By the id of the last message given out, as long as that lives."""


def note(held: Held, shown: Shown, copies: Sequence[ChatMessage], limit: int) -> None:
    """Remember what was given out."""
    rendering = Rendering(held, shown, [weakref.ref(copy) for copy in copies], limit)
    _last.set(rendering)
    if copies:
        key = id(copies[-1])
        _traces[key] = weakref.ref(copies[-1], lambda gone: _forget(key, gone)), rendering


def _forget(key: int, gone: weakref.ref[ChatMessage]) -> None:
    known = _traces.get(key)
    if known is not None and known[0] is gone:
        del _traces[key]


def match(request: Sequence[ChatMessage]) -> Match | None:
    """The rendering that a request goes on from, if it does from any."""
    for index in range(len(request) - 1, -1, -1):
        known = _traces.get(id(request[index]))
        if known is not None and known[0]() is request[index]:
            return _by_object(known[1], request, index)
    rendering = _last.get()
    return _by_reading(rendering, request) if rendering is not None and _is_current(rendering) else None


def _is_current(rendering: Rendering) -> bool:
    """Whether the session is still as it was: an engine asks at once, later requests are somebody else's."""
    lineage = rendering.shown.lineage
    return lineage.is_sole and len(lineage.seen) == rendering.shown.shared


def _by_object(rendering: Rendering, request: Sequence[ChatMessage], last: int) -> Match | None:
    given = rendering.given
    common = 0
    while common < min(len(given), last + 1) and given[-1 - common]() is request[last - common]:
        common += 1
    skipped = len(given) - common
    if any(LLAMAINDEX.sketch(native).role != "system" for native in rendering.shown.natives[:skipped]):
        return None  # someone took out more than the system messages: it is another request
    return Match(rendering, last + 1 - common, last + 1, skipped)


def _by_reading(rendering: Rendering, request: Sequence[ChatMessage]) -> Match | None:
    """Where the rendering stands in a request that was built anew; a template may have changed a few texts.

    Nothing reads like an empty one: any request would go on from it, whoever sent it.
    """
    natives = rendering.shown.natives
    size = len(natives)
    roles = [native.role for native in natives]
    for start in range(len(request) - size, -1, -1) if size else ():
        part = request[start : start + size]
        if [message.role for message in part] == roles and 2 * _alike(natives, part) > size:
            return Match(rendering, start, start + size, 0)
    return None


def _alike(natives: Sequence[Any], part: Sequence[ChatMessage]) -> int:
    return sum(map(is_equal, natives, part))
