"""From a path to the records that a store keeps of it: its pages and one head."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any, Final, NamedTuple
from uuid import UUID

from pagefault.breath import Breath
from pagefault.chain import head_id, point_id
from pagefault.messages import canonical
from pagefault.page import Page, Role
from pagefault.paths.content import written
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.paths.restore import BRANCH
from pagefault.paths.slot import Slot
from pagefault.ports import Record, Scope
from pagefault.window.view import to_record
from pagefault.writing.indexing import vector_text, words_of

UNIT_PAGES: Final = 16
UNIT_BYTES: Final = 2**20
JOINED: Final = 16
"""Lines joined ahead at a time: a recall waits for no more."""
DROPPED: Final = 64
"""Message objects let go of at a time."""


@dataclass(frozen=True, eq=False, slots=True)
class Task:
    """One path of one space in the queue."""

    paging: Paging
    lineage: Lineage

    @property
    def scope(self) -> Scope:
        """Whose records they are."""
        return Scope(tenant=self.paging.space.tenant, space=self.paging.space.key)


class Mark(NamedTuple):
    """What a head says, in short; another mark means that the head has news.

    Attributes:
        tip: Chain of the last stored page.
        generation: Of the view.
        open: Messages of a group that is not closed, which only a head can keep.
        indexed: Last page up to which all have their vectors.
    """

    tip: str
    generation: int
    open: int
    indexed: int

    @property
    def is_empty(self) -> bool:
        """Nothing to remember yet, neither messages nor pinned items."""
        return not (self.tip or self.open or self.generation)


def mark_of(lineage: Lineage, indexed: int) -> Mark:
    """With the space's lock held: what a head of this path would say now."""
    tip = next((slot.chain for slot in reversed(lineage.slots) if slot.stored), lineage.root)
    return Mark(tip, lineage.view.generation, len(open_messages(lineage)), indexed)


def open_messages(lineage: Lineage) -> list[Any]:
    """The messages of a group that still waits for tool results, where the store is their only copy."""
    if not lineage.is_sole or not lineage.slots or lineage.slots[-1].closed:
        return []
    return lineage.natives(lineage.slots[-1])


def let_go(task: Task) -> None:
    """Drop the message objects that others have replaced, some at a time."""
    breath = Breath()
    with task.paging.lock:
        old, task.lineage.replaced = task.lineage.replaced, []
    while old:
        del old[-DROPPED:]
        breath.draw()


class Unit(NamedTuple):
    """What is written together.

    Attributes:
        slots: Consecutive places of one path.
        pages: Their pages, as far as the store lacks them.
        texts: What a search sees of each page.
        records: One for each page.
    """

    slots: list[Slot]
    pages: list[Page]
    texts: list[str]
    records: list[Record]


def take(task: Task, breath: Breath) -> list[Slot]:
    """The next slots to write, materialised and chained."""
    with task.paging.lock:
        waiting = task.lineage.unstored(UNIT_PAGES)
    slots: list[Slot] = []
    size = 0
    for slot in waiting:
        if slots and size + slot.upper > UNIT_BYTES:
            break
        if slot.content is None:
            content = task.lineage.content_of(slot)
            with task.paging.lock:
                slot.hold(slot.content or content)
            breath.draw()
        if slot.line is None:  # counted here, that a reclaim need not
            line = task.lineage.line_of(slot)
            slot.line = line._replace(tokens=task.lineage.counter.count(line.whole))
        size += slot.upper
        slots.append(slot)
    with task.paging.lock:
        if slots:
            task.lineage.link_up_to(slots[-1].seq)
            task.lineage.ceiling()  # what was only bounded is counted now, which no step need look for
    return slots


def join_ahead(task: Task) -> bool:
    """Join some neighbouring lines, that a reclaim finds them joined; whether there are more."""
    lineage, breath = task.lineage, Breath()
    joined = lineage.joined
    with task.paging.lock:
        block, absent = lineage.view.block, lineage.absent
        slots = lineage.slots[joined.pages : joined.pages + JOINED + 1]
    if joined.block != block:
        joined.take_up(block, absent)
        for slot in [lineage.slots[seq - 1] for seq in absent]:
            slot.copy = None  # what left the window is not looked at again
            breath.draw()
    written = list(takewhile(lambda pair: pair[1].stored, pairwise(slots)))
    joined.pages += len(written)
    here = ((one.line, other.line) for one, other in written if not {one.seq, other.seq} & absent)
    joined.due += [(one, other) for one, other in here if one is not None and other is not None]
    for _ in range(min(JOINED, len(joined.due))):
        joined.add(joined.due.popleft(), lineage.counter.count)
        breath.draw()
    return bool(joined.due) or len(written) == JOINED


def unit_of(task: Task) -> Unit:
    """The next unit to write; without pages when the store has to be asked first what it has."""
    breath = Breath()
    slots = take(task, breath)
    if not all(slot.fresh for slot in slots):
        return Unit(slots, [], [], [])
    return pages_of(task, slots, set())


def pages_of(task: Task, slots: list[Slot], known: set[UUID]) -> Unit:
    """The pages and records of these slots that the store does not know."""
    breath, key, user = Breath(), task.scope.space, task.paging.space.user
    is_branch = task.lineage.ends_at_head or not task.lineage.keeps_head
    unit = Unit(slots, [], [], [])
    for slot in slots:
        point = point_id(key, slot.chain)
        if point not in known:
            page = task.lineage.page(slot)
            text = vector_text(page)
            unit.pages.append(page)
            unit.texts.append(text)
            unit.records.append(record_of(point, user, page, text, is_branch=is_branch))
            breath.draw()
    return unit


def record_of(point: UUID, user: str, page: Page, text: str, *, is_branch: bool) -> Record:
    """The record of a page of this user's; of one on a branch it says so, since that may never be the conversation."""
    return Record(
        id=point,
        kind="page",
        seq=page.seq,
        fields={
            "chain": page.chain,
            "parent": page.parent,
            "type": page.kind.value,
            "format": page.format,
            "tokens": page.tokens,
            "gist": page.gist.encode("utf-8", "replace").decode("utf-8"),
            "created_at": page.created_at,
            "opaque": page.opaque,
            "messages": len(page.messages),
            "role": page.messages[0].role.value,
            "has_user": any(m.role is Role.USER for m in page.messages),
            "ids": canonical.dump([m.message_id for m in page.messages])[0],
            **({BRANCH: True} if is_branch else {}),
        },
        body=page.body,
        sha256=page.sha256,
        sparse=words_of(text),
        user=user,
    )


def head_of(task: Task, last: Slot | None, indexed: int) -> tuple[Mark, Record]:
    """The head once the pages up to ``last`` are stored: for readers that have no framework state."""
    lineage, space = task.lineage, task.paging.space
    with task.paging.lock:
        if last is not None:  # pages written once more have stored ones behind them
            for slot in lineage.slots[last.seq :]:
                if not slot.stored:
                    break
                last = slot
        rest = open_messages(lineage) if last is None or last.seq + 1 >= len(lineage.slots) else []
        tip = lineage.root if last is None else last.chain
        view = lineage.view
        said, _ = written([lineage.codec.encode(native) for native in rest])
        ends = {"ends": True} if lineage.ends_at_head else {}
        state = {"tip": tip, "root": lineage.root, "view": to_record(view), "indexed": indexed} | ends
        parts = {name: canonical.dump(value)[0] for name, value in state.items()} | {"open": said}
        body = "{" + ",".join(f'"{name}":{parts[name]}' for name in sorted(parts)) + "}"  # as all in one would be
    head = Record(
        id=head_id(task.scope.space),
        kind="head",
        seq=0 if last is None else last.seq,
        fields={"chain": tip, "user": space.user, "thread": space.thread, "agent": space.agent},
        body=body,
        sha256=canonical.sha256(body),
        user=space.user,
    )
    return Mark(tip, view.generation, len(rest), indexed), head


def indexed_of(head: Record | None) -> int:
    """What a head says about vectors; nothing when there is none or it is damaged."""
    if head is None or canonical.sha256(head.body) != head.sha256:
        return 0
    indexed = canonical.load(head.body).get("indexed", 0)
    return indexed if isinstance(indexed, int) else 0
