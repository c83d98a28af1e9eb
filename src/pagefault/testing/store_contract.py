"""What every page store must do, as checks that need no test framework.

A check is an async function that takes a :class:`StoreFactory` and raises ``AssertionError``
when the store breaks the contract. Give each check a place of its own:

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check, tmp_path):
        with ThreadRunner() as run:
            asyncio.run(check(lambda: EdgeStore(tmp_path, run=run)))
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol
from uuid import UUID

from pagefault.chain import head_id, link, point_id
from pagefault.errors import MemoryClosed, StoreMismatch
from pagefault.messages import canonical
from pagefault.ports import Header, PageStore, Record, RecordKind, Scope, Sparse, Where
from pagefault.testing.expect import close, refused, same, true

HEADER: Final = Header(embedder="probe-1", dimension=3, fingerprint="f" * 64)
OURS: Final = Scope(tenant="acme", space="a" * 32)
NOBODY: Final = UUID(int=0)


class StoreFactory(Protocol):
    """Makes a new store, not yet open, over the same place each time."""

    def __call__(self) -> PageStore:
        """A new store."""
        ...


Check = Callable[[StoreFactory], Coroutine[Any, Any, None]]


def page(seq: int, text: str = "", *, scope: Scope = OURS, **more: Any) -> Record:
    """A page record whose body holds ``text``; other attributes by keyword."""
    body, _ = canonical.dump([{"role": "user", "content": text}])
    chain = link("", hashlib.sha256(f"{seq}/{text}".encode("utf-8", "surrogatepass")).digest())
    values: dict[str, Any] = {
        "id": point_id(f"{scope.tenant}/{scope.space}", chain),
        "kind": "page",
        "seq": seq,
        "fields": {"chain": chain, "tokens": 7},
        "body": body,
        "sha256": canonical.sha256(body),
    }
    return Record(**(values | more))


def head(length: int, body: str = "{}", *, scope: Scope = OURS) -> Record:
    """A head record."""
    id_ = head_id(f"{scope.tenant}/{scope.space}")
    return Record(id=id_, kind="head", seq=length, body=body, sha256=canonical.sha256(body))


def terms(weights: Mapping[int, float]) -> Sparse:
    """A sparse vector."""
    return Sparse(indices=tuple(weights), values=tuple(weights.values()))


async def round_trip_is_exact(make: StoreFactory) -> None:
    """What was put comes back, every character and every type of field."""
    texts = ["", "plain", "\x00\x01\x7f\r\n\t", "e\u0301 \ufeff \U0001f600 \u202e", "\ud83d\ude00 \ud83d", '{"a":[1]}']
    fields: dict[str, str | int | float | bool] = {
        "text": "\u00e9\x00",
        "int": 2**53 - 1,
        "neg": -(2**53) + 1,
        "float": 0.1,
        "one": 1.0,
        "yes": True,
    }
    records = [page(i, text, fields=fields) for i, text in enumerate(texts)]
    async with _opened(make) as store:
        await store.put(OURS, records)
        await _holds(store, OURS, records)
        found = await store.get(OURS, [records[0].id])
        for key, value in fields.items():
            same(type(found[records[0].id].fields[key]), type(value), f"type of field {key!r}")
    async with _opened(make) as store:
        await _holds(store, OURS, records)


async def large_bodies_are_exact(make: StoreFactory) -> None:
    """Bodies of megabytes come back whole and show nowhere else, also after reopening."""
    sizes = [60_000, 66_000, 5 * 1024**2, 9 * 1024**2 + 1]
    records = [page(i + 1, _noise(size), sparse=terms({1: 1.0})) for i, size in enumerate(sizes)]
    async with _opened(make) as store:
        await store.put(OURS, records)
        await _holds(store, OURS, records)
        same([r.seq for r in await store.scan(OURS, Where(), limit=100)], [1, 2, 3, 4], "a scan over large pages")
        (hits,) = await store.search(OURS, [terms({1: 1.0})], Where(), limit=100)
        same([hit.seq for hit in hits], [4, 3, 2, 1], "a search over large pages")
        alone = await store.idf(OURS, [1])
    async with _opened(make) as store:
        await _holds(store, OURS, records)
        same(await store.idf(OURS, [1]), alone, "IDF after reopening")


async def large_pages_count_once(make: StoreFactory) -> None:
    """How a body is stored changes no score."""
    small, large = Scope(tenant="t", space="b" * 32), Scope(tenant="t", space="c" * 32)
    async with _opened(make) as store:
        await store.put(small, [page(i, "s", scope=small, sparse=terms({i: 2.0})) for i in range(1, 6)])
        await store.put(large, [page(i, _noise(200_000), scope=large, sparse=terms({i: 2.0})) for i in range(1, 6)])
        same(await store.idf(small, [1, 2]), await store.idf(large, [1, 2]), "IDF of small and large pages")


async def large_heads_are_replaced(make: StoreFactory) -> None:
    """A head may grow over any size and shrink again."""
    async with _opened(make) as store:
        for length, size in enumerate([10, 3_000_000, 2_000_000, 2_000_000, 10]):
            record = head(length, canonical.dump(_noise(size + length))[0])
            await store.put(OURS, [record])
            await _holds(store, OURS, [record])
        same(len(await store.scan(OURS, Where(kind="head"), limit=9)), 1, "heads")
        same(await store.scan(OURS, Where(), limit=9), [], "pages")


async def pages_are_insert_only(make: StoreFactory) -> None:
    """The first page with an id stays, within one batch and across batches."""
    first = page(1, "first", sparse=terms({1: 1.0}))
    other = replace(page(2, "other", sparse=terms({2: 1.0})), id=first.id)
    async with _opened(make) as store:
        await store.put(OURS, [first, other])
        await store.put(OURS, [other])
        await store.put(OURS, [page(3), other])
        await _holds(store, OURS, [first, page(3)])
        same(set(await store.idf(OURS, [1, 2])), {1}, "terms of the page that stayed")


async def heads_are_replaced(make: StoreFactory) -> None:
    """The last head wins, and nothing of the one before stays."""
    async with _opened(make) as store:
        await store.put(OURS, [replace(head(1), fields={"old": 1}), replace(head(2), fields={"older": 1})])
        await store.put(OURS, [page(1), head(3, '{"view":1}')])
        await _holds(store, OURS, [page(1), head(3, '{"view":1}')])
        same([r.seq for r in await store.scan(OURS, Where(kind="head"), limit=9)], [3], "heads")


async def put_takes_many(make: StoreFactory) -> None:
    """A batch of any length, pages and heads mixed."""
    records = [page(i, "x" * (i * 31 % 5000)) for i in range(1, 200)]
    async with _opened(make) as store:
        await store.put(OURS, [*records[:50], head(50), *records[50:], head(199)])
        await _holds(store, OURS, [*records, head(199)])


async def empty_calls_are_fine(make: StoreFactory) -> None:
    """Nothing asked, nothing done."""
    async with _opened(make) as store:
        await store.put(OURS, [])
        await store.index(OURS, {})
        same(await store.get(OURS, []), {}, "get of nothing")
        same(await store.get(OURS, [NOBODY]), {}, "get of an unknown id")
        same(await store.scan(OURS, Where(), limit=10), [], "scan of an empty space")
        same(await store.search(OURS, [], Where(), limit=10), [], "search without queries")
        same(await store.search(OURS, [terms({}), terms({1: 1.0})], Where(), limit=10), [[], []], "search for nothing")
        same(await store.idf(OURS, []), {}, "idf of nothing")
        await store.put(OURS, [page(1, sparse=terms({1: 1.0}))])
        same(await store.scan(OURS, Where(), limit=0), [], "scan up to nothing")
        same(await store.search(OURS, [terms({1: 1.0})], Where(), limit=0), [[]], "search up to nothing")
        same(await store.scan(OURS, Where(ids=()), limit=9), [], "scan among no ids")
        same(await store.search(OURS, [terms({1: 1.0})], Where(ids=()), limit=9), [[]], "search among no ids")
        await store.sync()


async def get_without_bodies(make: StoreFactory) -> None:
    """``bodies=False`` leaves the body out and nothing else; the order asked for is kept."""
    records = [page(i, "text" * i) for i in range(1, 90)] + [page(90, _noise(300_000))]
    async with _opened(make) as store:
        await store.put(OURS, records)
        ids = [record.id for record in reversed(records)]
        found = await store.get(OURS, [*ids, NOBODY, ids[0]], bodies=False)
        same(list(found), ids, "ids")
        same([found[r.id] for r in records], [_bare(r, body=False) for r in records], "records")


async def scopes_do_not_mix(make: StoreFactory) -> None:
    """No call sees or touches another tenant's or space's records, whatever ids it is given."""
    theirs = [
        Scope(tenant="evil", space=OURS.space),
        Scope(tenant=OURS.tenant, space="b" * 32),
        Scope(tenant=OURS.tenant.upper(), space=OURS.space),
        Scope(tenant=OURS.tenant + " ", space=OURS.space),
    ]
    mine = [page(1, "mine", sparse=terms({1: 1.0}), dense=[[1.0, 0.0, 0.0]]), head(1)]
    ids = tuple(record.id for record in mine)
    everything: list[Sparse | Sequence[float]] = [terms({1: 1.0}), [1.0, 0.0, 0.0]]
    async with _opened(make) as store:
        await store.put(OURS, mine)
        for scope in theirs:
            same(await store.get(scope, ids), {}, f"get by {scope}")
            same(await store.search(scope, everything, Where(ids=ids), limit=9), [[], []], f"search by {scope}")
            same(await store.idf(scope, [1]), {}, f"idf by {scope}")
            for kind in _KINDS:
                same(await store.scan(scope, Where(kind=kind, ids=ids), limit=9), [], f"scan by {scope}")
        await _holds(store, OURS, mine)


async def foreign_ids_are_refused(make: StoreFactory) -> None:
    """Writing under an id of another space or kind fails and changes nothing."""
    other = Scope(tenant="evil", space=OURS.space)
    mine = [page(1, "mine"), head(1)]
    async with _opened(make) as store:
        await store.put(OURS, mine)
        await refused(store.put(other, [replace(page(1, "theirs"), id=mine[0].id)]), "a page over a foreign page")
        await refused(store.put(other, [replace(head(9), id=mine[1].id)]), "a head over a foreign head")
        await refused(store.put(other, [replace(head(9), id=mine[0].id)]), "a head over a foreign page")
        await refused(store.put(OURS, [replace(head(9), id=mine[0].id)]), "a head over a page")
        await refused(store.put(OURS, [replace(page(9), id=mine[1].id)]), "a page over a head")
        await _holds(store, OURS, mine)
        same(await store.scan(other, Where(), limit=9), [], "pages of the other space")


async def index_touches_its_scope_alone(make: StoreFactory) -> None:
    """Vectors reach stored records of the scope; unknown and foreign ids are ignored."""
    other = Scope(tenant="evil", space=OURS.space)
    mine = [page(i, f"m{i}", sparse=terms({1: 1.0})) for i in range(1, 40)]
    foreign = page(1, "theirs", scope=other)
    query = [[1.0, 0.0, 0.0]]
    async with _opened(make) as store:
        await store.put(OURS, mine)
        await store.put(other, [foreign])
        await store.index(
            OURS, {NOBODY: [[1, 0, 0]], foreign.id: [[1, 0, 0]]} | {r.id: [[1.0, r.seq, 0.0]] for r in mine}
        )
        same(await store.search(other, query, Where(), limit=9), [[]], "search in the other space")
        (hits,) = await store.search(OURS, query, Where(), limit=99)
        same([hit.seq for hit in hits], list(range(1, 40)), "order by cosine")
        close(hits[2].score, 1 / 10**0.5, "cosine of (1,0,0) and (1,3,0)")
        await _holds(store, OURS, mine)
        same(len((await store.search(OURS, [terms({1: 1.0})], Where(), limit=99))[0]), 39, "text index after indexing")
        await store.index(OURS, {mine[0].id: [[0.0, 0.0, 1.0]]})
        (hits,) = await store.search(OURS, [[0.0, 0.0, 1.0]], Where(), limit=1)
        same((hits[0].seq, round(hits[0].score, 5)), (1, 1.0), "a vector given again")


async def searches_rank(make: StoreFactory) -> None:
    """Rarer terms weigh more; ties go to the newer page; hits carry fields and no body."""
    common = [page(i, f"c{i}", sparse=terms({1: 1.0})) for i in range(1, 10)]
    rare = page(10, "r", sparse=terms({2: 1.0}), dense=[[0.0, 1.0, 0.0]], fields={"gist": "rare"})
    async with _opened(make) as store:
        await store.put(OURS, [*common, rare, page(11, "not indexed")])
        both, either, dense = await store.search(
            OURS, [terms({1: 1.0}), terms({1: 1.0, 2: 1.0}), [0.0, 2.0, 0.0]], Where(), limit=20
        )
        same([hit.seq for hit in both], list(range(9, 0, -1)), "equal scores")
        (few,) = await store.search(OURS, [terms({1: 1.0})], Where(), limit=3)
        same([hit.seq for hit in few], [9, 8, 7], "equal scores under a limit")
        same([hit.seq for hit in either], [10, *range(9, 0, -1)], "the rare term first")
        same([(hit.id, hit.seq, dict(hit.fields)) for hit in dense], [(rare.id, 10, {"gist": "rare"})], "dense hit")
        idf = await store.idf(OURS, [1, 2, 3, 1])
        same(set(idf), {1, 2}, "terms with a weight")
        close(either[0].score, idf[2], "score of the rare term")
        close(both[0].score, idf[1], "score of the common term")


async def idf_is_the_weight_in_scores(make: StoreFactory) -> None:
    """A score is the sum over terms of query weight, stored weight and ``idf``."""
    records = [page(i, f"p{i}", sparse=terms({t: 0.5 + t for t in range(1, 30) if i % t == 0})) for i in range(1, 60)]
    query = {2: 1.0, 3: 2.0, 7: 0.5, 29: 1.5, 1000: 1.0}
    async with _opened(make) as store:
        await store.put(OURS, records)
        (hits,) = await store.search(OURS, [terms(query)], Where(), limit=100)
        idf = await store.idf(OURS, range(40))
        same(set(idf), set(range(1, 30)), "terms")
        for hit in hits:
            expected = sum(w * (0.5 + t) * idf[t] for t, w in query.items() if t in idf and hit.seq % t == 0)
            close(hit.score, expected, f"score of page {hit.seq}")


async def scores_are_per_scope(make: StoreFactory) -> None:
    """Other tenants' and spaces' text, heads and filters change no score."""
    others = [Scope(tenant="evil", space=OURS.space), Scope(tenant=OURS.tenant, space="b" * 32)]
    mine = [page(i, f"m{i}", sparse=terms({1: 1.0} if i > 1 else {1: 1.0, 2: 3.0})) for i in range(1, 8)]
    query = terms({1: 1.0, 2: 1.0})
    async with _opened(make) as store:
        await store.put(OURS, mine)
        before = await store.search(OURS, [query], Where(), limit=99), await store.idf(OURS, [1, 2])
        for scope in others:
            await store.put(scope, [page(i, f"o{i}", scope=scope, sparse=terms({2: 9.0})) for i in range(300)])
        await store.put(OURS, [head(7)])
        after = await store.search(OURS, [query], Where(), limit=99), await store.idf(OURS, [1, 2])
        same(after, before, "scores")
        (narrow,) = await store.search(OURS, [query], Where(first=2, last=3), limit=99)
        same(narrow, [hit for hit in before[0][0] if hit.seq in {2, 3}], "scores within a range")


async def scans_are_ordered(make: StoreFactory) -> None:
    """By (seq, id), also where many paths share a number, in ranges and under limits."""
    records = [page(seq, f"{seq}/{path}") for seq in range(1, 61) for path in range(1 + seq % 4)]
    records += [page(30, f"shared/{path}") for path in range(600)]
    order = sorted((r.seq, r.id) for r in records)
    async with _opened(make) as store:
        await store.put(OURS, [*records, head(60)])
        await store.put(Scope(tenant="evil", space=OURS.space), [page(5, "foreign")])
        for limit in (1, 2, 31, 256, 257, 10_000):
            same(await _scan(store, Where(), limit), order[:limit], f"scan up to {limit}")
        for first, last in ((1, 1), (29, 31), (30, 30), (60, None), (61, None), (7, 3), (0, 2**53 - 1)):
            inside = [at for at in order if first <= at[0] and (last is None or at[0] <= last)]
            same(await _scan(store, Where(first=first, last=last), 10_000), inside, f"scan of {first} to {last}")
        same(await _scan(store, Where(kind="head"), 9), [(60, head(60).id)], "scan of heads")
        (bare,) = await store.scan(OURS, Where(first=60), limit=1)
        same(bare, _bare(next(r for r in records if r.id == bare.id), body=False), "a scanned record")


async def ids_restrict(make: StoreFactory) -> None:
    """``Where.ids`` narrows scans and searches; a list may change between calls."""
    records = [page(i, f"p{i}", sparse=terms({1: float(i)})) for i in range(1, 30)]
    async with _opened(make) as store:
        await store.put(OURS, records)
        chosen = [records[4].id, records[9].id, NOBODY]
        for ids in (tuple(chosen), tuple(chosen), chosen):
            same([seq for seq, _ in await _scan(store, Where(ids=ids), 99)], [5, 10], "scan among ids")
            (hits,) = await store.search(OURS, [terms({1: 1.0})], Where(ids=ids), limit=99)
            same([hit.seq for hit in hits], [10, 5], "search among ids")
        chosen.append(records[19].id)
        same([s for s, _ in await _scan(store, Where(ids=chosen, first=6), 99)], [10, 20], "scan among more ids")


async def seq_goes_to_the_limit(make: StoreFactory) -> None:
    """Page numbers up to 2^53 - 1 are told apart."""
    top = 2**53 - 1
    records = [page(seq) for seq in (0, 1, 2**31, 2**32 + 1, top - 1, top)]
    async with _opened(make) as store:
        await store.put(OURS, records)
        await _holds(store, OURS, records)
        same([seq for seq, _ in await _scan(store, Where(first=top), 9)], [top], "scan from the largest number")
        same([seq for seq, _ in await _scan(store, Where(first=top - 1, last=top - 1), 9)], [top - 1], "one number")


async def what_cannot_be_exact_is_refused(make: StoreFactory) -> None:
    """A typed error before anything is written, for each thing the store could not give back."""
    good = page(1, "good")
    reserved = ("id", "kind", "seq", "tenant", "space", "body", "sha256", "chunks")
    values: list[Any] = [2**53, -(2**53), float("nan"), float("inf"), None, b"x", [1], {"a": 1}, "\ud83d", (1,)]
    bad = [page(2, fields={key: "x"}) for key in reserved]
    bad += [page(2, fields={"field": value}) for value in values]
    bad += [page(2, fields={"": 1}), page(2, fields={"big": "x" * 1_000_000})]
    seqs: list[Any] = [-1, 2**53, 1.5, True, "1"]
    bad += [replace(page(2), seq=seq) for seq in seqs]
    bad += [page(2, body="\u00e9"), page(2, body=b"x"), page(2, sha256="\u00e9"), page(2, kind="chunk")]
    bad += [page(2, sparse=Sparse(indices=i, values=v)) for i, v in _BAD_SPARSE]
    bad += [page(2, sparse=terms({1: weight})) for weight in (0.0, -1.0)]
    bad += [page(2, dense=[vector]) for vector in _BAD_DENSE]
    bad += [replace(head(9), id=good.id)]
    async with _opened(make) as store:
        for record in bad:
            await refused(store.put(OURS, [good, record]), f"put of {record!r:.300}")
        await refused(store.put(Scope(tenant="", space="s"), [good]), "put without a tenant")
        same(await store.scan(OURS, Where(), limit=9), [], "what refused batches left behind")
        await store.put(OURS, [good])
        for vector in _BAD_DENSE:
            await refused(store.index(OURS, {good.id: [vector]}), f"index with {vector}")
            await refused(store.search(OURS, [vector], Where(), limit=1), f"search for {vector}")
        for i, v in _BAD_SPARSE:
            query = Sparse(indices=i, values=v)
            await refused(store.search(OURS, [query], Where(), limit=1), f"search for {query}")


async def headers_must_match(make: StoreFactory) -> None:
    """Another embedder, dimension, fingerprint or format is refused by name; the same is not."""
    async with _opened(make) as store:
        await store.put(OURS, [page(1)])
        await store.open(HEADER)  # again: nothing happens
    wrong = [
        (replace(HEADER, embedder="probe-2"), "pagefault reindex"),
        (replace(HEADER, dimension=4), "pagefault reindex"),
        (replace(HEADER, fingerprint="e" * 64), "pagefault reindex"),
        (Header(), "pagefault reindex"),
        (replace(HEADER, version=99), "99"),
    ]
    for header, way_out in wrong:
        store = make()
        try:
            await store.open(header)
        except StoreMismatch as error:
            true(way_out in str(error), f"{way_out!r} in {error}")
        else:
            raise AssertionError(f"opened with {header}")
        finally:
            await store.close()
    async with _opened(make, replace(HEADER, fingerprint="")) as store:
        await _holds(store, OURS, [page(1)])
    async with _opened(make) as store:
        await _holds(store, OURS, [page(1)])


async def text_alone_works(make: StoreFactory) -> None:
    """Without an embedder there is full-text search, and vectors are refused."""
    record = page(1, sparse=terms({1: 1.0}))
    async with _opened(make, Header()) as store:
        await store.put(OURS, [record])
        (hits,) = await store.search(OURS, [terms({1: 1.0})], Where(), limit=9)
        same([hit.id for hit in hits], [record.id], "hits")
        await refused(store.index(OURS, {record.id: [[1.0]]}), "index without an embedder")
        await refused(store.search(OURS, [[1.0]], Where(), limit=9), "dense search without an embedder")
        await refused(store.put(OURS, [page(2, dense=[[1.0]])]), "put of a vector without an embedder")


async def closed_means_closed(make: StoreFactory) -> None:
    """Closing twice is fine; every other call says that the store is closed."""
    store = make()
    await refused(store.get(OURS, [NOBODY]), "get before open")
    await store.open(HEADER)
    await store.put(OURS, [page(1)])
    await store.close()
    await store.close()
    calls: list[Awaitable[Any]] = [
        store.open(HEADER),
        store.put(OURS, [page(1)]),
        store.index(OURS, {NOBODY: [[1.0, 0.0, 0.0]]}),
        store.get(OURS, [NOBODY]),
        store.scan(OURS, Where(), limit=1),
        store.search(OURS, [terms({1: 1.0})], Where(), limit=1),
        store.idf(OURS, [1]),
        store.sync(),
    ]
    for call in calls:
        await refused(call, "a call after close", MemoryClosed)
    async with _opened(make) as again:
        await _holds(again, OURS, [page(1)])


CHECKS: Final[tuple[Check, ...]] = (
    round_trip_is_exact,
    large_bodies_are_exact,
    large_pages_count_once,
    large_heads_are_replaced,
    pages_are_insert_only,
    heads_are_replaced,
    put_takes_many,
    empty_calls_are_fine,
    get_without_bodies,
    scopes_do_not_mix,
    foreign_ids_are_refused,
    index_touches_its_scope_alone,
    searches_rank,
    idf_is_the_weight_in_scores,
    scores_are_per_scope,
    scans_are_ordered,
    ids_restrict,
    seq_goes_to_the_limit,
    what_cannot_be_exact_is_refused,
    headers_must_match,
    text_alone_works,
    closed_means_closed,
)

_KINDS: Final[tuple[RecordKind, ...]] = ("page", "head")
_NAN: Final = float("nan")
_BAD_SPARSE: Final[list[tuple[Any, Any]]] = [
    ((1, 1), (1.0, 1.0)),
    ((1,), (1.0, 2.0)),
    ((-1,), (1.0,)),
    ((2**32,), (1.0,)),
    ((1,), (_NAN,)),
    ((1,), (float("inf"),)),
]
_BAD_DENSE: Final = [[1.0], [1.0] * 4, [], [_NAN, 0.0, 0.0], [float("inf"), 0.0, 0.0], [1e39, 0.0, 0.0]]


@contextlib.asynccontextmanager
async def _opened(make: StoreFactory, header: Header = HEADER) -> AsyncIterator[PageStore]:
    store = make()
    await store.open(header)
    try:
        yield store
    finally:
        await store.close()


async def _holds(store: PageStore, scope: Scope, records: Sequence[Record]) -> None:
    found = await store.get(scope, [record.id for record in records])
    for record in records:
        true(record.id in found, f"record {record.id} (seq {record.seq}) is there")
        same(found[record.id], _bare(record), f"record {record.id} (seq {record.seq})")


async def _scan(store: PageStore, where: Where, limit: int) -> list[tuple[int, UUID]]:
    return [(record.seq, record.id) for record in await store.scan(OURS, where, limit=limit)]


def _bare(record: Record, *, body: bool = True) -> Record:
    return replace(record, sparse=None, dense=None, body=record.body if body else "")


def _noise(size: int) -> str:
    """Text without repeats, so that misplaced chunks cannot go unnoticed."""
    return hashlib.shake_256(str(size).encode("ascii")).hexdigest(size // 2 + 1)[:size]
