"""The neutral reading of native messages: one Projection per message, from plain data.

Works on the JSON-like data that codecs write, never on a framework's classes, so that a body
written by one framework can be read where the other one is not installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pagefault.errors import UnsupportedMessage
from pagefault.messages import canonical
from pagefault.messages.as_text import own_words
from pagefault.page import Call, Projection, Role

MEDIA_TYPES: Final = frozenset(
    [
        *("image", "image_url", "input_image", "audio", "input_audio", "video", "video_url", "input_video"),
        *("file", "input_file", "media", "image_generation_call"),
    ]
)
RECALL_MARK: Final = "pagefault.recalled"
NATIVE_MARK: Final = "__pagefault__"
"""In a LlamaIndex body: a value that JSON does not know stands here."""

_BARE_MEDIA: Final = ("image", "document", "video")
"""Amazon's parts have no type: ``{"image": {"format": "png", "source": {"bytes": ...}}}``."""
_NESTED: Final = 32
"""How deep media are looked for inside a part that holds something else."""
_MEDIA_BLOCKS: Final = frozenset(["image", "audio", "video", "document"])
_HIDDEN_KEYS: Final = ("reasoning_content", "reasoning", "thinking")
_TEXT_KEYS: Final = ("text", "thinking", "reasoning", "refusal")
_LANGCHAIN_ROLES: Final = {
    "human": Role.USER,
    "ai": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "tool": Role.TOOL,
    "function": Role.TOOL,
    "HumanMessageChunk": Role.USER,
    "AIMessageChunk": Role.ASSISTANT,
    "SystemMessageChunk": Role.SYSTEM,
    "ToolMessageChunk": Role.TOOL,
}
_CHAT_ROLES: Final = {
    "user": Role.USER,
    "human": Role.USER,
    "assistant": Role.ASSISTANT,
    "ai": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    "chatbot": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}


def project(format_: str, data: Mapping[str, Any]) -> Projection:
    """The neutral reading of one encoded message.

    Args:
        format_: The body tag, ``langchain/1``, ``llamaindex/1`` or ``chat/1``.
        data: What the format's codec wrote for the message.

    Raises:
        UnsupportedMessage: An unknown format or role.

    Example:
        >>> project("chat/1", {"role": "user", "content": "hi"}).text
        'hi'
    """
    reader = _READERS.get(format_)
    if reader is None:
        raise UnsupportedMessage(f"format {format_!r} is not one of {sorted(_READERS)}")
    return reader(data)


def read_content(content: object) -> tuple[tuple[str, ...], int]:
    """The text of each part of a message's content, and how many parts are media."""
    if content is None:
        return (), 0
    if isinstance(content, str):
        return (content,), 0
    read = [_read_part(part) for part in (content if isinstance(content, Sequence) else [content])]
    return tuple(text for text, _ in read), sum(media for _, media in read)


def is_media(part: Mapping[Any, Any]) -> bool:
    """Whether a part of a content is an image, a sound, a film or a file, however its provider writes it.

    Example:
        >>> is_media({"type": "document", "source": {"type": "base64", "data": "JVBERi0="}})
        True
    """
    kind = part.get("type")
    if kind is None:
        return any(isinstance(inner := part.get(name), Mapping) and "source" in inner for name in _BARE_MEDIA)
    if kind == "document":  # Anthropic's, which may be plain text as well
        source = part.get("source")
        return isinstance(source, Mapping) and source.get("type") in {"base64", "url", "file"}
    if kind == "non_standard":
        return isinstance(value := part.get("value"), Mapping) and is_media(value)
    return isinstance(kind, str) and kind in MEDIA_TYPES


def replace_parts(content: object, texts: Sequence[str | None]) -> Any:
    """Content with the text of some parts replaced, in the order of ``read_content``; ``None`` keeps a part."""
    if isinstance(content, str):
        return content if texts[0] is None else texts[0]
    parts = content if isinstance(content, Sequence) else [content]
    return [part if text is None else _with_text(part, text) for part, text in zip(parts, texts, strict=True)]


def _with_text(part: object, text: str) -> Any:
    if isinstance(part, str):
        return text
    if isinstance(part, Mapping):
        for key in _TEXT_KEYS:
            if isinstance(part.get(key), str):
                return {**part, key: text}
    return {"type": "text", "text": text}


def _read_part(part: object) -> tuple[str, int]:
    """Text of a part, and how many media it is or holds."""
    if isinstance(part, str):
        return part, 0
    if isinstance(part, Mapping):
        if is_media(part):
            return "", 1
        for key in _TEXT_KEYS:
            if isinstance(part.get(key), str):
                return str(part[key]), 0
    whole = part if canonical.is_writable(part) else canonical.prune(part)  # first: the next line looks at all there is
    left, media = _without_media(whole, _NESTED)
    return compact(left), media


def _without_media(value: object, depth: int) -> tuple[Any, int]:
    """A value whose media are left out, such as a tool's result with an image in it, and how many those are."""
    if isinstance(value, Mapping):
        if is_media(value):
            return {"type": value.get("type")}, 1
        if depth:
            inner = {key: _without_media(each, depth - 1) for key, each in value.items()}
            return {key: left for key, (left, _) in inner.items()}, sum(media for _, media in inner.values())
    elif isinstance(value, list | tuple) and depth:
        read = [_without_media(each, depth - 1) for each in value]
        return [left for left, _ in read], sum(media for _, media in read)
    return value, 0


def compact(value: object) -> str:
    """JSON as a model sees it: no needless blanks, non-Latin text unescaped."""
    if not canonical.is_writable(value):
        value = canonical.prune(value)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except (TypeError, ValueError):  # keys that JSON does not know, or a number too long to write
        return canonical.dump(value)[0]


def _read_langchain(data: Mapping[str, Any]) -> Projection:
    kind = str(data.get("type"))
    role = _LANGCHAIN_ROLES.get(kind) or _named_role(data.get("role"))
    parts, media = read_content(data.get("content"))
    extra = found if isinstance(found := data.get("additional_kwargs"), Mapping) else {}
    hidden = [thought] if isinstance(thought := extra.get("reasoning_content"), str) else []
    calls = [
        Call(id=str(c.get("id") or ""), name=str(c.get("name") or ""), arguments=compact(c.get("args") or {}))
        for c in _mappings(data, "tool_calls")
    ]
    calls += [
        Call(id=str(c.get("id") or ""), name=str(c.get("name") or ""), arguments=str(c.get("args") or ""))
        for c in _mappings(data, "invalid_tool_calls")
    ]
    if not calls and isinstance(extra.get("function_call"), Mapping):
        legacy = extra["function_call"]
        calls.append(Call(id="", name=str(legacy.get("name") or ""), arguments=str(legacy.get("arguments") or "")))
    return _projection(data, role, (*parts, *hidden), media, tuple(calls), str(data.get("tool_call_id") or ""))


def _read_chat(data: Mapping[str, Any]) -> Projection:
    parts, media = read_content(data.get("content"))
    calls = tuple(_chat_call(call) for call in _mappings(data, "tool_calls"))
    return _projection(data, chat_role(data.get("role")), parts, media, calls, str(data.get("tool_call_id") or ""))


def _read_llamaindex(data: Mapping[str, Any]) -> Projection:
    role = chat_role(data.get("role"))
    extra: Mapping[str, Any] = found if isinstance(found := data.get("additional_kwargs"), Mapping) else {}
    blocks = _mappings(data, "blocks")
    read = [_read_block(block) for block in blocks]
    hidden = [str(extra[k]) for k in _HIDDEN_KEYS if isinstance(extra.get(k), str)]
    calls = [
        Call(
            id=str(b.get("tool_call_id") or ""),
            name=str(b.get("tool_name") or ""),
            arguments=_arguments(b.get("tool_kwargs")),
        )
        for b in blocks
        if b.get("block_type") == "tool_call"
    ]
    known = {call.id for call in calls} - {""}
    older = extra.get("tool_calls")
    if isinstance(older, list | tuple):  # as integrations wrote them before there were blocks for it, and some still do
        calls += [_chat_call(c) for c in older if isinstance(c, Mapping) and str(c.get("id")) not in known]
    is_result = role is Role.TOOL
    is_quote = is_result and any(RECALL_MARK in block for block in blocks)
    fields = {"name": extra.get("name"), "artifact": {RECALL_MARK: ()} if is_quote else None}
    call_id = str(extra.get("tool_call_id") or extra.get("name") or "") if is_result else ""
    parts = (*(text for text, _ in read), *hidden)
    made = _projection(fields, role, parts, sum(media for _, media in read), tuple(calls), call_id)
    own = own_words(role, made.text)
    return made if own == made.text else replace(made, own=own)


def _read_block(block: Mapping[str, Any]) -> tuple[str, int]:
    """Text of a content block and of those inside it, and how many of them are media."""
    kind = block.get("block_type")
    if kind in _MEDIA_BLOCKS:
        return "", 1
    if kind == "citable":
        inner = [_read_block(each) for each in _mappings(block, "content")]
        return "\n".join(text for text, _ in inner if text), sum(media for _, media in inner)
    if kind == "citation":
        return _read_block(block["cited_content"])
    text = block.get("content" if kind == "thinking" else "text")
    return (text, 0) if isinstance(text, str) else ("", 0)


def _mappings(data: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    found = data.get(key) or ()
    if not isinstance(found, list | tuple) or not all(isinstance(item, Mapping) for item in found):
        raise UnsupportedMessage(f"{key} is a list of dictionaries, got {found!r:.60}")
    return found


def _chat_call(call: Mapping[str, Any]) -> Call:
    function = call.get("function")
    inner: Mapping[str, Any] = function if isinstance(function, Mapping) else call
    arguments = inner.get("arguments", inner.get("args", inner.get("input", "")))
    return Call(id=str(call.get("id") or ""), name=str(inner.get("name") or ""), arguments=_arguments(arguments))


def _arguments(value: object) -> str:
    return value if isinstance(value, str) else compact(value)


def chat_role(role: object) -> Role:
    """Who speaks, by the name that a chat dictionary gives.

    Raises:
        UnsupportedMessage: No such role.
    """
    known = _CHAT_ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        raise UnsupportedMessage(f"role {role!r:.60} is not one of {sorted(_CHAT_ROLES)}")
    return known


def _named_role(role: object) -> Role:
    """As :func:`chat_role`, for a message that may give its speaker any name."""
    if role and isinstance(role, str) and role not in _CHAT_ROLES:
        return Role.SYSTEM if role == "control" else Role.USER
    return chat_role(role)


def _projection(  # noqa: PLR0917  # one call for each format, the names are the fields'
    data: Mapping[str, Any], role: Role, parts: tuple[str, ...], media: int, calls: tuple[Call, ...], call_id: str
) -> Projection:
    return Projection(
        role=role,
        text=parts[0] if len(parts) == 1 else "\n".join(filter(None, parts)),
        parts=parts,
        name=str(data.get("name") or ""),
        calls=calls,
        call_id=call_id,
        message_id=str(data.get("id") or ""),
        media=media,
        recalled=is_recalled(data.get("artifact")),
    )


def is_recalled(artifact: object) -> bool:
    """Whether a tool result's artifact says that pagefault's recall tool wrote it."""
    return type(artifact) is dict and RECALL_MARK in artifact  # any other mapping is a tool's own, and may raise


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Projection]]] = {
    "langchain/1": _read_langchain,
    "chat/1": _read_chat,
    "llamaindex/1": _read_llamaindex,
}
