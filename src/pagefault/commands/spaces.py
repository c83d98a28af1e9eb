"""What is in one space of a store, or on one shelf of items, for ``pagefault show``."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from pagefault.chain import head_id
from pagefault.commands.output import counted
from pagefault.commands.places import opened
from pagefault.errors import CorruptPage, StoreMissing
from pagefault.items import item_of, reading
from pagefault.page import SpaceId
from pagefault.ports import PageStore, Record, Scope, Where

BEGINS: Final = 120
"""So many characters of an item are shown."""


def holds(found: dict[str, Any]) -> str:
    """What there is of a space; pages also lie on paths that were left, as by a reset."""
    records, length = found["records"], found["length"]
    stored = records.get("page", 0)
    if not stored:
        return f"no pages, {counted(records['item'], 'item')}, newest first" if "item" in records else "no pages"
    if "head" not in records:  # nobody has said yet how long the path is
        return f"{counted(stored, 'page')}, newest first"
    others = f", {stored:,} stored" if stored != length else ""
    return f"{counted(length, 'page')} on its path{others}, newest first"


async def what_is_in(place: str, wanted: SpaceId | str, tenant: str, pages: int) -> dict[str, Any]:
    """What is in a space, told by its key or by all that makes one."""
    async with opened(place) as (store, _):
        scope = await _scope(store, wanted, tenant)
        if scope is None:
            what = _told(wanted) if isinstance(wanted, SpaceId) else repr(wanted)
            whose = f" of tenant {tenant!r}" if tenant and isinstance(wanted, str) else ""
            raise StoreMissing(f"there is no space {what}{whose} at {place}; `pagefault stat --spaces` lists all")
        id_ = head_id(scope.space)
        head = (await store.get(scope, [id_], bodies=False)).get(id_)
        newest = await store.scan(scope, Where(kind="page", newest=True), limit=pages)
        items = await store.scan(scope, Where(kind="item", newest=True), limit=pages)
        whole = await _whole(store, scope, items)
        name = {} if head is None else {key: str(head.fields.get(key, "")) for key in ("user", "thread", "agent")}
        return {
            "tenant": scope.tenant,
            "key": scope.space,
            "name": name,
            "length": 0 if head is None else head.seq,
            "records": {each.kind: each.count for each in await store.census() if each.scope == scope},
            "pages": [
                {"page": r.seq, **{key: r.fields.get(key) for key in ("created_at", "role", "type", "tokens", "gist")}}
                for r in newest
            ],
            "items": [_item(scope, whole[each.id]) for each in items if each.id in whole],
        }


async def _whole(store: PageStore, scope: Scope, items: list[Record]) -> dict[UUID, Record]:
    """These items with their bodies; one that lacks a part of it without, which is told as damage."""
    try:
        return await store.get(scope, [each.id for each in items])
    except CorruptPage:
        found: dict[UUID, Record] = {}
    for each in items:
        try:
            found |= await store.get(scope, [each.id])
        except CorruptPage:
            found[each.id] = each
    return found


def _item(scope: Scope, record: Record) -> dict[str, Any]:
    try:
        item = item_of(record, scope.space)
    except CorruptPage as error:
        path = str(record.fields.get("path", ""))
        return {"namespace": [], "key": path, "version": record.seq, "updated_at": None, "begins": f"damaged: {error}"}
    begins = " ".join(reading(item.value).split())[:BEGINS]
    named = {"namespace": list(item.namespace), "key": item.key, "version": item.version}
    return {**named, "updated_at": item.updated_at, "begins": begins}


def _told(wanted: SpaceId) -> str:
    """A space as it was asked for."""
    asked = (("tenant", wanted.tenant), ("user", wanted.user), ("thread", wanted.thread), ("agent", wanted.agent))
    return "of " + ", ".join(f"{name} {value!r}" for name, value in asked if value)


async def _scope(store: PageStore, wanted: SpaceId | str, tenant: str) -> Scope | None:
    """Where a space is; a key alone says it, since it is made of the tenant as well."""
    key, owner = (wanted, tenant) if isinstance(wanted, str) else (wanted.key, wanted.tenant)
    there = (tally.scope for tally in await store.census() if tally.scope.space == key)
    return next((scope for scope in there if owner in {"", scope.tenant}), None)
