"""Messages of one framework read as those of another: what all of them can say, and a refusal of the rest.

A reader takes out of a message's data what it knows how to say; anything else that is left and
not empty is refused. So what a framework learns to say later is refused until it is known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from pagefault import canonical
from pagefault.errors import CannotTranslate
from pagefault.messages import NATIVE_MARK
from pagefault.page import Page, Role
from pagefault.ports import Codec
from pagefault.recall.rendering import RecalledPage

_EMPTY: Final[tuple[object, ...]] = (None, "", [], {}, False)
_LANGCHAIN_ROLES: Final = {"human": "user", "ai": "assistant"}
_ABOUT: Final = ("id", "response_metadata", "usage_metadata")  # of the delivery; nobody says it to a model


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenCall:
    """A tool call: id (``""`` for none), tool name and arguments."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What every framework can say.

    Attributes:
        role: Who speaks.
        texts: The text parts, without empty ones.
        calls: Tool calls, of an assistant only.
        call_id: The call that a tool result answers, ``""`` in other messages.
        name: The speaker's or tool's name, if any.
        message_id: The framework's id, if any.
    """

    role: Role
    texts: tuple[str, ...]
    calls: tuple[SpokenCall, ...] = ()
    call_id: str = ""
    name: str = ""
    message_id: str = ""


def messages_of(page: Page | RecalledPage, codec: Codec, build: Callable[[Spoken], Any]) -> list[Any]:
    """The messages of a page in ``codec``'s framework, whichever wrote them.

    Args:
        page: From ``Found.pages``.
        codec: Of the framework that reads.
        build: The data that ``codec`` decodes, for something said elsewhere.

    Raises:
        CannotTranslate: Another framework wrote it and it holds more than ``Spoken`` can.
    """
    address = page.address if isinstance(page, RecalledPage) else str(page.seq)
    page = page.page if isinstance(page, RecalledPage) else page
    body = canonical.load(page.body)
    if page.format == codec.format:
        return [codec.decode(data) for data in body]
    if page.opaque:
        _refuse(f"page {address}", "a value that JSON could not hold")
    where = [f"page {address}, message {number} ({page.format})" for number in range(1, len(body) + 1)]
    spoken = [speak(page.format, data, at) for data, at in zip(body, where, strict=True)]
    return [codec.decode(build(each)) for each in spoken]


def speak(format_: str, data: Mapping[str, Any], where: str) -> Spoken:
    """One message's data as what every framework can say.

    Args:
        format_: The body tag.
        data: The message's data.
        where: How an error names the message.

    Raises:
        CannotTranslate: It holds more.

    Example:
        >>> speak("chat/1", {"role": "user", "content": "hi"}, "page 1").texts
        ('hi',)
    """
    reader = _READERS.get(format_)
    if reader is None:
        _refuse(where, f"messages of the unknown form {format_!r}")
    spoken = reader(dict(data), where)
    if spoken.calls and spoken.role is not Role.ASSISTANT:
        _refuse(where, f"tool calls of the role {spoken.role}")
    if bool(spoken.call_id) != (spoken.role is Role.TOOL):
        _refuse(where, "a tool result without a call id, or a call id without a tool result")
    return spoken


def _chat(rest: dict[str, Any], where: str) -> Spoken:
    return _flat(rest, _role(rest.pop("role", None), where), where)


def _langchain(rest: dict[str, Any], where: str) -> Spoken:
    type_ = rest.pop("type", None)
    if rest.get("status") == "success":
        del rest["status"]
    return _flat(rest, _role(_LANGCHAIN_ROLES.get(str(type_), type_), where), where)


def _flat(rest: dict[str, Any], role: Role, where: str) -> Spoken:
    """A message with one content, and tool calls beside it."""
    message_id = _text(rest.pop("id", None), "id", where)
    for key in _ABOUT:
        rest.pop(key, None)
    content = rest.pop("content", None)
    parts = content if isinstance(content, list) else [content or ""]
    spoken = Spoken(
        role=role,
        texts=tuple(text for text in (_part(part, "type", where) for part in parts) if text),
        calls=tuple(_call(call, where) for call in rest.pop("tool_calls", None) or ()),
        call_id=_text(rest.pop("tool_call_id", None), "tool_call_id", where),
        name=_text(rest.pop("name", None), "name", where),
        message_id=message_id,
    )
    _check_empty(rest, "", where)
    return spoken


def _llamaindex(rest: dict[str, Any], where: str) -> Spoken:
    role = _role(rest.pop("role", None), where)
    extra = dict(rest.pop("additional_kwargs", None) or {})
    texts: list[str] = []
    calls: list[SpokenCall] = []
    for block in rest.pop("blocks"):
        if block.get("block_type") == "tool_call":
            calls.append(_block_call(dict(block), where))
        elif text := _part(block, "block_type", where):
            if calls:
                _refuse(where, "text after a tool call, whose order would be lost")
            texts.append(text)
    call_id, name = (_text(extra.pop(key, None), key, where) for key in ("tool_call_id", "name"))
    _check_empty(extra, "additional_kwargs.", where)
    _check_empty(rest, "", where)
    return Spoken(role=role, texts=tuple(texts), calls=tuple(calls), call_id=call_id, name=name)


def _part(part: Any, kind: str, where: str) -> str:
    if isinstance(part, str):
        return part
    rest = dict(part) if isinstance(part, Mapping) else {kind: type(part).__name__}
    if (type_ := rest.pop(kind, None)) != "text":
        _refuse(where, f"content of the type {type_!r:.60}")
    text = _text(rest.pop("text", None), "text", where)
    _check_empty(rest, "content.", where)
    return text


def _call(call: Mapping[str, Any], where: str) -> SpokenCall:
    rest = dict(call)
    rest.pop("type", None)
    inner = dict(rest.pop("function", None) or {})
    rest |= inner
    arguments = rest.pop("arguments", None) if "arguments" in rest else rest.pop("args", None)
    call_id, name = (_text(rest.pop(key, None), key, where) for key in ("id", "name"))
    _check_empty(rest, "tool_calls.", where)
    return SpokenCall(id=call_id, name=name, arguments=_arguments(arguments, where))


def _block_call(rest: dict[str, Any], where: str) -> SpokenCall:
    rest.pop("block_type")
    arguments = _arguments(rest.pop("tool_kwargs", None), where)
    call_id, name = (_text(rest.pop(key, None), key, where) for key in ("tool_call_id", "tool_name"))
    _check_empty(rest, "blocks.", where)
    if NATIVE_MARK in canonical.dump(arguments)[0]:
        _refuse(where, "tool arguments with values that are not JSON")
    return SpokenCall(id=call_id, name=name, arguments=arguments)


def _arguments(value: object, where: str) -> dict[str, Any]:
    if isinstance(value, str) and value:
        try:
            value = json.loads(value, object_pairs_hook=_once)
        except ValueError:
            _refuse(where, f"tool arguments that are no JSON: {value!r:.60}")
    if not isinstance(value or {}, dict):
        _refuse(where, f"tool arguments that are no JSON object: {value!r:.60}")
    return dict(value) if isinstance(value, dict) else {}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _role(role: object, where: str) -> Role:
    if role not in tuple(Role):
        _refuse(where, f"the role {role!r:.60}")
    return Role(str(role))


def _text(value: object, key: str, where: str) -> str:
    if value is not None and not isinstance(value, str):
        _refuse(where, f"{key} = {value!r:.60}")
    return value or ""


def _check_empty(rest: Mapping[str, Any], path: str, where: str) -> None:
    for key, value in rest.items():
        if value not in _EMPTY or value.__class__ in {int, float}:  # 0 equals False, and says something
            _refuse(where, f"{path}{key} = {value!r:.60}")


def _refuse(where: str, what: str) -> NoReturn:
    raise CannotTranslate(
        f"{where} holds {what}, which not every framework can say; read the page's .text, its .body, "
        "or its messages with the framework that wrote them"
    )


_READERS: Final[Mapping[str, Callable[[dict[str, Any], str], Spoken]]] = {
    "chat/1": _chat,
    "langchain/1": _langchain,
    "llamaindex/1": _llamaindex,
}
