"""Parts of a message's content, as LangChain, LlamaIndex and the providers write them, read as what all can say.

A reader takes out of a part's data what it knows; what is left and not empty is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from pagefault.errors import CannotTranslate
from pagefault.messages import canonical
from pagefault.messages.projection import NATIVE_MARK
from pagefault.messages.spoken import Medium, Part, SpokenCall, Thought

_EMPTY: Final[tuple[object, ...]] = (None, "", [], {}, False)
_SAME_AUDIO: Final = {"audio/mpeg": "audio/mp3", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav"}
_SAME_KIND: Final = {"document": "file"}
_BLOCK_DATA: Final = {"image": "image", "audio": "audio", "video": "video", "document": "data"}
_BLOCK_MIME: Final = {
    "image": "image_mimetype",
    "audio": "format",
    "video": "video_mimetype",
    "document": "document_mimetype",
}
_AUDIO: Final = "audio/"


def read_part(part: Any, where: str) -> Part | None:
    """A part of a content list: LangChain's standard blocks, and OpenAI's and Anthropic's; ``None`` if empty.

    Args:
        part: Text, or a dictionary with a ``type``.
        where: How an error names the message.

    Raises:
        CannotTranslate: It says more than every framework can.

    Example:
        >>> read_part({"type": "image_url", "image_url": {"url": "https://x.org/y.png"}}, "page 1").url
        'https://x.org/y.png'
    """
    if isinstance(part, str):
        return part or None
    rest = dict(part) if isinstance(part, Mapping) else {"type": type(part).__name__}
    kind = rest.pop("type", None)
    reader = _PARTS.get(str(kind))
    if reader is None:
        refuse(where, f"content of the type {kind!r:.60}")
    rest.pop("index", None)  # where a stream put it
    found = reader(str(kind), rest, where)
    check_empty(rest, f"content ({kind}).", where)
    return found


def read_block(block: Mapping[str, Any], where: str) -> Part | None:
    """A content block of LlamaIndex as its codec encodes it; ``None`` if empty.

    Raises:
        CannotTranslate: It says more than every framework can.

    Example:
        >>> read_block({"block_type": "text", "text": "hi"}, "page 1")
        'hi'
    """
    rest = dict(block)
    kind = rest.pop("block_type", None)
    found: Part | None
    if kind == "text":
        found = text_of(rest, "text", where)
    elif kind == "tool_call":
        arguments = arguments_of(json_of(rest.pop("tool_kwargs", None), "tool arguments", where), where)
        call_id, name = (text_of(rest, key, where) for key in ("tool_call_id", "tool_name"))
        found = SpokenCall(id=call_id, name=name, arguments=arguments)
    elif kind == "thinking":
        rest.pop("num_tokens", None)  # what it cost, not what is said
        extra = json_of(object_of(rest, "additional_information", where), "additional_information", where)
        found = _thought(text_of(rest, "content", where), extra, where)
    elif kind in _BLOCK_DATA:
        found = _media_block(str(kind), rest, where)
    else:
        refuse(where, f"content of the type {kind!r:.60}")
    check_empty(rest, f"blocks ({kind}).", where)
    return found or None


def read_call(call: Any, where: str) -> SpokenCall:
    """An entry of ``tool_calls``, in LangChain's or OpenAI's form.

    Raises:
        CannotTranslate: It says more than every framework can.

    Example:
        >>> read_call({"id": "c", "function": {"name": "f", "arguments": '{"x": 1}'}}, "page 1").arguments
        {'x': 1}
    """
    if not isinstance(call, Mapping):
        refuse(where, f"a tool call that is no object: {call!r:.60}")
    rest = dict(call)
    rest.pop("type", None)
    rest.pop("index", None)
    rest |= object_of(rest, "function", where)
    key = "arguments" if "arguments" in rest else "args"
    arguments = arguments_of(rest.pop(key, None), where)
    found = SpokenCall(id=text_of(rest, "id", where), name=text_of(rest, "name", where), arguments=arguments)
    check_empty(rest, "tool_calls.", where)
    return found


def arguments_of(value: object, where: str) -> dict[str, Any]:
    """Tool arguments, given as an object or as its JSON."""
    if isinstance(value, str) and value:
        try:
            value = json.loads(value, object_pairs_hook=_once)
        except ValueError:
            refuse(where, f"tool arguments that are no JSON: {value!r:.60}")
    if not isinstance(value or {}, dict):
        refuse(where, f"tool arguments that are no JSON object: {value!r:.60}")
    return dict(value) if isinstance(value, dict) else {}


def text_of(rest: dict[str, Any], key: str, where: str) -> str:
    """Take a text out of a message's data, ``""`` for none."""
    value = rest.pop(key, None)
    if value is not None and not isinstance(value, str):
        refuse(where, f"{key} = {value!r:.60}")
    return value or ""


def object_of(rest: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """Take an object out of a message's data, an empty one for none."""
    value = rest.pop(key, None) or {}
    if not isinstance(value, Mapping):
        refuse(where, f"{key} = {value!r:.60}")
    return dict(value)


def json_of(value: Any, what: str, where: str) -> Any:
    """What LlamaIndex's codec wrote, without its marks; refused where a mark stands for what is not JSON."""
    if isinstance(value, Mapping):
        if NATIVE_MARK in value:
            if value[NATIVE_MARK] != "dict":
                refuse(where, f"{what} with values that are not JSON")
            value = value["value"]
        return {name: json_of(item, what, where) for name, item in value.items()}
    return [json_of(item, what, where) for item in value] if isinstance(value, list) else value


def check_empty(rest: Mapping[str, Any], path: str, where: str) -> None:
    """Refuse what no reader has taken out."""
    for key, value in rest.items():
        if value not in _EMPTY or value.__class__ in {int, float}:  # 0 equals False, and says something
            refuse(where, f"{path}{key} = {value!r:.60}")


def refuse(where: str, what: str) -> NoReturn:
    """Raise the error that names the message and the part."""
    raise CannotTranslate(
        f"{where} holds {what}, which not every framework can say; read the page's .text, its .body, "
        "or its messages with the framework that wrote them"
    )


# -- parts of a content list --------------------------------------------------------------------


def _text(_kind: str, rest: dict[str, Any], where: str) -> Part | None:
    rest.pop("id", None)  # of the delivery, like a message's
    return text_of(rest, "text", where) or None


def _standard(kind: str, rest: dict[str, Any], where: str) -> Part:
    """LangChain's blocks of today and of before, Anthropic's (``source``) and OpenAI's (``file``)."""
    if str(rest.get("id")).startswith("lc_"):
        del rest["id"]  # made up by LangChain for the block
    if rest.get("source_type") in {"url", "base64"}:
        del rest["source_type"]
    for inner in ("extras", "source", "file"):
        if isinstance(rest.get(inner), Mapping):
            _spread(rest, rest.pop(inner), where)
    kind = _SAME_KIND.get(kind, kind)
    return medium(
        where,
        kind=kind,
        url=_either(rest, "url", "file_data", where),
        data=_either(rest, "base64", "data", where),
        mime=_either(rest, "mime_type", "media_type", where),
        title=_either(rest, "filename", "title", where) if kind == "file" else "",
        detail=text_of(rest, "detail", where) if kind == "image" else "",
    )


def _spread(rest: dict[str, Any], inner: Mapping[str, Any], where: str) -> None:
    for key, value in inner.items():
        if key == "type" and value in {"base64", "url"}:
            continue
        if key in rest:
            refuse(where, f"{key} twice, {rest[key]!r:.60} and {value!r:.60}")
        rest[key] = value


def _either(rest: dict[str, Any], key: str, other: str, where: str) -> str:
    one, two = text_of(rest, key, where), text_of(rest, other, where)
    if one and two:
        refuse(where, f"both {key} and {other}")
    return one or two


def _image_url(_kind: str, rest: dict[str, Any], where: str) -> Part:
    value = rest.pop("image_url", None)
    image = dict(value) if isinstance(value, Mapping) else {"url": value}
    found = medium(where, kind="image", url=text_of(image, "url", where), detail=text_of(image, "detail", where))
    check_empty(image, "content.image_url.", where)
    return found


def _input_audio(_kind: str, rest: dict[str, Any], where: str) -> Part:
    audio = object_of(rest, "input_audio", where)
    mime = _AUDIO + text_of(audio, "format", where)
    found = medium(where, kind="audio", data=text_of(audio, "data", where), mime=mime)
    check_empty(audio, "content.input_audio.", where)
    return found


def _reasoning(_kind: str, rest: dict[str, Any], where: str) -> Part | None:
    extra = object_of(rest, "extras", where)
    if "id" in extra:
        refuse(where, "reasoning with two ids")
    if name := text_of(rest, "id", where):
        extra["id"] = name
    return _thought(text_of(rest, "reasoning", where), extra, where)


def _thinking(_kind: str, rest: dict[str, Any], where: str) -> Part | None:
    extra = {"signature": rest.pop("signature")} if rest.get("signature") else {}
    return _thought(text_of(rest, "thinking", where), extra, where)


def _tool_use(_kind: str, rest: dict[str, Any], where: str) -> Part:
    streamed = rest.pop("partial_json", None)
    call_id, name = (text_of(rest, key, where) for key in ("id", "name"))
    return SpokenCall(id=call_id, name=name, arguments=arguments_of(rest.pop("input", None) or streamed, where))


def _tool_call(_kind: str, rest: dict[str, Any], where: str) -> Part:
    found = read_call(rest, where)
    rest.clear()
    return found


_PARTS: Final[Mapping[str, Callable[[str, dict[str, Any], str], Part | None]]] = {
    "text": _text,
    **dict.fromkeys(("image", "audio", "video", "file", "document"), _standard),
    "image_url": _image_url,
    "input_audio": _input_audio,
    "reasoning": _reasoning,
    "thinking": _thinking,
    "tool_use": _tool_use,
    "tool_call": _tool_call,
}


# -- what several of them say -------------------------------------------------------------------


def medium(
    where: str, *, kind: str, url: str = "", data: str = "", mime: str = "", title: str = "", detail: str = ""
) -> Medium:
    """A medium; one whose URL holds its data is given by the data."""
    if bool(url) == bool(data):
        refuse(where, f"{kind} with {'both a URL and data' if url else 'neither a URL nor data'}")
    head, comma, inline = url[5:].partition(",") if url.startswith("data:") else ("", "", "")
    if comma and head.endswith(";base64"):
        stated = head.removesuffix(";base64")
        if mime and stated and mime != stated:
            refuse(where, f"{kind} of two MIME types, {mime!r:.60} and {stated!r:.60}")
        url, data, mime = "", inline, stated or mime
    if data and not mime:
        refuse(where, f"{kind} data without a MIME type")
    if kind == "audio" and mime:
        mime = _SAME_AUDIO.get(mime, mime)
        if not mime.startswith(_AUDIO):
            refuse(where, f"audio of the MIME type {mime!r:.60}")
    if not _is_base64(data):
        refuse(where, f"{kind} data that is no standard base64: {data!r:.60}")
    return Medium(kind=kind, url=url, data=data, mime=mime, title=title, detail=detail)


def _is_base64(data: str) -> bool:
    try:
        return base64.b64encode(base64.b64decode(data, validate=True)) == data.encode()
    except ValueError:
        return False


def _thought(text: str, extra: Mapping[str, Any], where: str) -> Thought | None:
    if not isinstance(extra.get("id", ""), str):
        refuse(where, f"thinking with id = {extra['id']!r:.60}")
    kept = {name: value for name, value in extra.items() if value is not None}
    return Thought(text=text, extra=kept) if text or kept else None


def _media_block(kind: str, rest: dict[str, Any], where: str) -> Medium:
    if rest.pop("path", None):
        refuse(where, f"{kind} by the path of a file, which only its own machine can read")
    data = _binary(rest.pop(_BLOCK_DATA[kind], None), kind, where)
    url = rest.pop("url", None)
    if isinstance(url, Mapping) and url.get(NATIVE_MARK) == "url":
        url = url["value"]
    mime = text_of(rest, _BLOCK_MIME[kind], where)
    return medium(
        where,
        kind=_SAME_KIND.get(kind, kind),
        url=text_of({"url": url}, "url", where),
        data=data,
        mime=_AUDIO + mime if kind == "audio" and mime else mime,
        title=text_of(rest, "title", where) if kind == "document" else "",
        detail=text_of(rest, "detail", where) if kind == "image" else "",
    )


def _binary(value: Any, kind: str, where: str) -> str:
    """Base64 of bytes; LlamaIndex takes bytes that are base64 already for what they stand for."""
    if value is None:
        return ""
    mark = value.get(NATIVE_MARK) if isinstance(value, Mapping) else None
    if mark not in {"bytes", "stream"}:
        refuse(where, f"{kind} data = {value!r:.60}")
    encoded: str = value["value"]
    try:
        inner = base64.b64decode(base64.b64decode(encoded), validate=True)
    except ValueError:
        return encoded
    return encoded if mark == "stream" else base64.b64encode(inner).decode("ascii")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def call_key(call: SpokenCall) -> tuple[str, str, str]:
    """Tells calls apart as a tool does: for Python 1, 1.0 and True are one value."""
    return call.id, call.name, canonical.dump(call.arguments)[0]
