"""The neutral message form: OpenAI-style chat dictionaries, tagged ``chat/1``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final, TypeGuard

from pagefault.errors import UnsupportedMessage
from pagefault.messages import canonical
from pagefault.messages.projection import chat_role, compact, project, replace_parts
from pagefault.page import Role, check_id
from pagefault.ports import Sketch
from pagefault.tokens import MEDIA_TOKENS, upper_bound

MESSAGE_BOUND: Final = 16
CALL_BOUND: Final = 16
EARLIEST: Final = -62_135_596_800
LATEST: Final = 253_402_300_800
"""The years 1 to 9999 in Unix seconds."""


class ChatCodec:
    """Codec for chat dictionaries.

    They hold ``role``, ``content``, ``tool_calls``, ``tool_call_id`` and optionally ``id``, ``name``, ``created_at``.
    """

    format = "chat/1"

    def measure(self, messages: Sequence[Any]) -> tuple[list[int], Any]:
        """UTF-8 bytes of all that is counted, and a flat rate for media."""
        return list(map(_bound, messages)), self.content(messages[-1]) if messages else None

    def content(self, message: Any) -> Any:
        """The content object itself."""
        return message.get("content") if message.__class__ is dict else None

    def sketch(self, message: Any) -> Sketch:
        """Role and call ids."""
        if (plain := _plain(message)) is not None:
            return Sketch(chat_role(plain[0]).value)
        read = project(self.format, message)
        said_at = message.get("created_at") if isinstance(message, Mapping) else None
        calls = tuple(c.id for c in read.calls if c.id)
        return Sketch(
            read.role.value, calls, read.call_id, read.recalled, float(said_at) if _is_time(said_at) else None
        )

    def encode(self, message: Any) -> Any:
        """The dictionary itself: it is JSON already."""
        return message

    def encode_all(self, messages: Sequence[Any]) -> list[Any]:
        """The dictionaries themselves."""
        return list(messages)

    def decode(self, data: Any) -> Any:
        """A new dictionary."""
        return data

    def is_same(self, one: Any, other: Any) -> bool:
        """Whether two dictionaries are equal as JSON: Python takes 1, 1.0 and True for one value."""
        return bool(one == other) and compact(one) == compact(other)

    def are_same(self, ones: Sequence[Any], others: Sequence[Any]) -> bool:
        """Whether all are."""
        return all(map(self.is_same, ones, others))

    def usage(self, message: Any) -> int | None:  # noqa: ARG002  # the form has no place for it
        """Never reported."""
        return None

    def key(self, message: Any) -> str | None:
        """The message's id, if it has one."""
        found: str | None = message.get("id")
        return found

    def with_parts(self, message: Any, texts: Sequence[str | None]) -> Any:
        """A copy with other content."""
        return {**message, "content": replace_parts(message["content"], texts)}

    def block(self, text: str, name: str) -> Any:  # noqa: ARG002  # providers refuse fields that they do not know
        """A user message with a block's text."""
        return {"role": "user", "content": text}


CHAT: Final = ChatCodec()


def _bound(message: Any) -> int:
    if (plain := _plain(message)) is not None:
        return upper_bound(plain[1]) + 1 + MESSAGE_BOUND  # one part
    read = project(CHAT.format, message)
    calls = sum(upper_bound(c.name) + upper_bound(c.arguments) + CALL_BOUND for c in read.calls)
    size = upper_bound(read.text) + upper_bound(read.name) + len(read.parts) + read.media * MEDIA_TOKENS
    return size + calls + len(read.call_id) + MESSAGE_BOUND


def accept(messages: object) -> Iterator[dict[str, Any]]:
    """Check chat dictionaries and copy them, so that later changes by the caller do not matter.

    One at a time, so that an event loop can go on between them.

    Raises:
        UnsupportedMessage: Not a list of dictionaries with a known role and JSON content.
        InvalidId: An ``id`` or ``tool_call_id`` that is no usable string.
    """
    if isinstance(messages, Mapping):
        messages = [messages]
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise UnsupportedMessage(f"append takes a list of chat dictionaries, got {type(messages).__name__}")
    return map(_accept, list(messages), count())


def _plain(message: object) -> tuple[str, str] | None:
    """Role and text of a message that has nothing else, as most are; ``None`` for another one."""
    if type(message) is not dict or len(message) != 2:
        return None
    role, text = message.get("role"), message.get("content")
    if type(role) is not str or type(text) is not str:
        return None
    chat_role(role)  # refuses what is none
    return role, text


def _is_time(moment: object) -> TypeGuard[float]:
    """Whether it is Unix seconds that a calendar has; milliseconds of today are not."""
    return isinstance(moment, int | float) and not isinstance(moment, bool) and EARLIEST <= moment < LATEST


def _read(message: object, index: int) -> tuple[str, str] | None:
    """As :func:`_plain`; another message is read in full, to see whether it can be."""
    try:
        plain = _plain(message)
        if plain is None and isinstance(message, Mapping):
            project(CHAT.format, message)
    except UnsupportedMessage as error:
        raise UnsupportedMessage(f"message {index}: {error}") from error
    return plain


def _accept(message: object, index: int) -> dict[str, Any]:
    if (plain := _read(message, index)) is not None:
        return {"content": plain[1], "role": plain[0]}  # in the order that a copy by way of JSON has
    if not isinstance(message, Mapping):
        raise UnsupportedMessage(
            f"message {index} is a {type(message).__name__}; write {{'role': 'user', 'content': '...'}}"
        )
    for name in ("id", "tool_call_id"):
        if message.get(name) is not None:
            check_id(f"message {index}: {name}", message[name])
    text, lost = canonical.exact(dict(message))
    if lost:
        raise UnsupportedMessage(
            f"message {index} holds {lost}; the store would be its only copy, "
            "so convert it (bytes to base64 text, objects to dictionaries, keys to text) before appending"
        )
    if (said_at := message.get("created_at")) is not None and not _is_time(said_at):
        raise UnsupportedMessage(
            f"message {index} has the created_at {said_at!r:.60}; give Unix seconds of the years 1 to 9999, such as "
            "time.time()"
        )
    content, is_said = message.get("content"), chat_role(message.get("role")) is Role.ASSISTANT
    if not isinstance(content, str | list | tuple | Mapping) and not (content is None and is_said):
        raise UnsupportedMessage(
            f"message {index} has the content {content!r:.60}; providers take text or a list of parts, and none only "
            "beside an assistant's tool calls"
        )
    copy: dict[str, Any] = canonical.load(text)
    return copy
