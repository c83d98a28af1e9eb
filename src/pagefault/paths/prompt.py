"""Rendering: the messages of a path as the model reads them, prefix-stable between reclaims."""

from __future__ import annotations

from typing import Any

from pagefault.messages.equal import differing
from pagefault.page import Role
from pagefault.paths.content import count, projection_of
from pagefault.paths.lineage import Lineage
from pagefault.paths.previewing import shown
from pagefault.paths.slot import Slot
from pagefault.window.notes import Note, items_text


def render(lineage: Lineage, requested: list[Any] | None = None) -> list[Any]:
    """What to send: system messages, pinned items, the block, then resident pages and notes in their order.

    Args:
        lineage: The path and the view over it.
        requested: The request's messages where other middleware changed them.
    """
    if lineage.rendered is None:
        head, rest = _split(lineage)
        lineage.rendered = [*head, *_top(lineage), *rest]
    if requested is None:
        return list(lineage.rendered)
    key = lineage.codec.key
    slots = [lineage.slots[seq - 1] for seq in lineage.absent]
    absent = [index for slot in slots for index in range(slot.start, slot.stop)]
    gone = {id(lineage.seen[index]) for index in absent}
    gone_keys = {lineage.key_at(index) for index in absent} - {None}
    kept = [n for n in requested if id(n) not in gone and key(n) not in gone_keys]
    if lineage.view.notes:
        kept = _noted(lineage, kept)
    if lineage.view.previews:
        kept = _cut(lineage, kept)
    lead = next((i for i, n in enumerate(kept) if lineage.codec.sketch(n).role != Role.SYSTEM), len(kept))
    return [*kept[:lead], *_top(lineage), *kept[lead:]]


def staying(lineage: Lineage) -> set[int]:
    """Pages that no prompt goes without: pins, the last user message and the last page."""
    return lineage.view.pinned | {s.seq for s in lineage.slots[-1:]} | ({lineage.request} - {0})


def growth(lineage: Lineage, requested: list[Any]) -> int:
    """Tokens that other middleware added to messages that have to stay, such as what it found to the last question."""
    key, is_same = lineage.codec.key, lineage.codec.is_same
    asked = {key(native): native for native in differing(lineage.seen, requested)[1]}
    more = 0
    for slot in [lineage.slots[seq - 1] for seq in staying(lineage) - lineage.absent]:
        natives = lineage.natives(slot)
        sent = [asked.get(name, native) if (name := key(native)) is not None else native for native in natives]
        if not all(map(is_same, natives, sent)):
            tokens = count([projection_of(native, lineage.codec) for native in sent], lineage.counter)
            more += max(0, tokens - lineage.tokens_of(slot))
    return more


def _cut(lineage: Lineage, natives: list[Any]) -> list[Any]:
    """Some messages with those of previewed pages as they are shown; what other middleware changed stays so."""
    slots = [lineage.slots[p.seq - 1] for p in lineage.view.previews]
    short = {id(n): s for slot in slots for n, s in zip(lineage.natives(slot), shown(lineage, slot), strict=True)}
    ours = [n for slot in slots for n in lineage.natives(slot)]
    key, is_same = lineage.codec.key, lineage.codec.is_same
    cut: list[Any] = []
    for native in natives:
        own = next((n for n in ours if n is native or (key(n) == key(native) and is_same(n, native))), None)
        cut.append(native if own is None else short[id(own)])
    return cut


def _noted(lineage: Lineage, natives: list[Any]) -> list[Any]:
    """Some messages with our notes where they belong: before the first one of a later page."""
    key = lineage.codec.key
    noted = list(natives)
    for note in reversed(lineage.view.notes):
        later = [i for slot in lineage.slots[note.before - 1 :] for i in range(slot.start, slot.stop)]
        ids, keys = {id(lineage.seen[i]) for i in later}, {lineage.key_at(i) for i in later} - {None}
        place = next((i for i, n in enumerate(noted) if id(n) in ids or key(n) in keys), len(noted))
        noted.insert(place, _message(lineage, note))
    return noted


def _split(lineage: Lineage) -> tuple[list[Any], list[Any]]:
    """The resident messages: the leading system messages, and the rest with the notes in between."""
    head: list[Any] = []
    rest: list[Any] = []
    notes = list(lineage.view.notes)
    absent, previews, seen = lineage.absent, lineage.previews, lineage.seen
    for slot in lineage.slots:
        while notes and notes[0].before <= slot.seq:
            rest.append(_message(lineage, notes.pop(0)))
        if slot.seq not in absent:
            natives = shown(lineage, slot) if slot.seq in previews else seen[slot.start : slot.stop]
            if rest or not _leads(slot):
                rest += natives
            else:
                head += natives
    return head, [*rest, *(_message(lineage, note) for note in notes)]


def _leads(slot: Slot) -> bool:
    return slot.role == Role.SYSTEM


def _top(lineage: Lineage) -> list[Any]:
    """What stands between the system messages and the pages: pinned items, then the block."""
    view, made = lineage.view, lineage.codec.block
    top = [made(items_text(view.folded), "pagefault-items")] if view.folded else []
    return [*top, made(block.text, f"pagefault-{block.at}-{block.tip[:8]}")] if (block := view.block) else top


def _message(lineage: Lineage, note: Note) -> Any:
    return lineage.codec.block(note.text, f"pagefault-note-{note.before}-{note.about}")
