"""A page's place in a path, before and after the page is materialised."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pagefault.chain import ROOT
from pagefault.page import Kind, Role
from pagefault.paths.content import Content
from pagefault.ports import Sketch
from pagefault.window.compaction import Entry

_USER: Final = Role.USER.value
_MESSAGE: Final = Kind.MESSAGE
_RECALLED: Final = Kind.RECALLED
_ASSISTANT: Final = Role.ASSISTANT.value

Arrival = tuple[int, float, bool, list[int]]
"""Messages that came together and are not grouped yet: where they end, when, whether they are new, and their bounds."""


class LeftBehind:
    """Stands in a path for one message that only the store holds.

    Attributes:
        key: The framework's id of the message, where it is known.
    """

    __slots__ = ("key",)

    def __init__(self, key: str | None = None) -> None:
        self.key = key


class Slot:
    """A page's place in a path.

    Attributes:
        seq: Page number, from 1.
        start: Index of its first message in the path.
        stop: Index after its last message.
        role: Role of its first message.
        waiting: Ids of tool calls that have no result yet; one may occur twice.
        closed: Nothing can join it any more.
        upper: Upper bound of its tokens.
        tokens: What it costs as a whole: exact once it is materialised, the bound before.
        kind: Message or recalled.
        has_user: It holds a user message.
        fresh: First seen as new in this process, so certainly not stored before.
        created_at: Unix seconds when its first message was said, where that tells, else when it was first seen.
        uses: How often the page was wanted, decayed.
        born: The replacement clock when it came in.
        content: What it holds, once materialised; the body is dropped when it is stored.
        line: Its line in a table of contents, ``None`` while that is not counted.
        digest: What it was chained with, empty before.
        imprint: Of the same messages, empty where they have none.
        copy: Of the same messages, while they are in the window.
        chain: Set together with ``parent`` and ``digest``, once it is needed.
        stored: The store has it.
    """

    __slots__ = (
        "born", "chain", "closed", "content", "copy", "created_at", "digest", "fresh", "has_user", "imprint", "kind",
        "line", "parent", "role", "seq", "start", "stop", "stored", "tokens", "upper", "uses", "waiting",
    )  # fmt: skip

    def __init__(
        self, seq: int, start: int, sketch: Sketch, bound: int, *, now: float, clock: float, fresh: bool
    ) -> None:
        self.seq = seq
        self.start = start
        self.stop = start + 1
        self.role = sketch.role
        self.waiting = waiting = list(sketch.call_ids)
        self.closed = not waiting
        self.upper = self.tokens = bound
        self.kind = _MESSAGE
        self.has_user = sketch.role == _USER
        self.fresh = fresh
        self.created_at = now if sketch.said_at is None else sketch.said_at
        self.uses = 1.0
        self.born = clock
        self.content: Content | None = None
        self.line: Entry | None = None
        self.digest = b""
        self.imprint = b""
        self.copy: list[Any] | None = None
        self.chain = ""
        self.parent = ROOT
        self.stored = False

    def absorb(self, sketch: Sketch, bound: int) -> None:
        """Take one more message into the open group; it is in once ``stop`` says so, and may be taken again before."""
        self.has_user = self.has_user or sketch.role == _USER
        answered = sketch.call_id in self.waiting
        if answered and sketch.recalled and self.kind is _MESSAGE and self.stop - self.start == 1:
            self.kind = _RECALLED
        elif answered and not sketch.recalled:
            self.kind = _MESSAGE
        if answered:
            self.waiting.remove(sketch.call_id)
        self.tokens = self.upper + bound
        self.upper, self.closed, self.stop = self.tokens, not self.waiting, self.stop + 1

    def hold(self, content: Content) -> None:
        """Take what it holds, which is counted."""
        self.content, self.tokens = content, content.tokens


def group(
    arrival: Arrival,
    natives: list[Any],
    slots: list[Slot],
    uncounted: deque[Slot],
    *,
    sketch_of: Callable[[Any], Sketch],
    clock: float,
) -> None:
    """Give messages that arrived their places: one each, but results stand with their calls.

    What an exception from outside cuts short is done by calling it again.

    Args:
        arrival: Which messages.
        natives: All messages of the path.
        slots: The path's places so far; grows.
        uncounted: Those whose tokens are only bounded; grows.
        sketch_of: Reads a message's role and its calls.
        clock: The replacement clock.
    """
    stop, now, fresh, bounds = arrival
    first = stop - len(bounds)
    slot = slots[-1] if slots else None
    if slot is not None and slot.stop > first:
        bounds, first = bounds[slot.stop - first :], slot.stop
    for index, bound, native in zip(range(first, stop), bounds, natives[first:stop], strict=True):
        sketch = sketch_of(native)
        if slot is not None and not slot.closed:
            if sketch.role != _ASSISTANT:
                slot.absorb(sketch, bound)
                continue
            slot.closed = True  # the model was called again: no result will come
        slot = Slot(len(slots) + 1, index, sketch, bound, now=now, clock=clock, fresh=fresh)
        slots.append(slot)
        uncounted.append(slot)
