"""From native messages to a page's content: body, digest, projections, tokens and gist."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from marshal import dumps
from typing import Any, Final

from pagefault import canonical
from pagefault.errors import UnsupportedMessage
from pagefault.gist import gist_of
from pagefault.messages import compact, project
from pagefault.page import Kind, Page, Projection
from pagefault.ports import Codec, TokenCounter
from pagefault.tokens import message_tokens

SCHEMA_OVERHEAD: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything about a page that does not depend on where it stands in a chain.

    Attributes:
        body: Canonical JSON of the list of messages.
        digest: Identity digest, 32 bytes.
        imprint: What :func:`imprint` said of the same messages.
        messages: Neutral projections.
        tokens: Exact count, the counter's reserve included.
        gist: One line for the table of contents.
        opaque: A value or key that JSON cannot hold was replaced in the body.
    """

    body: str
    digest: bytes
    imprint: bytes
    messages: tuple[Projection, ...]
    tokens: int
    gist: str
    opaque: bool


def materialise(natives: Sequence[Any], codec: Codec, counter: TokenCounter, kind: Kind) -> Content:
    """Turn the native messages of one page into its content. Pure but for the counter's cache."""
    data = [codec.encode(native) for native in natives]
    known = _imprint(data)  # before the body: were a message changed just now, the digest decides
    try:
        body, lost = canonical.exact(data)
    except UnsupportedMessage as error:
        body, lost = canonical.dump([canonical.prune(item) for item in data])[0], str(error)
    messages = tuple(project(codec.format, item) for item in data)
    return Content(
        body=body,
        digest=canonical.identity(body),
        imprint=known,
        messages=messages,
        tokens=count(messages, counter),
        gist=gist_of(messages, kind),
        opaque=bool(lost),
    )


def digest(natives: Sequence[Any], codec: Codec) -> bytes:
    """The identity digest alone."""
    data = [codec.encode(native) for native in natives]
    try:
        body = canonical.dump(data)[0]
    except UnsupportedMessage:
        body = canonical.dump([canonical.prune(item) for item in data])[0]
    return canonical.identity(body)


def imprint(natives: Sequence[Any], codec: Codec) -> bytes:
    """16 bytes that two lists of messages share only when they have the same digest, at a tenth of its price.

    Empty where there are none: some value is not of Python's plain types. The other way round nothing is
    said: equal messages whose fields stand in another order have another imprint.
    """
    return _imprint(list(map(codec.encode, natives)))


def imprints(natives: Sequence[Any], sizes: Iterable[int], codec: Codec) -> list[bytes]:
    """:func:`imprint` of each of some pages, whose messages follow each other; asked together, they cost less."""
    data, start = codec.encode_all(natives), 0
    made: list[bytes] = []
    for size in sizes:
        made.append(_imprint(data[start : start + size]))
        start += size
    return made


def sum_of(made: Iterable[bytes]) -> str:
    """One hex digest over the imprints of some pages, for a seal."""
    return blake2b(b"".join(made), digest_size=16).hexdigest()


def _imprint(data: list[Any]) -> bytes:
    try:  # version 2 writes every part in full, whether shared or not; nothing is ever read back
        return blake2b(dumps(data, 2), digest_size=16).digest()
    except ValueError:
        return b""


def count(messages: Sequence[Projection], counter: TokenCounter) -> int:
    """Tokens of a page, with the counter's reserve on top."""
    return reserved(sum(message_tokens(m, counter) for m in messages), counter)


def schema_tokens(schemas: Iterable[Any], counter: TokenCounter) -> int:
    """Tokens of the schemas of tools and answers in a request, with the counter's reserve on top."""
    return reserved(sum(counter.count(compact(schema)) + SCHEMA_OVERHEAD for schema in schemas), counter)


def reserved(tokens: int, counter: TokenCounter) -> int:
    """A count with the counter's reserve on top."""
    return tokens if counter.reserve == 0 else int(tokens * (1 + counter.reserve)) + 1


def page_of(
    content: Content, *, seq: int, chain: str, parent: str, kind: Kind, format_: str, created_at: float
) -> Page:
    """The immutable page: a content at its place in a chain."""
    return Page(
        seq=seq,
        chain=chain,
        parent=parent,
        kind=kind,
        format=format_,
        body=content.body,
        sha256=canonical.sha256(content.body),
        messages=content.messages,
        tokens=content.tokens,
        gist=content.gist,
        created_at=created_at,
        opaque=content.opaque,
    )
