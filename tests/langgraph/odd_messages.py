"""Generated LangChain messages of every awkward kind, from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from tests import odd_texts

ODD_TEXTS = [*odd_texts.ODD_TEXTS, "\ud83d", "\udc00 reversed \ud800", "\ud83d\ude00"]


def messages(seed: int, count: int) -> Iterator[BaseMessage]:
    """A valid history of ``count`` messages or a few more: calls come with all their results."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        group = _calls(rng, made) if rng.random() < 0.3 else [_single(rng, made)]
        made += len(group)
        yield from group


def _single(rng: random.Random, number: int) -> BaseMessage:
    kinds: list[Any] = [HumanMessage, AIMessage, SystemMessage]
    cls = rng.choices(kinds, weights=[5, 5, 1])[0]
    return cls(content=_content(rng), id=f"m{number}", **_extras(rng))


def _calls(rng: random.Random, number: int) -> list[BaseMessage]:
    size = rng.randint(1, 3)
    calls = [
        {"name": rng.choice(["look", "ask", "記"]), "args": _args(rng), "id": f"c{number}.{i}"} for i in range(size)
    ]
    results = [
        ToolMessage(
            content=_content(rng),
            tool_call_id=f"c{number}.{i}",
            id=f"r{number}.{i}",
            name="look",
            artifact=rng.choice([None, {"rows": [1, 2.5, None]}, "text"]),
        )
        for i in range(size)
    ]
    return [AIMessage(content=_content(rng), tool_calls=calls, id=f"m{number}", **_extras(rng)), *results]


def _text(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(ODD_TEXTS)
    return " ".join(
        rng.choice(["page", "fault", "märz", "数", "x" * 30, "🙂", "12.5", "{}"]) for _ in range(rng.randint(1, 60))
    )


def _content(rng: random.Random) -> Any:
    if rng.random() < 0.8:
        return _text(rng)
    parts: list[Any] = [
        {"type": "text", "text": _text(rng)},
        _text(rng),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * rng.randint(1, 200)}},
        {"type": "thinking", "thinking": _text(rng), "signature": "s=="},
        {"type": "tool_use", "id": "t", "name": "n", "input": _args(rng)},
        {"type": "custom", "deep": _deep(rng.randint(1, 60))},
    ]
    return rng.sample(parts, rng.randint(0, len(parts)))


def _args(rng: random.Random) -> dict[str, Any]:
    values: list[Any] = [None, True, -0.0, 5e-324, 1e308, 2**80, -(2**70), "", _text(rng), [], {}, [1, [2, [3]]]]
    args = {rng.choice(["", "key", "ключ", "__utf8__", "a b"]): rng.choice(values) for _ in range(rng.randint(0, 4))}
    if rng.random() < 0.1:
        args["deep"] = _deep(rng.randint(100, 250))
    return args


def _deep(levels: int) -> Any:
    value: Any = "core"
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


def _extras(rng: random.Random) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    if rng.random() < 0.2:
        extras["name"] = rng.choice(["ada", "Zoë", "bot-7"])
    if rng.random() < 0.2:
        extras["additional_kwargs"] = {"reasoning_content": _text(rng), "n": [1, 2]}
    if rng.random() < 0.2:
        extras["response_metadata"] = {"model": "m", "logprobs": [[0.1, -3.5], None], "usage": {"in": 5}}
    return extras
