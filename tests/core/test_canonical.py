"""Canonical JSON: what is written comes back, and equal values are equal texts."""

from __future__ import annotations

import copy
import json
from enum import Enum, IntEnum, StrEnum

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pagefault.messages import canonical
from tests.core.strategies import HOSTILE, MARKERS, few, json_values, texts

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


def exact(part):
    """The value with its types, since Python takes 1, 1.0 and True for equal."""
    if isinstance(part, dict):
        return {k: exact(v) for k, v in part.items()}
    return [exact(v) for v in part] if isinstance(part, list) else (type(part), repr(part))


def tuples(part):
    """The value with a tuple for each list."""
    if isinstance(part, dict):
        return {k: tuples(v) for k, v in part.items()}
    return tuple(tuples(v) for v in part) if isinstance(part, list) else part


@given(json_values())
@example(BROKEN)
@example("\ud83d\ude00")
@example({"": {"": ""}})
@example({"__utf8__": "not hex", "__utf8__:key:__utf8__": {"__utf8__": {"__utf8__": "\ud83d"}}})
@example([2**600, -(2**600), 0.1, -0.0, 1e308])
def test_what_is_written_comes_back(value):
    before = copy.deepcopy(value)
    text, opaque = canonical.dump(value)
    assert text.isascii()
    assert not opaque
    assert exact(canonical.load(text)) == exact(value)
    assert canonical.dump(canonical.load(text)) == (text, False)
    assert exact(value) == exact(before), "the value itself was changed"


@given(st.dictionaries(st.one_of(HOSTILE, MARKERS), st.one_of(HOSTILE, MARKERS)), st.booleans())
@few
def test_text_that_looks_like_our_markers_is_only_text(value, wrapped):
    value = {"__utf8__": value} if wrapped else value
    assert canonical.load(canonical.dump(value)[0]) == value


@given(json_values(), json_values())
@example([1], [True])
@example([1], [1.0])
@example([], {})
@few
def test_different_values_are_different_texts(one, other):
    assert (canonical.dump(one) == canonical.dump(other)) == (exact(one) == exact(other))


@given(st.dictionaries(texts(), json_values(3)))
@few
def test_the_order_of_keys_does_not_matter(value):
    assert canonical.dump(dict(reversed(value.items()))) == canonical.dump(value)


@given(json_values())
@few
def test_tuples_are_lists(value):
    assert canonical.dump(tuples(value)) == canonical.dump(value)
    assert canonical.identity(canonical.dump(tuples(value))[0]) == canonical.identity(canonical.dump(value)[0])


@given(json_values())
@example(BROKEN)
@example(["\ud83d\ude00", {"__utf8__": "\ud83d"}])
def test_identity_survives_a_serialiser_that_loses_surrogates(value):
    lost = lossy(value)
    assume(entries(lost) == entries(value))  # two keys that become one are not the same message
    text = canonical.dump(value)[0]
    assert canonical.identity(canonical.dump(lost)[0]) == canonical.identity(text)
    assert canonical.identity(text, sha256=canonical.sha256(text)) == canonical.identity(text)


@given(json_values(), json_values())
@few
def test_identity_tells_everything_else_apart(one, other):
    assume(exact(lossy(one)) != exact(lossy(other)))
    digests = [canonical.identity(canonical.dump(value)[0]) for value in (one, other)]
    assert digests[0] != digests[1]
    assert all(len(digest) == 32 for digest in digests)


@pytest.mark.parametrize(
    ("value", "same"),
    [
        ((1, (2,)), [1, [2]]),
        ({1: "a"}, {"1": "a"}),
        ({None: 0, True: 1, 2.5: 2}, {"null": 0, "true": 1, "2.5": 2}),
        ({9: "a", 10: "b"}, {"9": "a", "10": "b"}),
        ({"b": 1, 1: 2}, {"b": 1, "1": 2}),
    ],
)
def test_keys_become_what_json_knows(value, same):
    assert canonical.dump(value) == canonical.dump(same)
    assert not canonical.dump(value)[1]


@pytest.mark.parametrize(
    ("value", "lost"),
    [
        ({"a": [{"b": {1: 2}}]}, "the key 1, where JSON takes text"),
        ([{True: 0}], "the key True, where JSON takes text"),
        ({None: 0, "n": 1}, "the key None, where JSON takes text"),
        ({2.5: 0}, "the key 2.5, where JSON takes text"),
        ({1: {2}}, "a value that JSON cannot (set)"),
        ({(1, 2): 0}, "a value that JSON cannot (tuple)"),
        ({10**5000: 0}, "a value that JSON cannot (int)"),
        (b"x", "a value that JSON cannot (bytes)"),
        ({"a": (1, "2"), "b": None}, ""),
    ],
)
def test_what_a_text_would_not_give_back_is_named(value, lost):
    assert canonical.exact(value) == (canonical.dump(value)[0], lost)


@given(json_values())
@few
def test_what_is_json_is_exact(value):
    text, lost = canonical.exact(value)
    assert (canonical.load(text), lost) == (value, "")


def test_no_two_keys_become_one():
    value = {1: "number", "1": "text", "int:1": "also text", 1.5: "half", "1.5": "half as text"}
    text, opaque = canonical.dump([value])
    assert sorted(canonical.load(text)[0].values()) == sorted(value.values())
    assert canonical.load(text)[0]["1"] == "text"
    assert not opaque


def test_keys_that_are_not_json_leave_a_placeholder_that_never_varies():
    value = {"a": [{(1, 2): "x", object(): "y", "b": (3,), 10**5000: "z"}]}
    text, opaque = canonical.dump(value)
    (found,) = json.loads(text)["a"]
    assert found["b"] == [3]
    assert sorted(v for k, v in found.items() if k != "b") == ["x", "y", "z"]
    assert opaque, "a body without its keys is not the whole message"
    assert canonical.dump({"a": [{(9,): "x", object(): "y", "b": [3], 10**5000: "z"}]})[0] == text


class Colour(str, Enum):  # noqa: UP042  # the older form formats differently
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Mood(StrEnum):
    CALM = "calm"


def test_enumerations_read_as_their_values():
    value = {Colour.RED: Colour.RED, Mood.CALM: [Mood.CALM], "n": Level.LOW}
    assert canonical.dump(value) == canonical.dump({"red": "red", "calm": ["calm"], "n": 1})


def test_sha256_is_the_usual_one():
    assert canonical.sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_text_never_changes():
    value = {"role": "user", "content": ["é😀", "\ud83d", 1.0, None], "__utf8__": True}
    assert canonical.dump(value)[0] == (
        '{"__utf8__:key:__utf8__":true,"content":["\\u00e9\\ud83d\\ude00",{"__utf8__":"eda0bd"},1.0,null],"role":"user"}'
    )
