"""Addresses, ids and pages."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pagefault.errors import BadAddress, InvalidId, PagefaultError
from pagefault.page import MAX_ID_CHARS, Address, Kind, Page, Projection, Role, SpaceId, check_id, parse_addresses
from tests.core.strategies import SPACES, texts

NUMBERS = st.integers(1, 10**15 - 1)
GRAMMAR = re.compile(r"(c[0-9a-f]{10}:)?[1-9]\d{0,14}(-[1-9]\d{0,14}|(\.[1-9]\d{0,5})?(@\d{1,12})?)", re.ASCII)


@st.composite
def addresses(draw):
    first, alias = draw(NUMBERS), draw(st.just("") | SPACES.map(lambda space: space.alias))
    if draw(st.booleans()):
        return Address(first=first, last=draw(st.integers(first, 10**15 - 1)), alias=alias)
    part, offset = draw(st.integers(0, 999_999)), draw(st.integers(0, 10**12 - 1))
    return Address(first=first, last=first, part=part, offset=offset, alias=alias)


@given(addresses())
def test_an_address_reads_back_as_it_was_written(address):
    assert Address.parse(str(address)) == address
    assert Address.parse(f"  {address}\n") == address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", Address(first=12, last=12)),
        ("12-14", Address(first=12, last=14)),
        ("12-12", Address(first=12, last=12)),
        ("12.3", Address(first=12, last=12, part=3)),
        ("12@4000", Address(first=12, last=12, offset=4000)),
        ("12.3@4000", Address(first=12, last=12, part=3, offset=4000)),
        ("12@0", Address(first=12, last=12)),
        ("c0f3a9e2b71:12", Address(first=12, last=12, alias="c0f3a9e2b71")),
        ("c0f3a9e2b71:12.3@4000", Address(first=12, last=12, part=3, offset=4000, alias="c0f3a9e2b71")),
    ],
)
def test_the_grammar_means_what_it_says(text, expected):
    assert Address.parse(text) == expected


@given(st.one_of(texts(), st.from_regex(r"[0-9.@\- ]{0,8}", fullmatch=True)))
def test_everything_else_is_refused_by_name(text):
    assume(not GRAMMAR.fullmatch(text.strip()))
    with pytest.raises(BadAddress, match=re.escape(f"{text!r:.60}")):
        Address.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "01",
        "-1",
        "12-",
        "12.0",
        "12.3-14",
        "1-2.3",
        "12@",
        "1 2",
        "²",
        "١٢",
        "1" * 16,
        "c0f3a9e2b71",
        ":12",
        "0f3a9e2b71:12",
        "c0f3a9e2b7:12",
        "cX0f3a9e2b71:12",
        "docs:/12",
    ],
)
def test_near_misses_are_refused(text):
    with pytest.raises(BadAddress, match="write '12', '12-14' or"):
        Address.parse(text)


def test_a_backward_range_is_refused_with_the_way_out():
    with pytest.raises(BadAddress, match="'14-12' runs backwards; write '12-14'"):
        Address.parse("14-12")
    with pytest.raises(BadAddress, match="write 'c0f3a9e2b71:12-14'"):
        Address.parse("c0f3a9e2b71:14-12")


@pytest.mark.parametrize("value", [12, None, b"12", ["12"], 1.5])
def test_an_address_is_text(value):
    with pytest.raises(BadAddress, match=type(value).__name__):
        Address.parse(value)


@given(st.lists(addresses(), min_size=1), st.sampled_from([", ", ",", " ", "\n", " ,\t"]))
def test_a_list_of_addresses_keeps_its_order(wanted, separator):
    text = separator.join(map(str, wanted))
    for spelled in (text, f" {text} ", f"{text},", f"{text} , ", f", {text}"):
        assert parse_addresses(spelled) == tuple(wanted)


@pytest.mark.parametrize("text", ["", "  ", ",", " , ,", None, 12, ["12"]])
def test_a_list_without_addresses_is_refused(text):
    with pytest.raises(BadAddress, match="no page address"):
        parse_addresses(text)


def test_one_bad_address_spoils_the_list():
    with pytest.raises(BadAddress, match="'x'"):
        parse_addresses("1, x, 3")


@given(SPACES, SPACES)
def test_different_spaces_have_different_keys(one, other):
    assert (one.key == other.key) == (one == other)
    assert (one.alias == other.alias) == (one == other)
    assert Address.parse(f"{one.alias}:7").alias == one.alias
    assert re.fullmatch("[0-9a-f]{32}", one.key)


@given(st.lists(st.text(alphabet='ab",[] \\', min_size=1, max_size=3), min_size=4, max_size=4))
def test_a_boundary_between_parts_cannot_be_moved(parts):
    tenant, user, thread, agent = parts
    moved = [
        SpaceId(tenant=tenant + user, user="", thread=thread, agent=agent),
        SpaceId(tenant=tenant, user="", thread=user + thread, agent=agent),
        SpaceId(tenant=tenant, user=user, thread=thread + agent, agent=""),
        SpaceId(tenant=tenant, user=f'{user}", "{thread}', thread=agent, agent=""),
    ]
    space = SpaceId(tenant=tenant, user=user, thread=thread, agent=agent)
    assert space.key not in {m.key for m in moved}


def test_a_key_never_changes():
    assert SpaceId(tenant="acme", user="ada", thread="t1", agent="").key == "ee125d527356cf1a1d8ed8a286c69db1"


BAD = [None, 5, b"x", ["x"], "a\x00b", "a\nb", "\ud83d", "x" * (MAX_ID_CHARS + 1)]


@pytest.mark.parametrize("part", ["tenant", "user", "thread", "agent"])
@pytest.mark.parametrize("value", BAD, ids=lambda v: f"{v!r:.12}")
def test_a_bad_id_is_refused_by_name(part, value):
    parts = {"tenant": "t", "user": "u", "thread": "h", "agent": "a", part: value}
    with pytest.raises(InvalidId, match=f"^{part} "):
        SpaceId(**parts)


@pytest.mark.parametrize("part", ["tenant", "thread"])
def test_tenant_and_thread_are_never_empty(part):
    with pytest.raises(InvalidId, match=f"{part} is empty"):
        SpaceId(**{"tenant": "t", "user": "", "thread": "h", "agent": "", part: ""})


@given(st.one_of(texts(), st.none(), st.integers()), st.booleans())
def test_an_id_that_is_taken_is_printable_text_and_a_refusal_can_be_printed(value, empty):
    if isinstance(value, str) and value.isprintable() and (value or empty):
        assert check_id("thing", value, empty=empty) is value
        return
    with pytest.raises(InvalidId, match=r"^thing ") as caught:
        check_id("thing", value, empty=empty)
    assert isinstance(caught.value, PagefaultError)
    str(caught.value).encode()


def test_the_longest_id_is_allowed():
    assert check_id("thread", "x" * MAX_ID_CHARS) == "x" * MAX_ID_CHARS


def test_the_text_of_a_page_is_all_its_text():
    messages = tuple(Projection(role=Role.USER, text=t) for t in ("one", "", "two"))
    page = Page(
        seq=1, chain="c", parent="", kind=Kind.MESSAGE, format="chat/1", body="[]", sha256="", messages=messages,
        tokens=1, gist="", created_at=0.0,
    )  # fmt: skip
    assert page.text == "one\ntwo"
    assert not page.opaque
