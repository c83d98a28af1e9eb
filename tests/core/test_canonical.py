"""Canonical JSON: what is written comes back, and equal values are equal texts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pagefault import canonical
from pagefault.errors import UnsupportedMessage

markers = st.sampled_from(["__utf8__", "__utf8__:x", "__utf8__:hex:", "__utf8__:key:a"])
any_text = st.text() | st.text(st.characters(categories=["Cs", "L"])) | markers
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text
values = st.recursive(leaves, lambda v: st.lists(v) | st.dictionaries(any_text, v), max_leaves=20)


BROKEN = [{"\ud83d": ["\ud83d", 1, {"__utf8__": "00"}], "__utf8__:hex:": "x", "plain": None}]


def lossy(part):
    """What a serialiser leaves that cannot write surrogates."""
    if isinstance(part, str):
        return part.encode("utf-8", "replace").decode("utf-8")
    if isinstance(part, dict):
        return {lossy(k): lossy(v) for k, v in part.items()}
    return [lossy(v) for v in part] if isinstance(part, list) else part


def entries(part):
    """How many dictionary entries there are, all levels together."""
    if isinstance(part, dict):
        return len(part) + sum(entries(v) for v in part.values())
    return sum(entries(v) for v in part) if isinstance(part, list) else 0


def nested(depth):
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@given(values)
@example(BROKEN)
def test_what_is_written_comes_back(value):
    text, opaque = canonical.dump(value)
    assert text.isascii()
    assert not opaque
    assert canonical.load(text) == value
    assert canonical.dump(canonical.load(text)) == (text, False)


@given(st.dictionaries(any_text, leaves))
def test_the_order_of_keys_does_not_matter(value):
    assert canonical.dump(dict(reversed(value.items()))) == canonical.dump(value)


@given(values)
@example(BROKEN)
def test_identity_survives_a_serialiser_that_loses_surrogates(value):
    lost = lossy(value)
    assume(entries(lost) == entries(value))  # two keys that become one are not the same message
    assert canonical.identity(canonical.dump(lost)[0]) == canonical.identity(canonical.dump(value)[0])


@pytest.mark.parametrize(("value", "same"), [((1, (2,)), [1, [2]]), ({1: "a"}, {"1": "a"}), ({None: 0}, {"null": 0})])
def test_tuples_and_keys_become_what_json_knows(value, same):
    assert canonical.dump(value) == canonical.dump(same)


def test_keys_that_do_not_sort_or_are_not_json_become_text():
    text, _ = canonical.dump({"a": [{(1, 2): "x", "b": (3,)}]})
    assert json.loads(text) == {"a": [{"tuple:(1, 2)": "x", "b": [3]}]}


@pytest.mark.parametrize("odd", [object(), b"bytes", Decimal("1.5"), {1, 2}])
def test_what_json_cannot_hold_leaves_a_placeholder(odd):
    assert canonical.dump({"a": odd}) == (f'{{"a":{{"__opaque__":"{type(odd).__name__}"}}}}', True)


def test_depth_has_a_limit_and_so_have_cycles():
    assert canonical.load(canonical.dump(nested(canonical.MAX_DEPTH))[0]) == nested(canonical.MAX_DEPTH)
    with pytest.raises(UnsupportedMessage, match="flatten"):
        canonical.dump(nested(canonical.MAX_DEPTH + 2))
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    with pytest.raises(UnsupportedMessage, match="refers to itself"):
        canonical.dump(cycle)


@pytest.mark.parametrize("value", [nested(5_000), {"a": nested(1_000)}, (nested(400), "x")])
def test_a_pruned_value_can_be_written(value):
    text, _ = canonical.dump(canonical.prune(value))
    assert "nested too deep" in text


def test_sha256_is_the_usual_one():
    assert canonical.sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
