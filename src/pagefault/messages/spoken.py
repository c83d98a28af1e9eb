"""What a message says, in the words of no framework: the records that translation goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagefault.page import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenCall:
    """A tool call: id (``""`` for none), tool name and arguments."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """Something to see, hear or read, by a URL or as data; ``""`` where nothing is said.

    Attributes:
        kind: ``image``, ``audio``, ``video`` or ``file``.
        url: Where it is; empty if ``data`` is given.
        data: Standard base64; then ``mime`` is given too.
        mime: MIME type.
        title: Of a file.
        detail: How closely to look at an image.
    """

    kind: str
    url: str = ""
    data: str = ""
    mime: str = ""
    title: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """What a model thought before it spoke.

    Attributes:
        text: May be empty, where a provider only says that it thought.
        extra: What the provider wants back with it: ``signature``, ``id``, ...
    """

    text: str
    extra: Mapping[str, Any]


Part = str | Medium | Thought | SpokenCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What every framework can say.

    Attributes:
        role: Who speaks.
        parts: In order, without empty texts; tool calls and thoughts of an assistant only.
        call_id: The call that a tool result answers, ``""`` in other messages.
        name: The speaker's or tool's name, if any.
        message_id: The framework's id, if any.
    """

    role: Role
    parts: tuple[Part, ...]
    call_id: str = ""
    name: str = ""
    message_id: str = ""

    @property
    def calls(self) -> tuple[SpokenCall, ...]:
        """The tool calls among the parts."""
        return tuple(part for part in self.parts if isinstance(part, SpokenCall))
