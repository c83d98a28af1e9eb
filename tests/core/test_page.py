"""Spaces, pages and the address grammar."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import BadAddress, InvalidId
from pagefault.page import MAX_ID_CHARS, Address, Kind, Page, Projection, Role, SpaceId, parse_addresses

names = st.text(string.ascii_letters + '-_./ é漢"\\[],', min_size=1, max_size=20)
numbers = st.integers(1, 10**15 - 1)


def space(**changes):
    return SpaceId(**({"tenant": "acme", "user": "ada", "thread": "t1", "agent": ""} | changes))


@given(st.lists(st.tuples(names, names, names, names), min_size=2, max_size=2, unique=True))
def test_different_spaces_have_different_keys(pair):
    keys = {SpaceId(tenant=a, user=b, thread=c, agent=d).key for a, b, c, d in pair}
    assert len(keys) == 2
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)


@pytest.mark.parametrize("part", ["tenant", "user", "thread", "agent"])
@pytest.mark.parametrize("value", [None, 7, b"t1", "a\x00b", "\ud83d", "line\nbreak", "x" * (MAX_ID_CHARS + 1)])
def test_a_bad_part_of_a_space_is_named(part, value):
    with pytest.raises(InvalidId, match=part):
        space(**{part: value})


@pytest.mark.parametrize("part", ["tenant", "thread"])
def test_tenant_and_thread_are_never_empty(part):
    with pytest.raises(InvalidId, match=part):
        space(**{part: ""})


def test_user_and_agent_may_be_empty_and_ids_may_be_long():
    assert space(user="", agent="", thread="x" * MAX_ID_CHARS).user == ""


@given(numbers, st.integers(0, 999_999), st.integers(0, 10**12 - 1))
def test_an_address_of_one_page_reads_as_it_was_written(page, part, offset):
    address = Address(first=page, last=page, part=part, offset=offset)
    assert Address.parse(str(address)) == address


@given(numbers, numbers)
def test_an_address_of_a_range_reads_as_it_was_written(one, other):
    address = Address(first=min(one, other), last=max(one, other))
    assert Address.parse(f" {address} ") == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-1", "1-", "12-14.3", "1.0", "1.2.3", "1@", "@4", "1@-4", "1e3", "٣", "12 14", "docs:/x"),
        *("1" * 16, "1\n2"),
    ],
)
def test_what_is_not_an_address_is_refused_with_an_example(text):
    with pytest.raises(BadAddress, match="12-14"):
        Address.parse(text)


@pytest.mark.parametrize("value", [None, 12, ["12"]])
def test_an_address_is_text(value):
    with pytest.raises(BadAddress, match=type(value).__name__):
        Address.parse(value)
    with pytest.raises(BadAddress):
        parse_addresses(value)


def test_a_backward_range_says_how_to_write_it():
    with pytest.raises(BadAddress, match="'12-14'"):
        Address.parse("14-12")


def test_a_list_of_addresses():
    assert [str(a) for a in parse_addresses("3, 12-14,12.3@40  7,")] == ["3", "12-14", "12.3@40", "7"]
    for empty in ("", "  ", ","):
        with pytest.raises(BadAddress):
            parse_addresses(empty)


def test_the_text_of_a_page_leaves_out_silent_messages():
    messages = tuple(Projection(role=Role.USER, text=text) for text in ("a", "", "b"))
    page = Page(
        seq=1, chain="c", parent="", kind=Kind.MESSAGE, format="chat/1", body="[]", sha256="",
        messages=messages, tokens=2, gist="", created_at=0.0,
    )  # fmt: skip
    assert page.text == "a\nb"
