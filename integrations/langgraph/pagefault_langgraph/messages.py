"""LangChain messages as pagefault sees them: the ``langchain/1`` codec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

from pagefault.errors import UnsupportedMessage
from pagefault.messages import MEDIA_TYPES, is_recalled, project
from pagefault.page import Role
from pagefault.ports import Sketch
from pagefault.tokens import MEDIA_TOKENS, upper_bound

_CLASSES: Final[Mapping[str, type[BaseMessage]]] = {
    "human": HumanMessage,
    "ai": AIMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
    "chat": ChatMessage,
    "AIMessageChunk": AIMessageChunk,
    "HumanMessageChunk": HumanMessageChunk,
    "SystemMessageChunk": SystemMessageChunk,
    "ToolMessageChunk": ToolMessageChunk,
}
_ROLES: Final = {
    "human": Role.USER.value,
    "ai": Role.ASSISTANT.value,
    "system": Role.SYSTEM.value,
    "tool": Role.TOOL.value,
    "function": Role.TOOL.value,
    "AIMessageChunk": Role.ASSISTANT.value,
    "HumanMessageChunk": Role.USER.value,
    "SystemMessageChunk": Role.SYSTEM.value,
    "ToolMessageChunk": Role.TOOL.value,
}
_BOUND: Final = 16
_UNKNOWN_BOUND: Final = 10**9


class LangChainCodec:
    """Codec for LangChain messages.

    A body is the message's own fields; restoring builds the same class from them without running
    validators, so nothing is normalised on the way.
    """

    format = "langchain/1"

    def sketch(self, message: Any) -> Sketch:
        """Role, call ids and an upper bound of the tokens, in about two microseconds."""
        try:
            fields = message.__dict__
            kind, content = fields["type"], fields["content"]
        except (AttributeError, KeyError):
            raise _not_a_message(message) from None
        size = upper_bound(content) if type(content) is str else _bound(content)
        name, extra = fields.get("name"), fields.get("additional_kwargs")
        if name or extra:
            size += upper_bound(name or "") + (_bound(extra) if extra else 0)
        role = _ROLES.get(kind) or project(self.format, self.encode(message)).role.value
        if role == "tool":
            call_id = fields.get("tool_call_id") or ""
            return Sketch(role, (), call_id, size + len(call_id) + _BOUND, is_recalled(fields.get("artifact")))
        if role != "assistant" or not (fields.get("tool_calls") or fields.get("invalid_tool_calls")):
            return Sketch(role, (), "", size + _BOUND)
        calls = [*fields["tool_calls"], *fields["invalid_tool_calls"]]
        asked = sum(_args_bound(call["args"]) + upper_bound(call["name"] or "") + _BOUND for call in calls)
        return Sketch(role, tuple(call["id"] for call in calls if call.get("id")), "", size + asked + _BOUND)

    def encode(self, message: Any) -> Any:
        """The message's fields as they are."""
        if not isinstance(message, BaseMessage):
            raise _not_a_message(message)
        known = type(message).model_fields
        data = {name: value for name, value in message.__dict__.items() if name in known}
        return {**(message.__pydantic_extra__ or {}), **data}

    def decode(self, data: Any) -> BaseMessage:
        """A new message of the class that the data names; only LangChain's own are known.

        Raises:
            UnsupportedMessage: Some other class.
        """
        cls = _CLASSES.get(data.get("type", "")) if isinstance(data, Mapping) else None
        if cls is None:
            raise UnsupportedMessage(f"no LangChain message class for {str(data)!r:.80}")
        return cls.model_construct(**{str(name): value for name, value in data.items()})

    def is_same(self, one: Any, other: Any) -> bool:
        """Whether class and fields are equal; far cheaper than pydantic's own comparison."""
        return type(one) is type(other) and one.__dict__ == other.__dict__

    def key(self, message: Any) -> str | None:
        """The message id."""
        found: str | None = message.id
        return found

    def block(self, text: str, name: str) -> HumanMessage:
        """A human message with a block's text: every provider takes one anywhere after the system prompt."""
        return HumanMessage(content=text, id=name)


LANGCHAIN: Final = LangChainCodec()


def _not_a_message(value: object) -> UnsupportedMessage:
    return UnsupportedMessage(
        f"{type(value).__name__} {value!r:.60} is not a LangChain message; "
        "put BaseMessage objects into state['messages']"
    )


def _args_bound(args: Any) -> int:
    """Upper bound of the tokens of a call's arguments: their JSON is at most twice their ``repr``."""
    try:
        text = repr(args)
    except RecursionError:
        return _UNKNOWN_BOUND
    return (2 if text.isascii() else 4) * len(text)


def _bound(value: Any) -> int:
    """Upper bound of the tokens of nested content, media parts at their flat rate."""
    if isinstance(value, str):
        return upper_bound(value) + 8
    if isinstance(value, Mapping):
        if value.get("type") in MEDIA_TYPES:
            return MEDIA_TOKENS
        return 8 + sum(upper_bound(str(name)) + _bound(part) + 4 for name, part in value.items())
    if isinstance(value, list | tuple):
        return 8 + sum(_bound(part) for part in value)
    return upper_bound(str(value)) + 8
