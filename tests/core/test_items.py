"""Names, versions and times of items."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import CorruptPage, InvalidItem
from pagefault.items import (
    MAX_EQUALS,
    MAX_LABELS,
    MAX_NAME_CHARS,
    MAX_TTL,
    WIDE,
    Item,
    check_ttl,
    equals_tag,
    expiry_of,
    is_expired,
    is_under,
    item_of,
    moment,
    name_of,
    next_version,
    path_of,
    plain,
    point_of,
    prefix_tag,
    prefixes,
    reading,
    record_of,
    refreshed,
)
from pagefault.messages.canonical import sha256
from pagefault.ports import Scope
from pagefault.stores.layout import rows

SPACE = "a" * 32
LABELS = st.text(st.characters(), max_size=6) | st.sampled_from(["a", "a.b", "a/b", '","', "*", "\x00", "\ud83d"])
PATHS = st.lists(LABELS, max_size=4).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def item(**more) -> Item:
    values = {"namespace": ("a",), "key": "k", "value": {"x": 1}, "version": 3, "created_at": 1.5, "updated_at": 2.5}
    return Item(**(values | more))


@given(PATHS, LABELS, PATHS, LABELS)
def test_names_are_told_apart(namespace, key, other, other_key):
    same = (namespace, key) == (other, other_key)
    assert (path_of(namespace, key) == path_of(other, other_key)) == same
    assert (point_of(SPACE, namespace, key) == point_of(SPACE, other, other_key)) == same
    assert name_of(path_of(namespace, key)) == (namespace, key)
    assert path_of(namespace, key).isascii()


@pytest.mark.parametrize(
    ("namespace", "key"),
    [("ab", "k"), (("a", 1), "k"), (("a",), 7), ((None,), "k"), (("x" * 20_000,), "k"), (("x",) * 2_000, "k")],
)
def test_odd_names_are_refused(namespace, key):
    with pytest.raises(InvalidItem):
        path_of(namespace, key)


@given(PATHS, PATHS)
def test_a_namespace_carries_the_tag_of_its_beginnings_alone(namespace, other):
    begins = bool(other) and namespace[: len(other)] == other
    assert (prefix_tag(other) in prefixes(namespace)) == begins
    assert is_under(namespace, [*other], "prefix") == (
        len(other) <= len(namespace) and all(w in {"*", x} for w, x in zip(other, namespace, strict=False))
    )


@given(PATHS)
def test_a_namespace_carries_the_tags_that_its_beginnings_are_looked_for_by(namespace):
    assert prefixes(namespace) == [prefix_tag(namespace[:depth]) for depth in range(1, len(namespace) + 1)]


def test_the_longest_names_fit_into_a_record():
    """As many labels and other tags as there may be, and as long a name as those leave room for."""
    namespace, value = ("x" * 4,) * MAX_LABELS, {str(n): n for n in range(MAX_EQUALS)}
    key = "k" * (MAX_NAME_CHARS - len(path_of(namespace, "")))
    item = Item(namespace=namespace, key=key, value=value, version=1, created_at=1.0, updated_at=1.0)
    item = replace(item, ttl=MAX_TTL, expires_at=MAX_TTL)
    record = record_of(SPACE, item)
    assert len(rows(Scope(tenant="t", space=SPACE), record, dimension=0)) == 1


@given(PATHS, PATHS)
def test_suffixes_are_prefixes_of_the_reverse(namespace, path):
    assert is_under(namespace, path, "suffix") == is_under(namespace[::-1], path[::-1], "prefix")


@given(st.lists(st.floats(0, 2e9), min_size=2, max_size=20))
def test_versions_rise_whatever_the_clock_does(moments):
    version = 0
    for now in moments:
        after = next_version(version, now)
        assert after > version
        version = after
    assert 1 <= version < 2**53


def test_a_version_goes_beyond_those_of_deleted_items():
    assert next_version(0, 1_700_000_000.5) == 1_700_000_000_500_000


@given(JSON, st.none() | st.floats(1, 1e6).map(moment), st.none() | st.text())
def test_a_record_holds_the_item(value, ttl, text):
    kept = item(value=value, ttl=ttl, expires_at=None if ttl is None else moment(100.0 + ttl), text=text)
    record = record_of(SPACE, kept)
    assert item_of(record) == kept
    assert record.body.isascii()
    assert record.seq == kept.version
    assert expiry_of(record.fields) == kept.expires_at
    assert all(isinstance(each, str | int) for each in record.fields.values())


def test_a_changed_body_is_noticed():
    record = record_of(SPACE, item())
    with pytest.raises(CorruptPage, match="'k'"):
        item_of(replace(record, body=record.body.replace("1", "2")))


def test_an_item_in_the_place_of_another_or_of_another_shelf_is_noticed():
    record = record_of(SPACE, item())
    assert item_of(record, SPACE) == item()
    for other in (replace(record_of(SPACE, item(key="other")), id=record.id), record_of("another", item())):
        with pytest.raises(CorruptPage, match="lies elsewhere"):
            item_of(other, SPACE)


@pytest.mark.parametrize(
    "changes", [{"fields": {}}, {"fields": {"path": "[["}}, {"body": "[]"}, {"body": "{}"}], ids=str
)
def test_what_is_no_item_is_told(changes):
    record = replace(record_of(SPACE, item()), **changes)
    with pytest.raises(CorruptPage, match=str(record.id)):
        item_of(replace(record, sha256=sha256(record.body)))


@pytest.mark.parametrize("value", [object(), {"x": {1, 2}}, {"x": b"bytes"}, {1: 2}, {"x": [{None: 1}]}])
def test_what_json_has_no_form_for_is_refused(value):
    with pytest.raises(InvalidItem, match="JSON"):
        plain(value, "k")


def test_endless_values_are_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(InvalidItem, match="refers to itself"):
        plain(loop, "k")


def test_a_copy_is_nobody_elses():
    value = {"x": [1]}
    copy = plain(value, "k")
    value["x"].append(2)
    assert copy == {"x": [1]}


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e12, 1e-9, True, "5"])
def test_odd_times_to_live_are_refused(ttl):
    with pytest.raises(InvalidItem, match="time to live"):
        check_ttl(ttl)


def test_times_to_live():
    assert check_ttl(None) is None
    assert check_ttl(5) == 5.0
    assert [check_ttl(each) for each in (0.001, MAX_TTL)] == [0.001, MAX_TTL]
    assert not is_expired(None, 1e18)
    assert not is_expired(10.0, 9.999)
    assert is_expired(10.0, 10.0)


@given(st.floats(0.001, 1e6), st.floats(0, 1))
def test_a_refresh_begins_the_time_anew_where_that_changes_anything(ttl, share):
    kept = item(ttl=ttl, expires_at=1000.0 + ttl)
    now = 1000.0 + share * ttl
    fresh = refreshed(kept, now)
    if fresh is None:
        assert now + ttl - (1000.0 + ttl) <= min(1.0, 0.01 * ttl) + 1e-5
    else:
        assert now - 1000.0 >= min(1.0, 0.01 * ttl) - 1e-5, "else it is not worth a write"
        assert fresh == replace(kept, expires_at=moment(now + ttl))


def test_what_lives_for_ever_is_not_refreshed():
    assert refreshed(item(), 5.0) is None


def test_equal_numbers_share_a_tag_and_truth_is_no_number():
    assert equals_tag("k", 1) == equals_tag("k", 1.0)
    assert equals_tag("k", 1) != equals_tag("k", True)  # noqa: FBT003  # it is the value itself
    assert equals_tag("k", 1) != equals_tag("k", "1")
    assert equals_tag("k", 0.5) != equals_tag("k", 0)
    assert equals_tag("k", float("inf")) != equals_tag("k", None)


def test_values_have_tags_up_to_a_limit():
    few = record_of(SPACE, item(namespace=(), value={"a": 1, "b": [1], "c": None}))
    assert set(few.tags) == {equals_tag("a", 1), equals_tag("c", None)}
    many = record_of(SPACE, item(namespace=(), value={str(i): i for i in range(MAX_EQUALS + 1)}))
    assert set(many.tags) == {WIDE}
    assert record_of(SPACE, item(namespace=(), value=["a"])).tags == ()


def test_a_value_reads_as_lines():
    assert reading("text") == "text"
    assert reading({"a": ["x", ("y", None)], "b": {"c": True}}) == "a: x\na: y\nb c: True"
    assert item(value="v").searched == "v"
    assert item(value="v", text="k: v").searched == "k: v"
    assert item(text="").searched == ""


def test_paths_are_json():
    assert json.loads(path_of(("a",), "k")) == ["a", "k"]


@given(st.floats(0, 4e9))
def test_times_are_stored_to_the_microsecond(now):
    assert abs(moment(now) - now) <= 1e-6
    assert moment(moment(now)) == moment(now)
    assert item_of(record_of(SPACE, item(created_at=moment(now)))).created_at == moment(now)
