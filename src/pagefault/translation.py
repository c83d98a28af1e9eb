"""Messages of one framework read as those of another: what all of them can say, and a refusal of the rest.

A reader takes out of a message's data what it knows how to say; anything else that is left and
not empty is refused. So what a framework learns to say later is refused until it is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pagefault.messages import canonical
from pagefault.messages.parts import call_key, check_empty, object_of, read_block, read_call, read_part, refuse, text_of
from pagefault.messages.spoken import Part, Spoken, SpokenCall, Thought
from pagefault.page import Page, Role
from pagefault.ports import Codec
from pagefault.recall.found import RecalledPage

_LANGCHAIN_ROLES: Final = {"human": "user", "ai": "assistant"}
_ABOUT: Final = ("id", "response_metadata", "usage_metadata")  # of the delivery; nobody says it to a model


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
        refuse(f"page {address}", "a value that JSON could not hold")
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
        >>> speak("chat/1", {"role": "user", "content": "hi"}, "page 1").parts
        ('hi',)
    """
    reader = _READERS.get(format_)
    if reader is None:
        refuse(where, f"messages of the unknown form {format_!r}")
    spoken = reader(dict(data), where)
    if spoken.role is not Role.ASSISTANT:
        if spoken.calls:
            refuse(where, f"tool calls of the role {spoken.role}")
        if any(isinstance(part, Thought) for part in spoken.parts):
            refuse(where, f"thinking of the role {spoken.role}")
    if bool(spoken.call_id) != (spoken.role is Role.TOOL):
        refuse(where, "a tool result without a call id, or a call id without a tool result")
    return spoken


def _chat(rest: dict[str, Any], where: str) -> Spoken:
    return _flat(rest, _role(rest.pop("role", None), where), where)


def _langchain(rest: dict[str, Any], where: str) -> Spoken:
    type_ = rest.pop("type", None)
    if rest.get("status") == "success":
        del rest["status"]
    return _flat(rest, _role(_LANGCHAIN_ROLES.get(str(type_), type_), where), where)


def _flat(rest: dict[str, Any], role: Role, where: str) -> Spoken:
    """A message with one content, and tool calls beside it that the content may repeat."""
    message_id = text_of(rest, "id", where)
    for key in _ABOUT:
        rest.pop(key, None)
    content = rest.pop("content", None)
    extra = object_of(rest, "additional_kwargs", where)
    said = [read_part(part, where) for part in (content if isinstance(content, list) else [content or ""])]
    thought = text_of(extra, "reasoning_content", where)
    if thought and not any(isinstance(part, Thought) and part.text == thought for part in said):
        said.insert(0, Thought(text=thought, extra={}))
    calls = _calls(rest, where)
    spoken_already = [part for part in said if isinstance(part, SpokenCall)]
    if _beyond(spoken_already, calls) or _beyond(_calls(extra, where), calls):
        refuse(where, "a tool call in its content or additional_kwargs that is not among its tool_calls")
    spoken = Spoken(
        role=role,
        parts=(*(part for part in said if part is not None), *_beyond(calls, spoken_already)),
        call_id=text_of(rest, "tool_call_id", where),
        name=text_of(rest, "name", where),
        message_id=message_id,
    )
    check_empty(extra, "additional_kwargs.", where)
    check_empty(rest, "", where)
    return spoken


def _llamaindex(rest: dict[str, Any], where: str) -> Spoken:
    role = _role(rest.pop("role", None), where)
    extra = object_of(rest, "additional_kwargs", where)
    parts: list[Part] = [part for block in rest.pop("blocks") if (part := read_block(block, where)) is not None]
    calls = [part for part in parts if isinstance(part, SpokenCall)]
    older = _beyond(_calls(extra, where), calls)  # as integrations wrote them before there were blocks for it
    if {call.id for call in older if call.id} & {call.id for call in calls}:
        refuse(where, "two different tool calls of one id")
    parts += older
    call_id, name = (text_of(extra, key, where) for key in ("tool_call_id", "name"))
    check_empty(extra, "additional_kwargs.", where)
    check_empty(rest, "", where)
    return Spoken(role=role, parts=tuple(parts), call_id=call_id, name=name)


def _calls(rest: dict[str, Any], where: str) -> list[SpokenCall]:
    calls = rest.pop("tool_calls", None) or []
    return [read_call(call, where) for call in (calls if isinstance(calls, list) else [calls])]


def _beyond(calls: Sequence[SpokenCall], others: Sequence[SpokenCall]) -> list[SpokenCall]:
    """The calls that the others do not repeat, each counted as often as it stands."""
    left = [call_key(call) for call in others]
    found: list[SpokenCall] = []
    for call in calls:
        if (key := call_key(call)) in left:
            left.remove(key)
        else:
            found.append(call)
    return found


def _role(role: object, where: str) -> Role:
    if role not in tuple(Role):
        refuse(where, f"the role {role!r:.60}")
    return Role(str(role))


_READERS: Final[Mapping[str, Callable[[dict[str, Any], str], Spoken]]] = {
    "chat/1": _chat,
    "langchain/1": _langchain,
    "llamaindex/1": _llamaindex,
}
