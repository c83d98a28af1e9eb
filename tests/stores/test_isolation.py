"""Whatever is written where, each scope sees and scores exactly its own records."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import StoreError
from pagefault.ports import Record, Scope, UserScope, Where
from pagefault.stores import EdgeStore
from pagefault.testing import ThreadRunner
from pagefault.testing.store_contract import HEADER, page, terms
from tests.properties import tried

PROBE = [1.0, 0.5, 0.0]

names = st.sampled_from(["a", "A", "a ", "b", "\u00e4", "a\u0308", "a.b", "a[]", '"', "*"])
scopes = st.builds(lambda tenant, space: (tenant, space), names, names)
steps = st.lists(
    st.tuples(scopes, st.integers(0, 9), st.sampled_from(["put", "index", "steal"]), scopes), min_size=1, max_size=25
)


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Run a coroutine function on one open store."""
    loop = asyncio.new_event_loop()
    with ThreadRunner() as run:
        store = EdgeStore(tmp_path_factory.mktemp("isolation"), run=run)
        loop.run_until_complete(store.open(HEADER))

        def call(fn, *args: Any) -> Any:
            work: Coroutine[Any, Any, Any] = fn(store, *args)
            return loop.run_until_complete(work)

        yield call
        loop.run_until_complete(store.close())
        loop.close()


fresh = itertools.count()


@tried(60)
@given(steps)
def test_scopes_are_worlds_of_their_own(call, script):
    call(play, f"run-{next(fresh)}/", script)


async def play(store: EdgeStore, run: str, script: list[Any]) -> None:
    written: dict[Scope, dict[Any, Record]] = {}
    vectors: dict[Scope, set[Any]] = {}
    for place, number, action, other in script:
        scope = Scope(tenant=run + place[0], space=place[1])
        record = page(number, f"{number}", scope=scope, sparse=terms({number: 1.0, 99: 2.0}))
        ours = written.setdefault(scope, {})
        if action == "put":
            await store.put(scope, [record])
            ours.setdefault(record.id, record)
        elif action == "index":
            await store.index(scope, {record.id: [PROBE]})
            if record.id in ours:
                vectors.setdefault(scope, set()).add(record.id)
        else:
            await steal(store, scope, Scope(tenant=run + other[0], space=other[1]), record)
    for scope, ours in written.items():
        everything = tuple(id_ for each in written.values() for id_ in each)
        assert set(await store.get(scope, everything)) == set(ours)
        for where in (Where(), Where(ids=everything or None)):
            assert {r.id for r in await store.scan(scope, where, limit=999)} == set(ours)
            text, dense = await store.search(scope, [terms({99: 1.0}), PROBE], where, limit=999)
            assert {hit.id for hit in text} == set(ours)
            assert {hit.id for hit in dense} == vectors.get(scope, set())
        assert set(await store.idf(scope, range(100))) == ({r.seq for r in ours.values()} | {99} if ours else set())


async def steal(store: EdgeStore, scope: Scope, other: Scope, record: Record) -> None:
    """Use another scope's id: reads and vectors pass it by, a write is refused where it exists."""
    if other == scope or not await store.get(scope, [record.id]):
        return
    assert await store.get(other, [record.id]) == {}
    await store.index(other, {record.id: [[0.0, 0.0, 1.0]]})
    with pytest.raises(StoreError, match="another space"):
        await store.put(other, [record])


def test_other_tenants_do_not_move_a_score(call):
    async def measure(store: EdgeStore) -> None:
        scope, loud = Scope(tenant="quiet", space="s"), Scope(tenant="loud", space="s")
        await store.put(scope, [page(i, f"{i}", scope=scope, sparse=terms({1: 1.0, i: 1.0})) for i in range(2, 9)])
        before = await store.search(scope, [terms({1: 1.0, 3: 1.0})], Where(), limit=9), await store.idf(scope, [1, 3])
        await store.put(loud, [page(i, f"{i}", scope=loud, sparse=terms({3: 1.0})) for i in range(500)])
        after = await store.search(scope, [terms({1: 1.0, 3: 1.0})], Where(), limit=9), await store.idf(scope, [1, 3])
        assert after == before

    call(measure)


users = st.sampled_from(["", "ada", "Ada", "a", "a/1/a", "\u00e4"])


@tried(40)
@given(st.lists(st.tuples(scopes, users, st.integers(0, 5)), min_size=1, max_size=20))
def test_users_are_worlds_of_their_own(call, script):
    """Across spaces a user of one tenant sees exactly what was written for it, the same name elsewhere nothing."""

    async def play_users(store: EdgeStore, run: str) -> None:
        written: dict[UserScope, set[Any]] = {}
        owners: dict[Any, str] = {}
        for (tenant, space), user, number in script:
            scope = Scope(tenant=run + tenant, space=space)
            record = page(number, f"{number}", scope=scope, sparse=terms({number: 1.0, 99: 2.0}), user=user)
            await store.put(scope, [record])
            if owners.setdefault(record.id, user) and user == owners[record.id]:
                written.setdefault(UserScope(tenant=scope.tenant, user=user), set()).add((scope.space, record.id))
        for reach, mine in written.items():
            (hits,) = await store.search(reach, [terms({99: 1.0})], Where(), limit=999)
            assert {(hit.space, hit.id) for hit in hits} == mine
            assert {r.id for r in await store.scan(reach, Where(), limit=999)} == {id_ for _, id_ in mine}
            assert set(await store.idf(reach, range(100))) == {99} | {hit.seq for hit in hits}

    call(play_users, f"users-{next(fresh)}/")
