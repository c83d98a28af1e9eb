"""Views: what is not simply resident, as values and as records."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from pagefault.window.compaction import Block, Entry, members, to_ranges
from pagefault.window.gist import one_line
from pagefault.window.notes import Note, PinnedItem, items_text
from pagefault.window.preview import Cut, Preview
from pagefault.window.view import (
    Pin,
    Seal,
    View,
    filed_under,
    from_record,
    merge_records,
    record_under,
    to_record,
)
from tests.core.strategies import few, json_values

CHAIN = {n: f"{n:032x}" for n in range(1, 61)}
OTHER = "f" * 32
SEPARATE = ("pins", "previews", "released", "items", "folded", "notes")


@st.composite
def blocks(draw, seqs):
    at = draw(st.integers(seqs[-1], max(seqs[-1], 60)))
    lines = draw(st.integers(1, 3))
    cuts = [seqs[i : i + max(1, len(seqs) // lines)] for i in range(0, len(seqs), max(1, len(seqs) // lines))]
    return Block(
        ranges=to_ranges(seqs),
        entries=tuple(Entry(first=c[0], last=c[-1], gist=one_line(draw(st.text(max_size=96)))) for c in cuts),
        at=at,
        tip=CHAIN[at],
        tokens=draw(st.integers(0, 10_000)),
    )


def chain_at(seq):
    """The chain there; before the first page there is none."""
    return CHAIN[seq] if seq else ""


def previews(seqs):
    return tuple(Preview(seq=seq, chain=CHAIN[seq], cuts=(Cut(part=1, head=seq, tail=2),), tokens=9) for seq in seqs)


AT = st.just(0) | st.integers(1, 60)  # before the first page, or after one
ITEMS = st.builds(lambda key, text, at: PinnedItem(key=key, text=text, at=at, chain=chain_at(at)),
                  st.sampled_from("abc"), st.sampled_from(["x", "y"]), AT)  # fmt: skip
NOTES = st.builds(lambda at, tokens: Note(before=at, at=at, chain=chain_at(at), about="pressure", text="t",
                  tokens=tokens), AT, st.integers(0, 99))  # fmt: skip
SEALS = st.none() | st.sampled_from(sorted(CHAIN)).map(lambda at: Seal(at=at, chain=CHAIN[at], sum=OTHER))


@st.composite
def views(draw):
    """A view as reclaims and pins make it: a page absent, pinned, shown in part, released or none."""
    place = draw(st.lists(st.integers(0, 4), min_size=60, max_size=60))
    gone, pins, shown, released = ([seq for seq in CHAIN if place[seq - 1] == kind] for kind in (1, 2, 3, 4))
    folded = draw(st.lists(ITEMS, max_size=2))
    return View(
        generation=draw(st.integers(0, 10**6)),
        block=draw(blocks(gone)) if gone else None,
        pins=pins_at(pins),
        previews=previews(shown),
        released=pins_at(released),
        items=tuple(draw(st.lists(ITEMS, max_size=3, unique_by=lambda item: item.key))),
        folded=tuple(folded),
        folded_tokens=draw(st.integers(1, 99)) if folded else 0,
        notes=tuple(draw(st.lists(NOTES, max_size=3))),
        clock=draw(st.floats(0, 1e9)),
        seal=draw(SEALS),
    )


def pins_at(seqs):
    return tuple(Pin(seq=seq, chain=CHAIN[seq]) for seq in seqs)


@given(views())
@few
def test_a_record_is_plain_json_and_reads_back(view):
    record = to_record(view)
    assert from_record(record) == view
    assert from_record(json.loads(json.dumps(record))) == view
    assert to_record(from_record(record)) == record


def test_ten_thousand_absent_pages_are_half_a_kilobyte():
    lines = tuple(
        Entry(first=n, last=n + 2499, gist="user: asked for the cheapest flight | tool: found")
        for n in range(1, 10_000, 2500)
    )
    block = Block(ranges=((1, 10_000),), entries=lines, at=10_000, tip="a" * 32, tokens=300)
    view = View(generation=400, block=block, clock=1.5)
    assert len(view.absent) == 10_000
    assert len(json.dumps(to_record(view))) < 600


@given(views())
@few
def test_absent_is_what_the_block_names(view):
    assert view.absent == (members(view.block.ranges) if view.block else set())
    assert view.block_tokens == (view.block.tokens if view.block else 0)
    assert view.pinned == {p.seq for p in view.pins}


@given(views(), st.lists(st.integers(1, 60), unique=True))
@few
def test_a_pin_brings_its_page_back_and_no_other(view, seqs):
    pinned = view.with_pins(Pin(seq=seq, chain=CHAIN[seq]) for seq in seqs)
    assert pinned.absent == view.absent - set(seqs)
    assert pinned.pinned == view.pinned | set(seqs)
    assert [p.seq for p in pinned.pins] == sorted(pinned.pinned)
    assert pinned.generation == view.generation + 1
    assert pinned.previews == tuple(p for p in view.previews if p.seq not in pinned.pinned), "whole again"
    assert pinned.released == tuple(p for p in view.released if p.seq not in pinned.pinned)
    assert (pinned.block is None) == (not pinned.absent)
    if pinned.block is not None:
        assert (pinned.block.tip, pinned.block.entries) == (view.block.tip, view.block.entries)
        assert (pinned.block is view.block) == (not view.absent & set(seqs))
    assert pinned.clock == view.clock
    assert from_record(to_record(pinned)) == pinned


@given(views(), st.lists(st.integers(1, 60), unique=True))
@few
def test_a_block_that_gave_a_page_back_counts_as_much_more_as_its_text_grew_by(view, seqs):
    def cost(text):
        return len(text)

    exact = View(block=replace(view.block, tokens=cost(view.block.text)) if view.block else None)
    pinned = exact.with_pins(Pin(seq=seq, chain=CHAIN[seq]) for seq in seqs)
    if pinned.block is not None:
        assert pinned.block.tokens == max(exact.block.tokens, cost(pinned.block.text))


def test_a_page_in_the_middle_of_a_block_comes_back_alone():
    line = Entry(first=2, last=9, gist="user: hi")
    block = Block(ranges=((2, 9),), entries=(line,), at=9, tip=CHAIN[9], tokens=50)
    left = View(block=block).with_pins([Pin(seq=5, chain=CHAIN[5])]).block
    assert (left.ranges, left.at, left.tip, left.entries) == (((2, 4), (6, 9)), 9, CHAIN[9], (line,))


def test_a_new_pin_replaces_the_one_of_another_path():
    view = View(pins=(Pin(seq=3, chain=OTHER),)).with_pins([Pin(seq=3, chain=CHAIN[3])])
    assert view.pins == (Pin(seq=3, chain=CHAIN[3]),)


@given(views(), st.lists(st.integers(1, 60)))
@few
def test_a_released_page_may_leave_and_stays_for_now(view, seqs):
    released = view.without_pins(iter(seqs))
    assert released.pinned == view.pinned - set(seqs)
    assert released.absent == view.absent
    assert released.generation == view.generation + 1


@given(views(), st.lists(st.integers(1, 60)))
@few
def test_what_is_released_or_shown_in_part_is_added_in_order(view, seqs):
    before, pages = {p.seq for p in view.released}, set(seqs)
    released = view.with_released(pins_at(seqs))
    assert [p.seq for p in released.released] == sorted(before | pages)
    shown = view.with_previews(Preview(seq=seq, chain=CHAIN[seq], cuts=(), tokens=1) for seq in seqs)
    assert [p.seq for p in shown.previews] == sorted({p.seq for p in view.previews} | pages)
    assert all(p.tokens == (1 if p.seq in pages else 9) for p in shown.previews), "the newest says how it is shown"
    assert {released.generation, shown.generation} == {view.generation + 1}


@given(views(), ITEMS | st.none(), st.sampled_from("abc"))
@few
def test_an_item_is_set_removed_and_folded(view, item, key):
    key = item.key if item else key
    after = view.with_item(key, item)
    kept = tuple(i for i in view.items if i.key != key)
    assert after.items == (*kept, item) if item else after.items == kept
    folded = after.with_items_folded(len)
    assert (folded.items, folded.folded, folded.notes) == (after.items, after.items, ())
    if after.notes or after.folded != after.items:
        assert folded.folded_tokens == (len(items_text(after.items)) if after.items else 0)
        assert folded.generation == view.generation + 2
    assert folded.with_items_folded(len) is folded, "nothing is decided twice"


@given(views(), views(), st.integers(1, 60))
@few
def test_items_of_another_view_are_set_now_where_they_differ(view, other, at):
    after = view.with_items_of(other, at, CHAIN[at])
    assert [(i.key, i.text) for i in after.items] == [(i.key, i.text) for i in other.items]
    assert all(
        new in view.items if old in view.items else new.at == at
        for old, new in zip(other.items, after.items, strict=True)
    )
    assert after.generation == view.generation + 1


@given(views(), NOTES)
@few
def test_notes_and_folded_items_are_counted_and_no_plain_prompt(view, note):
    after = view.with_note(note)
    assert after.notes == (*view.notes, note)
    assert after.note_tokens == view.note_tokens + note.tokens
    assert after.generation == view.generation + 1
    assert not after.is_plain
    parts = ("block", "previews", "notes", "folded")
    assert view.is_plain == (not any(getattr(view, part) for part in parts))
    for part in parts:
        assert View(**{part: getattr(view, part)}).is_plain == (not getattr(view, part))


@given(views(), views())
@few
def test_a_reclaim_replaces_block_and_clock_and_keeps_pins(view, other):
    assume(other.block is not None)
    after = view.with_block(other.block, other.clock)
    assert (after.block, after.clock, after.pins) == (other.block, other.clock, view.pins)
    assert after.previews == tuple(p for p in view.previews if p.seq not in other.absent)
    assert after.released == tuple(p for p in view.released if p.seq not in other.absent)
    assert after.generation == view.generation + 1


@given(views(), st.integers(0, 60), st.integers(0, 60))
@few
def test_on_a_path_exactly_what_belongs_to_it_is_kept(view, length, fork):
    path = {n: (CHAIN[n] if n <= fork else OTHER) for n in range(1, length + 1)}
    shared = min(length, fork)
    kept = view.on_path(path.get)
    for part in ("previews", "released"):
        assert getattr(kept, part) == tuple(p for p in getattr(view, part) if p.seq <= shared)
    for part in ("items", "folded", "notes"):
        assert getattr(kept, part) == tuple(p for p in getattr(view, part) if p.at <= shared)
    assert kept.seal == (view.seal if view.seal and view.seal.at <= shared else None)
    assert all(path.get(at, "") == chain for at, chain in kept.proofs)
    parts = (kept.block is not None) + sum(len(getattr(kept, part)) for part in SEPARATE)
    assert len(kept.proofs) == parts, "whatever belongs to a path has its proof"
    assert kept.block == (view.block if view.block and view.block.at <= shared else None)
    assert kept.pins == tuple(p for p in view.pins if p.seq <= shared)
    assert (kept.generation, kept.clock) == (view.generation, view.clock)
    assert kept.on_path(path.get) == kept
    assert all(seq <= shared for seq in kept.absent | kept.pinned)
    if shared == 60:
        assert kept == view


RECORDS = st.one_of(
    st.none(),
    st.just({}),
    views().map(to_record),
    st.fixed_dictionaries({"gen": st.integers(0, 3), "x": st.integers()}),
)

NAMED = st.builds(
    lambda own, under: {**(own or {}), "under": under}, RECORDS, st.dictionaries(st.sampled_from("ab"), RECORDS)
)


@given(RECORDS | NAMED, RECORDS | NAMED, RECORDS | NAMED)
@few
def test_records_merge_in_any_grouping(one, two, three):
    def settled(value):
        """Without what nothing is filed under."""
        value = {key: part for key, part in value.items() if key != "under"}, value.get("under") or {}
        return value[0], {name: record for name, record in value[1].items() if record}

    grouped = merge_records(one, merge_records(two, three))
    assert settled(merge_records(merge_records(one, two), three)) == settled(grouped)


@given(RECORDS, RECORDS, RECORDS, RECORDS)
@few
def test_of_several_lists_each_merges_for_itself(own, old, new, other):
    value = merge_records(merge_records(own, filed_under(old or {}, "a")), filed_under(other or {}, "b"))
    merged = merge_records(value, filed_under(new or {}, "a"))
    assert (record_under(merged, "") or {}) == (own or {})
    assert record_under(merged, "a") == merge_records(old, new)
    assert record_under(merged, "b") == (other or {})


def test_what_no_list_is_filed_under_is_no_record_of_it():
    assert record_under({"gen": 1, "under": 3}, "a") is None
    assert record_under({"gen": 1, "under": 3}, "") == {"gen": 1}
    assert record_under(None, "a") is None
    assert merge_records({"gen": 1, "under": "x"}, {"gen": 2}) == {"gen": 2, "under": {}}


@given(RECORDS, RECORDS)
@few
def test_the_higher_generation_wins_and_the_newer_on_a_tie(old, new):
    merged = merge_records(old, new)
    if old and new:
        assert merged == (old if old["gen"] > new["gen"] else new)
    else:
        assert merged == (new or old or {})
    assert merge_records(merged, merged) == merged
    assert merge_records(merged, new) == merged
    assert merged is not old
    assert merged is not new


@given(
    st.dictionaries(st.sampled_from(["gen", "v"]), json_values(3)),
    st.dictionaries(st.sampled_from(["gen", "v"]), json_values(3)),
)
def test_records_from_anywhere_merge_without_harm(old, new):
    assert merge_records(old, new) in ({}, old, new)
    assert merge_records(old, {"gen": 10**400}) == {"gen": 10**400}
