"""The unit that moves: spaces, pages and the addresses by which a model names them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from pagefault.errors import BadAddress, InvalidId

MAX_ID_CHARS: Final = 512


class Kind(StrEnum):
    """What a page is: ``MESSAGE`` is indexed; ``RECALLED`` (the result of a recall) never is."""

    MESSAGE = "message"
    RECALLED = "recalled"


class Role(StrEnum):
    """Who speaks in a message, in the neutral projection."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceId:
    """One agent's conversation: the address space that pages belong to.

    Attributes:
        tenant: Isolation boundary; nothing ever crosses it. Non-empty.
        user: The end user, ``""`` when the application names none.
        thread: The conversation. Non-empty.
        agent: The agent within the thread, ``""`` for the root agent.

    Raises:
        InvalidId: A part is not a string, is empty where it must not be, holds NUL,
            cannot be encoded as UTF-8, or is longer than 512 characters.

    Example:
        >>> SpaceId(tenant="acme", user="ada", thread="t1", agent="").key[:8]
        'ee125d52'
    """

    tenant: str
    user: str
    thread: str
    agent: str

    def __post_init__(self) -> None:
        for name in ("tenant", "user", "thread", "agent"):
            check_id(name, getattr(self, name), empty=name in ("user", "agent"))

    @property
    def key(self) -> str:
        """32 hex digits naming this space; different parts never give the same key."""
        parts = json.dumps([self.tenant, self.user, self.thread, self.agent])
        return hashlib.sha256(parts.encode("ascii")).hexdigest()[:32]

    @property
    def alias(self) -> str:
        """How an address in another conversation names this space: ``c`` and ten hex digits."""
        return f"c{self.key[:10]}"


def check_id(name: str, value: object, *, empty: bool = False) -> str:
    """Return ``value`` when it can serve as an id, else raise ``InvalidId``."""
    if not isinstance(value, str):
        raise InvalidId(
            f"{name} must be a string, got {type(value).__name__} {value!r:.60}; "
            f"convert it where you build the id, for example str(...)"
        )
    if not value and not empty:
        raise InvalidId(f"{name} is empty; give it 1 to {MAX_ID_CHARS} characters")
    if len(value) > MAX_ID_CHARS:
        raise InvalidId(f"{name} has {len(value)} characters, the limit is {MAX_ID_CHARS}")
    if "\x00" in value or not value.isprintable():
        raise InvalidId(f"{name} {value!r:.60} holds control or unprintable characters")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call inside an assistant message: id, tool name and arguments as JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The neutral reading of one message: for counting, search and other frameworks.

    Attributes:
        role: Who speaks.
        text: All readable text, parts joined by newlines.
        parts: The text of each content part, in order; one part for plain content.
        name: The speaker's or tool's name, if any.
        calls: Tool calls of an assistant message.
        call_id: For a tool result, the call it answers.
        message_id: The framework's id, if any.
        media: Parts that are not text (images, audio, files).
        recalled: A tool result written by pagefault's own recall tool: a copy, never indexed.
        own: The text without what a recall quoted there, or was asked, where that is not all of it.
    """

    role: Role
    text: str
    parts: tuple[str, ...] = ()
    name: str = ""
    calls: tuple[Call, ...] = ()
    call_id: str = ""
    message_id: str = ""
    media: int = 0
    recalled: bool = False
    own: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One immutable page: a message, or an assistant message with all its tool results.

    Attributes:
        seq: Position in its own chain, from 1: the page number the model sees.
        chain: 32 hex digits committing to this page and everything before it.
        parent: The chain of the page before, ``""`` for the first.
        kind: ``Kind.MESSAGE`` or ``Kind.RECALLED``.
        format: How ``body`` reads: ``langchain/1``, ``llamaindex/1`` or ``chat/1``.
        body: Canonical JSON (ASCII) of the list of messages in their native form.
        sha256: 64 hex digits over ``body``.
        messages: The neutral projection of each message.
        tokens: Exact count of the page as the counter sees it.
        gist: One line that says what the page holds.
        created_at: Unix seconds when its first message was said, where that tells, else when the page was first seen.
        opaque: The body holds something in place of a value or key that JSON has no form for.
    """

    seq: int
    chain: str
    parent: str
    kind: Kind
    format: str
    body: str
    sha256: str
    messages: tuple[Projection, ...]
    tokens: int
    gist: str
    created_at: float
    opaque: bool = False

    @property
    def text(self) -> str:
        """All readable text of the page."""
        return "\n".join(m.text for m in self.messages if m.text)


_ADDRESS: Final = re.compile(
    r"(?:(c[0-9a-f]{10}):)?([1-9][0-9]{0,14})(?:-([1-9][0-9]{0,14})|(?:\.([1-9][0-9]{0,5}))?(?:@([0-9]{1,12}))?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to find something that left the window.

    The grammar is fixed for ever, since old compaction blocks keep addresses:
    ``12`` a page, ``12-14`` pages 12 to 14, ``12.3`` the third part of page 12,
    ``12@4000`` or ``12.3@4000`` from character 4000 on. In front of a page of
    another conversation of the same user stands that one's alias: ``c0f3a9e2b71:12``.

    Attributes:
        first: First page, from 1.
        last: Last page, ``first`` when one page is meant.
        part: Part within the page, from 1; 0 is the whole page.
        offset: Characters to skip.
        alias: ``SpaceId.alias`` of another conversation, ``""`` for one's own.
    """

    first: int
    last: int
    part: int = 0
    offset: int = 0
    alias: str = ""

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read one address.

        Raises:
            BadAddress: ``text`` does not follow the grammar.

        Example:
            >>> Address.parse("12.3@4000")
            Address(first=12, last=12, part=3, offset=4000, alias='')
        """
        if not isinstance(text, str):
            raise BadAddress(f"a page address is text like '12' or '12-14', got {type(text).__name__} {text!r:.60}")
        match = _ADDRESS.fullmatch(text.strip())
        if match is None:
            raise BadAddress(f"{text!r:.60} is not a page address; write '12', '12-14' or '12.3@4000'")
        alias, first, last, part, offset = match.groups()
        if last is not None and int(last) < int(first):
            raise BadAddress(f"{text!r} runs backwards; write '{f'{alias}:' if alias else ''}{last}-{first}'")
        return cls(
            first=int(first), last=int(last or first), part=int(part or 0), offset=int(offset or 0), alias=alias or ""
        )

    def __str__(self) -> str:
        where = f"{self.alias}:" if self.alias else ""
        if self.last != self.first:
            return f"{where}{self.first}-{self.last}"
        part = f".{self.part}" if self.part else ""
        offset = f"@{self.offset}" if self.offset else ""
        return f"{where}{self.first}{part}{offset}"


def parse_addresses(text: object) -> tuple[Address, ...]:
    """Read a comma- or space-separated list of addresses, such as ``"3, 12-14"``."""
    words = [word for word in re.split(r"[,\s]+", text) if word] if isinstance(text, str) else []
    if not words:
        raise BadAddress(f"no page address in {text!r:.60}; write '12', '12-14' or '3, 12-14'")
    return tuple(Address.parse(word) for word in words)


def in_words(addresses: Sequence[str]) -> str:
    """How a sentence names pages.

    Example:
        >>> in_words(["3"]), in_words(["3-4", "7"])
        ('page 3', 'pages 3-4, 7')
    """
    is_one = len(addresses) == 1 and "-" not in addresses[0]
    return f"{'page' if is_one else 'pages'} {', '.join(addresses)}"
