"""From native messages to a page's content: body, digest, projections, tokens and gist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
from marshal import dumps
from typing import Any, Final

from pagefault.estimate import reserved
from pagefault.messages import canonical
from pagefault.messages.equal import is_equal
from pagefault.messages.projection import project
from pagefault.page import Kind, Page, Projection
from pagefault.ports import Codec, TokenCounter
from pagefault.tokens import message_tokens
from pagefault.window.gist import gist_of

COPIED_DEPTH: Final = 12
"""What is nested deeper is not copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything about a page that does not depend on where it stands in a chain.

    Attributes:
        body: Canonical JSON of the list of messages.
        digest: Identity digest, 32 bytes.
        imprint: What :func:`imprints` said of the same messages.
        messages: Neutral projections.
        tokens: Exact count, the counter's reserve included.
        gist: One line for the table of contents.
        opaque: A value or key that JSON cannot hold was replaced in the body.
        copy: What :func:`copy_of` made of the same messages; ``None`` once the page's place has it.
    """

    body: str
    digest: bytes
    imprint: bytes
    messages: tuple[Projection, ...]
    tokens: int
    gist: str
    opaque: bool
    copy: list[Any] | None = None


def materialise(
    natives: Sequence[Any], codec: Codec, counter: TokenCounter, kind: Kind, known: Content | None = None
) -> Content:
    """Turn the native messages of one page into its content. Pure but for the counter's cache.

    Where all but its body and messages is ``known``, these alone are made: to count takes longer than all else.
    """
    data = [codec.encode(native) for native in natives]
    is_finite = _is_finite(data)
    read = _imprint(data) if is_finite else b""  # before the body: were a message changed just now, the digest decides
    copy = _copied(data) if is_finite else None
    body, lost = written(data)
    messages = tuple(_projection(codec.format, item) for item in data)
    if known is not None:
        return replace(known, body=body, messages=messages, opaque=bool(lost))
    return Content(
        body=body,
        digest=canonical.identity(body),
        imprint=read,
        messages=messages,
        tokens=count(messages, counter),
        gist=gist_of(messages, kind),
        opaque=bool(lost),
        copy=copy,
    )


def digest(natives: Sequence[Any], codec: Codec) -> bytes:
    """The identity digest alone."""
    return canonical.identity(written([codec.encode(native) for native in natives])[0])


def written(data: list[Any]) -> tuple[str, str]:
    """The body of a page with these encoded messages, and what it would not give back.

    Each is written by itself: what one of them can be alone, it can be among others, and one that cannot be written as
    it is costs the others nothing.
    """
    bodies: list[str] = []
    lost = ""
    for item in data:
        try:
            body, odd = canonical.exact(item)
        except Exception as error:  # noqa: BLE001  # of odd values, whose own code may raise anything
            body, odd = canonical.dump(canonical.prune(item))[0], str(error) or type(error).__name__
        bodies.append(body)
        lost = lost or odd
    return f"[{','.join(bodies)}]", lost


def projection_of(native: Any, codec: Codec) -> Projection:
    """The neutral reading of one message, whatever objects it holds."""
    return _projection(codec.format, codec.encode(native))


def _projection(format_: str, data: Mapping[str, Any]) -> Projection:
    try:
        return project(format_, data)
    except Exception:  # noqa: BLE001  # as above; what is no message is refused again
        return project(format_, canonical.prune(data))


def imprints(natives: Sequence[Any], sizes: Iterable[int], codec: Codec) -> list[bytes]:
    """16 bytes of each of some pages, whose messages follow each other.

    Two pages share them only when they have the same digest, at a sixth of its price. Empty where there are none: some
    value is not of Python's plain types, or has no end. The other way round nothing is said: equal messages whose
    fields stand in another order have another imprint.
    """
    data, start = codec.encode_all(natives), 0
    all_finite = _is_finite(data)
    made: list[bytes] = []
    for size in sizes:
        page = data[start : start + size]
        made.append(_imprint(page) if all_finite or _is_finite(page) else b"")
        start += size
    return made


def copy_of(natives: Sequence[Any], codec: Codec) -> list[Any] | None:
    """These messages as they read now, for :func:`read_as`: in containers of their own, and the very same texts.

    ``None`` where there is no such copy: some value is not of JSON's plain types, nested too deep, or has no end.
    """
    data = list(map(codec.encode, natives))
    return _copied(data) if _is_finite(data) else None


def read_as(natives: Sequence[Any], copies: list[Any], codec: Codec) -> bool:
    """Whether messages read as they did when they were copied, at a fifth of the price of their imprints.

    So they have the same digest. The other way round nothing is said, as with imprints.
    """
    return is_equal(codec.encode_all(natives), copies)


def originals(copies: list[Any], codec: Codec) -> list[Any]:
    """The messages that were copied, as new objects."""
    return [codec.decode(_plain(each)) for each in copies]


def sum_of(made: Iterable[bytes]) -> str:
    """One hex digest over the imprints of some pages, for a seal."""
    return blake2b(b"".join(made), digest_size=16).hexdigest()


def _is_finite(data: list[Any]) -> bool:
    """Whether every part can be written wherever it occurs: children that name their parent would be for ever.

    To be asked before what follows every reference, and holds the interpreter lock while it does.
    """
    try:
        return _is_small(data) or canonical.is_writable(data)
    except Exception:  # noqa: BLE001  # changed by another thread just now; or the code of any object
        return False


def _is_small(data: list[Any]) -> bool:
    """Whether it has so few parts that all can be looked at wherever they occur: nearly always, and quicker to see."""
    level, left = [data], canonical.MAX_CONTAINERS
    while level:
        left -= sum(map(len, level))
        if left < 0:
            return False
        level = _below(level)
    return True


def _below(level: list[Any]) -> list[Any]:
    """The containers in these that hold anything; what is no plain one is not followed by who asks, either."""
    parts = chain.from_iterable(each.values() if each.__class__ is dict else each for each in level)
    return [part for part in parts if part.__class__ in _HOLDERS and part]


def _imprint(data: list[Any]) -> bytes:
    try:  # version 2 writes every part in full, whether shared or not; nothing is ever read back
        return blake2b(dumps(data, 2), digest_size=16).digest()
    except ValueError:
        return b""


def _copied(data: list[Any]) -> list[Any] | None:
    try:
        return [_copy(each, COPIED_DEPTH) for each in data]
    except TypeError:
        return None


def _copy(value: Any, depth: int) -> Any:
    """Texts cannot change, and are compared by identity first; for Python True is 1 and 1.0, for JSON they differ."""
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is dict and depth and _TEXT.issuperset(map(type, value)):
        return {key: _copy(part, depth - 1) for key, part in value.items()}
    if kind is list and depth:
        return [_copy(part, depth - 1) for part in value]
    if kind in _NUMBERS:
        return _Number(value)
    raise TypeError(f"{kind.__name__} is not copied")


def _plain(value: Any) -> Any:
    """What was copied."""
    kind = type(value)
    if kind is dict:
        return {key: _plain(part) for key, part in value.items()}
    if kind is list:
        return [_plain(part) for part in value]
    return value.value if kind is _Number else value


_TEXT: Final = frozenset({str})
_HOLDERS: Final = frozenset({dict, list, tuple})
_NUMBERS: Final = frozenset({int, float, bool})


class _Number:
    """A number that equals those alone that JSON writes as it."""

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        mine = self.value
        if other is mine:
            return True
        return other.__class__ is mine.__class__ and other == mine and (mine != 0 or repr(other) == repr(mine))

    __hash__ = None  # type: ignore[assignment]  # never a key


def count(messages: Sequence[Projection], counter: TokenCounter) -> int:
    """Tokens of a page, with the counter's reserve on top."""
    return reserved(sum(message_tokens(m, counter) for m in messages), counter)


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
