"""Rebuilding a path from the store, for a process that has no framework state of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from pagefault.chain import ROOT, head_id, link, point_id
from pagefault.errors import CorruptPage, PagefaultError, PagesLost, StoreMismatch, UnsupportedMessage
from pagefault.messages import canonical
from pagefault.messages.canonical import identity
from pagefault.messages.projection import project
from pagefault.page import Kind, Page, SpaceId
from pagefault.paths.content import Content
from pagefault.paths.lineage import Lineage
from pagefault.paths.slot import LeftBehind, Slot
from pagefault.ports import Codec, PageStore, Record, Scope, Sketch, TokenCounter, Where
from pagefault.window.compaction import Range, to_ranges
from pagefault.window.gist import one_line
from pagefault.window.view import View, from_record

T = TypeVar("T")
W = TypeVar("W")
E = TypeVar("E", bound=PagefaultError)
WINDOW: Final = 256
SCANNED: Final = WINDOW * WINDOW
LONG_CHARS: Final = 16_384
"""After a longer body than this was read, other coroutines have their turn."""
DAMAGED: Final = "(damaged in the store, cannot be read)"
BRANCH: Final = "branch"
"""Field of a page that is the conversation's only if a head says so: of a run, or of a path that left another one."""
_KINDS: Final = {kind.value: kind for kind in Kind}
_MANY: Final = 1_000_000
"""No page has so many messages."""
_DAMAGE: Final = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""What reading altered data fails with."""


def page_from(record: Record) -> Page:
    """The page in a record, checked against its hash.

    Raises:
        CorruptPage: The body is not what was written.
    """
    if canonical.sha256(_ascii(record)) != record.sha256:
        raise CorruptPage(
            f"page {record.seq} (point {record.id}) does not match its sha256; the data directory is damaged. "
            "Restore it from a backup; the other pages can be used"
        )
    fields = record.fields
    try:
        format_ = str(fields["format"])
        return Page(
            seq=record.seq,
            chain=str(fields["chain"]),
            parent=str(fields["parent"]),
            kind=_KINDS[str(fields["type"])],
            format=format_,
            body=record.body,
            sha256=record.sha256,
            messages=tuple(project(format_, item) for item in canonical.load(record.body)),
            tokens=int(fields["tokens"]),
            gist=one_line(str(fields["gist"])),
            created_at=float(fields["created_at"]),
            opaque=bool(fields["opaque"]),
        )
    except _DAMAGE as error:
        raise _damaged(record, error) from error


def _damaged(record: Record, error: Exception) -> CorruptPage:
    return CorruptPage(
        f"the fields of page {record.seq} (point {record.id}) are damaged ({error!r:.100}); "
        "restore the data directory from a backup"
    )


def _ascii(record: Record) -> str:
    return record.body if record.body.isascii() else record.body.encode("ascii", "replace").decode("ascii")


class Restored(NamedTuple):
    """A path as the store knows it.

    Attributes:
        lineage: The path, with the natives of its resident pages.
        indexed: Last page up to which all are known to have their vectors.
        damaged: Resident pages whose natives are not there, since what is stored is not what was written.
        head: The sha256 of the head it was rebuilt from; empty where there is none.
    """

    lineage: Lineage
    indexed: int
    damaged: Mapping[int, CorruptPage] = MappingProxyType({})
    head: str = ""


async def restore(store: PageStore, space: SpaceId, codec: Codec, counter: TokenCounter) -> Restored:
    """The path that the space's head names, and what was stored after it when the process died.

    A path of another framework's messages can be read, faulted and searched, but not added to.

    Raises:
        PagesLost: The chain behind the head has a gap.
        CorruptPage: The head does not match its hash.
        StoreMismatch: The head was written by a release that this one cannot read.
    """
    scope = Scope(tenant=space.tenant, space=space.key)
    head = await _head(store, scope, space)
    records = await _walk(store, scope, head)
    formats = {str(record.fields.get("format")) for record in records}
    if formats <= {codec.format} and not head.ends:
        records += await _after(store, scope, head.length, head.tip, codec)
    lineage = Lineage(codec if formats <= {codec.format} else Foreign(min(formats)), counter)
    lineage.root, lineage.is_sole, lineage.ends_at_head = head.root, lineage.codec is codec, head.ends
    for record in records:
        _add(lineage, record)
    lineage.adopt(head.view)
    damaged: dict[int, CorruptPage] = {}
    if lineage.codec is codec:
        resident = [(s.seq, s.chain) for s in lineage.slots if s.seq not in lineage.absent]
        pages, failed = await intact(partial(bodies, store, scope), resident, CorruptPage)
        for page in pages.values():
            lineage.put_back(page)
        damaged = {seq: error for (seq, _), error in failed.items()}
        for seq in damaged:
            _mark(lineage.slots[seq - 1])
        if len(records) == head.length:
            lineage.extend([codec.decode(message) for message in head.open], now=time.time())
    return Restored(lineage, head.indexed, damaged, head.digest)


async def restore_at(
    store: PageStore, space: SpaceId, codec: Codec, counter: TokenCounter, *, length: int, tip: str
) -> Restored:
    """The path whose page ``length`` has the chain ``tip``, with no message of it in this process.

    Raises:
        PagesLost: There is no such path, or its chain has a gap.
    """
    scope = Scope(tenant=space.tenant, space=space.key)
    head = (await _head(store, scope, space))._replace(root=ROOT, tip=tip, length=length)
    lineage = Lineage(codec, counter)
    for record in await _walk(store, scope, head):
        _add(lineage, record)
    return Restored(lineage, head.indexed)


class Foreign:
    """Stands for the codec of a framework that is not here: its pages are read, never written."""

    def __init__(self, format_: str) -> None:
        self.format = format_

    def measure(self, messages: Sequence[Any]) -> tuple[list[int], Any]:  # noqa: ARG002  # whatever they are
        """Nothing can be added.

        Raises:
            UnsupportedMessage: Always.
        """
        raise UnsupportedMessage(f"this conversation holds {self.format} messages; add to it through its framework")

    def content(self, message: Any) -> Any:  # noqa: ARG002  # as below
        """None that could change."""
        return None

    def sketch(self, message: Any) -> Sketch:
        """As ``measure``."""
        return Sketch(role=str(self.measure([message])))

    def encode(self, message: Any) -> Any:
        """The data itself."""
        return message

    def encode_all(self, messages: Sequence[Any]) -> list[Any]:
        """The data itself."""
        return list(messages)

    def decode(self, data: Any) -> Any:
        """The data itself."""
        return data

    def is_same(self, one: Any, other: Any) -> bool:  # noqa: ARG002  # nothing is known of them
        """Never known to be."""
        return False

    def are_same(self, ones: Sequence[Any], others: Sequence[Any]) -> bool:  # noqa: ARG002  # as above
        """Never known to be."""
        return False

    def usage(self, message: Any) -> int | None:  # noqa: ARG002  # as above
        """None that is known."""
        return None

    def key(self, message: Any) -> str | None:  # noqa: ARG002  # as above
        """None that is known."""
        return None

    def with_parts(self, message: Any, texts: Sequence[str | None]) -> Any:  # noqa: ARG002  # as above
        """The message as it is: it is never rendered."""
        return message

    def block(self, text: str, name: str) -> Any:
        """Data that no framework reads."""
        return {"text": text, "id": name}


class _Head(NamedTuple):
    root: str
    tip: str
    length: int
    view: View
    indexed: int
    open: list[Any]
    digest: str = ""
    ends: bool = False


async def _head(store: PageStore, scope: Scope, space: SpaceId) -> _Head:
    head = (await store.get(scope, [head_id(space.key)])).get(head_id(space.key))
    if head is None:
        return _Head(ROOT, ROOT, 0, View(), 0, [])
    if canonical.sha256(_ascii(head)) != head.sha256:
        raise CorruptPage(f"the head record of {space} does not match its sha256; restore the directory from a backup")
    try:
        state = canonical.load(head.body)
        indexed, rest = int(state.get("indexed", 0)), [dict(message) for message in state.get("open", ())]
        root, tip = str(state.get("root", ROOT)), str(state["tip"])
        view, ends = from_record(state["view"]), bool(state.get("ends", False))
        return _Head(root, tip, head.seq, view, indexed, rest, head.sha256, ends)
    except _DAMAGE as error:
        raise StoreMismatch(
            f"the head record of {space} cannot be read ({error!r:.200}); open it with the release that wrote it"
        ) from error


class Read(NamedTuple):
    """A page as it was read, and the ids of its words as the store has them."""

    page: Page
    terms: frozenset[int]


async def bodies(store: PageStore, scope: Scope, wanted: Sequence[tuple[int, str]]) -> dict[int, Page]:
    """The pages with these numbers and chains, by number; see :func:`read`."""
    return {seq: each.page for seq, each in (await read(store, scope, wanted)).items()}


async def intact(
    load: Callable[[Sequence[W]], Awaitable[dict[int, T]]], wanted: Sequence[W], *what: type[E]
) -> tuple[dict[int, T], dict[W, E]]:
    """What ``load`` gives, and for each of ``wanted`` that it fails on with one of these errors the error.

    One that is damaged must not hide the others: where all together fail, each is asked for by itself.
    """
    try:
        return await load(wanted), {}
    except what:
        found: dict[int, T] = {}
        failed: dict[W, E] = {}
    for each in wanted:
        try:
            found |= await load([each])
        except what as error:
            failed[each] = error
    return found, failed


def _mark(slot: Slot) -> None:
    """Have its line in a table of contents say what is wrong with it."""
    if slot.content is not None:
        slot.content = replace(slot.content, gist=f"{DAMAGED} {slot.content.gist}")


async def read(
    store: PageStore, scope: Scope, wanted: Sequence[tuple[int, str]], *, words: bool = False
) -> dict[int, Read]:
    """The pages with these numbers and chains, by number, checked by hash; with their words if wanted.

    Raises:
        PagesLost: The store lacks one of them.
        CorruptPage: One does not match its hash.
    """
    points = {point_id(scope.space, chain): (seq, chain) for seq, chain in wanted}
    found = await store.get(scope, list(points), words=words) if points else {}
    lost = [seq for point, (seq, _) in points.items() if point not in found]
    if lost:
        raise PagesLost(_lost(to_ranges(lost), scope))
    pages: dict[int, Read] = {}
    for point, record in found.items():
        page = page_from(record)
        if (page.seq, page.chain) != points[point]:
            raise CorruptPage(
                f"page {points[point][0]} (point {point}) calls itself page {page.seq}; the data directory is damaged. "
                "Restore it from a backup"
            )
        if not page.parent.isascii() or link(page.parent, identity(page.body, sha256=page.sha256)) != page.chain:
            raise CorruptPage(
                f"page {page.seq} (point {point}) holds what was written as another page, or another conversation's; "
                "the data directory is damaged. Restore it from a backup; the other pages can be used"
            )
        pages[page.seq] = Read(page, frozenset(record.sparse.indices if record.sparse else ()))
        if len(record.body) > LONG_CHARS:
            await asyncio.sleep(0)  # many long pages must not hold up what others ask for
    return pages


async def _walk(store: PageStore, scope: Scope, head: _Head) -> list[Record]:
    """The records from the first page to the head's tip, found by walking the chain back."""
    by_chain: dict[str, Record] = {}
    first, is_all = 1, False
    while not is_all:  # not by numbers up to the length: a damaged head may say any
        where = Where(kind="page", first=first, last=head.length)
        records = await store.scan(scope, where, limit=SCANNED)
        by_chain.update((str(record.fields.get("chain")), record) for record in records)
        is_all = len(records) < SCANNED
        first = first if is_all else max(records[-1].seq, first + 1)
    path: list[Record] = []
    tip = head.tip
    for seq in range(head.length, 0, -1):
        known = by_chain.get(tip)
        if known is None:
            present = sorted({r.seq for r in by_chain.values() if r.seq < seq})
            gaps = ((one + 1, other - 1) for one, other in pairwise([0, *present, seq + 1]))
            raise PagesLost(_lost([gap for gap in gaps if gap[0] <= gap[1]], scope))
        if known.seq != seq:
            raise CorruptPage(
                f"page {seq} (point {known.id}) calls itself page {known.seq}; the data directory is damaged, "
                "or the state that names the page was altered. Restore the one or the other from a backup"
            )
        path.append(known)
        tip = str(known.fields.get("parent"))
    if tip != head.root:
        raise CorruptPage(
            f"the path of length {head.length} of the space with the key {scope.space} does not begin where its head "
            "says; the data directory is damaged. Restore it from a backup"
        )
    return path[::-1]


async def _after(store: PageStore, scope: Scope, length: int, tip: str, codec: Codec) -> list[Record]:
    """What was stored behind the last page that a head names: its writer died before the next head.

    A page with two successors ends it, none of which is preferred, unless one alone was written by the conversation
    itself. What a run had added when it ended without becoming the conversation is no part of it.
    """
    more: list[Record] = []
    while True:
        window = Where(kind="page", first=length + 1, last=length + WINDOW)
        records = await store.scan(scope, window, limit=WINDOW * WINDOW)
        follows: dict[str, list[Record]] = {}
        for record in records:
            follows.setdefault(str(record.fields.get("parent")), []).append(record)
        before = length
        while len(heirs := _heirs(follows.get(tip, []))) == 1 and _follows(heirs[0], length, codec):
            more.append(heirs[0])
            length, tip = heirs[0].seq, str(heirs[0].fields["chain"])
        if length < before + WINDOW:
            while more and BRANCH in more[-1].fields:
                more.pop()
            return more


def _heirs(records: list[Record]) -> list[Record]:
    return [record for record in records if BRANCH not in record.fields] or records


def _follows(record: Record, length: int, codec: Codec) -> bool:
    fields = record.fields
    return record.seq == length + 1 and "chain" in fields and fields.get("format") == codec.format


def _add(lineage: Lineage, record: Record) -> None:
    """Add a page to a path.

    Raises:
        CorruptPage: Its fields are damaged.
    """
    try:
        slot, ids = _slot(record, len(lineage.seen))
    except _DAMAGE as error:
        raise _damaged(record, error) from error
    lineage.slots.append(slot)
    lineage.seen.extend(LeftBehind(key or None) for key in ids)


def _slot(record: Record, start: int) -> tuple[Slot, Sequence[str]]:
    """The place of a page whose first message has this index, and the ids of its messages."""
    fields = record.fields
    sketch = Sketch(role=str(fields["role"]))
    slot = Slot(record.seq, start, sketch, 0, now=float(fields["created_at"]), clock=0.0, fresh=False)
    messages, tokens = int(fields["messages"]), int(fields["tokens"])
    ids = canonical.load(str(fields["ids"])) if "ids" in fields else [""] * min(messages, _MANY)
    if len(ids) != messages or messages < 1 or not all(isinstance(each, str) for each in ids) or tokens < 0:
        raise ValueError(f"{messages} messages with the ids {ids!r:.40} and {tokens} tokens")
    slot.stop = slot.start + messages
    slot.has_user = bool(fields["has_user"])
    slot.kind = Kind(str(fields["type"]))
    slot.chain, slot.parent = str(fields["chain"]), str(fields["parent"])
    gist, is_opaque = one_line(str(fields["gist"])), bool(fields["opaque"])
    slot.hold(Content(body="", digest=b"", imprint=b"", messages=(), tokens=tokens, gist=gist, opaque=is_opaque))
    slot.stored = True
    return slot, ids


def _lost(gaps: Sequence[Range], scope: Scope) -> str:
    ranges = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in gaps)
    named = f"page {ranges} is" if ranges.isdecimal() else f"pages {ranges} are"
    return (
        f"{named} not in the store although it was told so, not in the space with the key {scope.space}. Either this "
        "state was copied from another thread, or written with another directory or server: run it there. Or the data "
        "directory was damaged or lost its newest writes. "
        "Restore a backup; an agent that still has the messages in its framework's state writes them again when it runs"
    )
