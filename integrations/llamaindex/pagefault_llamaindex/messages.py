"""LlamaIndex messages as pagefault sees them: the ``llamaindex/1`` codec.

A body is the message's own fields as JSON; restoring runs no validators, so nothing is
normalised on the way.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from llama_index.core.base.llms.types import (
    ChatMessage,
    CitableBlock,
    CitationBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from pagefault.errors import PagefaultError, UnsupportedMessage
from pagefault.messages import canonical
from pagefault.messages.projection import project
from pagefault.page import Role
from pagefault.ports import Sketch
from pagefault.tokens import MEDIA_TOKENS, upper_bound
from pagefault_llamaindex.encoding import (
    MARK,
    MEDIA,
    RecalledBlock,
    check_depth,
    decode_block,
    encode_block,
    native,
    plain,
)

_BOUND: Final = 16
_CALL_BOUND: Final = 16
_UNKNOWN_BOUND: Final = 10**9
_ROLES: Final = {
    MessageRole.SYSTEM: Role.SYSTEM.value,
    MessageRole.DEVELOPER: Role.SYSTEM.value,
    MessageRole.USER: Role.USER.value,
    MessageRole.ASSISTANT: Role.ASSISTANT.value,
    MessageRole.CHATBOT: Role.ASSISTANT.value,
    MessageRole.MODEL: Role.ASSISTANT.value,
    MessageRole.TOOL: Role.TOOL.value,
    MessageRole.FUNCTION: Role.TOOL.value,
}


class LlamaIndexCodec:
    """Codec for LlamaIndex's ``ChatMessage`` with all its content blocks."""

    format = "llamaindex/1"

    def measure(self, messages: Sequence[Any]) -> tuple[list[int], Any]:
        """UTF-8 bytes of all that is counted, and a flat rate for media."""
        return list(map(_bound, messages)), messages[-1].blocks if messages else None

    def content(self, message: Any) -> Any:
        """The list of blocks."""
        return message.blocks

    def sketch(self, message: Any) -> Sketch:
        """Role and call ids; a call or result without an id goes by the tool's name."""
        role = _ROLES[message.role]
        extra = message.additional_kwargs
        if role == Role.TOOL.value:
            recalled = any(type(block) is RecalledBlock for block in message.blocks)
            return Sketch(role, (), str(extra.get("tool_call_id") or extra.get("name") or ""), recalled)
        calls = [b.tool_call_id or b.tool_name for b in message.blocks if isinstance(b, ToolCallBlock)]
        if "tool_calls" in extra:
            read = project(self.format, self.encode(message))
            calls = [call.id or call.name for call in read.calls]
        return Sketch(role, tuple(calls))

    def encode(self, message: Any) -> Any:
        """Role, blocks and additional arguments."""
        if not isinstance(message, ChatMessage):
            raise not_a_message(message)
        return {
            "role": MessageRole(message.role).value,
            "blocks": [encode_block(block) for block in message.blocks],
            "additional_kwargs": plain(message.additional_kwargs),
        }

    def encode_all(self, messages: Sequence[Any]) -> list[Any]:
        """Of each, one by one."""
        return list(map(self.encode, messages))

    def decode(self, data: Any) -> ChatMessage:
        """A new message.

        Raises:
            UnsupportedMessage: A kind of block that is not LlamaIndex's own.
        """
        return _message(
            MessageRole(data["role"]),
            [decode_block(block) for block in data["blocks"]],
            native(data["additional_kwargs"]),
        )

    def is_same(self, one: Any, other: Any) -> bool:
        """Whether both have the same text and nothing else; ``False`` of all others, which digests tell apart."""
        if one.__class__ is not other.__class__ or one.role != other.role:
            return False
        mine, theirs = one.blocks, other.blocks
        if len(mine) == len(theirs) == 1 and mine[0].__class__ is theirs[0].__class__ is TextBlock:
            same = mine[0].text == theirs[0].text
            return bool(same) and not one.additional_kwargs and not other.additional_kwargs
        return False

    def are_same(self, ones: Sequence[Any], others: Sequence[Any]) -> bool:
        """Whether all are."""
        return all(map(self.is_same, ones, others))

    def usage(self, message: Any) -> int | None:  # noqa: ARG002  # responses carry it, messages do not
        """Not known."""
        return None

    def key(self, message: Any) -> str | None:  # noqa: ARG002  # LlamaIndex's messages have no ids
        """None: they are told apart by what they say, and where."""
        return None

    def with_parts(self, message: Any, texts: Sequence[str | None]) -> ChatMessage:
        """A copy with the text of some blocks replaced."""
        cut = texts[: len(message.blocks)]
        blocks = [block if text is None else _cut(block, text) for block, text in zip(message.blocks, cut, strict=True)]
        return _message(message.role, blocks, message.additional_kwargs)

    def block(self, text: str, name: str) -> ChatMessage:  # noqa: ARG002  # nothing here has ids
        """A user message with a block's text: every provider takes one anywhere after the system prompt."""
        return _message(MessageRole.USER, [TextBlock.model_construct(text=text)], {})


LLAMAINDEX: Final = LlamaIndexCodec()


def accept(messages: object) -> list[ChatMessage]:
    """Check messages and copy them as they will be restored one day.

    Raises:
        UnsupportedMessage: Not a list of ``ChatMessage``, or one holds what JSON cannot.
    """
    if isinstance(messages, ChatMessage) or not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise UnsupportedMessage(f"a list of ChatMessage is wanted, got {type(messages).__name__} {messages!r:.60}")
    return [accept_one(message) for message in messages]


def accept_one(message: Any) -> ChatMessage:
    """As :func:`accept`, for one message.

    Keys keep their order, so that a prompt cache knows a tool call again; what the store gives back has them sorted.

    Raises:
        UnsupportedMessage: It is none, or holds what JSON cannot.
    """
    with _told(message):
        if is_plain(message):
            return copy_of(message)
        data = LLAMAINDEX.encode(message)
        text, lost = canonical.exact(data)
        if lost:
            raise UnsupportedMessage(
                f"additional_kwargs or tool arguments of {str(message)!r:.60} hold {lost}; the store would be its only "
                "copy, so convert it (objects to dictionaries, keys to text) before it enters the memory"
            )
        return LLAMAINDEX.decode(_in_order_of(data, canonical.load(text)))


def _in_order_of(said: Any, read: Any) -> Any:
    """What was read back, with the keys of its dictionaries in the order in which they were said."""
    if isinstance(read, dict):
        keys = [(key, str.__str__(key)) for key in said]  # an enumeration is read as its text
        return {text: _in_order_of(said[key], read[text]) for key, text in keys}
    if isinstance(read, list):
        return [_in_order_of(one, other) for one, other in zip(said, read, strict=True)]
    return read


def is_plain(message: Any) -> bool:
    """Whether a message is nothing but text."""
    return (
        message.__class__ is ChatMessage
        and message.role.__class__ is MessageRole
        and message.additional_kwargs.__class__ is dict
        and not message.additional_kwargs
        and all(block.__class__ is TextBlock and block.text.__class__ is str for block in message.blocks)
    )


def is_equal(one: Any, other: Any) -> bool:
    """Whether two messages hold the same; what cannot be read is equal to nothing."""
    if one is other or LLAMAINDEX.is_same(one, other):
        return True
    try:
        with _told(other):
            return bool(LLAMAINDEX.encode(one) == LLAMAINDEX.encode(other))
    except UnsupportedMessage:
        return False


def copy_of(message: ChatMessage) -> ChatMessage:
    """A message that callers may change without changing ours."""
    blocks = [_block_copy(block) for block in message.blocks]
    return _message(message.role, blocks, copy.deepcopy(message.additional_kwargs) if message.additional_kwargs else {})


def lead_of(messages: Sequence[ChatMessage]) -> int:
    """How many system messages stand at the start."""
    return next((i for i, m in enumerate(messages) if _ROLES[m.role] != Role.SYSTEM.value), len(messages))


# -- building objects without validation --------------------------------------------------------

_FIELDS_SET: Final = frozenset({"role", "blocks", "additional_kwargs"})
_new: Final = object.__new__
_set: Final = object.__setattr__


def _message(role: MessageRole, blocks: list[Any], extra: dict[str, Any]) -> ChatMessage:
    message = _new(ChatMessage)
    _set(message, "__dict__", {"role": role, "additional_kwargs": extra, "blocks": blocks})
    _set(message, "__pydantic_fields_set__", set(_FIELDS_SET))
    _set(message, "__pydantic_extra__", None)
    _set(message, "__pydantic_private__", None)
    return message


def _cut(block: Any, text: str) -> Any:
    if isinstance(block, CitableBlock):
        return block.model_copy(update={"content": [TextBlock.model_construct(text=text)]})
    return (type(block) if isinstance(block, TextBlock) else TextBlock).model_construct(text=text)


def _block_copy(block: Any) -> Any:
    if block.__class__ is not TextBlock:
        return copy.deepcopy(block)
    twin, fields = _new(TextBlock), block.__dict__.copy()
    fields.pop(MARK, None)
    _set(twin, "__dict__", fields)
    _set(twin, "__pydantic_fields_set__", {"text"})
    _set(twin, "__pydantic_extra__", None)
    _set(twin, "__pydantic_private__", None)
    return twin


def not_a_message(value: object) -> UnsupportedMessage:
    """What to raise in place of an error of whatever it has not."""
    return UnsupportedMessage(
        f"{type(value).__name__} {value!r:.60} is not a LlamaIndex message; pass ChatMessage objects"
    )


@contextmanager
def _told(message: ChatMessage) -> Iterator[None]:
    """What an object in a message raises when it is read is told before its conversation has it.

    Raises:
        UnsupportedMessage: It cannot be read.
    """
    try:
        yield
    except PagefaultError:
        raise
    except Exception as error:
        raise UnsupportedMessage(
            f"a message of the role {message.role!r:.40} cannot be read, something in its blocks or additional_kwargs "
            f"raises {type(error).__name__}; give JSON-like data and open streams"
        ) from error


# -- bounds -------------------------------------------------------------------------------------


def _bound(message: Any) -> int:
    if not isinstance(message, ChatMessage):
        raise not_a_message(message)
    with _told(message):
        if is_plain(message):
            return _BOUND + sum(map(_block_bound, message.blocks))
        extra = message.additional_kwargs
        if not isinstance(extra, dict):
            raise UnsupportedMessage(f"additional_kwargs is a dictionary, got {type(extra).__name__}")
        size = _BOUND + sum(map(_block_bound, message.blocks)) + (_json_bound(extra) if extra else 0)
        project(LLAMAINDEX.format, LLAMAINDEX.encode(message))  # as it will be written: what fails then fails for ever
        return size


def _block_bound(block: Any) -> int:
    if isinstance(block, TextBlock):
        return upper_bound(block.text) + 1
    if isinstance(block, MEDIA):
        return MEDIA_TOKENS
    if isinstance(block, ToolCallBlock):
        return _CALL_BOUND + upper_bound(block.tool_name) + _json_bound(block.tool_kwargs)
    if isinstance(block, ThinkingBlock):
        return upper_bound(block.content or "") + 1
    if isinstance(block, CitableBlock):
        return sum(map(_block_bound, block.content)) + 1
    return _block_bound(block.cited_content) if isinstance(block, CitationBlock) else 1


def _json_bound(value: Any) -> int:
    """Upper bound of the tokens of some JSON: it is at most twice its ``repr``.

    Raises:
        UnsupportedMessage: It is nested too deeply, or refers to itself: told here, before its conversation has it.
    """
    check_depth(value)
    try:
        text = repr(value)
    except ValueError:  # a whole number of more than 4,300 digits
        return _UNKNOWN_BOUND
    return _CALL_BOUND + (2 if text.isascii() else 4) * len(text)
