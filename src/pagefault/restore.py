"""Rebuilding a path from the store, for a process that has no framework state of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pagefault import canonical
from pagefault.chain import ROOT, head_id, point_id
from pagefault.content import Content
from pagefault.errors import CorruptPage, PagesLost
from pagefault.lineage import LEFT_BEHIND, Lineage, Slot
from pagefault.messages import project
from pagefault.page import Kind, Page, SpaceId
from pagefault.ports import Codec, PageStore, Record, Scope, Sketch, TokenCounter, Where
from pagefault.view import from_record

WINDOW: Final = 256


def page_from(record: Record) -> Page:
    """The page in a record, checked against its hash.

    Raises:
        CorruptPage: The body is not what was written.
    """
    if canonical.sha256(_ascii(record)) != record.sha256:
        raise CorruptPage(
            f"page {record.seq} (point {record.id}) does not match its sha256; the data directory is damaged. "
            "Restore it from a backup, or let an agent that still has the message write it again"
        )
    fields = record.fields
    format_ = str(fields["format"])
    return Page(
        seq=record.seq,
        chain=str(fields["chain"]),
        parent=str(fields["parent"]),
        kind=Kind(str(fields["type"])),
        format=format_,
        body=record.body,
        sha256=record.sha256,
        messages=tuple(project(format_, item) for item in canonical.load(record.body)),
        tokens=int(fields["tokens"]),
        gist=str(fields["gist"]),
        created_at=float(fields["created_at"]),
        opaque=bool(fields["opaque"]),
    )


def _ascii(record: Record) -> str:
    return record.body if record.body.isascii() else record.body.encode("ascii", "replace").decode("ascii")


async def restore(store: PageStore, space: SpaceId, codec: Codec, counter: TokenCounter) -> Lineage:
    """The path that the space's head names, with the natives of its resident pages.

    Raises:
        PagesLost: The chain behind the head has a gap.
        CorruptPage: A resident page, or the head, does not match its hash.
    """
    scope = Scope(tenant=space.tenant, space=space.key)
    lineage = Lineage(codec, counter)
    head = (await store.get(scope, [head_id(space.key)])).get(head_id(space.key))
    if head is None:
        return lineage
    if canonical.sha256(_ascii(head)) != head.sha256:
        raise CorruptPage(f"the head record of {space} does not match its sha256; restore the directory from a backup")
    state = canonical.load(head.body)
    records = await _walk(store, scope, str(state["tip"]), head.seq)
    for record in records:
        _add(lineage, record)
    lineage.adopt(from_record(state["view"]))
    resident = [s for s in lineage.slots if s.seq not in lineage.absent]
    if all(r.fields["format"] == codec.format for r in records):
        for page in (await bodies(store, scope, [(s.seq, s.chain) for s in resident])).values():
            lineage.put_back(page)
    return lineage


async def bodies(store: PageStore, scope: Scope, wanted: Sequence[tuple[int, str]]) -> dict[int, Page]:
    """The pages with these numbers and chains, by number, checked by hash.

    Raises:
        PagesLost: The store lacks one of them.
        CorruptPage: One does not match its hash.
    """
    points = {point_id(scope.space, chain): seq for seq, chain in wanted}
    found = await store.get(scope, list(points)) if points else {}
    lost = [seq for point, seq in points.items() if point not in found]
    if lost:
        raise PagesLost(_lost(lost))
    return {record.seq: page_from(record) for record in found.values()}


async def _walk(store: PageStore, scope: Scope, tip: str, length: int) -> list[Record]:
    """The records from the first page to ``tip``, found by walking the chain back."""
    by_chain: dict[str, Record] = {}
    for first in range(1, length + 1, WINDOW):
        where = Where(kind="page", first=first, last=min(length, first + WINDOW - 1))
        for record in await store.scan(scope, where, limit=WINDOW * WINDOW):
            by_chain[str(record.fields["chain"])] = record
    path: list[Record] = []
    while tip != ROOT:
        record = by_chain.get(tip)
        if record is None:
            raise PagesLost(_lost(range(1, length - len(path) + 1)))
        path.append(record)
        tip = str(record.fields["parent"])
    return path[::-1]


def _add(lineage: Lineage, record: Record) -> None:
    fields = record.fields
    sketch = Sketch(role=str(fields["role"]))
    slot = Slot(record.seq, len(lineage.seen), sketch, 0, now=float(fields["created_at"]), clock=0.0, fresh=False)
    slot.stop = slot.start + int(fields["messages"])
    slot.has_user = bool(fields["has_user"])
    slot.kind = Kind(str(fields["type"]))
    slot.chain, slot.parent = str(fields["chain"]), str(fields["parent"])
    slot.content = Content(
        body="",
        digest=b"",
        messages=(),
        tokens=int(fields["tokens"]),
        gist=str(fields["gist"]),
        opaque=bool(fields["opaque"]),
    )
    slot.stored = True
    lineage.slots.append(slot)
    lineage.seen.extend([LEFT_BEHIND] * (slot.stop - slot.start))


def _lost(seqs: Sequence[int]) -> str:
    span = f"{min(seqs)}-{max(seqs)}" if len(seqs) > 1 else f"{seqs[0]}"
    return (
        f"pages {span} are not in the store although they were stored; the data directory lost its newest writes. "
        "Run the agent once with its framework state to write them again, or restore a backup"
    )
