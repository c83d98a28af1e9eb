"""What every store must do across the spaces of one user, as checks like those of ``store_contract``."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final
from uuid import UUID

from pagefault.ports import PageStore, Reach, Record, RecordKind, Scope, Sparse, Swap, UserScope, Where
from pagefault.testing.expect import close, refused, same, true
from pagefault.testing.item_contract import item
from pagefault.testing.store_contract import OURS, Check, StoreFactory, _opened, head, page, terms

THREADS: Final = tuple(Scope(tenant=OURS.tenant, space=digit * 32) for digit in "abc")
ADA: Final = UserScope(tenant=OURS.tenant, user="ada")
_WORDS: Final = (0, 1, 7, 2**31, 2**32 - 1, 12345)
_SEARCHED: Final[tuple[RecordKind, ...]] = ("page", "item")
_QUERY: Final[list[Sparse | Sequence[float]]] = [terms({1: 1.0, 2: 1.0}), [1.0, 0.0, 0.0]]


async def a_user_is_found_across_spaces(make: StoreFactory) -> None:
    """Pages and heads written for a user are found together; each says whose space it is in."""
    pages = [_said(scope, seq) for scope in THREADS for seq in (1, 2)]
    heads = [replace(head(2, scope=scope), user="ada", fields={"thread": scope.space}) for scope in THREADS]
    async with _opened(make) as store:
        for i, scope in enumerate(THREADS):
            await store.put(scope, [*pages[2 * i : 2 * i + 2], heads[i]])
        found = await store.scan(ADA, Where(), limit=99)
        same([r.id for r in found], [r.id for r in sorted(pages, key=lambda r: (r.seq, r.id))], "pages of the user")
        same({r.user for r in found}, {"ada"}, "whose they are")
        found = await store.scan(ADA, Where(kind="head", fields=("thread",)), limit=99)
        same({r.fields["thread"] for r in found}, {scope.space for scope in THREADS}, "heads of the user")
        same(len(await store.scan(ADA, Where(), limit=4)), 4, "a scan up to four")
        for hits in await store.search(ADA, _QUERY, Where(), limit=99):
            same(
                {(hit.space, hit.id) for hit in hits}, {(s.space, _said(s, n).id) for s in THREADS for n in (1, 2)}, ""
            )
        (hits,) = await store.search(ADA, _QUERY[:1], Where(ids=[pages[3].id], first=2), limit=99)
        same([(hit.space, hit.seq) for hit in hits], [(THREADS[1].space, 2)], "a search among ids")
    async with _opened(make) as store:
        same(len(await store.scan(ADA, Where(), limit=99)), 6, "pages of the user after reopening")


async def users_do_not_mix(make: StoreFactory) -> None:
    """Nobody else's records are found or move a score: not the same user's of another tenant, nor those of no user."""
    others = [
        ("ada", Scope(tenant="evil", space="d" * 32)),
        ("ada", Scope(tenant=f"{OURS.tenant}/", space="e" * 32)),
        ("Ada", Scope(tenant=OURS.tenant, space="f" * 32)),
        ("ad", Scope(tenant=f"a/{OURS.tenant}", space="1" * 32)),
        ("", Scope(tenant=OURS.tenant, space="2" * 32)),
    ]
    async with _opened(make) as store:
        for scope in THREADS:
            await store.put(scope, [_said(scope, 1), _said(scope, 2)])
        before = await store.search(ADA, _QUERY, Where(), limit=99), await store.idf(ADA, [1, 2, 3])
        for user, scope in others:
            pages = [_said(scope, seq, user=user, sparse=terms({1: 1.0, 3: 9.0})) for seq in range(1, 90)]
            await store.put(scope, [*pages, replace(head(89, scope=scope), user=user)])
        after = await store.search(ADA, _QUERY, Where(), limit=99), await store.idf(ADA, [1, 2, 3])
        same(after, before, "hits and scores")
        same(len(await store.scan(ADA, Where(), limit=999)), 6, "pages of the user")
        same(await store.scan(ADA, Where(kind="head"), limit=9), [], "heads of the user")
        for user, scope in others:
            if user:
                reach = UserScope(tenant=scope.tenant, user=user)
                same(len(await store.scan(reach, Where(), limit=999)), 89, f"pages of {reach}")
        for thread in THREADS:
            same(len(await store.scan(thread, Where(), limit=9)), 2, "a space as before")


async def idf_counts_what_the_user_has(make: StoreFactory) -> None:
    """Across spaces terms are weighed over all of the user's pages, within one over its own."""
    async with _opened(make) as store:
        for seq, scope in enumerate(THREADS, start=1):
            await store.put(scope, [_said(scope, n, sparse=terms({1: 1.0, 1 + seq: 1.0})) for n in (1, 2)])
        across, within = await store.idf(ADA, [1, 2, 3, 4, 5]), await store.idf(THREADS[0], [1, 2, 3, 4, 5])
        same((set(across), set(within)), ({1, 2, 3, 4}, {1, 2}), "terms")
        true(across[2] > across[1], "a term of one space is rarer than one of all")
        same(within[1], within[2], "within the space they are as frequent")


async def words_weigh_what_they_weigh_now(make: StoreFactory) -> None:
    """What was asked before is answered anew after every write: ``ln((records with words + 1) / (holding + 0.5))``."""
    mine, other = THREADS[:2]
    held: dict[Reach, list[set[int]]] = {mine: [], other: [], ADA: []}
    writes: list[tuple[Scope, set[int]]] = [(mine, {1, 2}), (other, {1, 3}), (mine, {4}), (mine, set()), (other, {4})]
    async with _opened(make) as store:
        for seq, (scope, words) in enumerate(writes):
            for _ in range(2):  # written twice, it is there once
                await store.put(scope, [_said(scope, seq, sparse=terms(dict.fromkeys(words, 2.0)) if words else None)])
            for reach in (scope, ADA) if words else ():
                held[reach].append(words)
            for reach, pages in held.items():
                weights = await store.idf(reach, range(6))
                same(set(weights), set().union(*pages), f"terms of {reach} after write {seq}")
                there = sum(reach in (each, ADA) for each, _ in writes[: seq + 1])
                same(await store.count(reach, Where()), there, f"pages of {reach} after write {seq}")
                for term, weight in weights.items():
                    expected = math.log((len(pages) + 1) / (sum(term in page for page in pages) + 0.5))
                    close(weight, expected, f"weight of {term} for {reach} after write {seq}")


async def words_score_by_what_is_reached(make: StoreFactory) -> None:
    """The sum of what its words weigh times what a record holds of them, whoever else holds the same words.

    In a space, across a user's spaces, of pages and of items, also after items were replaced and removed.
    """
    rng, held = random.Random(11), dict[UUID, tuple[Scope, Record]]()  # noqa: S311  # which words a record has
    users = {
        THREADS[0]: "ada",
        THREADS[1]: "ada",
        THREADS[2]: "bob",
        Scope(tenant=OURS.tenant, space="d" * 32): "",
        Scope(tenant="evil", space=OURS.space): "ada",
    }
    reaches: list[Reach] = [*users, *(UserScope(tenant=s.tenant, user=user) for s, user in users.items() if user)]
    asked = terms(dict.fromkeys(_WORDS, 1.0))

    def words() -> Sparse:
        return terms({word: rng.choice((0.5, 1.25, 2.0)) for word in rng.sample(_WORDS, 3)})

    async def put_and_look(store: PageStore, turn: int) -> None:
        for scope, user in users.items():
            pages = [_said(scope, 4 * turn + n, user=user, sparse=words()) for n in range(1, 4)]
            things = [item(f"{n}", turn + 1, scope=scope, user=user, sparse=words()) for n in range(turn, 4)]
            await store.put(scope, pages)
            swaps = [Swap(record=thing, version=turn if thing.id in held else 0) for thing in things]
            same(await store.swap(scope, swaps), [True] * len(swaps), "items written")
            held.update({record.id: (scope, record) for record in (*pages, *things)})
            gone = item(f"{turn}", 1, scope=scope).id
            await store.remove(scope, {gone: None})
            del held[gone]
        for reach, kind in product(reaches, _SEARCHED):
            there = {
                id_: record.sparse for id_, (scope, record) in held.items() if _reaches(reach, scope, record, kind)
            }
            (hits,) = await store.search(reach, [asked], Where(kind=kind), limit=99)
            expected = _scores(there, asked)
            same({hit.id for hit in hits}, set(expected), f"{kind} records with words in {reach}")
            for hit in hits:
                close(hit.score, expected[hit.id], f"the score of {kind} {hit.seq} in {reach}")

    async with _opened(make) as store:
        await put_and_look(store, 0)
        await put_and_look(store, 1)
    async with _opened(make) as store:
        await put_and_look(store, 2)


async def what_spans_spaces_is_only_read(make: StoreFactory) -> None:
    """A user has to be named, and tags belong to one space."""
    async with _opened(make) as store:
        for reach in (UserScope(tenant="", user="ada"), UserScope(tenant="acme", user="")):
            await refused(store.scan(reach, Where(), limit=1), f"a scan of {reach}")
            await refused(store.search(reach, _QUERY, Where(), limit=1), f"a search of {reach}")
            await refused(store.idf(reach, [1]), f"idf of {reach}")
        await refused(store.scan(ADA, Where(tags=[["x"]]), limit=1), "tags across spaces")
        bad: Any = 7
        for user in ("\ud83d", bad):
            await refused(store.put(THREADS[0], [_said(THREADS[0], 1, user=user)]), f"a page of user {user!r}")
        same(await store.scan(THREADS[0], Where(), limit=9), [], "what refused writes left behind")


def _reaches(reach: Reach, scope: Scope, record: Record, kind: RecordKind) -> bool:
    """Whether a record is there for who reaches so far."""
    if isinstance(reach, Scope):
        return (scope, record.kind) == (reach, kind)
    return (scope.tenant, record.user, record.kind) == (reach.tenant, reach.user, kind)


def _scores(there: Mapping[UUID, Sparse | None], asked: Sparse) -> dict[UUID, float]:
    """BM25 among these records."""
    held = {id_: dict(zip(words.indices, words.values, strict=True)) for id_, words in there.items() if words}
    weights = {
        word: math.log((len(held) + 1) / (sum(word in words for words in held.values()) + 0.5))
        for word in asked.indices
    }
    scores = {id_: sum(weights[w] * of for w, of in words.items() if w in weights) for id_, words in held.items()}
    return {id_: score for id_, score in scores.items() if held[id_].keys() & weights.keys()}


def _said(scope: Scope, seq: int, **more: Any) -> Record:
    """A page that a user's words are in."""
    values: dict[str, Any] = {
        "user": "ada",
        "sparse": terms({1: 1.0, 2: float(seq)}),
        "dense": [[1.0, float(seq), 0.0]],
    }
    return page(seq, f"{seq}", scope=scope, **(values | more))


USER_CHECKS: Final[tuple[Check, ...]] = (
    a_user_is_found_across_spaces,
    users_do_not_mix,
    idf_counts_what_the_user_has,
    words_weigh_what_they_weigh_now,
    words_score_by_what_is_reached,
    what_spans_spaces_is_only_read,
)
