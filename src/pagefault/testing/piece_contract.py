"""What every store must do with the vectors of records, as checks like those of ``store_contract``."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pagefault.ports import Scope, Sparse, Swap, UserScope, Where
from pagefault.testing.expect import close, refused, same
from pagefault.testing.item_contract import item
from pagefault.testing.store_contract import OURS, Check, StoreFactory, _holds, _opened, head, page, terms

X: Final = [1.0, 0.0, 0.0]
Y: Final = [0.0, 1.0, 0.0]
Z: Final = [0.0, 0.0, 1.0]


async def the_nearest_piece_counts(make: StoreFactory) -> None:
    """A record with several vectors is found once, by the nearest, among those that have one."""
    long = page(1, "long", dense=[X, Y, Z], sparse=terms({1: 1.0}))
    later = page(2, "later", sparse=terms({1: 1.0}))
    short = [page(i, f"s{i}", dense=[[1.0, float(i), 0.0]]) for i in range(3, 40)]
    async with _opened(make) as store:
        await store.put(OURS, [long, later, *short, head(39)])
        await store.index(OURS, {later.id: [Y, [0.0, 1.0, 1.0]]})
        of_x, of_z, words = await store.search(OURS, [X, Z, terms({1: 1.0})], Where(), limit=99)
        same([hit.seq for hit in of_x], [1, *range(3, 40), 2], "by the first piece")
        same([hit.seq for hit in of_z[:2]], [1, 2], "by a further piece")
        same(len(of_z), 39, "each record once")
        close(of_z[0].score, 1.0, "the nearest piece's cosine")
        close(of_z[1].score, 0.5**0.5, "the nearest piece's cosine, given later")
        close(of_x[0].score, 1.0, "cosine by the first piece")
        same([hit.seq for hit in words], [2, 1], "words are not touched")
        same(dict(of_z[0].fields), dict(long.fields), "fields")
        (few,) = await store.search(OURS, [Z], Where(), limit=1)
        same([hit.seq for hit in few], [1], "under a limit")
        await _holds(store, OURS, [long, later, *short])


async def pieces_keep_to_what_is_asked(make: StoreFactory) -> None:
    """Ranges, ids, tags, kinds, spaces and tenants hold for further pieces as for first ones."""
    others = [Scope(tenant="evil", space=OURS.space), Scope(tenant=OURS.tenant, space="b" * 32)]
    mine = [page(i, f"m{i}", dense=[X, Z]) for i in range(1, 5)]
    things = [item(key, 1, tags=[key, "all"], dense=[X, Z]) for key in "ab"]
    async with _opened(make) as store:
        await store.put(OURS, mine)
        await store.swap(OURS, [Swap(record=thing, version=0) for thing in things])
        for scope in others:
            same(await store.search(scope, [Z], Where(), limit=9), [[]], f"search by {scope}")
            await store.put(scope, [page(9, "theirs", scope=scope, dense=[X, Y, Z])])
            await store.index(scope, {mine[0].id: [Y, Y]})
        wanted: list[tuple[Where, list[int]]] = [
            (Where(), [4, 3, 2, 1]),
            (Where(first=2, last=3), [3, 2]),
            (Where(ids=(mine[3].id, mine[0].id)), [4, 1]),
        ]
        for where, seqs in wanted:
            (hits,) = await store.search(OURS, [Z], where, limit=9)
            same([hit.seq for hit in hits], seqs, f"hits of {where}")
            close(hits[-1].score, 1.0, f"the worst score of {where}")
        (tagged,) = await store.search(OURS, [Z], Where(kind="item", tags=[["a"], ["all"]]), limit=9)
        same([hit.id for hit in tagged], [things[0].id], "items by tag")
        close(tagged[0].score, 1.0, "an item's cosine")


async def pieces_are_found_by_user(make: StoreFactory) -> None:
    """A search over a user's spaces finds further pieces of all of them, however they were written, and no others."""
    other, evil = Scope(tenant=OURS.tenant, space="b" * 32), Scope(tenant="evil", space="c" * 32)
    mine = {scope: page(i, f"m{i}", scope=scope, user="ada") for i, scope in enumerate((OURS, other), 1)}
    async with _opened(make) as store:
        await store.put(OURS, [replace(mine[OURS], dense=[X, Z]), page(5, "nobody's", dense=[X, Z])])
        await store.put(other, [mine[other], page(6, "bob's", scope=other, user="bob", dense=[X, Z])])
        await store.put(evil, [page(7, "theirs", scope=evil, user="ada", dense=[X, Z])])
        await store.index(other, {mine[other].id: [Y, [0.0, 1.0, 1.0]]})
        (hits,) = await store.search(UserScope(tenant=OURS.tenant, user="ada"), [Z], Where(), limit=9)
        same([hit.id for hit in hits], [mine[OURS].id, mine[other].id], "hits by user")
        close(hits[1].score, 0.5**0.5, "cosine of a further piece")


async def pieces_give_way(make: StoreFactory) -> None:
    """Vectors given again, more of them or fewer, take the place of all there were."""
    record, thing = page(1, dense=[X, Y]), item("a", 1, dense=[X, Y])
    async with _opened(make) as store:
        await store.put(OURS, [record])
        await store.swap(OURS, [Swap(record=thing, version=0)])
        await store.swap(OURS, [Swap(record=item("a", 2, dense=[Z]), version=1)])
        (hits,) = await store.search(OURS, [Y], Where(kind="item"), limit=9)
        close(hits[0].score, 0.0, "an item's old piece")
        for dense, nearest in (([Z], Z), ([X, Z], X), ([Z, Y, X], Y), ([X], X)):
            await store.index(OURS, {record.id: dense})
            for probe in (X, Y, Z):
                (hits,) = await store.search(OURS, [probe], Where(), limit=9)
                close(hits[0].score, float(probe in dense), f"cosine of {probe} and {dense}")
            same((await store.search(OURS, [nearest], Where(), limit=9))[0][0].id, record.id, "the one hit")


async def pieces_are_checked(make: StoreFactory) -> None:
    """No vector at all, or a bad one among good ones, is refused, and nothing is written."""
    good = page(1)
    async with _opened(make) as store:
        await store.put(OURS, [good])
        for bad in ([], [X, [1.0]], [X, [float("nan"), 0.0, 0.0]]):
            await refused(store.index(OURS, {good.id: bad}), f"index with {bad}")
            await refused(store.put(OURS, [page(2, dense=bad)]), f"put with {bad}")
        same(await store.search(OURS, [X], Where(), limit=9), [[]], "what refused vectors left behind")
        same([r.seq for r in await store.scan(OURS, Where(), limit=9)], [1], "what refused records left behind")


async def ids_and_scores_are_enough(make: StoreFactory) -> None:
    """A search whose hits are looked at by id and score alone finds the same, each record once."""
    mine = [page(i, f"m{i}", dense=[[1.0, float(i), 0.0], Z][: 1 + i % 2], sparse=terms({i: 1.0})) for i in range(1, 9)]
    other = Scope(tenant="evil", space=OURS.space)
    queries: list[Sparse | list[float]] = [X, Z, terms({3: 1.0, 4: 2.0})]
    async with _opened(make) as store:
        await store.put(OURS, mine)
        await store.put(other, [page(9, "theirs", scope=other, dense=[X, Z], sparse=terms({3: 1.0}))])
        for where in (Where(), Where(ids=[mine[2].id, mine[4].id])):
            full = await store.search(OURS, queries, where, limit=20)
            bare = await store.search(OURS, queries, replace(where, bare=True), limit=20)
            for one, two in zip(full, bare, strict=True):
                same({h.id: h.score for h in two}, {h.id: h.score for h in one}, f"bare hits of {where}")
                same([h.score for h in two], [h.score for h in one], "their order")
        few = await store.search(OURS, queries, Where(bare=True), limit=2)
        same([len(hits) for hits in few], [2, 2, 2], "hits under a limit")


async def words_come_back_when_asked_for(make: StoreFactory) -> None:
    """A read gives the sparse vector of each record that has one, where that is wanted, large bodies included."""
    words = {7: 1.5, 4_000_000_000: 0.25}
    some = page(1, "some", sparse=terms(words), dense=[X])
    large = page(2, "large", body=f'"{"x" * 200_000}"', sparse=terms({7: 2.0}))
    none = page(3, "none")
    ids = [some.id, large.id, none.id]
    async with _opened(make) as store:
        await store.put(OURS, [some, large, none])
        read = await store.get(OURS, ids, words=True)
        found = {
            r.seq: dict(zip(r.sparse.indices, r.sparse.values, strict=True)) if r.sparse else None
            for r in read.values()
        }
        same(found, {1: words, 2: {7: 2.0}, 3: None}, "words")
        same([r.body for r in read.values()], [some.body, large.body, none.body], "bodies beside them")
        same([r.sparse for r in (await store.get(OURS, ids)).values()], [None] * 3, "words nobody asked for")
        same(await store.get(Scope(tenant="evil", space=OURS.space), ids, words=True), {}, "words of another tenant")


async def a_count_keeps_to_what_is_asked(make: StoreFactory) -> None:
    """Records are counted by kind, range, ids and tags within their scope, without chunks."""
    evil = Scope(tenant="evil", space=OURS.space)
    mine = [page(i, f"m{i}") for i in range(1, 6)]
    things = [item(key, 1, tags=[key, "all"]) for key in "abc"]
    async with _opened(make) as store:
        same(await store.count(OURS, Where()), 0, "a count of nothing")
        await store.put(OURS, [*mine, page(6, body=f'"{"x" * 3_000_000}"'), head(6)])
        await store.swap(OURS, [Swap(record=thing, version=0) for thing in things])
        wanted: list[tuple[Where, int]] = [
            (Where(), 6),
            (Where(first=2, last=3), 2),
            (Where(ids=[mine[0].id, mine[1].id, things[0].id]), 2),
            (Where(ids=[]), 0),
            (Where(kind="item"), 3),
            (Where(kind="item", tags=[["a", "b"], ["all"]]), 2),
        ]
        for where, number in wanted:
            same(await store.count(OURS, where), number, f"a count of {where}")
            few = await store.count(OURS, where, limit=2)
            same(few, min(number, 2), f"a count of {where} up to 2")
            same(await store.count(evil, where), 0, f"another tenant's count of {where}")


PIECE_CHECKS: Final[tuple[Check, ...]] = (
    a_count_keeps_to_what_is_asked,
    ids_and_scores_are_enough,
    words_come_back_when_asked_for,
    the_nearest_piece_counts,
    pieces_keep_to_what_is_asked,
    pieces_are_found_by_user,
    pieces_give_way,
    pieces_are_checked,
)
