"""Re-hash the bodies, chains and heads that a store holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pagefault.chain import ROOT, head_id, link, point_id
from pagefault.errors import CorruptPage
from pagefault.items import item_of
from pagefault.messages import canonical
from pagefault.paths.restore import page_from
from pagefault.ports import PageStore, Record, RecordKind, Scope, Where
from pagefault.upkeep.survey import is_shelf

Progress = Callable[[int, int], object]
WINDOW: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it was written.

    Attributes:
        scope: Whose it is.
        kind: The kind of record.
        seq: Page number, length of the chain for a head, version of an item.
        id: Point id.
        what: What is wrong.
    """

    scope: Scope
    kind: RecordKind
    seq: int
    id: UUID
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification looked at and found.

    Attributes:
        tenants: Tenants.
        spaces: Spaces of all tenants.
        shelves: Shelves of items of all tenants.
        checked: Records by kind.
        findings: What is damaged; empty when all is well.
    """

    tenants: int
    spaces: int
    shelves: int
    checked: Mapping[str, int]
    findings: tuple[Finding, ...]


async def verify(store: PageStore, progress: Progress = lambda _done, _total: None) -> Verified:
    """Read every record of every tenant and check it against what it says of itself.

    Of every record the body is hashed anew, of a page also its chain, from its parent and body. A
    head whose chain does not lead back to page 1 is a finding, too, so a page that vanished is
    missed. Not checked: what a search reads (vectors and lists of words), the fields beside a body,
    such as time and role, and whether an item vanished as a whole. The store is open; nothing is changed.

    Raises:
        StoreError: The store failed.
    """
    census = await store.census()
    total = sum(tally.count for tally in census)
    kinds: dict[Scope, list[RecordKind]] = {}
    for tally in census:
        kinds.setdefault(tally.scope, []).append(tally.kind)
    findings: list[Finding] = []
    checked: dict[str, int] = {}
    done = 0
    for scope, there in kinds.items():
        # Before its pages: an agent at work adds pages first, and then says so in its head.
        head = await _head(store, scope)
        parents: dict[str, tuple[int, str]] = {}
        for kind in there:
            count = await store.count(scope, Where(kind=kind))
            listed = await store.scan(scope, Where(kind=kind), limit=2 * count + WINDOW)
            if kind != "item" and len(listed) < count:  # an item may be removed meanwhile
                lost = count - len(listed)
                what = f"{lost:,} of this kind {'has' if lost == 1 else 'have'} no number that can be read"
                findings.append(Finding(scope=scope, kind=kind, seq=0, id=head_id(scope.space), what=what))
            for first in range(0, len(listed), WINDOW):
                window = listed[first : first + WINDOW]
                found = await _bodies(store, scope, window, findings)
                for record in found:
                    what = _wrong(scope, record)
                    if what:
                        findings.append(_finding(scope, record, what))
                done += len(window)
                progress(done, max(total, done))
            if kind == "page":
                parents = {str(r.fields.get("chain")): (r.seq, str(r.fields.get("parent"))) for r in listed}
            checked[kind] = checked.get(kind, 0) + len(listed)
        findings += _broken_head(scope, head, parents)
    shelves = sum(map(is_shelf, kinds.values()))
    return Verified(
        tenants=len({scope.tenant for scope in kinds}),
        spaces=len(kinds) - shelves,
        shelves=shelves,
        checked=checked,
        findings=tuple(findings),
    )


async def _head(store: PageStore, scope: Scope) -> Record | None:
    """The head of a space, if it has one that can be read; one that cannot is found among its records."""
    id_ = head_id(scope.space)
    try:
        return (await store.get(scope, [id_])).get(id_)
    except CorruptPage:
        return None


async def _bodies(store: PageStore, scope: Scope, listed: Sequence[Record], findings: list[Finding]) -> list[Record]:
    """The same with their bodies; one that lacks a part is a finding and does not hide the others."""
    try:
        return list((await store.get(scope, [record.id for record in listed])).values())
    except CorruptPage:
        found: list[Record] = []
    for record in listed:
        try:
            found += (await store.get(scope, [record.id])).values()
        except CorruptPage as error:
            findings.append(_finding(scope, record, str(error)))
    return found


def _wrong(scope: Scope, record: Record) -> str:
    """What is wrong with one record by itself; nothing when it is as it was written."""
    try:
        if record.kind == "page":
            page = page_from(record)
            if link(page.parent, canonical.identity(page.body)) != page.chain:
                return "its chain does not follow from its parent and body"
            return "" if record.id == point_id(scope.space, page.chain) else "it lies at another page's point"
        if record.kind == "item":
            item_of(record, scope.space)
        elif canonical.sha256(record.body.encode("ascii", "replace").decode("ascii")) != record.sha256:
            return "its body does not match its sha256"
    except (CorruptPage, ValueError, TypeError) as error:
        return str(error)
    return ""


def _broken_head(scope: Scope, head: Record | None, parents: Mapping[str, tuple[int, str]]) -> list[Finding]:
    """A head names the last page of its chain; from there every parent must be there, down to what it begins with."""
    if head is None or canonical.sha256(head.body.encode("ascii", "replace").decode("ascii")) != head.sha256:
        return []
    try:
        state = canonical.load(head.body)
        tip, root, seq = str(state["tip"]), str(state.get("root", ROOT)), head.seq
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        return [_finding(scope, head, f"its body is no head's ({error!r:.60})")]
    while tip != root:  # not always the first of all: a session that was reset begins anew
        known = parents.get(tip)
        if known is None or known[0] != seq:
            return [_finding(scope, head, f"page {seq} of its chain is not in the store, or damaged")]
        seq, tip = known[0] - 1, known[1]
    return [] if seq == 0 else [_finding(scope, head, f"its chain begins at page {seq + 1}, not at page 1")]


def _finding(scope: Scope, record: Record, what: str) -> Finding:
    return Finding(scope=scope, kind=record.kind, seq=record.seq, id=record.id, what=what)
