"""What there is: of a store that is open, and of a directory that another process has open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pagefault.chain import head_id
from pagefault.ports import Header, PageStore, Record, Scope
from pagefault.shelf import owner_of_items, shelf_scope
from pagefault.stores import header as headers


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSurvey:
    """One space, or one shelf of items.

    Attributes:
        scope: Tenant and key.
        name: User, thread and agent as the head record has them; empty texts where there is none.
        records: How many of each kind.
    """

    scope: Scope
    name: Mapping[str, str]
    records: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a store holds.

    Attributes:
        header: What it was written with.
        tenants: Tenants.
        records: How many of each kind, of all tenants.
        spaces: Every space, the fullest first; names are empty unless they were asked for.
        shelves: Every shelf of items, the fullest first; one that conversations remember on is named by whose they are.
    """

    header: Header
    tenants: int
    records: Mapping[str, int]
    spaces: tuple[SpaceSurvey, ...]
    shelves: tuple[SpaceSurvey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """What the files of a directory tell, whoever has it open.

    Attributes:
        bytes: On the disk.
        log_bytes: Of these, write-ahead log.
        written_at: When the log was last written, Unix seconds; ``None`` without one.
        is_in_use: Another process has it open.
    """

    bytes: int
    log_bytes: int
    written_at: float | None
    is_in_use: bool = False


async def survey(store: PageStore, header: Header, *, names: bool = False) -> Survey:
    """Count what an open store holds; with ``names``, one read more for each space."""
    census = await store.census()
    by_scope: dict[Scope, dict[str, int]] = {}
    records: dict[str, int] = {}
    for tally in census:
        by_scope.setdefault(tally.scope, {})[tally.kind] = tally.count
        records[tally.kind] = records.get(tally.kind, 0) + tally.count
    found: tuple[list[SpaceSurvey], list[SpaceSurvey]] = ([], [])
    owners: dict[Scope, Mapping[str, str]] = {}
    for scope, counts in sorted(by_scope.items(), key=lambda each: -sum(each[1].values())):
        shelf = is_shelf(counts)
        name = await _name(store, scope) if names and not shelf else {}
        found[shelf].append(SpaceSurvey(scope=scope, name=name, records=counts))
        if name:
            kind, whose = owner_of_items(name["user"], name["thread"])
            owners[shelf_scope(scope.tenant, kind, whose)] = {"user": "", "thread": "", "agent": "", kind: whose}
    return Survey(
        header=header,
        tenants=len({scope.tenant for scope in by_scope}),
        records=records,
        spaces=tuple(found[False]),
        shelves=tuple(replace(shelf, name=owners.get(shelf.scope, {})) for shelf in found[True]),
    )


def is_shelf(kinds: Iterable[str]) -> bool:
    """Whether a scope with records of these kinds is a shelf, which holds items alone, and not a space."""
    return set(kinds) == {"item"}


async def _name(store: PageStore, scope: Scope) -> Mapping[str, str]:
    id_ = head_id(scope.space)
    head: Record | None = (await store.get(scope, [id_], bodies=False)).get(id_)
    return {} if head is None else {key: str(head.fields.get(key, "")) for key in ("user", "thread", "agent")}


def disk_use(directory: Path, *, is_in_use: bool) -> DiskUse:
    """Sizes and times of a data directory's files, read without opening the store."""
    wal = directory / headers.read_both(directory)[1] / "wal"
    total = log = 0
    written: float | None = None
    for file, stat in headers.files_below(directory):
        size = stat.st_blocks * 512  # files have holes, so their lengths say little
        total += size
        if file.parent == wal:
            log += size
            written = max(written or 0.0, stat.st_mtime)
    return DiskUse(bytes=total, log_bytes=log, written_at=written, is_in_use=is_in_use)
