"""Gists: one line that quotes the page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.gist import MAX_CHARS, gist_of, merge
from pagefault.page import Call, Kind, Projection, Role
from tests.core.strategies import PROJECTIONS, few, has_line_break, texts


def is_one_short_line(gist):
    return len(gist) <= MAX_CHARS and not has_line_break(gist) and all(c.isprintable() for c in gist)


def said(text, role=Role.USER, **more):
    return Projection(role=role, text=text, **more)


def calls(*pairs):
    return Projection(role=Role.ASSISTANT, text="", calls=tuple(Call(id="c", name=n, arguments=a) for n, a in pairs))


@given(st.lists(PROJECTIONS, min_size=1, max_size=4), st.sampled_from(Kind))
def test_any_page_has_a_gist_of_one_short_line(messages, kind):
    assert is_one_short_line(gist_of(messages, kind))
    assert gist_of(messages, kind) == gist_of(tuple(messages), kind)


@given(texts(400), texts(400), st.sampled_from(Role))
@few
def test_the_longest_texts_are_cut(text, name, role):
    assert is_one_short_line(gist_of([said(text * 20, role=role, name=name * 20)]))


@given(st.lists(st.lists(PROJECTIONS, min_size=1, max_size=2), min_size=2, max_size=9))
@few
def test_gists_merge_into_gists(pages):
    gists = [gist_of(page) for page in pages]
    while len(gists) > 1:
        gists = [merge(*gists[:2]), *gists[2:]]
        assert is_one_short_line(gists[0])


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([said("Find the cheapest flight. Then book it.")], "user: Find the cheapest flight."),
        ([said("買って。次に")], "user: 買って。次に"),
        ([said("Ready? Yes!")], "user: Ready?"),
        ([said("v1.2 is out")], "user: v1.2 is out"),
        ([said("  two\n\tlines  ")], "user: two lines"),
        ([said("")], "user: (no text)"),
        ([said("hi", name="Ada\nLovelace")], "user Ada Lovelace: hi"),
        ([said("", role=Role.ASSISTANT), said("later", role=Role.TOOL)], "tool: later"),
        ([said("Be brief.", role=Role.SYSTEM)], "system: Be brief."),
        ([calls(("search", '{"q": "x"}')), said("Found. More.", role=Role.TOOL)], 'search({"q": "x"}) -> Found.'),
        ([calls(("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"))], "a(1), b(2), c(3)"),
        ([calls(("a", ""), ("b", "")), said("", role=Role.TOOL), said("ok", role=Role.TOOL)], "a(), b() -> ok"),
        ([calls(("evil\nname", "x\r\ny"))], "evil name(x y)"),
    ],
)
def test_a_gist_quotes_the_opening(messages, expected):
    assert gist_of(messages) == expected


def test_long_arguments_leave_room_for_the_result():
    gist = gist_of([calls(("f", "x" * 500)), said("done", role=Role.TOOL)])
    assert gist == f"f({'x' * 39}…) -> done"


def test_a_recall_says_what_was_asked():
    assert gist_of([calls(("recall", '{"query": "rent"}'))], Kind.RECALLED) == 'recalled {"query": "rent"}'
    assert gist_of([said("text only", role=Role.TOOL)], Kind.RECALLED) == "recalled "


def test_a_long_line_ends_in_an_ellipsis():
    gist = gist_of([said("word " * 100)])
    assert len(gist) <= MAX_CHARS
    assert gist.endswith("word…")


def test_merging_keeps_something_of_both():
    assert merge("same", "same") == "same"
    assert merge("one", "two") == "one | two"
    long = merge("a" * 96, "b" * 96)
    assert long == f"{'a' * 45}… | {'b' * 45}…"
    assert merge("one", "b" * 96) == f"one | {'b' * 88}…"
