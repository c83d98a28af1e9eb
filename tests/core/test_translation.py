"""What every framework can say is read from each body, and the rest is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pagefault import canonical
from pagefault.chat import CHAT
from pagefault.errors import CannotTranslate
from pagefault.messages import NATIVE_MARK
from pagefault.page import Kind, Page, Role
from pagefault.recall import RecalledPage
from pagefault.translation import Spoken, SpokenCall, messages_of, speak

CALL = SpokenCall(id="c", name="f", arguments={"x": [1]})
ASKED = Spoken(role=Role.ASSISTANT, texts=("a", "b"), calls=(CALL,), name="n")
ANSWERED = Spoken(role=Role.TOOL, texts=("r",), call_id="c", name="f")
PARTS = [{"type": "text", "text": "a"}, "b", {"type": "text", "text": ""}]
BLOCK = {"block_type": "tool_call", "tool_call_id": "c", "tool_name": "f", "tool_kwargs": {"x": [1]}}


def block(text: str) -> dict[str, str]:
    return {"block_type": "text", "text": text}


def llamaindex(*blocks: Any, role: str = "assistant", **extra: Any) -> tuple[str, dict[str, Any]]:
    return "llamaindex/1", {"role": role, "blocks": list(blocks), "additional_kwargs": extra}


def chat(content: Any = "x", role: str = "user", **more: Any) -> tuple[str, dict[str, Any]]:
    return "chat/1", {"role": role, "content": content, **more}


def langchain(content: Any = "x", type_: str = "human", **more: Any) -> tuple[str, dict[str, Any]]:
    return "langchain/1", {"type": type_, "content": content, **more}


def calling(arguments: Any) -> tuple[str, dict[str, Any]]:
    return chat(None, "assistant", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": arguments}}])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (chat(PARTS, "assistant", name="n", tool_calls=[{"id": "c", "name": "f", "args": {"x": [1]}}]), ASKED),
        (chat("r", "tool", tool_call_id="c", name="f"), ANSWERED),
        (calling('{"x": [1]}'), Spoken(role=Role.ASSISTANT, texts=(), calls=(CALL,))),
        (langchain(PARTS, "ai", name="n", tool_calls=[{"id": "c", "name": "f", "args": {"x": [1]}}]), ASKED),
        (langchain("r", "tool", name="f", tool_call_id="c", status="success", artifact=None), ANSWERED),
        (langchain("x", id="m", response_metadata={"a": 1}), Spoken(role=Role.USER, texts=("x",), message_id="m")),
        (llamaindex(block("a"), block("b"), BLOCK, block(""), name="n"), ASKED),
        (llamaindex(block("r"), role="tool", tool_call_id="c", name="f"), ANSWERED),
    ],
)
def test_what_all_can_say(said: tuple[str, dict[str, Any]], expected: Spoken) -> None:
    assert speak(*said, "page 1") == expected


@pytest.mark.parametrize("empty", [None, "", {}, "{}"])
def test_no_arguments(empty: Any) -> None:
    assert speak(*calling(empty), "page 1").calls[0].arguments == {}


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (("other/1", {}), "other/1"),
        (chat(role="developer"), "developer"),
        (chat(role="model"), "model"),
        (chat([{"type": "image_url", "image_url": {"url": "x"}}]), "image_url"),
        (chat([7]), "int"),
        (chat([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]), "cache_control"),
        (chat(audio=0), "audio = 0"),
        (chat(name=["n"]), "name"),
        (chat(role="tool"), "without a call id"),
        (chat(tool_call_id="c"), "without a tool result"),
        (chat(tool_calls=[{"id": "c", "name": "f"}]), "tool calls of the role user"),
        (chat(None, "assistant", tool_calls=[{"id": "c", "name": "f", "extras": {"a": 1}}]), "tool_calls.extras"),
        (calling("{"), "no JSON"),
        (calling('{"a": 1, "a": 2}'), "no JSON"),
        (calling("[1]"), "no JSON object"),
        (langchain(type_="AIMessageChunk"), "AIMessageChunk"),
        (langchain(additional_kwargs={"reasoning_content": "hm"}), "reasoning_content"),
        (langchain("x", "ai", invalid_tool_calls=[{"id": "c"}]), "invalid_tool_calls"),
        (langchain("r", "tool", tool_call_id="c", artifact={"a": 1}), "artifact"),
        (langchain("r", "tool", tool_call_id="c", status="error"), "status"),
        (llamaindex({"block_type": "thinking", "content": "hm"}), "thinking"),
        (llamaindex(BLOCK, block("x")), "text after a tool call"),
        (llamaindex({**BLOCK, "tool_kwargs": {"x": {NATIVE_MARK: "bytes", "value": ""}}}), "not JSON"),
        (llamaindex(block("x"), reasoning="hm"), "additional_kwargs.reasoning"),
    ],
)
def test_the_rest_is_refused_by_name(said: tuple[str, dict[str, Any]], named: str) -> None:
    with pytest.raises(CannotTranslate, match="page 1") as refused:
        speak(*said, "page 1")
    assert named in str(refused.value)
    assert ".text" in str(refused.value)


def page_of(said: tuple[str, dict[str, Any]], *, opaque: bool = False) -> Page:
    format_, data = said
    body, _ = canonical.dump([data])
    return Page(
        seq=7, chain="", parent="", kind=Kind.MESSAGE, format=format_, body=body, sha256=canonical.sha256(body),
        messages=(), tokens=1, gist="", created_at=0.0, opaque=opaque,
    )  # fmt: skip


def test_a_page_of_ones_own_is_decoded_and_another_is_built() -> None:
    odd = chat("x", "developer", audio={"id": "a"})
    found = RecalledPage(
        address="c0f3a9e2b71:7", page=page_of(llamaindex(block("x"), role="developer")), score=1.0, message_ids=(),
        trust="user", resident=False, superseded_by=None,
    )  # fmt: skip
    assert messages_of(page_of(odd), CHAT, lambda _: {}) == [odd[1]]
    assert messages_of(page_of(llamaindex(block("x"))), CHAT, lambda said: {"content": said.texts}) == [
        {"content": ("x",)}
    ]
    with pytest.raises(CannotTranslate, match=r"page c0f3a9e2b71:7, message 1 \(llamaindex/1\)"):
        messages_of(found, CHAT, lambda _: {})
    with pytest.raises(CannotTranslate, match="page 7 holds a value that JSON could not hold"):
        messages_of(page_of(llamaindex(block("x")), opaque=True), CHAT, lambda _: {})
