"""LlamaIndex's content blocks as JSON, and back.

What JSON does not know (bytes, URLs, paths, streams) is tagged, so that it comes back as what it was.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from io import BytesIO, IOBase
from pathlib import Path
from typing import Any, Final

from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from pydantic import AnyUrl, BaseModel

from pagefault.errors import UnsupportedMessage
from pagefault.messages import canonical
from pagefault.messages.projection import NATIVE_MARK, RECALL_MARK

_TAG: Final = NATIVE_MARK
MARK: Final = "__pagefault__"
"""Beside the fields of a block that a memory gave out; see :mod:`pagefault_llamaindex.rendering`."""


class RecalledBlock(TextBlock):
    """What the recall tool answers: text like any other, known to be a copy of other pages."""

    def __str__(self) -> str:
        """The text itself, for code that calls the tool's function and prints what it returns."""
        return self.text


_BLOCKS: Final[Mapping[str, type[BaseModel]]] = {
    "text": TextBlock,
    "image": ImageBlock,
    "audio": AudioBlock,
    "video": VideoBlock,
    "document": DocumentBlock,
    "cache": CachePoint,
    "citable": CitableBlock,
    "citation": CitationBlock,
    "thinking": ThinkingBlock,
    "tool_call": ToolCallBlock,
}
MEDIA: Final = (ImageBlock, AudioBlock, VideoBlock, DocumentBlock)


def encode_block(block: Any) -> dict[str, Any]:
    """A block's fields, those that are not ``None``.

    Raises:
        UnsupportedMessage: Not one of LlamaIndex's own blocks.
    """
    if type(block) is RecalledBlock:
        return {"block_type": "text", "text": block.text, RECALL_MARK: True}
    if type(block) is not _BLOCKS.get(str(getattr(block, "block_type", None))):
        raise UnsupportedMessage(
            f"{type(block).__name__} is not one of LlamaIndex's content blocks, so it could not be restored; "
            f"use one of {sorted(_BLOCKS)}"
        )
    return {name: _encode_field(value) for name, value in block.__dict__.items() if value is not None and name != MARK}


def _encode_field(value: Any) -> Any:
    if isinstance(value, list):
        return [_encode_field(item) for item in value]
    return encode_block(value) if hasattr(value, "block_type") else plain(value)


def decode_block(data: Mapping[str, Any]) -> Any:
    """The block that :func:`encode_block` was given, as a new object.

    Raises:
        UnsupportedMessage: A kind of block that this release of LlamaIndex does not have.
    """
    if RECALL_MARK in data:
        return RecalledBlock.model_construct(text=data["text"])
    cls = _BLOCKS.get(str(data.get("block_type")))
    if cls is None:
        raise UnsupportedMessage(f"no LlamaIndex content block for {str(data)!r:.80}")
    if cls is CachePoint:
        return CachePoint.model_construct(cache_control=CacheControl.model_construct(**data["cache_control"]))
    read = dict.fromkeys(data, native) | _NESTED.get(cls, {})
    return cls.model_construct(**{name: read[name](value) for name, value in data.items()})


def plain(value: Any) -> Any:
    """JSON-like data from which :func:`native` makes an equal value.

    Raises:
        UnsupportedMessage: It is nested too deeply, or refers to itself.
    """
    check_depth(value)
    return _plain(value)


def check_depth(value: Any) -> None:
    """Refuse what cannot be written.

    Raises:
        UnsupportedMessage: It is nested too deeply, or refers to itself.
    """
    if isinstance(value, dict | list | tuple) and not canonical.is_writable(value):
        raise UnsupportedMessage(
            "additional_kwargs or tool arguments are nested too deeply, refer to themselves or hold too many lists; "
            "flatten them before they enter the memory"
        )


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        data = {name: _plain(item) for name, item in value.items()}
        return {_TAG: "dict", "value": data} if _TAG in data else data
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for cls, tag, write in _WRITERS:
        if isinstance(value, cls):
            return {_TAG: tag, "value": write(value)}
    return plain(value.model_dump()) if isinstance(value, BaseModel) else value


def native(value: Any) -> Any:
    """The value that :func:`plain` was given, as a new object."""
    if isinstance(value, list):
        return [native(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TAG in value:
        return _READERS[value[_TAG]](value["value"])
    return {name: native(item) for name, item in value.items()}


def _read_all(stream: IOBase) -> str:
    place = stream.tell()
    stream.seek(0)
    content = stream.read()
    stream.seek(place)
    return base64.b64encode(content).decode("ascii")


_NESTED: Final[Mapping[type[BaseModel], dict[str, Callable[[Any], Any]]]] = {
    CitableBlock: {"content": lambda value: [decode_block(block) for block in value]},
    CitationBlock: {"cited_content": decode_block},
}
_WRITERS: Final[tuple[tuple[type[Any], str, Callable[[Any], str]], ...]] = (
    (bytes, "bytes", lambda value: base64.b64encode(value).decode("ascii")),
    (AnyUrl, "url", str),
    (Path, "path", str),
    (IOBase, "stream", _read_all),
)
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "bytes": base64.b64decode,
    "url": AnyUrl,
    "path": Path,
    "stream": lambda value: BytesIO(base64.b64decode(value)),
    "dict": lambda value: {name: native(item) for name, item in value.items()},
}
