"""The neutral reading of messages, whatever wrote them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import UnsupportedMessage
from pagefault.messages.equal import differing
from pagefault.messages.projection import MEDIA_TYPES, compact, is_recalled, project, read_content
from pagefault.page import Call, Role
from tests.core.strategies import doubled, few, json_values, nested, texts

CHAT_ROLES = {
    "user": Role.USER, "human": Role.USER, "assistant": Role.ASSISTANT, "ai": Role.ASSISTANT, "model": Role.ASSISTANT,
    "chatbot": Role.ASSISTANT,
    "system": Role.SYSTEM, "developer": Role.SYSTEM, "tool": Role.TOOL, "function": Role.TOOL,
}  # fmt: skip
LANGCHAIN_TYPES = {
    "human": Role.USER, "ai": Role.ASSISTANT, "system": Role.SYSTEM, "tool": Role.TOOL, "function": Role.TOOL,
    "HumanMessageChunk": Role.USER, "AIMessageChunk": Role.ASSISTANT, "SystemMessageChunk": Role.SYSTEM,
    "ToolMessageChunk": Role.TOOL,
}  # fmt: skip


def chat(content=None, role="user", **more):
    return project("chat/1", {"role": role, "content": content, **more})


def langchain(content=None, type_="human", **more):
    return project("langchain/1", {"type": type_, "content": content, **more})


def llamaindex(*blocks, role="user", **extra):
    return project("llamaindex/1", {"role": role, "blocks": list(blocks), "additional_kwargs": extra})


BOTH = pytest.mark.parametrize("read", [chat, langchain])


@pytest.mark.parametrize(("role", "expected"), CHAT_ROLES.items())
def test_every_role_of_chat(role, expected):
    assert chat("x", role=role).role is expected
    assert langchain("x", type_="chat", role=role).role is expected


@pytest.mark.parametrize(("type_", "expected"), LANGCHAIN_TYPES.items())
def test_every_type_of_langchain(type_, expected):
    assert langchain("x", type_=type_).role is expected


@pytest.mark.parametrize("role", [None, "critic", 7, ["user"], "", "USER"])
def test_an_unknown_role_is_refused_by_name(role):
    asked = [({"role": role}, "chat/1")]
    if role not in ("critic", "USER"):  # LangChain's own message for speakers of any name
        asked.append(({"type": "chat", "role": role}, "langchain/1"))
    for data, format_ in asked:
        with pytest.raises(UnsupportedMessage) as caught:
            project(format_, data)
        assert repr(role) in str(caught.value)
        assert "'assistant'" in str(caught.value)


def test_an_unknown_format_is_refused():
    with pytest.raises(
        UnsupportedMessage, match=r"'pickle/1' is not one of \['chat/1', 'langchain/1', 'llamaindex/1'\]"
    ):
        project("pickle/1", {})


DOCUMENT = '{"type":"document","source":{"type":"text","data":"a"}}'
CONTENTS = [
    ("plain", ("plain",), 0),
    ("", ("",), 0),
    (None, (), 0),
    ([], (), 0),
    (["a", "b"], ("a", "b"), 0),
    ([{"type": "text", "text": "a"}, "b"], ("a", "b"), 0),
    ([{"type": "thinking", "thinking": "hm"}, {"type": "reasoning", "reasoning": "so"}], ("hm", "so"), 0),
    ([{"type": "refusal", "refusal": "no"}], ("no",), 0),
    ([{"type": "text", "text": None, "n": 1}], ('{"type":"text","text":null,"n":1}',), 0),
    ([{"type": "image_url", "image_url": {"url": "data:..."}}, {"type": "text", "text": "a"}], ("", "a"), 1),
    ([{"type": "unheard of", "x": ["é"]}], ('{"type":"unheard of","x":["é"]}',), 0),
    ([{"type": ["image"]}], ('{"type":["image"]}',), 0),
    ([7, None, ["x"]], ("7", "null", '["x"]'), 0),
    ({"type": "text", "text": "alone"}, ("alone",), 0),
    (3.5, ("3.5",), 0),
    ([{"type": "document", "source": {"type": "base64", "data": "JVBE"}, "title": "a"}, "b"], ("", "b"), 1),
    ([{"type": "document", "source": {"type": "text", "data": "a"}}], (DOCUMENT,), 0),
    ([{"type": "document", "source": "a"}], ('{"type":"document","source":"a"}',), 0),
    ([{"image": {"format": "png", "source": {"bytes": b"a"}}}], ("",), 1),
    ([{"image": "a"}], ('{"image":"a"}',), 0),
    ([{"type": "non_standard", "value": {"type": "image", "data": "a"}}], ("",), 1),
    ([{"type": "non_standard", "value": "a"}], ('{"type":"non_standard","value":"a"}',), 0),
    (
        [{"type": "tool_result", "content": [{"type": "image", "data": "x" * 1000}, "b"]}],
        ('{"type":"tool_result","content":[{"type":"image"},"b"]}',),
        1,
    ),
]


@BOTH
@pytest.mark.parametrize(("content", "parts", "media"), CONTENTS)
def test_content_of_every_shape(read, content, parts, media):
    found = read(content)
    assert (found.parts, found.media) == (parts, media) == read_content(content)
    assert found.text == "\n".join(p for p in parts if p)


@pytest.mark.parametrize("type_", sorted(MEDIA_TYPES))
def test_media_are_counted_not_read(type_):
    found = chat([{"type": type_, "text": "not text", "data": "x" * 1000}, "seen"])
    assert (found.media, found.parts, found.text) == (1, ("", "seen"), "seen")


def test_media_are_looked_for_only_so_deep():
    part = {"type": "image"}
    for _ in range(40):
        part = {"in": part}
    assert read_content([part]) == ((compact(part),), 0)


@pytest.mark.parametrize(("name", "role"), [("control", Role.SYSTEM), ("critic", Role.USER), ("USER", Role.USER)])
def test_a_speaker_of_any_name(name, role):
    assert langchain("hm", type_="chat", role=name).role is role


def test_tool_calls_of_both_shapes():
    nested_call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    flat_calls = [{"id": 2, "name": "g", "args": {"b": "é"}}, {"name": "h", "arguments": [1]}, {}]
    assert chat(None, role="assistant", tool_calls=[nested_call, *flat_calls]).calls == (
        Call(id="1", name="f", arguments='{"a": 1}'),
        Call(id="2", name="g", arguments='{"b":"é"}'),
        Call(id="", name="h", arguments="[1]"),
        Call(id="", name="", arguments=""),
    )


def test_tool_calls_of_langchain_valid_and_not():
    found = langchain(
        "",
        type_="ai",
        tool_calls=[{"id": "1", "name": "f", "args": {"a": 1}}, {"id": None, "name": None, "args": None}],
        invalid_tool_calls=[{"id": "2", "name": "g", "args": '{"broken', "error": "..."}, {}],
    )
    assert found.calls == (
        Call(id="1", name="f", arguments='{"a":1}'),
        Call(id="", name="", arguments="{}"),
        Call(id="2", name="g", arguments='{"broken'),
        Call(id="", name="", arguments=""),
    )


def test_what_providers_hide_beside_the_content_is_read():
    extra = {"reasoning_content": "because", "function_call": {"name": "old", "arguments": "{}"}}
    found = langchain("so", type_="ai", additional_kwargs=extra)
    assert found.parts == ("so", "because")
    assert found.calls == (Call(id="", name="old", arguments="{}"),)
    new = langchain("", type_="ai", additional_kwargs=extra, tool_calls=[{"id": "1", "name": "f", "args": {}}])
    assert [c.name for c in new.calls] == ["f"], "the old form of the same call is not another call"
    odd = langchain("so", type_="ai", additional_kwargs={"reasoning_content": 1, "function_call": "?"})
    assert (odd.parts, odd.calls) == (("so",), ())
    assert langchain("so", type_="ai", additional_kwargs={"function_call": {}}).calls == (
        Call(id="", name="", arguments=""),
    )


@BOTH
@pytest.mark.parametrize("bad", ["f()", 5, {"id": "1"}, ["f"], [None]])
def test_tool_calls_that_are_none_are_refused(read, bad):
    with pytest.raises(UnsupportedMessage, match="tool_calls is a list of dictionaries"):
        read("", tool_calls=bad)


@BOTH
def test_names_and_ids(read):
    found = read("x", name="Ada", id="m1", tool_call_id="c1")
    assert (found.name, found.message_id, found.call_id) == ("Ada", "m1", "c1")
    found = read("x", name=None, id=None, tool_call_id=None, tool_calls=None)
    assert (found.name, found.message_id, found.call_id, found.calls) == ("", "", "", ())


@BOTH
def test_a_recalled_copy_is_known_by_its_mark(read):
    assert read("x", artifact={"pagefault.recalled": ["12"]}).recalled
    assert not read("x", artifact={"other": 1}).recalled
    assert not read("x", artifact=None).recalled
    assert not is_recalled("pagefault.recalled")


@BOTH
@given(content=json_values(), name=texts(), artifact=json_values(3))
@few
def test_any_content_can_be_read(read, content, name, artifact):
    found = read(content, name=name, artifact=artifact)
    assert found.name == name
    assert all(isinstance(part, str) for part in found.parts)
    assert 0 <= found.media <= len(found.parts)


@given(st.one_of(json_values(5), st.dictionaries(st.tuples(st.integers()), st.integers(), min_size=1), st.binary()))
@few
def test_anything_becomes_compact_text(value):
    assert isinstance(compact(value), str)


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_two_lists_differ_in_what_lies_between_their_common_ends(ones, others):
    mine, theirs = differing(ones, others)
    for whole, part in ((ones, mine), (others, theirs)):
        assert any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))
    assert len(ones) - len(mine) == len(others) - len(theirs)
    if mine and theirs:
        assert mine[0] is not theirs[0]
        assert mine[-1] is not theirs[-1]


def test_compact_text_of_what_is_not_json():
    ring: dict[str, Any] = {"a": 1}
    ring["self"] = ring
    assert compact(ring) == '{"a":1,"self":{"__opaque__":"dict, refers to itself"}}'
    assert "nested too deep" in compact(nested(2_000))
    assert compact({(1, 2): "é"}) == '{"__opaque__:tuple:0":"\\u00e9"}'
    assert compact([10**5000]) == '[{"__opaque__":"int"}]'
    assert compact({"b": 1, "a": "é"}) == '{"b":1,"a":"é"}'


def test_a_part_without_an_end_is_read_at_once():
    (text,), media = read_content([{"type": "tree", "value": doubled(26)}])  # a minute, where each list is looked at
    assert media == 0
    assert "too large" in text


TEXT = {"block_type": "text", "text": "seen"}
IMAGE = {"block_type": "image", "url": "http://x/y.png"}
BLOCKS = [
    (TEXT, "seen", 0),
    ({"block_type": "thinking", "content": "hm"}, "hm", 0),
    ({"block_type": "thinking"}, "", 0),
    ({"block_type": "cache", "cache_control": {"type": "ephemeral"}}, "", 0),
    *(({"block_type": kind, "text": "not text"}, "", 1) for kind in ("image", "audio", "video", "document")),
    ({"block_type": "citable", "title": "t", "source": "s", "content": [TEXT, IMAGE, TEXT]}, "seen\nseen", 1),
    ({"block_type": "citation", "title": "t", "source": "s", "cited_content": TEXT}, "seen", 0),
    ({"block_type": "citation", "title": "t", "source": "s", "cited_content": IMAGE}, "", 1),
]


@pytest.mark.parametrize(("block", "text", "media"), BLOCKS)
def test_every_block_of_llamaindex(block, text, media):
    found = llamaindex(block, TEXT)
    assert (found.parts, found.media) == ((text, "seen"), media)


def test_tool_calls_of_llamaindex_in_blocks_and_beside_them():
    call = {"block_type": "tool_call", "tool_call_id": "1", "tool_name": "f", "tool_kwargs": {"a": "é"}}
    nameless = {"block_type": "tool_call", "tool_name": "g", "tool_kwargs": '{"b": 1}'}
    same = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
    other = {"id": "2", "type": "tool_use", "name": "h", "input": {"c": 1}}
    found = llamaindex(TEXT, call, nameless, role="assistant", tool_calls=[same, other, "?"], reasoning_content="so")
    assert found.calls == (
        Call(id="1", name="f", arguments='{"a":"é"}'),
        Call(id="", name="g", arguments='{"b": 1}'),
        Call(id="2", name="h", arguments='{"c":1}'),
    )
    assert found.parts == ("seen", "", "", "so")
    assert found.call_id == ""
    assert llamaindex(TEXT, role="assistant", tool_calls=5).calls == ()


def test_tool_results_of_llamaindex():
    assert llamaindex(TEXT, role="tool", tool_call_id="1", name="f").call_id == "1"
    assert llamaindex(TEXT, role="tool", name="f").call_id == "f"
    assert llamaindex(TEXT, role="assistant", tool_call_id="1").call_id == ""
    assert not llamaindex(TEXT, role="tool").recalled
    quote = {**TEXT, "pagefault.recalled": True}
    assert llamaindex(quote, role="tool").recalled
    assert not llamaindex(quote).recalled
    assert llamaindex(TEXT, role="chatbot").role is Role.ASSISTANT


@pytest.mark.parametrize("format_", ["langchain/1", "llamaindex/1"])
def test_additional_kwargs_that_are_no_dictionary_say_nothing(format_):
    """A message may have been built without checks; what could not be read was never stored, nor what followed it."""
    data = {"type": "human", "role": "user", "content": "x", "blocks": [], "additional_kwargs": ["reasoning_content"]}
    assert project(format_, data).role == "user"
