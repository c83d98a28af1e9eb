"""What stands where in a prompt: any view shows what going over it page by page shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pagefault.chat import CHAT
from pagefault.paths.lineage import Lineage
from pagefault.paths.previewing import shown
from pagefault.paths.prompt import render
from pagefault.window.compaction import Block, Entry, to_ranges
from pagefault.window.notes import Note
from pagefault.window.preview import Cut, Preview
from pagefault.window.view import View
from tests.core import conversation as c

LONG = "word " * 60


def pages_of(kinds):
    """A page of one of a few kinds for each letter: system, user, and a call with its long result."""
    made = []
    for at, kind in enumerate(kinds):
        made += {"s": [c.system(f"rule {at}")], "u": [c.user(f"say {at}")], "t": c.group(f"t{at}", f"{at} {LONG}")}[
            kind
        ]
    return made


def view_of(path, absent, notes, cut):
    chain = path.chain_at
    gone = [seq for seq in range(1, path.length + 1) if seq in absent]
    entries = tuple(Entry(seq, seq, f"page {seq}") for seq in gone)
    block = Block(ranges=to_ranges(gone), entries=entries, at=gone[-1], tip=chain(gone[-1])) if gone else None
    said = [
        Note(before=at, at=min(at - 1, path.length), chain=chain(min(at - 1, path.length)) or "", about="pressure",
             text=f"note {number}", tokens=5)
        for number, at in enumerate(notes)
    ]  # fmt: skip
    previews = [
        Preview(seq=slot.seq, chain=chain(slot.seq), cuts=(Cut(part=1, head=10, tail=5),), tokens=20)
        for slot in path.slots
        if slot.seq in cut - absent and slot.stop - slot.start == 2
    ]
    return View(generation=1, block=block, notes=tuple(said), previews=tuple(previews))


def page_by_page(path):
    """Texts of the prompt, made as the specification tells it."""
    head, rest, notes = [], [], list(path.view.notes)
    for slot in path.slots:
        while notes and notes[0].before <= slot.seq:
            rest.append(notes.pop(0).text)
        if slot.seq not in path.absent:
            part = head if slot.role == "system" and not rest else rest
            part += [message["content"] for message in shown(path, slot)]
    block = [path.view.block.text] if path.view.block else []
    return [*head, *block, *rest, *(note.text for note in notes)]


@given(
    kinds=st.text("sut", min_size=1, max_size=12),
    absent=st.sets(st.integers(1, 12)),
    notes=st.lists(st.integers(1, 14), max_size=3),
    cut=st.sets(st.integers(1, 12)),
)
def test_a_prompt_has_each_page_and_note_where_it_belongs(kinds, absent, notes, cut):
    path = Lineage(CHAT, c.Quarters())
    path.extend(pages_of(kinds), now=1.0)
    path.adopt(view_of(path, absent, notes, cut))
    assert path.absent == {seq for seq in absent if seq <= len(kinds)}
    assert len(path.view.previews) == len([seq for seq in cut - absent if kinds[seq - 1 : seq] == "t"])
    assert [message["content"] for message in render(path)] == page_by_page(path)
