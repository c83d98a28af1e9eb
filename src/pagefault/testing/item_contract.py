"""What every store must do with items, as checks like those of ``store_contract``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from pagefault.chain import item_id
from pagefault.messages import canonical
from pagefault.ports import PageStore, Record, Scope, Swap, Where
from pagefault.testing.expect import refused, same, true
from pagefault.testing.store_contract import NOBODY, OURS, Check, StoreFactory, _noise, _opened, head, page, terms

_ITEMS: Final = Where(kind="item")


def item(key: str, version: int, text: str = "", *, scope: Scope = OURS, **more: Any) -> Record:
    """An item record whose body holds ``text``; other attributes by keyword."""
    body, _ = canonical.dump({"text": text})
    values: dict[str, Any] = {
        "id": item_id(f"{scope.tenant}/{scope.space}", key),
        "kind": "item",
        "seq": version,
        "fields": {"key": key},
        "body": body,
        "sha256": canonical.sha256(body),
    }
    return Record(**(values | more))


async def swaps_compare_versions(make: StoreFactory) -> None:
    """An item is written only over the version that the writer knows."""
    async with _opened(make) as store:
        same(await _swap(store, (item("a", 5, "one"), 0)), [True], "a new item")
        same(await _swap(store, (item("a", 6, "two"), 0)), [False], "a new item that is there")
        same(await _swap(store, (item("a", 6, "two"), 4)), [False], "over another version")
        same(await _swap(store, (item("b", 9, "two"), 4)), [False], "over a version of nothing")
        await _holds(store, [item("a", 5, "one")])
        same(await _swap(store, (item("a", 7, "two"), 5), (item("b", 8), 0)), [True, True], "two that fit")
        same(await _swap(store, (item("b", 9), 1), (item("a", 9), 7), (item("c", 9), 0)), [False, True, True], "mixed")
        await _holds(store, [item("a", 9), item("b", 8), item("c", 9)])
        same(await _swap(store), [], "nothing")
    async with _opened(make) as store:
        await _holds(store, [item("a", 9), item("b", 8), item("c", 9)])
        same(await _swap(store, (item("a", 2**53 - 1), 9)), [True], "the largest version")


async def one_of_many_wins(make: StoreFactory) -> None:
    """Of several writers who know the same version, one is told that it wrote, and its text is there."""
    async with _opened(make) as store:
        for round_ in range(5):
            texts = [f"{round_}/{writer}" for writer in range(6)]
            calls = [_swap(store, (item("a", 10 * (round_ + 1), text), 10 * round_)) for text in texts]
            won = [text for text, (wins,) in zip(texts, await asyncio.gather(*calls), strict=True) if wins]
            same(len(won), 1, "winners")
            await _holds(store, [item("a", 10 * (round_ + 1), won[0])])


async def large_items_are_exact(make: StoreFactory) -> None:
    """A large item that loses leaves the one that is there whole; one that is removed can come again."""
    large = [item("a", version, _noise(size)) for version, size in ((1, 900_000), (2, 2_500_000), (3, 70_000))]
    async with _opened(make) as store:
        same(await _swap(store, (large[0], 0)), [True], "a large item")
        same(await _swap(store, (replace(large[0], seq=9), 7)), [False], "the same text as another version")
        await _holds(store, [large[0]])
        same(await _swap(store, (large[1], 1)), [True], "a larger one")
        same(await _swap(store, (large[2], 1)), [False], "one too late")
        await _holds(store, [large[1]])
        await store.remove(OURS, {large[1].id: None})
        same(await _swap(store, (large[2], 0)), [True], "again, after it was removed")
        await _holds(store, [large[2]])


async def removed_items_are_gone(make: StoreFactory) -> None:
    """For get, scan and search; at other versions than were meant, older ones too, none."""
    records = [item(key, at, sparse=terms({1: 1.0}), dense=[[1.0, 0.0, 0.0]]) for at, key in enumerate("abcd", 1)]
    async with _opened(make) as store:
        await _swap(store, *((record, 0) for record in records))
        await store.put(OURS, [page(1), head(1)])
        meant = {records[0].id: 9, records[1].id: 2, records[2].id: 4, records[3].id: 1, NOBODY: 2}
        await store.remove(OURS, meant)
        same([r.seq for r in await store.scan(OURS, _ITEMS, limit=9)], [1, 3, 4], "one removed by version")
        await store.remove(OURS, dict.fromkeys([records[1].id, records[3].id, NOBODY, page(1).id, head(1).id]))
        same([r.seq for r in await store.scan(OURS, _ITEMS, limit=9)], [1, 3], "two removed")
        for hits in await store.search(OURS, [terms({1: 1.0}), [1.0, 0.0, 0.0]], _ITEMS, limit=9):
            same([hit.seq for hit in hits], [3, 1], "hits")
        same(set(await store.get(OURS, [r.id for r in records])), {records[0].id, records[2].id}, "items")
        same(len(await store.get(OURS, [page(1).id, head(1).id])), 2, "page and head")
        await store.remove(OURS, {})
        await store.remove(OURS, {records[0].id: 1, records[2].id: None, page(1).id: 1})
        same(await store.scan(OURS, _ITEMS, limit=9), [], "the rest, with and without a version")
        same(len(await store.get(OURS, [page(1).id, head(1).id])), 2, "page and head afterwards")


async def amended_items_keep_the_rest(make: StoreFactory) -> None:
    """Fields are set; version, body, vectors and tags stay; other versions than were meant are left alone."""
    records = [
        item(key, at, "body" * at, fields={"key": key, "old": at}, sparse=terms({1: 1.0}), tags=["t"])
        for at, key in enumerate("abcd", 1)
    ]
    other = Scope(tenant="evil", space=OURS.space)
    async with _opened(make) as store:
        await _swap(store, *((record, 0) for record in records))
        named = dict.fromkeys([records[0].id, records[2].id, NOBODY])
        await store.amend(other, named, {"old": 99})
        await store.amend(OURS, named | {records[1].id: 3, records[2].id: 2}, {"old": 9, "new": 0.5})
        await store.amend(OURS, {}, {"old": 99})
        await _holds(store, [replace(records[0], fields={"key": "a", "old": 9, "new": 0.5}), *records[1:]])
        (hits,) = await store.search(OURS, [terms({1: 1.0})], replace(_ITEMS, tags=[["t"]]), limit=9)
        same([hit.seq for hit in hits], [4, 3, 2, 1], "hits afterwards")
        await refused(store.amend(OURS, named, {"seq": 1}), "a field of the store's own")
        await refused(store.amend(OURS, named, {"x": float("nan")}), "a value that is none")


async def items_stay_in_their_scope(make: StoreFactory) -> None:
    """No other tenant or space reads, finds, weighs, replaces or removes an item."""
    mine = item("a", 3, "mine", sparse=terms({1: 1.0, 2: 1.0}), dense=[[1.0, 0.0, 0.0]], tags=["t"])
    others = [Scope(tenant="evil", space=OURS.space), Scope(tenant=OURS.tenant, space="b" * 32)]
    query = terms({1: 1.0})
    async with _opened(make) as store:
        await _swap(store, (mine, 0))
        before = await store.search(OURS, [query], _ITEMS, limit=9), await store.idf(OURS, [1], kind="item")
        same(await store.idf(OURS, [1]), {}, "IDF over pages")
        for scope in others:
            same(await store.get(scope, [mine.id]), {}, "get")
            same(await store.scan(scope, replace(_ITEMS, tags=[["t"]]), limit=9), [], "scan")
            same(await store.search(scope, [query, [1.0, 0.0, 0.0]], _ITEMS, limit=9), [[], []], "search")
            same(await store.idf(scope, [1], kind="item"), {}, "idf")
            await store.remove(scope, {mine.id: None})
            await refused(store.swap(scope, [Swap(record=replace(mine, seq=9), version=3)]), "a swap of theirs")
            swaps = [Swap(record=item(str(i), 1, scope=scope, sparse=terms({1: 9.0})), version=0) for i in range(40)]
            await store.swap(scope, swaps)
        after = await store.search(OURS, [query], _ITEMS, limit=9), await store.idf(OURS, [1], kind="item")
        same(after, before, "scores")
        await _holds(store, [mine])


async def words_weigh_what_items_hold_now(make: StoreFactory) -> None:
    """An item that was replaced or removed weighs no word any more."""
    old, new = (item("a", seq, f"{seq}", sparse=terms({1: 1.0, seq: 1.0})) for seq in (2, 3))
    beside = item("b", 1, "b", sparse=terms({1: 1.0, 9: 1.0}))
    async with _opened(make) as store:
        await _swap(store, (old, 0), (beside, 0))
        same(set(await store.idf(OURS, range(9), kind="item")), {1, 2}, "terms")
        same(await store.count(OURS, Where(kind="item")), 2, "items")
        await _swap(store, (new, 2))
        same(set(await store.idf(OURS, range(9), kind="item")), {1, 3}, "terms after another version")
        (hits,) = await store.search(OURS, [terms({2: 1.0, 3: 1.0})], _ITEMS, limit=9)
        same([hit.seq for hit in hits], [3], "hits")
        await store.remove(OURS, {new.id: None})
        found = await store.idf(OURS, [1, 3, 9], kind="item")
        same(set(found), {1, 9}, "terms after a removal")
        same(await store.count(OURS, Where(kind="item")), 1, "items after a removal")
        same(found[1], found[9], "their weights")


async def tags_restrict(make: StoreFactory) -> None:
    """Of each group one tag must be there, in scans and searches; tags are replaced with their item."""
    tags = {1: ["x", "even?"], 2: ["x", "y"], 3: ["y"], 4: [], 5: ["x", "y", "z"]}
    records = [item(str(at), at, tags=own, sparse=terms({1: 1.0})) for at, own in tags.items()]
    async with _opened(make) as store:
        await _swap(store, *((record, 0) for record in records))
        for groups, expected in (
            ([["x"]], [1, 2, 5]),
            ([["x"], ["y"]], [2, 5]),
            ([["z", "even?"]], [1, 5]),
            ([["z", "y"], ["x"]], [2, 5]),
            ([["X"]], []),
            ([], [1, 2, 3, 4, 5]),
        ):
            where = replace(_ITEMS, tags=groups)
            same([r.seq for r in await store.scan(OURS, where, limit=9)], expected, f"scan for {groups}")
            (hits,) = await store.search(OURS, [terms({1: 1.0})], where, limit=9)
            same([hit.seq for hit in hits], expected[::-1], f"search for {groups}")
        await _swap(store, (item("2", 9, tags=["z"]), 2))
        same([r.seq for r in await store.scan(OURS, replace(_ITEMS, tags=[["z"]]), limit=9)], [5, 9], "new tags")
        same([r.seq for r in await store.scan(OURS, replace(_ITEMS, tags=[["x"]]), limit=9)], [1, 5], "old tags")


async def fields_are_chosen(make: StoreFactory) -> None:
    """An answer carries the fields asked for, where the record has them."""
    record = item("a", 1, fields={"key": "a", "x": 1}, sparse=terms({1: 1.0}))
    async with _opened(make) as store:
        await _swap(store, (record, 0), (item("b", 2), 0))
        where = replace(_ITEMS, fields=["x"])
        same([dict(r.fields) for r in await store.scan(OURS, where, limit=9)], [{"x": 1}, {}], "scanned")
        (hits,) = await store.search(OURS, [terms({1: 1.0})], where, limit=9)
        same([(hit.seq, dict(hit.fields)) for hit in hits], [(1, {"x": 1})], "found")


async def newest_come_first(make: StoreFactory) -> None:
    """A scan from the other end, in windows, ranges and where many share a number."""
    records = [item(str(i), 1 + i // 3) for i in range(900)] + [item(f"s{i}", 100) for i in range(300)]
    order = sorted(((r.seq, r.id) for r in records), key=lambda at: (-at[0], at[1]))
    async with _opened(make) as store:
        await _swap(store, *((record, 0) for record in records))
        for limit in (1, 3, 256, 257, 5_000):
            found = await store.scan(OURS, Where(kind="item", newest=True), limit=limit)
            same([(r.seq, r.id) for r in found], order[:limit], f"the newest {limit}")
        found = await store.scan(OURS, Where(kind="item", newest=True, first=99, last=101), limit=5_000)
        same([(r.seq, r.id) for r in found], [at for at in order if 99 <= at[0] <= 101], "a range")


async def odd_swaps_are_refused(make: StoreFactory) -> None:
    """A typed error before anything is written."""
    good = item("good", 1)
    bad: list[Sequence[tuple[Record, Any]]] = [
        [(good, 0), (good, 0)],
        [(good, 0), (page(1), 0)],
        [(good, 0), (head(1), 0)],
        [(good, 0), (item("x", 0), 0)],
        [(good, 0), (item("x", 1), -1)],
        [(good, 0), (item("x", 1), 1.5)],
        [(good, 0), (item("x", 1, tags=[""]), 0)],
        [(good, 0), (item("x", 1, tags=["\ud83d"]), 0)],
        [(good, 0), (item("x", 1, tags=["x" * 70_000]), 0)],
        [(good, 0), (item("x", 1, fields={"tags": "x"}), 0)],
        [(good, 0), (item("x", 1, dense=[[1.0]]), 0)],
    ]
    async with _opened(make) as store:
        for pairs in bad:
            await refused(_swap(store, *pairs), f"swap of {pairs!r:.200}")
        await refused(store.put(OURS, [good]), "put of an item")
        same(await store.scan(OURS, _ITEMS, limit=9), [], "what refused swaps left behind")
        await store.put(OURS, [page(1)])
        await refused(_swap(store, (replace(good, id=page(1).id), 0)), "an item over a page")
        await _swap(store, (good, 0))
        await refused(store.put(OURS, [replace(page(2), id=good.id)]), "a page over an item")
        await _holds(store, [good])


ITEM_CHECKS: Final[tuple[Check, ...]] = (
    swaps_compare_versions,
    one_of_many_wins,
    large_items_are_exact,
    removed_items_are_gone,
    amended_items_keep_the_rest,
    items_stay_in_their_scope,
    words_weigh_what_items_hold_now,
    tags_restrict,
    fields_are_chosen,
    newest_come_first,
    odd_swaps_are_refused,
)


async def _swap(store: PageStore, *pairs: tuple[Record, int]) -> list[bool]:
    return await store.swap(OURS, [Swap(record=record, version=version) for record, version in pairs])


async def _holds(store: PageStore, records: Sequence[Record]) -> None:
    found = await store.get(OURS, [record.id for record in records])
    for record in records:
        true(record.id in found, f"item {record.fields['key']} is there")
        same(found[record.id], replace(record, sparse=None, dense=None, tags=()), f"item {record.fields['key']}")
