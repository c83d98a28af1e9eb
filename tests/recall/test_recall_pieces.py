"""Long texts in pieces, each of which gets a vector."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pagefault.recall.pieces import FIELD, MAX_PIECES, PIECE_CHARS, WHOLE_CHARS, pieces_of

WORDS = st.text(alphabet="ab \n\t\u3000\ud83d", max_size=400)


@given(WORDS, st.integers(1, 300))
def test_pieces_are_the_text_in_order(text, times):
    whole = text * times
    found = pieces_of(whole)
    assert 1 <= len(found) <= MAX_PIECES
    assert all(len(piece) <= WHOLE_CHARS for piece in found)
    at = 0
    for piece in found:
        assert whole.find(piece, at) >= at
        at = whole.find(piece, at) + len(piece)
    if len(whole) <= MAX_PIECES * PIECE_CHARS:  # nothing but blanks is left out
        assert "".join("".join(found).split()) == "".join(whole.split())


def test_a_short_text_is_one_piece():
    for text in ("", " ", "x", "x" * WHOLE_CHARS):
        assert pieces_of(text) == [text]


def test_a_text_is_cut_between_words_where_it_can_be():
    words = pieces_of("several words " * 700)
    assert all(piece.endswith(" ") for piece in words)
    assert "".join(words) == "several words " * 700
    assert [len(piece) for piece in pieces_of("x" * 4_000)] == [1_000] * 4


@given(st.lists(st.integers(1, 250), min_size=30, max_size=60))
def test_a_cut_is_behind_a_blank_where_one_is_among_the_hundred_characters_before(lengths):
    text = " ".join("x" * length for length in lengths)
    at = 0
    for piece in pieces_of(text)[:-1]:
        at += len(piece)
        assert text[at - 1] == " " or " " not in text[at - 100 : at], at


def test_a_very_long_text_is_sampled_evenly():
    text = "".join(f"{number:09d} " for number in range(100_000))
    found = pieces_of(text)
    assert len(found) == MAX_PIECES
    assert {len(piece) for piece in found} == {WHOLE_CHARS}
    starts = [int(piece[:9]) for piece in found]
    assert {later - sooner for sooner, later in pairwise(starts)} <= {3_124, 3_125, 3_126}


def test_blank_stretches_get_no_vector():
    text = "begin" + " " * 8_000 + "end"
    assert [piece.strip() for piece in pieces_of(text)] == ["begin", "end"]
    assert pieces_of(" " * 9_000) == [" " * WHOLE_CHARS]


def test_parts_with_a_mark_between_them_are_pieces_of_their_own():
    long = "word " * 500
    assert pieces_of(f"one{FIELD}{FIELD} {FIELD}other") == ["one", "other"]
    assert pieces_of(f"one{FIELD}{long}") == ["one", *pieces_of(long)]
    assert pieces_of(FIELD) == [FIELD]
    assert pieces_of(f"one{FIELD} ") == ["one"]
    most = ["part"] * MAX_PIECES
    assert pieces_of(FIELD.join(most)) == most
    many = FIELD.join(["part"] * 100)
    assert pieces_of(many) == [many], "too many to count each"
