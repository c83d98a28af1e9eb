"""What every framework can say is read from each body, in whichever form, and the rest is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pagefault.chat import CHAT
from pagefault.errors import CannotTranslate
from pagefault.messages import canonical
from pagefault.messages.projection import NATIVE_MARK
from pagefault.messages.spoken import Medium, Spoken, SpokenCall, Thought
from pagefault.page import Kind, Page, Role
from pagefault.recall import RecalledPage
from pagefault.translation import messages_of, speak

CALL = SpokenCall(id="c", name="f", arguments={"x": [1]})
ASKED = Spoken(role=Role.ASSISTANT, parts=("a", "b", CALL), name="n")
ANSWERED = Spoken(role=Role.TOOL, parts=("r",), call_id="c", name="f")
BETWEEN = Spoken(role=Role.ASSISTANT, parts=("a", CALL, "b"))
LC_CALL = {"id": "c", "name": "f", "args": {"x": [1]}}
OPENAI = {"id": "c", "type": "function", "index": 0, "function": {"name": "f", "arguments": '{"x": [1]}'}}
USE = {"type": "tool_use", "id": "c", "name": "f", "input": {}, "partial_json": '{"x": [1]}', "index": 1}
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
        (calling('{"x": [1]}'), Spoken(role=Role.ASSISTANT, parts=(CALL,))),
        (langchain(PARTS, "ai", name="n", tool_calls=[{"id": "c", "name": "f", "args": {"x": [1]}}]), ASKED),
        (langchain("r", "tool", name="f", tool_call_id="c", status="success", artifact=None), ANSWERED),
        (langchain("x", id="m", response_metadata={"a": 1}), Spoken(role=Role.USER, parts=("x",), message_id="m")),
        (llamaindex(block("a"), block("b"), BLOCK, block(""), name="n"), ASKED),
        (llamaindex(block("r"), role="tool", tool_call_id="c", name="f"), ANSWERED),
        (llamaindex(block("a"), block("b"), name="n", tool_calls=[OPENAI]), ASKED),
        (llamaindex(block("a"), block("b"), BLOCK, name="n", tool_calls=[OPENAI]), ASKED),
        (langchain([*PARTS, USE], "ai", name="n", tool_calls=[LC_CALL]), ASKED),
        (langchain(PARTS, "ai", name="n", tool_calls=[LC_CALL], additional_kwargs={"tool_calls": [OPENAI]}), ASKED),
        (langchain(["a", {**LC_CALL, "type": "tool_call"}, "b"], "ai", tool_calls=[LC_CALL]), BETWEEN),
        (llamaindex(block("a"), BLOCK, block("b")), BETWEEN),
    ],
)
def test_what_all_can_say(said: tuple[str, dict[str, Any]], expected: Spoken) -> None:
    assert speak(*said, "page 1") == expected


def test_calls_without_ids_are_no_calls_of_one_id() -> None:
    said = llamaindex({**BLOCK, "tool_call_id": None}, tool_calls=[{"function": {"name": "g", "arguments": "{}"}}])
    assert [(call.id, call.name) for call in speak(*said, "page 1").calls] == [("", "f"), ("", "g")]


def test_a_field_that_nobody_knows_is_refused() -> None:
    for form, said in (llamaindex(block("x")), chat(), langchain()):
        with pytest.raises(CannotTranslate, match="mood"):
            speak(form, said | {"mood": "glad"}, "page 1")


@pytest.mark.parametrize("empty", [None, "", {}, "{}"])
def test_no_arguments(empty: Any) -> None:
    assert speak(*calling(empty), "page 1").calls[0].arguments == {}


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (("other/1", {}), "other/1"),
        (chat(role="developer"), "developer"),
        (chat(role="model"), "model"),
        (chat([{"type": "citation"}]), "citation"),
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
        (langchain(additional_kwargs={"reasoning_content": "hm"}), "thinking of the role user"),
        (langchain("x", "ai", additional_kwargs={"reasoning_content": ["hm"]}), "reasoning_content"),
        (langchain(additional_kwargs=["x"]), "additional_kwargs"),
        (langchain("x", "ai", additional_kwargs={"tool_calls": [OPENAI]}), "not among its tool_calls"),
        (langchain("x", "ai", additional_kwargs={"tool_calls": "f()"}), "no object: 'f()'"),
        (langchain([USE], "ai", tool_calls=[{**LC_CALL, "args": {"x": [True]}}]), "not among its tool_calls"),
        (langchain([USE, USE], "ai", tool_calls=[LC_CALL]), "not among its tool_calls"),
        (langchain("x", "ai", invalid_tool_calls=[{"id": "c"}]), "invalid_tool_calls"),
        (langchain("r", "tool", tool_call_id="c", artifact={"a": 1}), "artifact"),
        (langchain("r", "tool", tool_call_id="c", status="error"), "status"),
        (llamaindex({"block_type": "thinking", "content": "hm"}, role="user"), "thinking of the role user"),
        (llamaindex({"block_type": "cache", "cache_control": {"type": "ephemeral"}}), "cache"),
        (llamaindex({**BLOCK, "tool_kwargs": {}}, tool_calls=[OPENAI]), "two different tool calls of one id"),
        (llamaindex({**BLOCK, "tool_kwargs": {"x": {NATIVE_MARK: "bytes", "value": ""}}}), "not JSON"),
        (llamaindex(block("x"), reasoning="hm"), "additional_kwargs.reasoning"),
    ],
)
def test_the_rest_is_refused_by_name(said: tuple[str, dict[str, Any]], named: str) -> None:
    with pytest.raises(CannotTranslate, match="page 1") as refused:
        speak(*said, "page 1")
    assert named in str(refused.value)
    assert ".text" in str(refused.value)


PNG = base64.b64encode(b"\x89PNG\xfa\xfb").decode()
DATA_URL = f"data:image/png;base64,{PNG}"
LOOKED = Medium(kind="image", data=PNG, mime="image/png")
AT = Medium(kind="image", url="https://x.org/y.png")
CLOSELY = Medium(kind="image", url="https://x.org/y.png", detail="high")
HEARD = Medium(kind="audio", data=PNG, mime="audio/mp3")
READ = Medium(kind="file", data=PNG, mime="application/pdf", title="t.pdf")
HM = Thought(text="hm", extra={"signature": "s="})


def marked(kind: str, value: str) -> dict[str, str]:
    return {NATIVE_MARK: kind, "value": value}


def encoded(data: bytes, kind: str = "bytes") -> dict[str, str]:
    return marked(kind, base64.b64encode(data).decode())


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image", "base64": PNG, "mime_type": "image/png", "id": "lc_1"}, LOOKED),
        ({"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"}, LOOKED),
        ({"type": "image", "source": {"type": "base64", "data": PNG, "media_type": "image/png"}}, LOOKED),
        ({"type": "image_url", "image_url": {"url": DATA_URL}}, LOOKED),
        ({"type": "image", "url": AT.url}, AT),
        ({"type": "image", "source_type": "url", "url": AT.url}, AT),
        ({"type": "image", "source": {"type": "url", "url": AT.url}}, AT),
        ({"type": "image_url", "image_url": AT.url}, AT),
        ({"type": "image_url", "image_url": {"url": AT.url, "detail": "high"}}, CLOSELY),
        ({"type": "image", "url": AT.url, "extras": {"detail": "high"}}, CLOSELY),
        ({"type": "image", "url": "data:,x"}, Medium(kind="image", url="data:,x")),
        ({"type": "image", "url": f"data:;base64,{PNG}", "mime_type": "image/png"}, LOOKED),
        ({"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}}, HEARD),
        ({"type": "audio", "base64": PNG, "mime_type": "audio/mpeg"}, HEARD),
        ({"type": "video", "url": "u", "mime_type": "video/mp4"}, Medium(kind="video", url="u", mime="video/mp4")),
        ({"type": "file", "base64": PNG, "mime_type": "application/pdf", "extras": {"filename": "t.pdf"}}, READ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "t.pdf"}},
            READ,
        ),
        (
            {
                "type": "document",
                "title": "t.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
            },
            READ,
        ),
        ({"type": "reasoning", "reasoning": "hm", "extras": {"signature": "s="}}, HM),
        ({"type": "reasoning", "id": "rs"}, Thought(text="", extra={"id": "rs"})),
        ({"type": "thinking", "thinking": "hm", "signature": "s="}, HM),
        ({"type": "thinking", "thinking": "hm"}, Thought(text="hm", extra={})),
        ({"type": "text", "text": "a", "id": "msg", "index": 3, "annotations": []}, "a"),
    ],
)
def test_parts_in_every_known_form(part: dict[str, Any], expected: Any) -> None:
    assert speak(*langchain([part], "ai"), "page 1").parts == (expected,)


@pytest.mark.parametrize("empty", [{"type": "reasoning"}, {"type": "text", "text": ""}, ""])
def test_empty_parts_say_nothing(empty: Any) -> None:
    assert speak(*langchain([empty], "ai"), "page 1").parts == ()


def test_thinking_beside_the_content_comes_first_and_once() -> None:
    beside = {"reasoning_content": "hm"}
    thought = Thought(text="hm", extra={})
    assert speak(*langchain("x", "ai", additional_kwargs=beside), "page 1").parts == (thought, "x")
    repeated = langchain([{"type": "reasoning", "reasoning": "hm"}, "x"], "ai", additional_kwargs=beside)
    assert speak(*repeated, "page 1").parts == (thought, "x")


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"block_type": "image", "image": encoded(PNG.encode()), "image_mimetype": "image/png"}, LOOKED),
        ({"block_type": "image", "image": encoded(b"\x89PNG\xfa\xfb"), "image_mimetype": "image/png"}, LOOKED),
        ({"block_type": "image", "image": marked("stream", PNG), "image_mimetype": "image/png"}, LOOKED),
        ({"block_type": "image", "url": marked("url", DATA_URL), "image_mimetype": "image/png"}, LOOKED),
        ({"block_type": "image", "url": AT.url, "detail": "high"}, CLOSELY),
        ({"block_type": "audio", "audio": encoded(PNG.encode()), "format": "mp3"}, HEARD),
        ({"block_type": "audio", "url": "u"}, Medium(kind="audio", url="u")),
        ({"block_type": "video", "url": marked("url", "u")}, Medium(kind="video", url="u")),
        (
            {"block_type": "document", "data": encoded(PNG.encode()), "title": "t.pdf"}
            | {"document_mimetype": "application/pdf"},
            READ,
        ),
        (
            {"block_type": "thinking", "content": "hm", "num_tokens": 7, "additional_information": {"signature": "s="}},
            HM,
        ),
        ({**BLOCK, "tool_kwargs": {"x": [1]}}, CALL),
    ],
)
def test_blocks_of_llamaindex(block: dict[str, Any], expected: Any) -> None:
    assert speak(*llamaindex(block), "page 1").parts == (expected,)


def test_marks_that_are_data_are_data() -> None:
    arguments = {"a": [{NATIVE_MARK: "dict", "value": {NATIVE_MARK: "bytes", "value": ""}}]}
    [call] = speak(*llamaindex({**BLOCK, "tool_kwargs": arguments}), "page 1").calls
    assert call.arguments == {"a": [{NATIVE_MARK: "bytes", "value": ""}]}


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "image"}, "neither a URL nor data"),
        ({"type": "image", "file_id": "f"}, "neither a URL nor data"),
        ({"type": "image", "url": "u", "base64": PNG}, "both a URL and data"),
        ({"type": "image", "base64": PNG}, "without a MIME type"),
        ({"type": "image", "base64": PNG[:-1], "mime_type": "image/png"}, "no standard base64"),
        ({"type": "image", "base64": PNG + "\n", "mime_type": "image/png"}, "no standard base64"),
        ({"type": "image", "base64": PNG.replace("/", "_"), "mime_type": "image/png"}, "no standard base64"),
        ({"type": "image", "url": "u", "extras": {"title": "t"}}, "content (image).title"),
        ({"type": "image", "url": "u", "extras": {"url": "v"}}, "url twice"),
        ({"type": "image", "url": "u", "id": "f1"}, "content (image).id"),
        ({"type": "image", "url": DATA_URL, "mime_type": "image/gif"}, "two MIME types"),
        ({"type": "image_url", "image_url": {"url": "u", "format": "png"}}, "image_url.format"),
        ({"type": "image_url", "image_url": 7}, "url = 7"),
        ({"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3", "n": 1}}, "input_audio.n"),
        ({"type": "input_audio", "input_audio": "x"}, "input_audio = 'x'"),
        ({"type": "audio", "url": "u", "mime_type": "video/webm"}, "audio of the MIME type 'video/webm'"),
        ({"type": "file", "url": "u", "filename": "a", "title": "b"}, "both filename and title"),
        ({"type": "document", "source": {"type": "text", "data": PNG, "media_type": "text/plain"}}, "type = 'text'"),
        ({"type": "reasoning", "reasoning": "hm", "id": "a", "extras": {"id": "b"}}, "two ids"),
        ({"type": "reasoning", "reasoning": "hm", "summary": [{}]}, "content (reasoning).summary"),
        ({"type": "redacted_thinking", "data": "x"}, "redacted_thinking"),
        ({"type": "text", "text": "a", "annotations": [{"type": "citation"}]}, "content (text).annotations"),
    ],
)
def test_parts_that_say_more_are_refused(part: dict[str, Any], named: str) -> None:
    with pytest.raises(CannotTranslate, match="page 1") as refused:
        speak(*langchain([part], "ai"), "page 1")
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"block_type": "image", "path": marked("path", "/a.png")}, "the path of a file"),
        ({"block_type": "image", "image": marked("url", "u")}, "image data"),
        ({"block_type": "image", "image": "x"}, "image data"),
        ({"block_type": "image", "url": marked("path", "u")}, "url = "),
        ({"block_type": "video", "url": "u", "fps": 3}, "blocks (video).fps = 3"),
        ({"block_type": "thinking", "additional_information": {"raw": encoded(b"x")}}, "not JSON"),
        ({"block_type": "thinking", "additional_information": {"id": 7}}, "id = 7"),
    ],
)
def test_blocks_that_say_more_are_refused(block: dict[str, Any], named: str) -> None:
    with pytest.raises(CannotTranslate, match="page 1") as refused:
        speak(*llamaindex(block), "page 1")
    assert named in str(refused.value)


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
    assert messages_of(page_of(llamaindex(block("x"))), CHAT, lambda said: {"content": said.parts}) == [
        {"content": ("x",)}
    ]
    with pytest.raises(CannotTranslate, match=r"page c0f3a9e2b71:7, message 1 \(llamaindex/1\)"):
        messages_of(found, CHAT, lambda _: {})
    with pytest.raises(CannotTranslate, match="page 7 holds a value that JSON could not hold"):
        messages_of(page_of(llamaindex(block("x")), opaque=True), CHAT, lambda _: {})
