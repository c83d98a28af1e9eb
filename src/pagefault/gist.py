"""Extractive gists: one short line that says what a page or a range of pages holds.

Nothing here calls a model. A gist quotes the page's own opening words, so it can be made
while the page is written back and never claims what the page does not say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pagefault.page import Kind, Projection, Role

MAX_CHARS: Final = 96
_SENTENCE: Final = re.compile(r"(?<=[.!?。！？])\s")
_SCANNED: Final = 2_000
_LABELS: Final = {Role.USER: "user", Role.ASSISTANT: "assistant", Role.TOOL: "tool", Role.SYSTEM: "system"}


def gist_of(messages: Sequence[Projection], kind: Kind = Kind.MESSAGE) -> str:
    """One line of at most 96 characters for a page.

    Example:
        >>> from pagefault.page import Projection
        >>> gist_of([Projection(role=Role.USER, text="Find the cheapest flight. Then book it.")])
        'user: Find the cheapest flight.'
    """
    calls = [call for message in messages for call in message.calls]
    if kind is Kind.RECALLED:
        return _cut("recalled " + ", ".join(_line(c.arguments) for c in calls), MAX_CHARS)
    if calls:
        names = ", ".join(f"{_line(c.name)}({_cut(_line(c.arguments), 40)})" for c in calls[:3])
        result = next((m.text for m in messages if m.role is Role.TOOL and m.text), "")
        return _cut(f"{names} -> {_opening(result)}" if result else names, MAX_CHARS)
    spoken = next((m for m in messages if m.text), messages[0])
    label = _LABELS[spoken.role]
    who = f"{label} {_line(spoken.name)}" if spoken.name else label
    return _cut(f"{who}: {_opening(spoken.text)}" if spoken.text else f"{who}: (no text)", MAX_CHARS)


def merge(first: str, second: str) -> str:
    """One gist for two neighbouring ranges, half of it from each."""
    if first == second:
        return first
    half = (MAX_CHARS - 3) // 2
    spare = max(0, half - len(first))
    return f"{_cut(first, half)} | {_cut(second, half + spare)}"


def _opening(text: str) -> str:
    return _SENTENCE.split(_line(text[:_SCANNED]), maxsplit=1)[0]


def _line(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text[:_SCANNED])
    return " ".join(printable.split())


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
