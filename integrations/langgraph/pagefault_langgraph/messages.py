"""LangChain messages as pagefault sees them: the ``langchain/1`` codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from marshal import dumps
from operator import attrgetter, itemgetter
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
from pagefault.messages import canonical
from pagefault.messages.equal import is_equal
from pagefault.messages.projection import is_media, is_recalled, project, replace_parts
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
_tuple: Final = tuple.__new__
_TEXT: Final = frozenset({str})
_FIELDS: Final = attrgetter("__dict__")
_EXTRA: Final = attrgetter("__pydantic_extra__")
_MEASURED: Final = itemgetter("content", "type", "additional_kwargs", "name")
_CALLS: Final = itemgetter("tool_calls", "invalid_tool_calls")
_PLAIN: Final = frozenset({int, float, bool, type(None)})
_TOGETHER: Final = 250
"""So many messages are compared at a time: what was looked at once is still at hand for the next look."""
_BOUND: Final = 16
_CALL_BOUND: Final = 32
_UNKNOWN_BOUND: Final = 10**9
"""Of what is nested too deeply to look into, and of objects whose own code fails: what is stored does without them."""


class LangChainCodec:
    """Codec for LangChain messages.

    A body is the message's own fields; restoring builds the same class from them without running
    validators, so nothing is normalised on the way.
    """

    format = "langchain/1"

    def measure(self, messages: Sequence[Any]) -> tuple[list[int], Any]:
        """UTF-8 bytes of all that is counted, and a flat rate for media."""
        bounds: list[int] = []
        content = None
        for message in messages:  # few bytecodes for the two kinds of each step: an agent's caches are cold
            try:
                content, kind, extra, name = _MEASURED(fields := message.__dict__)
                if kind == "tool":
                    size = len(fields["tool_call_id"])
                elif kind == "ai":
                    calls, broken = _CALLS(fields)
                    size = (_calls_bound(calls) if calls else 0) + (_calls_bound(broken) if broken else 0)
                else:
                    content, extra, name, size = _other(message)
            except (AttributeError, KeyError, TypeError):
                content, extra, name, size = _other(message)
            size += _BOUND + (len(content) if type(content) is str and content.isascii() else _content_bound(content))
            if extra:
                size += _content_bound(extra)
            bounds.append(size + 4 * len(name) if name else size)
        return bounds, content

    content = staticmethod(attrgetter("content"))
    """The content object itself."""

    def sketch(self, message: Any) -> Sketch:
        """Role and call ids."""
        fields = message.__dict__
        role = (
            _ROLES.get(fields["type"])
            or project(self.format, {"type": fields["type"], "role": fields.get("role")}).role.value
        )
        if role == "tool":
            artifact = fields.get("artifact")
            recalled = artifact is not None and is_recalled(artifact)
            return _tuple(Sketch, (role, (), fields.get("tool_call_id") or "", recalled, None))  # less a call
        calls = fields.get("tool_calls") or ()
        if broken := fields.get("invalid_tool_calls"):
            calls = [*calls, *broken]
        ids = tuple([call.get("id") or "" for call in calls]) if calls else ()
        return _tuple(Sketch, (role, ids, "", False, None))

    def encode(self, message: Any) -> Any:
        """The message's fields as they are."""
        known = _names_of(message.__class__)
        if not known:
            raise _not_a_message(message)
        fields, extra = message.__dict__, message.__pydantic_extra__
        if not extra and known.issuperset(fields):
            return fields
        return {**(extra or {}), **{name: value for name, value in fields.items() if name in known}}

    def encode_all(self, messages: Sequence[Any]) -> list[Any]:
        """The fields of each as they are, at a quarter of the price of asking one by one."""
        known = list(map(_names_of, map(type, messages)))
        if all(known) and not any(map(_EXTRA, messages)):
            fields = list(map(_FIELDS, messages))
            if all(map(frozenset.issuperset, known, fields)):
                return fields
        return list(map(self.encode, messages))

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
        mine, theirs = one.__dict__, other.__dict__
        if type(one) is not type(other) or not is_equal(mine, theirs):
            return False
        calls = mine.get("tool_calls")  # for Python 1, 1.0 and True are one value, for a tool they are not
        return not calls or _are_alike(calls, theirs["tool_calls"])

    def are_same(self, ones: Sequence[Any], others: Sequence[Any]) -> bool:
        """Whether all are, at less than the price of asking one by one."""
        return all(
            _are_same(ones[start : start + _TOGETHER], others[start : start + _TOGETHER])
            for start in range(0, len(ones), _TOGETHER)
        )

    def usage(self, message: Any) -> int | None:
        """Input tokens in the answer's usage metadata."""
        usage = message.__dict__.get("usage_metadata")
        tokens = usage.get("input_tokens") if usage and isinstance(usage, Mapping) else None
        return tokens if isinstance(tokens, int) and tokens > 0 else None

    def key(self, message: Any) -> str | None:
        """The message id."""
        found: str | None = message.id
        return found

    def with_parts(self, message: Any, texts: Sequence[str | None]) -> Any:
        """A copy with other content; the artifact and all else stay."""
        return message.model_copy(update={"content": replace_parts(message.content, texts)})

    def block(self, text: str, name: str) -> HumanMessage:
        """A human message with a block's text: every provider takes one anywhere after the system prompt."""
        return HumanMessage(content=text, id=name)


LANGCHAIN: Final = LangChainCodec()


def lead_of(messages: Sequence[BaseMessage]) -> int:
    """How many system messages stand at the start."""
    return next((i for i, m in enumerate(messages) if not isinstance(m, SystemMessage)), len(messages))


@lru_cache(maxsize=64)
def _names_of(cls: type) -> frozenset[str]:
    """Names of the fields of a message class, none for any other."""
    return frozenset(cls.__pydantic_fields__) if issubclass(cls, BaseMessage) else frozenset()


def _not_a_message(value: object) -> UnsupportedMessage:
    return UnsupportedMessage(
        f"{type(value).__name__} {value!r:.60} is not a LangChain message; "
        "put BaseMessage objects into state['messages']"
    )


def _other(message: Any) -> tuple[Any, Any, str | None, int]:
    """Content, extra fields, name, and a bound of the calls and the call id of any message, whatever it lacks."""
    fields = getattr(message, "__dict__", {})
    if "content" not in fields:
        raise _not_a_message(message)
    calls = sum(_calls_bound(calls) for name in ("tool_calls", "invalid_tool_calls") if (calls := fields.get(name)))
    size = calls + len(fields.get("tool_call_id") or "")
    return fields["content"], fields.get("additional_kwargs"), fields.get("name"), size


def _calls_bound(calls: Any) -> int:
    """Upper bound of the tokens of tool calls; nearly all are flat, and a ``repr`` takes ten times as long."""
    size = 0
    try:
        for call in calls:
            size += _CALL_BOUND + 4 * (len(call["name"]) + len(call["id"]))
            for name, value in call["args"].items():
                if value.__class__ is str and value.isascii() and value.isprintable() and name.__class__ is str:
                    size += 6 * len(name) + 2 * len(value) + 8
                elif value.__class__ in _PLAIN and name.__class__ is str:
                    size += 6 * len(name) + (value.bit_length() if value.__class__ is int else 0) + 32
                else:
                    return _nested_bound(calls)
    except Exception:  # noqa: BLE001  # as below: arguments that did not parse may be any object
        return _nested_bound(calls)
    return size


def _nested_bound(calls: Any) -> int:
    """JSON is at most twice a ``repr``."""
    try:
        text = repr(calls)
    except Exception:  # noqa: BLE001  # the code of any object
        return _UNKNOWN_BOUND
    return (2 if text.isascii() else 4) * len(text)


def _are_same(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    mine, theirs = list(map(_FIELDS, ones)), list(map(_FIELDS, others))
    if list(map(type, ones)) != list(map(type, others)) or not is_equal(mine, theirs):
        return False
    places = [at for at, fields in enumerate(mine) if (calls := fields.get("tool_calls")) and not _is_text(calls)]
    return all(_are_alike(mine[at]["tool_calls"], theirs[at]["tool_calls"]) for at in places)


def _is_text(calls: Any) -> bool:
    """Whether tool calls hold nothing but strings, of which no two are equal and not the same."""
    for call in calls:
        args = call.get("args")
        if type(args) is not dict or not _TEXT.issuperset(map(type, (call["name"], call["id"], *args.values()))):
            return False
    return True


def _are_alike(ones: Any, others: Any) -> bool:
    """Whether equal tool calls hold values of the same types, as far as those are Python's plain ones."""
    try:
        return dumps(ones, 2) == dumps(others, 2)
    except ValueError:  # arguments that are no JSON: their digest decides
        return False


def _content_bound(content: Any) -> int:
    try:
        if type(content) is str:
            return upper_bound(content)
        return _bound(content) if canonical.is_writable(content) else _UNKNOWN_BOUND
    except Exception:  # noqa: BLE001  # as above
        return _UNKNOWN_BOUND


def _bound(value: Any) -> int:
    """Upper bound of the tokens of nested content, media parts at their flat rate."""
    if isinstance(value, str):
        return upper_bound(value) + 8
    if isinstance(value, Mapping):
        if is_media(value):
            return MEDIA_TOKENS
        return 8 + sum(upper_bound(str(name)) + _bound(part) + 4 for name, part in value.items())
    if isinstance(value, list | tuple):
        return 8 + sum(_bound(part) for part in value)
    return upper_bound(str(value)) + 8
