"""View records that something else wrote, or that something damaged: read, or refused with one error."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.window.compaction import Block, Entry
from pagefault.window.notes import Note, PinnedItem
from pagefault.window.preview import Cut, Preview
from pagefault.window.view import Pin, Seal, View, clock_of, from_record, to_record
from tests.core.strategies import json_values, texts

LINE = Entry(first=2, last=9, gist="user: hi")
BLOCK = Block(ranges=((2, 4), (6, 9)), entries=(LINE,), at=12, tip="a" * 32, tokens=50)
SHOWN = Preview(seq=10, chain="c" * 32, cuts=(Cut(part=2, head=10, tail=5),), tokens=40)
PIN = Pin(seq=1, chain="b" * 32)
ITEM = PinnedItem(key="name", text="Ada", at=2, chain="d" * 32)
NOTE = Note(before=11, at=10, chain="c" * 32, about="item", text="name is Ada", tokens=9)
GOOD = to_record(
    View(
        generation=3,
        block=BLOCK,
        pins=(PIN,),
        previews=(SHOWN,),
        released=(PIN,),
        items=(ITEM,),
        folded=(ITEM,),
        folded_tokens=12,
        notes=(NOTE,),
        clock=0.25,
        seal=Seal(at=12, chain="a" * 32, sum="e" * 32),
    )
)


@pytest.mark.parametrize(
    ("record", "clock"),
    [(GOOD, 0.25), ({}, 0.0), ([], 0.0), ({"clock": "late"}, 0.0), ({"clock": -1}, 0.0), ({"clock": None}, 0.0)],
)
def test_a_clock_is_read_where_there_is_one(record, clock):
    assert clock_of(record) == clock


def read_or_refuse(record):
    """Read a record; if it is taken, it is one that we could have written."""
    record = json.loads(json.dumps(record))  # as it comes out of a state: two halves of a character are one then
    try:
        view = from_record(record)
    except ValueError:
        return None
    assert from_record(json.loads(json.dumps(to_record(view)))) == view
    if view.block is not None:
        assert all(1 <= first <= last <= view.block.at for first, last in view.block.ranges)
        assert view.block.text
    return view


@given(json_values())
def test_arbitrary_json_is_refused(record):
    assert read_or_refuse(record) is None


@given(st.fixed_dictionaries({key: json_values(4) for key in GOOD} | {"v": st.just(1)}))
def test_arbitrary_fields_are_refused_or_harmless(record):
    read_or_refuse(record)


def places(value, path=()):
    """Every place inside a record."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


PLACES = [path for path in places(GOOD) if path]


def changed(path, change):
    record = copy.deepcopy(GOOD)
    target = record
    for key in path[:-1]:
        target = target[key]
    change(target, path[-1])
    return record


@given(st.sampled_from(PLACES), json_values(4))
def test_one_damaged_place_is_refused_or_harmless(path, value):
    def put(target, key):
        target[key] = value

    read_or_refuse(changed(path, put))


@pytest.mark.parametrize("path", PLACES, ids=str)
def test_a_missing_place_is_refused_or_harmless(path):
    def drop(target, key):
        del target[key]

    view = read_or_refuse(changed(path, drop))
    whole_lists = [("pins", 0), ("blocks", 0), ("blocks", 0, "ranges", 0), ("blocks", 0, "ranges", 1)]
    whole_lists += [(key, 0) for key in ("previews", "released", "items", "notes")]
    whole_lists += [("previews", 0, 3, 0), ("folded", 1, 0)]
    whole_lists += [
        (key,) for key in ("previews", "released", "items", "folded", "notes", "seal")
    ]  # older records lack them
    assert (view is not None) == (path in whole_lists)


def value_at(path):
    value = GOOD
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize("path", [path for path in PLACES if type(value_at(path)) in {int, str}], ids=str)
def test_text_is_no_number_and_a_number_no_text(path):
    record = setting(*path, str(value_at(path)) if isinstance(value_at(path), int) else 7)
    with pytest.raises(ValueError, match=r"^(not a view record|view record version)"):
        from_record(record)


def setting(*path_and_value):
    *path, value = path_and_value

    def put(target, key):
        target[key] = value

    return changed(tuple(path), put)


@pytest.mark.parametrize(
    "record",
    [
        setting("notes", 0, 3, "gossip"),
        setting("v", 2),
        setting("v", "1"),
        setting("gen", -1),
        setting("gen", bool(1)),
        setting("gen", 2**53),
        setting("gen", "3"),
        setting("clock", float("nan")),
        setting("clock", float("inf")),
        setting("clock", -1),
        setting("clock", 10**400),
        setting("clock", "soon"),
        setting("clock", None),
        setting("blocks", None),
        setting("blocks", 0, None),
        setting("blocks", 0, "ranges", []),
        setting("blocks", 0, "entries", []),
        setting("blocks", 0, "ranges", [[1, 2**52]]),
        setting("blocks", 0, "ranges", [[4, 2]]),
        setting("blocks", 0, "ranges", [[0, 2]]),
        setting("blocks", 0, "ranges", [[6, 9], [2, 4]]),
        setting("blocks", 0, "ranges", [[2, 6], [6, 9]]),
        setting("blocks", 0, "ranges", [[2, 3, 4]]),
        setting("blocks", 0, "entries", [[2, 9, None]]),
        setting("blocks", 0, "entries", [[2, 13, "beyond"]]),
        setting("blocks", 0, "tip", None),
        setting("blocks", 0, "tokens", -1),
        setting("blocks", [*GOOD["blocks"], *GOOD["blocks"]]),
        setting("pins", [[1]]),
        setting("pins", [[1, 5]]),
        setting("pins", 7),
        None,
        [],
        "record",
    ],
    ids=range(34),
)
def test_these_are_refused(record):
    with pytest.raises(ValueError, match=r"^(not a view record|view record version).{,200}"):
        from_record(record)


def test_the_example_itself_is_good():
    assert to_record(from_record(GOOD)) == GOOD


@pytest.mark.parametrize("part", ["previews", "released", "items", "folded", "notes", "seal"])
def test_what_an_older_record_lacks_there_was_none_of(part):
    record = {key: value for key, value in GOOD.items() if key != part}
    assert to_record(from_record(record)) == {**GOOD, part: to_record(View())[part]}


def test_a_newer_release_says_which_version_this_one_reads():
    with pytest.raises(ValueError, match="version 2, this release reads 1"):
        from_record({**GOOD, "v": 2})


def first_line(gist):
    """The line of contents that a record with this gist leads to."""
    record = copy.deepcopy(GOOD)
    record["blocks"][0]["entries"][0][2] = gist
    return str(from_record(record).block.entries[0])


@given(texts())
def test_a_gist_of_a_record_cannot_begin_a_line(gist):
    assert len(first_line(gist).splitlines()) == 1


@pytest.mark.parametrize("gist", [" a b", "a b ", "a  b", "a\nb", " a\t b\x00"])
def test_a_gist_of_a_record_has_single_spaces(gist):
    assert first_line(gist) == "2-9 a b"


def test_a_gist_of_a_record_holds_nothing_that_no_reader_sees():
    assert first_line("a\u202eb\x1b[2J\u2028c \n d") == "2-9 a b [2J c d"


def test_a_block_of_before_also_said_how_often_it_was_merged():
    (block,) = GOOD["blocks"]
    assert from_record({**GOOD, "blocks": [{**block, "level": 3}]}).block == BLOCK
