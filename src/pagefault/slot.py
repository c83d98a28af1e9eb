"""A page's place in a path, before and after the page is materialised."""

from __future__ import annotations

from typing import Final

from pagefault.chain import ROOT
from pagefault.compaction import Entry
from pagefault.content import Content
from pagefault.page import Kind, Role
from pagefault.ports import Sketch
from pagefault.preview import Preview

_USER: Final = Role.USER.value
_MESSAGE: Final = Kind.MESSAGE
_RECALLED: Final = Kind.RECALLED


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
        kind: Message or recalled.
        has_user: It holds a user message.
        fresh: First seen as new in this process, so certainly not stored before.
        created_at: Unix seconds when first seen.
        uses: How often the page was wanted, decayed.
        born: The replacement clock when it came in.
        content: What it holds, once materialised; the body is dropped when it is stored.
        line: Its line in a table of contents, ``None`` while that is not counted.
        preview: How it is shown while it is in the window in part.
        digest: What it was chained with, empty before.
        imprint: Of the same messages, empty where they have none.
        chain: Set together with ``parent`` and ``digest``, once it is needed.
        stored: The store has it.
    """

    __slots__ = (
        "born", "chain", "closed", "content", "created_at", "digest", "fresh", "has_user", "imprint", "kind", "line",
        "parent", "preview", "role", "seq", "start", "stop", "stored", "upper", "uses", "waiting",
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
        self.upper = bound
        self.kind = _MESSAGE
        self.has_user = sketch.role == _USER
        self.fresh = fresh
        self.created_at = now
        self.uses = 1.0
        self.born = clock
        self.content: Content | None = None
        self.line: Entry | None = None
        self.preview: Preview | None = None
        self.digest = b""
        self.imprint = b""
        self.chain = ""
        self.parent = ROOT
        self.stored = False

    def absorb(self, sketch: Sketch, bound: int) -> None:
        """Take one more message into the open group."""
        self.stop += 1
        self.upper += bound
        self.has_user = self.has_user or sketch.role == _USER
        answered = sketch.call_id in self.waiting
        if answered:
            self.waiting.remove(sketch.call_id)
        if answered and sketch.recalled and self.kind is _MESSAGE and self.stop - self.start == 2:
            self.kind = _RECALLED
        elif answered and not sketch.recalled:
            self.kind = _MESSAGE
        self.closed = not self.waiting

    @property
    def tokens(self) -> int:
        """What it costs as it is shown: exact when materialised, the upper bound before."""
        if self.preview is not None:
            return self.preview.tokens
        return self.content.tokens if self.content is not None else self.upper
