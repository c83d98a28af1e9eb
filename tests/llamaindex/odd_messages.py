"""Generated LlamaIndex messages with every kind of block, from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from tests.odd_texts import ODD_TEXTS

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def messages(seed: int, count: int) -> Iterator[ChatMessage]:
    """A valid history of ``count`` messages or a few more: calls come with all their results."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        group = _calls(rng, made) if rng.random() < 0.3 else [_single(rng)]
        made += len(group)
        yield from group


def _single(rng: random.Random) -> ChatMessage:
    role = rng.choices(["user", "assistant", "system", "developer", "chatbot", "model"], weights=[9, 9, 1, 1, 1, 1])[0]
    return ChatMessage(role=role, blocks=_blocks(rng), additional_kwargs=_extra(rng))


def _calls(rng: random.Random, number: int) -> list[ChatMessage]:
    ids = [f"c{number}.{i}" for i in range(rng.randint(1, 3))]
    results = [
        ChatMessage(role="tool", blocks=_blocks(rng), additional_kwargs={"tool_call_id": each, "name": "look"})
        for each in ids
    ]
    if rng.random() < 0.5:
        blocks = [
            ToolCallBlock(tool_call_id=i, tool_name=rng.choice(["look", "記"]), tool_kwargs=_args(rng)) for i in ids
        ]
        return [ChatMessage(role="assistant", blocks=[*_blocks(rng), *blocks]), *results]
    calls = [{"id": i, "type": "function", "function": {"name": "look", "arguments": str(_args(rng))}} for i in ids]
    return [ChatMessage(role="assistant", blocks=_blocks(rng), additional_kwargs={"tool_calls": calls}), *results]


def _text(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(ODD_TEXTS)
    return " ".join(
        rng.choice(["page", "fault", "märz", "数", "x" * 30, "🙂", "12.5", "{}"]) for _ in range(rng.randint(1, 60))
    )


def _blocks(rng: random.Random) -> list[Any]:
    if rng.random() < 0.6:
        return [TextBlock(text=_text(rng))]
    cited: Any = rng.choice([TextBlock(text=_text(rng)), ImageBlock(image=PNG)])
    kinds: list[Any] = [
        TextBlock(text=_text(rng)),
        ImageBlock(image=PNG, detail="low"),
        ImageBlock(url="https://example.org/ä b.png"),
        ImageBlock(image=BytesIO(PNG), image_mimetype="image/png"),
        ImageBlock(path=__file__, image_mimetype="image/png"),
        AudioBlock(audio=b"ID3" + PNG, format="mp3"),
        VideoBlock(url="https://example.org/v.mp4", fps=3),
        DocumentBlock(data=b"%PDF-1.7 " + PNG, title="t", document_mimetype="application/pdf"),
        DocumentBlock(path="/nowhere/at/all.txt", url="https://example.org/x"),
        CachePoint(cache_control=CacheControl(type="ephemeral", ttl="1h")),
        CitableBlock(title="t", source="s", content=[cited, DocumentBlock(data=PNG, document_mimetype="image/png")]),
        CitationBlock(
            cited_content=cited, source="s", title="t", additional_location_info={"page": 3, "block_type": 1}
        ),
        ThinkingBlock(content=_text(rng), num_tokens=7, additional_information={"signature": "s==", "block_type": "x"}),
        ThinkingBlock(),
        ToolCallBlock(tool_name="unanswered", tool_kwargs='{"broken'),
    ]
    return rng.sample(kinds[:-1], rng.randint(0, len(kinds) - 1))


def _args(rng: random.Random) -> dict[str, Any]:
    values: list[Any] = [None, True, -0.0, 5e-324, 1e308, 2**80, -(2**70), "", _text(rng), [], {}, [1, [2, [3]]]]
    names = ["", "key", "ключ", "__utf8__", "__pagefault__", "a b", "block_type"]
    return {rng.choice(names): rng.choice(values) for _ in range(rng.randint(0, 4))}


def _extra(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.7:
        return {}
    return {"reasoning_content": _text(rng), "raw": b"\x00\xff", "deep": {"n": [1, 2.5, None]}, **_args(rng)}
