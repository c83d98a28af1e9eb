"""Which value has what a filter asks for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import BadFilter
from pagefault.filters import OPERATORS, check_filter, matches, tags_of
from pagefault.items import MAX_EQUALS, WIDE, Item, equals_tag, record_of

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, 2.0]) | st.sampled_from("ab")
VALUES = st.dictionaries(st.sampled_from("xyz"), SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
ORDERED = st.integers(-3, 3) | st.sampled_from([0.5, 1.0]) | st.sampled_from("ab")
CONDITIONS = (
    SCALARS
    | st.dictionaries(st.sampled_from(["$eq", "$ne"]), SCALARS, min_size=1)
    | st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ORDERED, min_size=1)
)
FILTERS = st.dictionaries(st.sampled_from("xyz"), CONDITIONS, max_size=2)


def deep(levels: int) -> dict[str, Any]:
    """A filter nested so deep."""
    inner: dict[str, Any] = {}
    for _ in range(levels):
        inner = {"deep": inner}
    return inner


@pytest.mark.parametrize(
    ("wanted", "does"),
    [
        ({}, True),
        ({"n": 3}, True),
        ({"n": 3.0}, True),
        ({"n": {"$eq": 4}}, False),
        ({"n": {"$ne": 4}}, True),
        ({"n": {"$gt": 2, "$lt": 4}}, True),
        ({"n": {"$gt": 3}}, False),
        ({"n": {"$gte": 3, "$lte": 3}}, True),
        ({"n": {"$lt": "4"}}, False),
        ({"s": {"$gte": "2026-01", "$lt": "2027"}}, True),
        ({"yes": 1}, False),
        ({"yes": True}, True),
        ({"yes": {"$gt": 0}}, False),
        ({"gone": {"$gt": 0}}, False),
        ({"gone": {"$ne": 1}}, True),
        ({"gone": None}, True),
        ({"deep": {"a": {"b": 1}}}, True),
        ({"deep": {"a": {"b": {"$gt": 1}}}}, False),
        ({"deep": {"a": {}}}, True),
        ({"n": {"a": 1}}, False),
        ({"list": [1, (2, 3)]}, True),
        ({"list": [1]}, False),
        ({"list": {"$eq": [1, [2, 3]]}}, True),
        ({"deep": {"$eq": {"a": {"b": 1, "c": 2}}}}, True),
        ({"deep": {"$eq": {"a": {"b": 1}}}}, False),
        ({"deep": {"$eq": 5}}, False),
        ({"n": {"$eq": {"a": 1}}}, False),
        ({"n": 3, "s": "no"}, False),
    ],
)
def test_a_filter_finds_what_it_says(wanted, does):
    value = {"n": 3, "s": "2026-11", "yes": True, "deep": {"a": {"b": 1, "c": 2}}, "list": [1, [2, 3]]}
    assert matches(value, check_filter(wanted)) is does


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": {"$above": 1}},
        {"n": {"$gt": 1, "x": 2}},
        {"$or": [{"a": 1}]},
        {"n": {"$gt": None}},
        {"n": {"$lt": [1]}},
        {"n": {"$lte": True}},
        {"deep": {"a": {"$in": [1]}}},
        {1: 2},
        ["n"],
        "n",
        None,
        {"n": 10**5_000},
        {"deep": {"a": {"$ne": 10**5_000}}},
        deep(5_000),
    ],
    ids=lambda wanted: f"{type(wanted).__name__}",
)
def test_odd_filters_are_refused(wanted):
    with pytest.raises(BadFilter):
        check_filter(wanted)


def test_a_refusal_names_the_operators():
    with pytest.raises(BadFilter, match=r"'\$in'.*\$eq, \$gt, \$gte, \$lt, \$lte, \$ne"):
        check_filter({"n": {"$in": [1]}})
    assert len(OPERATORS) == 6


def test_only_dictionaries_have_keys():
    assert not matches([1], {"a": None})


@given(VALUES, FILTERS, st.booleans())
def test_tags_never_hide_what_matches(value, wanted, is_wide):
    if is_wide:
        value = {**{f"more {i}": i for i in range(MAX_EQUALS)}, **value}
    kept = Item(namespace=(), key="k", value=value, version=1, created_at=0.0, updated_at=0.0)
    tags = set(record_of("a" * 32, kept).tags)
    if matches(value, check_filter(wanted)):
        assert all(tags & set(group) for group in tags_of(wanted))


@given(VALUES, st.sampled_from("xyz"), ORDERED)
def test_operators_agree_with_each_other(value, key, operand):
    def holds(name):
        return matches(value, {key: {name: operand}})

    assert holds("$eq") != holds("$ne")
    assert holds("$gte") == (holds("$gt") or (holds("$eq") and not isinstance(value[key], bool)))
    assert holds("$lte") == (holds("$lt") or (holds("$eq") and not isinstance(value[key], bool)))
    assert not (holds("$lt") and holds("$gt"))


def test_equal_scalars_narrow_a_search():
    wanted = {"a": 3, "b": {"$eq": "x"}, "c": None, "d": {"$gt": 1}, "e": [1]}
    assert tags_of(wanted) == [[equals_tag("a", 3), WIDE], [equals_tag("b", "x"), WIDE]]
