"""Chat dictionaries: those that hold nothing but a role and text are read and copied on a short way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.chat import CHAT, accept
from pagefault.errors import UnsupportedMessage
from pagefault.messages import canonical
from tests.core.strategies import json_values, texts

ROLES = ["user", "human", "assistant", "ai", "model", "chatbot", "system", "developer", "tool", "function"]
PLAIN = st.fixed_dictionaries({"role": st.sampled_from(ROLES), "content": texts()})


class Loud(str):
    """Text of another type."""

    __slots__ = ()


@given(PLAIN)
def test_plain_messages_are_read_as_others_are(message):
    other = {**message, "name": ""}  # says the same, and is not plain
    assert CHAT.measure([message])[0] == CHAT.measure([other])[0]
    assert CHAT.sketch(message) == CHAT.sketch(other)
    assert CHAT.measure([other, message])[1] is message["content"]
    assert CHAT.measure([]) == ([], None)


@given(PLAIN)
def test_plain_messages_are_copied_as_others_are(message):
    (copy,) = accept(message)
    assert copy is not message
    assert list(copy.items()) == list(canonical.load(canonical.dump(message)[0]).items())


@pytest.mark.parametrize(
    "message",
    [
        {"role": "critic", "content": "x"},
        {"role": 7, "content": "x"},
        {"role": ["user"], "content": "x"},
        {"role": None, "content": "x"},
        {"content": "x"},
        {"content": "x", "name": "ada"},
    ],
)
def test_no_role_is_refused_on_either_way(message):
    for each in (message, {**message, "more": 1}):
        with pytest.raises(UnsupportedMessage, match=r"message 1: role .* is not one of \['ai', 'assistant'"):
            list(accept([{"role": "user", "content": "x"}, each]))
        with pytest.raises(UnsupportedMessage, match="role"):
            CHAT.measure([each])
        with pytest.raises(UnsupportedMessage, match="role"):
            CHAT.sketch(each)


def test_text_of_another_type_is_made_text():
    for message in ({"role": "user", "content": Loud("x")}, {"role": Loud("user"), "content": "x"}):
        (copy,) = accept(message)
        assert [type(value) for value in copy.values()] == [str, str]
        assert CHAT.measure([message]) == CHAT.measure([{"role": "user", "content": "x"}])


def test_a_key_that_is_no_text_is_refused():
    """Two keys that become one, or a key that nobody wrote, would be another message."""
    for content in ({1: "a", "1": "b"}, [{"type": "text", "text": "x", "more": {None: 1}}]):
        with pytest.raises(
            UnsupportedMessage, match=r"message 0 holds the key (1|None), where JSON takes text; .* keys to"
        ):
            list(accept([{"role": "user", "content": content}]))


def test_messages_are_checked_one_at_a_time():
    copies = accept([{"role": "user", "content": "a"}, {"role": "user", "content": object()}])
    assert next(copies) == {"content": "a", "role": "user"}
    with pytest.raises(UnsupportedMessage, match="message 1 holds a value that JSON cannot"):
        next(copies)


@pytest.mark.parametrize(("role", "content"), [("user", None), ("user", 5), ("tool", None)])
def test_content_that_no_provider_takes_is_refused(role, content):
    with pytest.raises(UnsupportedMessage, match=f"message 0 has the content {content}; providers take text"):
        list(accept([{"role": role, "content": content}]))
    assert list(accept([{"role": "assistant", "content": None}])) == [{"role": "assistant", "content": None}]


@pytest.mark.parametrize(
    "moment", ["yesterday", "2020-01-01", True, math.nan, math.inf, 1_700_000_000_000, -(10**12), [1]]
)
def test_a_time_that_is_none_is_refused(moment):
    with pytest.raises(UnsupportedMessage, match="message 0"):
        list(accept({"role": "user", "content": "x", "created_at": moment}))


@pytest.mark.parametrize("moment", [None, 0, 1_000_000_000, 1.5, -86_400.0])
def test_a_message_may_say_when_it_was_said(moment):
    (message,) = accept({"role": "user", "content": "x", "created_at": moment})
    assert message["created_at"] == moment
    assert CHAT.sketch(message).said_at == moment


@given(json_values(5))
def test_a_strange_time_in_what_is_stored_is_no_time(moment):
    said_at = CHAT.sketch({"role": "user", "content": "x", "created_at": moment}).said_at
    assert said_at is None or said_at == moment
