"""Each space has lists of its own, whoever shares one by chance; older directories and collections have none."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.ports import FORMAT, Header, Scope, Sparse, Swap, UserScope, Where
from pagefault.stores import EdgeStore
from pagefault.stores.edge_rebuild import rebuild
from pagefault.stores.layout import rows
from pagefault.stores.lists import are_apart, laid, lists_of, names
from pagefault.testing import ThreadRunner
from pagefault.testing.item_contract import item
from pagefault.testing.piece_contract import words_come_back_when_asked_for
from pagefault.testing.store_contract import HEADER, OURS, page, terms
from pagefault.testing.user_contract import USER_CHECKS
from tests.stores.rest_server import RestServer
from tests.stores.test_server_transport import store_on

SHARED = 2
"""The format whose lists all share."""
ADA, BOB = (UserScope(tenant=OURS.tenant, user=user) for user in ("ada", "bob"))
OTHER, EVIL = Scope(tenant=OURS.tenant, space="b" * 32), Scope(tenant="evil", space=OURS.space)
ids = st.integers(0, 2**32 - 1)
scopes = st.builds(Scope, tenant=st.sampled_from("ab"), space=st.text("0123456789abcdef", min_size=1, max_size=32))


@given(
    st.tuples(scopes, scopes),
    st.sampled_from(("page", "item")),
    st.sampled_from(("", "ada")),
    st.sets(ids),
    st.booleans(),
)
def test_words_are_found_where_they_are_laid(pair, kind, user, words, apart):
    scope, other = pair
    sparse = Sparse(indices=tuple(words), values=tuple(1.0 + n for n in range(len(words))))
    record = replace(page(1) if kind == "page" else item("a", 1), user=user, sparse=sparse)
    (row,) = rows(scope, record, dimension=0)
    lying = laid(row.payload, row.sparse, apart=apart)
    reaches = [scope, UserScope(tenant=scope.tenant, user=user)] if user else [scope]
    for reach in reaches:
        lists = lists_of(reach, kind, apart=apart)
        assert lists.read(lying) == sparse
        assert set(lists.mixed(sorted(words))) == set(lying[lists.name].indices)
        assert all(0 <= number < 2**32 for number in lying[lists.name].indices)
    assert set(lying) == {lists_of(reach, kind, apart=apart).name for reach in reaches}
    if apart and scope != other:
        assert lists_of(scope, kind, apart=True) != lists_of(other, kind, apart=True)


def test_formats_say_which_vectors_there_are():
    assert names(Header(version=SHARED)) == ("text",)
    assert names(Header()) == ("text", "user_text")
    assert [are_apart(Header(version=version)) for version in (1, SHARED, FORMAT)] == [False, False, True]
    assert laid({}, None, apart=True) == {}


@pytest.fixture(params=["embedded", "server"])
def stores(request, tmp_path):
    """Gives stores on one place."""
    if request.param == "server":
        server = RestServer()
        yield lambda: store_on(server)
        assert server.broken == []
    else:
        with ThreadRunner() as run:
            yield lambda: EdgeStore(tmp_path / "data", run=run)


class Before:
    """A store whose header is of the format before, then opened as of today."""

    def __init__(self, make):
        self._make = make
        self._is_made = False

    def __call__(self):
        store = self._make()
        if not self._is_made:
            inner = store.open

            async def as_before(header):
                self._is_made = True
                return await inner(replace(header, version=SHARED))

            store.open = as_before
        return store


@pytest.mark.parametrize("check", [*USER_CHECKS, words_come_back_when_asked_for], ids=lambda check: check.__name__)
def test_what_the_format_before_wrote_is_found_and_written_on(stores, check):
    """The contract, where lists are shared."""
    make = Before(stores)

    async def main():
        await check(make)
        store = make()
        assert (await store.open(None)).version == SHARED
        await store.close()

    asyncio.run(main())


def test_who_shares_a_list_by_chance_finds_its_own_and_weighs_it_alike(stores):
    """Two words of two spaces, or users, with the same number: it costs time and nothing else."""

    def like(word, mine, reach, kind):
        return word ^ lists_of(mine, kind, apart=True).salt ^ lists_of(reach, kind, apart=True).salt

    async def answers(store):
        found = []
        for reach, kind in ((OURS, "page"), (OURS, "item"), (ADA, "page"), (ADA, "item")):
            found.append(await store.search(reach, [terms({1: 1.0, 2: 1.0})], Where(kind=kind), limit=99))
            found.append(await store.idf(reach, [1, 2, 3], kind=kind))
        read = await store.get(OURS, [page(1).id, item("a", 1).id], words=True)
        return found, {id_: record.sparse for id_, record in read.items()}

    async def main():
        store = stores()
        await store.open(HEADER)
        words = terms({1: 1.0, 2: 3.0})
        await store.put(OURS, [page(1, user="ada", sparse=words), page(2, user="ada", sparse=terms({2: 1.0}))])
        await store.swap(OURS, [Swap(record=item("a", 1, user="ada", sparse=words), version=0)])
        before = await answers(store)
        for scope, kind in ((OTHER, "page"), (EVIL, "page"), (OTHER, "item"), (EVIL, "item")):
            theirs = [{like(word, OURS, scope, kind): 9.0 for word in (1, 2)}]
            theirs += [{like(word, ADA, BOB, kind): 9.0 for word in (1, 2)}]
            many = [(n, terms(theirs[n % 2])) for n in range(1, 40)]
            if kind == "page":
                await store.put(scope, [page(n, scope=scope, user="bob", sparse=sparse) for n, sparse in many])
            else:
                things = [item(f"{n}", 1, scope=scope, user="bob", sparse=sparse) for n, sparse in many]
                await store.swap(scope, [Swap(record=thing, version=0) for thing in things])
        assert await answers(store) == before
        await store.close()
        store = stores()  # which has counted nothing yet
        await store.open(HEADER)
        assert await answers(store) == before
        await store.close()

    asyncio.run(main())


def test_a_reindexed_directory_has_lists_apart(tmp_path):
    """And answers as it did, in a space and across those of a user."""
    place = tmp_path / "data"
    users = {OURS: "ada", OTHER: "ada", EVIL: ""}
    reaches = [*users, ADA]

    async def ask(run, header):
        store = EdgeStore(place, run=run)
        settled = await store.open(header)
        queries = [terms({1: 1.0, 2: 1.0, 3: 1.0}), [1.0, 0.0, 0.0]]
        lists = [hits for reach in reaches for hits in await store.search(reach, queries, Where(), limit=9)]
        found = [{hit.id: pytest.approx(hit.score, rel=1e-6) for hit in hits} for hits in lists]
        found += [await store.idf(reach, [1, 2, 3]) for reach in reaches]
        read = await store.get(OURS, [page(n).id for n in range(5)], words=True)
        found.append([dict(zip(r.sparse.indices, r.sparse.values, strict=True)) for r in read.values() if r.sparse])
        points = await store._read(lambda shard: shard.retrieve([page(1).id], with_payload=False, with_vector=True))
        await store.close()
        return settled.version, set(points[0].vector), found

    async def fill(run):
        store = Before(lambda: EdgeStore(place, run=run))()
        await store.open(HEADER)
        for scope, user in users.items():
            pages = [
                page(n, scope=scope, user=user, sparse=terms({1: 1.0, 2 + n % 2: n}), dense=[[1.0, n, 0.0]])
                for n in (1, 2)
            ]
            await store.put(scope, [*pages, page(3, scope=scope, user=user)])
        await store.close()

    with ThreadRunner() as run:
        asyncio.run(fill(run))
        assert rebuild(place).records == 9
        version, vectors, before = asyncio.run(ask(run, HEADER))
        assert (version, vectors) == (SHARED, {"text", "dense"})
        assert rebuild(place, header=HEADER).records == 9
        version, vectors, after = asyncio.run(ask(run, HEADER))
        assert (version, vectors) == (FORMAT, {"text", "user_text", "dense"})
        assert after == before
        rebuild(place)
        assert asyncio.run(ask(run, HEADER)) == (version, vectors, before)
