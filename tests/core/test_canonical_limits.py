"""Values that no JSON can hold: refused or replaced at once, whatever their shape."""

from __future__ import annotations

import inspect
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import UnsupportedMessage
from pagefault.messages import canonical
from pagefault.messages.canonical import MAX_DEPTH
from tests.core.strategies import doubled, family, few, json_values, nested

REFUSED = "deeper than 300 levels, refers to itself or holds more than 1000000 lists; flatten"


def ring():
    value = []
    value.append((value, {"again": value}))
    return value


@pytest.mark.parametrize("dicts", [False, True])
@pytest.mark.parametrize("leaf", ["plain", "\ud83d", None])
def test_300_levels_are_written(dicts, leaf):
    value = nested(MAX_DEPTH, into=leaf, dicts=dicts)
    assert canonical.load(canonical.dump([value])[0]) == [value]


@pytest.mark.parametrize("levels", [MAX_DEPTH + 2, MAX_DEPTH + 3, 5_000])
@pytest.mark.parametrize("dicts", [False, True])
def test_deeper_ones_are_refused(levels, dicts):
    with pytest.raises(UnsupportedMessage, match=REFUSED):
        canonical.dump(nested(levels, dicts=dicts))


def test_depth_does_not_lean_on_the_callers_stack():
    value = nested(MAX_DEPTH, into={"\ud83d": 1, 2: "\ude00"})
    limit = sys.getrecursionlimit()
    depth = len(inspect.stack())
    try:
        sys.setrecursionlimit(depth + MAX_DEPTH + 100)  # json itself needs one for each level
        text, _ = canonical.dump(value)
        assert canonical.load(text) == nested(MAX_DEPTH, into={"\ud83d": 1, "2": "\ude00"})
        assert len(canonical.identity(text)) == 32
        canonical.prune(nested(5_000))
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("value", [ring(), family(), doubled(40), doubled(290), doubled(5_000)], ids=lambda _: "")
def test_endless_values_are_refused_and_pruned_at_once(value):
    assert not canonical.is_writable(value)
    with pytest.raises(UnsupportedMessage, match=REFUSED):
        canonical.dump(value)
    text, opaque = canonical.dump([canonical.prune(value)])
    assert not opaque
    assert '"__opaque__"' in text
    assert len(text) < 1_000_000


def test_sharing_as_such_is_fine():
    part = {"k": ["\ud83d"]}
    assert canonical.load(canonical.dump([part, part, (part,)])[0]) == [part, part, [part]]
    assert canonical.is_writable(doubled(10))


def test_what_refers_to_itself_keeps_everything_else():
    assert canonical.prune(family()) == {
        "name": "p",
        "children": [
            {"name": "a", "parent": {"__opaque__": "dict, refers to itself"}},
            {"name": "b", "parent": {"__opaque__": "dict, refers to itself"}},
        ],
    }


@pytest.mark.parametrize("odd", [list, object])
def test_more_placeholders_than_may_be_written_are_text(monkeypatch, odd):
    monkeypatch.setattr(canonical, "MAX_CONTAINERS", 100)
    monkeypatch.setattr(canonical, "KEPT_CONTAINERS", 10)
    pruned = canonical.prune([odd() for _ in range(200)])
    assert canonical.is_writable(pruned)
    assert {type(each) for each in pruned} >= {dict, str}
    assert pruned[-1].startswith(f"__opaque__: {odd.__name__}")


def test_what_is_outside_is_kept_first():
    message = {"artifact": doubled(40), "content": [{"type": "text", "text": "keep me"}]}
    assert canonical.prune(message)["content"] == message["content"]


@given(json_values())
@few
def test_a_value_that_can_be_written_is_not_pruned(value):
    assert canonical.prune(value) == value


@pytest.mark.parametrize("value", [nested(5_000), {"a": nested(1_000)}, (nested(400), "x")], ids=lambda _: "")
def test_a_pruned_value_can_be_written_inside_a_page(value):
    text, _ = canonical.dump([canonical.prune(value)])
    assert "nested too deep" in text


@pytest.mark.parametrize(
    "odd", [object(), b"bytes", Decimal("1.5"), {1, 2}, 1j, 10**5000, range(3)], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize("beside", ["x", "\ud83d", {1: 2}])
def test_what_json_cannot_hold_leaves_a_placeholder(odd, beside):
    text, opaque = canonical.dump({"a": odd, "b": beside})
    assert opaque
    assert canonical.load(text)["a"] == {"__opaque__": type(odd).__name__}
    assert text == canonical.dump({"b": beside, "a": odd})[0]


ODD_KEYS = st.one_of(st.text(max_size=3), st.integers(), st.tuples(st.integers()), st.none(), st.floats())
ODD_LEAVES = st.one_of(st.just(object()), st.binary(max_size=3), st.integers())


@given(st.recursive(ODD_LEAVES, lambda v: st.lists(v) | st.dictionaries(ODD_KEYS, v)))
@few
def test_anything_at_all_can_be_written_and_read(value):
    text, _ = canonical.dump(value)
    assert canonical.dump(canonical.load(text))[0] == text
    assert len(canonical.identity(text)) == 32


class _Failing(dict):
    """Its own code raises, whatever is asked of it."""

    def _fails(self, *_: object) -> Any:
        raise RuntimeError("no")

    __iter__ = __len__ = __repr__ = __getitem__ = items = keys = values = _fails


def test_nothing_of_what_is_pruned_is_asked():
    class Odd:
        __repr__ = _Failing._fails

    class Mute(str):
        __slots__ = ()
        __str__ = _Failing._fails

    pruned = canonical.prune({"plain": [1, None, Mute("text")], "odd": Odd(), "held": [_Failing({"a": Odd()})]})
    assert pruned == {"plain": [1, None, "text"], "odd": {"__opaque__": "Odd"}, "held": [{"a": {"__opaque__": "Odd"}}]}
    assert type(pruned["plain"][2]) is str
