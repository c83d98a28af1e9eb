"""The agent's tools: the reference documentation that ships inside Python, a part at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pydoc_data.topics import topics
from typing import Final

from langchain_core.tools import BaseTool, tool

PART_CHARS: Final = 1_500
"""A part is some paragraphs of a topic, about 350 tokens."""

STEP_CHARS: Final = 1_700
"""What comes next is given as several parts where they are short, to be read in parallel."""

THE_END: Final = "end of the documentation"


def split(text: str, limit: int = PART_CHARS) -> list[str]:
    """Whole paragraphs, as many to a part as fit; joined by a blank line they are the text again."""
    parts: list[str] = []
    for paragraph in text.split("\n\n"):
        if parts and len(parts[-1]) + len(paragraph) + 2 <= limit:
            parts[-1] += "\n\n" + paragraph
        else:
            parts.append(paragraph)
    return parts


class Library:
    """Topics of the reference in alphabetical order, all or some, and the tools that read them."""

    def __init__(self, limit: int | None = None, *, only: Sequence[str] | None = None) -> None:
        names = sorted(topics if only is None else only)[:limit]
        self.topics: Final = {name: topics[name] for name in names}
        self._parts: Final = {name: split(text) for name, text in self.topics.items()}
        self._order: Final = [(name, number) for name in names for number in range(1, len(self._parts[name]) + 1)]
        self._place: Final = {at: index for index, at in enumerate(self._order)}

    @property
    def parts(self) -> int:
        """How many parts there are to read."""
        return len(self._order)

    @property
    def characters(self) -> int:
        """How much text there is to read."""
        return sum(map(len, self.topics.values()))

    def tools(self) -> list[BaseTool]:
        """The tools for an agent."""

        @tool
        def list_topics() -> str:
            """List the topics of the Python reference, and where to begin."""
            return f"{len(self.topics)} topics: {', '.join(self.topics)}\n\n[{self._next(0)}]"

        @tool
        def read_topic(name: str, part: int = 1) -> str:
            """Read one part of a topic. The last line says which part it is and what comes next."""
            place = self._place.get((name, part))
            if place is None:
                return f"there is no part {part} of {name!r}; list_topics() names the topics"
            text, of = self._parts[name][part - 1], len(self._parts[name])
            return f"{text}\n\n[{name} {part} of {of}; {self._next(place + 1)}]"

        return [list_topics, read_topic]

    def _next(self, place: int) -> str:
        """Where to go on: one part, or as many short ones as make up about one."""
        ahead: list[str] = []
        size = 0
        for name, number in self._order[place:]:
            size += len(self._parts[name][number - 1])
            if ahead and size > STEP_CHARS:
                break
            ahead.append(f"{name} {number}")
        return f"next: {', '.join(ahead)}" if ahead else THE_END
