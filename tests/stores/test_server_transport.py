"""The server store over the real client: each request checked, each kind of trouble survived."""

from __future__ import annotations

import asyncio
import itertools
import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from qdrant_client import models

from pagefault.errors import StoreDenied, StoreError, StoreMismatch, StoreUnreachable
from pagefault.ports import Header, Scope, Where
from pagefault.stores import server as server_module
from pagefault.stores.backoff import Backoff
from pagefault.stores.lists import lists_of
from pagefault.stores.scopes import PIECED, SCOPE_KEY, TAGS, USER_KEY, scope_value
from pagefault.stores.server import ServerStore
from pagefault.stores.server_calls import has_id
from pagefault.stores.server_link import Pace
from pagefault.stores.server_setup import HEADER_ID
from pagefault.testing.item_contract import ITEM_CHECKS
from pagefault.testing.operator_contract import OPERATOR_CHECKS
from pagefault.testing.piece_contract import PIECE_CHECKS
from pagefault.testing.store_contract import CHECKS, HEADER, OURS, Check, head, page, terms
from pagefault.testing.user_contract import USER_CHECKS
from tests.stores.rest_server import POINTS, RestServer, is_write, ok, said

KEY = "s3cr3t-key-of-ours"
URL = "qdrant://127.0.0.1:6333"
Execute = Callable[[], Awaitable[httpx.Response]]
EVIL = Scope(tenant="evil", space=OURS.space)


class Waits(list[float]):
    """A clock that only moves when somebody waits, and remembers for how long."""

    def pace(self, **backoff: Any) -> Pace:
        async def sleep(seconds: float) -> None:
            self.append(seconds)
            for _ in range(20):  # whatever else can go on does
                await asyncio.sleep(0)

        return Pace(backoff=Backoff(**backoff), sleep=sleep, clock=lambda: sum(self), draw=lambda: 1.0)


def store_on(server: RestServer, waits: Waits | None = None, url: str = URL, **more: Any) -> ServerStore:
    more = {"api_key": KEY} | more
    pace = (Waits() if waits is None else waits).pace()
    return ServerStore(url, client_options={"transport": server.transport}, pace=pace, **more)


def on(server: RestServer, use: Callable[[ServerStore], Awaitable[Any]], **more: Any) -> Any:
    """Use an open store, then close it; the server must find every request in order."""

    async def main() -> Any:
        store = store_on(server, **more)
        try:
            await store.open(HEADER)
            return await use(store)
        finally:
            await store.close()

    result = asyncio.run(main())
    assert server.broken == []
    return result


def failing(
    server: RestServer, use: Callable[[ServerStore], Awaitable[Any]], kind: type[StoreError], **more: Any
) -> str:
    """The message of the error that it ends with; no credential shows, not even in the traceback."""
    with pytest.raises(kind) as caught:
        on(server, use, **more)
    assert type(caught.value) is kind
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


async def nothing(store: ServerStore) -> None:
    pass


async def write(store: ServerStore) -> None:
    await store.put(OURS, [page(1, "one"), page(2, "two", sparse=terms({1: 1.0})), head(2)])


def always(answer: Callable[[], httpx.Response]) -> Callable[[httpx.Request, Execute], Awaitable[httpx.Response]]:
    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        return answer()

    return fault


def raising(error: type[httpx.TransportError]) -> Callable[[], httpx.Response]:
    def answer() -> httpx.Response:
        raise error("it is gone")

    return answer


# -- the contract, over the wire ---------------------------------------------------------------


@pytest.mark.parametrize(
    "check", [*CHECKS, *ITEM_CHECKS, *OPERATOR_CHECKS, *PIECE_CHECKS, *USER_CHECKS], ids=lambda check: check.__name__
)
def test_contract_over_rest(check: Check) -> None:
    server = RestServer()
    asyncio.run(check(lambda: store_on(server)))
    assert server.broken == []


@pytest.mark.parametrize(
    "check", [*CHECKS, *ITEM_CHECKS, *OPERATOR_CHECKS, *PIECE_CHECKS, *USER_CHECKS], ids=lambda check: check.__name__
)
def test_contract_while_the_server_flaps(check: Check) -> None:
    """Each kind of trouble in turn, before and after the request took effect, and nothing is noticed."""
    turns = itertools.cycle(["fine", "before", "fine", "late", "fine", "fine", "busy", "away", "unconfirmed"])

    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        match next(turns):
            case "before":
                raise httpx.ConnectError("refused")
            case "late":
                await execute()
                raise httpx.ReadTimeout("too late")
            case "busy":
                return said(429, "Rate limiting exceeded", {"Retry-After": "1"})
            case "away":
                return said(503, "node is starting")
            case "unconfirmed" if is_write(request):
                await execute()
                return ok({"operation_id": 7, "status": "wait_timeout"})
        return await execute()

    server = RestServer(fault=fault)
    asyncio.run(check(lambda: store_on(server)))
    assert server.broken == []


# -- what is sent --------------------------------------------------------------------------------


def test_the_collection_is_laid_out_for_many_small_tenants():
    server = RestServer()
    on(server, nothing, replication_factor=3, shard_number=2)
    (created,) = server.sent("PUT", "/collections/{name}")
    body = created.body
    assert {name: (v.size, v.distance.value) for name, v in body.vectors.items()} == {
        "dense": (3, "Cosine"),
        "pieces": (3, "Cosine"),
    }
    assert body.vectors["pieces"].multivector_config.comparator == models.MultiVectorComparator.MAX_SIM
    assert {name: each.modifier.value for name, each in body.sparse_vectors.items()} == dict.fromkeys(TEXT, "idf")
    assert (body.hnsw_config.m, body.hnsw_config.payload_m, body.on_disk_payload) == (0, 16, True)
    assert (body.replication_factor, body.write_consistency_factor, body.shard_number) == (3, 2, 2)
    indexes = {each.body.field_name: each.body.field_schema for each in server.sent("PUT", "/collections/{name}/index")}
    assert set(indexes) == {"tenant", SCOPE_KEY, USER_KEY, TAGS, PIECED, "seq"}
    assert {name for name, each in indexes.items() if getattr(each, "is_tenant", None)} == {SCOPE_KEY, USER_KEY}
    assert {name for name, each in indexes.items() if each.enable_hnsw is False} == {"tenant", TAGS, PIECED, "seq"}
    assert (indexes["seq"].lookup, indexes["seq"].range) == (True, True)


def test_an_operator_deletes_a_tenant_by_its_name():
    server = RestServer()
    theirs = replace(OURS, tenant="theirs")
    large = page(1, "x" * 100_000, scope=theirs)

    async def use(store: ServerStore) -> None:
        await write(store)
        await store.put(theirs, [large, head(1, scope=theirs)])
        named = models.FieldCondition(key="tenant", match=models.MatchValue(value="theirs"))
        assert (await server.local.count("pagefault", count_filter=models.Filter(must=[named]))).count == 3
        await server.local.delete("pagefault", models.FilterSelector(filter=models.Filter(must=[named])))
        assert {tally.scope for tally in await store.census()} == {OURS}
        assert await store.get(theirs, [large.id]) == {}
        await write(store)

    on(server, use)


@pytest.mark.parametrize(("url", "shards", "warned"), [(URL, 1, 0), (URL + "?shard_number=4", 4, 1)])
def test_several_shards_are_a_choice_that_is_warned_of(url, shards, warned, caplog):
    server = RestServer()
    on(server, nothing, url=url)
    (created,) = server.sent("PUT", "/collections/{name}")
    assert created.body.shard_number == shards
    assert len([r for r in caplog.records if "several shards" in r.message]) == warned


def test_a_collection_that_is_ready_is_only_read():
    server = RestServer()
    on(server, nothing)
    server.seen.clear()
    on(server, nothing)
    assert [each.method for each in server.seen if each.method == "PUT"] == []


def test_a_crash_half_way_through_making_it_is_made_good():
    server = RestServer()
    on(server, nothing)
    complete = list(server.seen)
    for stop in range(1, len(complete)):
        count = itertools.count()

        async def fault(request: httpx.Request, execute: Execute, stop: int = stop, count=count) -> httpx.Response:
            return await execute() if next(count) < stop else said(403, "stop here")

        server = RestServer(fault=fault)
        failing(server, nothing, StoreDenied)
        server.fault = None
        on(server, write)
        assert set(server.indexes) == {"tenant", SCOPE_KEY, USER_KEY, TAGS, PIECED, "seq"}


def test_two_processes_that_make_it_at_once():
    server = RestServer()

    async def main() -> None:
        one, other = store_on(server), store_on(server)
        await asyncio.gather(one.open(HEADER), other.open(HEADER))
        await one.put(OURS, [page(1)])
        assert set(await other.get(OURS, [page(1).id])) == {page(1).id}
        await asyncio.gather(one.close(), other.close())

    asyncio.run(main())
    assert server.broken == []


@pytest.mark.parametrize("made", [False, True], ids=["a new collection", "one without a fingerprint"])
def test_of_two_processes_with_different_embedders_the_first_decides(made):
    """The second one has seen no header either, and writes its own after the first one is done."""
    server, rival = RestServer(), replace(HEADER, fingerprint="e" * 64)

    async def main() -> None:
        first, one, other = store_on(server), store_on(server), store_on(server)
        if made:
            await first.open(replace(HEADER, fingerprint=""))
        one_is_open = asyncio.Event()

        async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
            if is_write(request) and rival.fingerprint.encode() in request.content:
                await one_is_open.wait()
            return await execute()

        server.fault = fault
        late = asyncio.create_task(other.open(rival))
        for _ in range(200):
            await asyncio.sleep(0)
        await one.open(HEADER)
        one_is_open.set()
        with pytest.raises(StoreMismatch):
            await late
        await asyncio.gather(first.close(), one.close(), other.close())

    asyncio.run(main())
    on(server, nothing)


def dense(size: int = 3, distance: models.Distance = models.Distance.COSINE) -> dict[str, models.VectorParams]:
    nearest = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    pieces = models.VectorParams(size=size, distance=distance, multivector_config=nearest)
    return {"dense": models.VectorParams(size=size, distance=distance), "pieces": pieces}


TEXT = {name: models.SparseVectorParams(modifier=models.Modifier.IDF) for name in ("text", "user_text")}


@pytest.mark.parametrize(
    ("vectors", "sparse"),
    [
        ({}, {}),
        ({}, TEXT),
        (dense(), {}),
        (dense(4), TEXT),
        (dense(distance=models.Distance.DOT), TEXT),
        (dense(), TEXT | {"text": models.SparseVectorParams()}),
        (dense(), TEXT | {"user_text": models.SparseVectorParams()}),
        (dense(), {"text": TEXT["text"]}),
        (dense(), {"words": TEXT["text"]}),
        ({"dense": dense()["dense"]}, TEXT),
        (dense() | {"image": dense()["dense"]}, TEXT),
        (dense()["dense"], TEXT),
    ],
)
def test_a_collection_with_other_vectors_is_left_alone(vectors, sparse):
    server = RestServer()
    asyncio.run(server.local.create_collection("pagefault", vectors_config=vectors, sparse_vectors_config=sparse))
    message = failing(server, nothing, StoreMismatch)
    assert "other vectors" in message
    assert f"needed dense ({HEADER.dimension}, Cosine), pieces ({HEADER.dimension}, Cosine), text" in message
    assert {each.method for each in server.seen} <= {"GET", "POST"}


def test_a_collection_with_other_points_is_left_alone():
    server = RestServer()

    async def fill() -> None:
        await server.local.create_collection("pagefault", vectors_config=dense(), sparse_vectors_config=TEXT)
        await server.local.upsert("pagefault", points=[models.PointStruct(id=1, vector={}, payload={"a": 1})])

    asyncio.run(fill())
    assert "something else's" in failing(server, nothing, StoreMismatch)
    assert {each.method for each in server.seen} <= {"GET", "POST"}


def test_an_empty_collection_made_by_an_operator_is_used():
    server = RestServer()
    asyncio.run(server.local.create_collection("pagefault", vectors_config=dense(), sparse_vectors_config=TEXT))
    on(server, write)


def test_a_head_that_shrinks_leaves_nothing_behind():
    server = RestServer()

    async def use(store: ServerStore) -> None:
        for size in (3_000_000, 2_000_000, 10):
            await store.put(OURS, [head(1, f'"{"x" * size}"')])

    on(server, use)
    assert asyncio.run(server.local.count("pagefault")).count == 2  # the head and the header


def test_every_request_carries_the_key_and_no_other_place_does():
    server = RestServer()
    on(server, write)
    assert {each.headers["api-key"] for each in server.seen} == {KEY}
    assert not any(KEY in each.raw for each in server.seen)


def test_the_key_comes_from_the_environment_unless_it_is_given(monkeypatch):
    monkeypatch.setenv("QDRANT_API_KEY", "from-outside")
    for given, sent in ((None, "from-outside"), ("", None), (KEY, KEY)):
        server = RestServer()
        on(server, nothing, api_key=given)
        assert {each.headers.get("api-key") for each in server.seen} == {sent}


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("qdrant://127.0.0.1", 0),
        ("qdrant://localhost:1", 0),
        ("http://[::1]", 0),
        ("https://db.example", 0),
        ("qdrant://db.example", 1),
        ("http://10.0.0.1:6333", 1),
    ],
)
def test_a_key_in_clear_text_is_warned_of_once(url, warned, caplog):
    server = RestServer()
    caplog.set_level(logging.WARNING)

    async def twice(store: ServerStore) -> None:
        await store.open(HEADER)
        await write(store)

    on(server, twice, url=url)
    assert len([r for r in caplog.records if "unencrypted" in r.message]) == warned
    assert {httpx.URL(each.raw).scheme for each in server.seen} == {"https" if url.startswith("https") else "http"}
    assert KEY not in caplog.text


def test_a_path_is_kept_and_another_collection_used():
    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        assert request.url.path.startswith("/behind/proxy")
        request.url = request.url.copy_with(path=request.url.path.removeprefix("/behind/proxy") or "/")
        return await execute()

    server = RestServer(fault=fault, name="other")
    on(server, write, url="https://db.example/behind/proxy/?collection=other")


def test_large_batches_are_cut_by_bytes():
    server = RestServer()
    records = [page(i, '"\\' * 400_000) for i in range(1, 15)]

    async def use(store: ServerStore) -> None:
        await store.put(OURS, records)
        found = await store.get(OURS, [record.id for record in records])
        assert {r.id: r.body for r in found.values()} == {r.id: r.body for r in records}

    on(server, use)
    sizes = [each.size for each in server.sent("PUT", POINTS)]
    assert len(sizes) > 3
    assert max(sizes) < 6 * 1024 * 1024


def test_a_retry_of_pages_writes_nothing_again():
    server = RestServer()

    async def use(store: ServerStore) -> None:
        await store.put(OURS, [page(1), page(2)])
        await store.put(OURS, [page(1), page(2)])

    on(server, use)
    assert len(server.sent("PUT", POINTS)) == 2  # the header and the pages, once


def test_read_consistency_reaches_the_server():
    server = RestServer()

    async def use(store: ServerStore) -> None:
        await store.get(OURS, [page(1).id])

    on(server, use, url=URL + "?read_consistency=quorum")
    assert server.sent("POST", POINTS)[-1].query["consistency"] == "quorum"


# -- isolation when the server errs -----------------------------------------------------------


def test_a_server_that_ignores_filters_leaks_nothing():
    server = RestServer()

    async def use(store: ServerStore) -> None:
        of_theirs = 1 ^ lists_of(OURS, "page", apart=True).salt ^ lists_of(EVIL, "page", apart=True).salt
        words = terms({of_theirs: 1.0})  # which lies where our word 1 lies
        await store.put(EVIL, [page(1, "theirs", scope=EVIL, sparse=words, dense=[[1.0, 0.0, 0.0]])])
        server.filters_work = False
        for call in (
            store.scan(OURS, Where(), limit=9),
            store.search(OURS, [terms({1: 1.0})], Where(), limit=9),
            store.search(OURS, [[1.0, 0.0, 0.0]], Where(), limit=9),
            store.idf(OURS, [1]),
        ):
            with pytest.raises(StoreError, match="not of Scope"):
                await call
        assert await store.get(OURS, [page(1, "theirs", scope=EVIL).id]) == {}

    on(server, use)


@pytest.mark.parametrize("tenant", ["a/b", "a", '{"$ne": 1}', "*", "a\x00", "\u0430", "page/1/a/a", "null"])
def test_hostile_names_are_only_names(tenant):
    server = RestServer()
    scope, near = Scope(tenant=tenant, space="b/a"), Scope(tenant=tenant + "/b", space="a")

    async def use(store: ServerStore) -> None:
        await store.put(scope, [page(1, scope=scope)])
        assert await store.scan(near, Where(), limit=9) == []
        assert len(await store.scan(scope, Where(), limit=9)) == 1

    on(server, use)
    (search, *_) = [each.body for each in server.sent("POST", POINTS + "/scroll") if each.body.filter]
    assert search.filter.must[0].match.value == scope_value(near, "page")


# -- trouble that passes ----------------------------------------------------------------------


def first(count: int, answer: Callable[[], httpx.Response], *, after: bool = False) -> Any:
    """Trouble for the first ``count`` writes of pages, before or after they took effect."""
    left = itertools.count(1)

    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        about_pages = is_write(request) and b'"page"' in request.content
        if not about_pages or next(left) > count:
            return await execute()
        if after:
            await execute()
        return answer()

    return fault


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (lambda: said(429, "Rate limiting", {"Retry-After": "3"}), [3.0, 3.0, 3.0]),
        (lambda: said(429, "Rate limiting", {"Retry-After": "0"}), [0.1, 0.2, 0.4]),
        (lambda: said(429, "Rate limiting", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), [0.1, 0.2, 0.4]),
        (lambda: said(429, "Rate limiting"), [0.1, 0.2, 0.4]),
        (lambda: said(503, "starting", {"Retry-After": "2"}), [2.0, 2.0, 2.0]),
        (lambda: said(503, "starting"), [0.1, 0.2, 0.4]),
        (lambda: httpx.Response(502, text="<html>Bad Gateway</html>"), [0.1, 0.2, 0.4]),
        (lambda: said(500, "Service internal error"), [0.1, 0.2, 0.4]),
        (raising(httpx.ConnectError), [0.1, 0.2, 0.4]),
        (raising(httpx.ConnectTimeout), [0.1, 0.2, 0.4]),
        (raising(httpx.ReadTimeout), [0.1, 0.2, 0.4]),
        (raising(httpx.ReadError), [0.1, 0.2, 0.4]),
        (raising(httpx.RemoteProtocolError), [0.1, 0.2, 0.4]),
        (lambda: ok({"operation_id": 7, "status": "wait_timeout"}), [0.1, 0.2, 0.4]),
        (lambda: ok({"operation_id": 7, "status": "acknowledged"}), [0.1, 0.2, 0.4]),
    ],
)
@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after"])
def test_trouble_that_passes_is_waited_out(answer, waits, after):
    server, waited = RestServer(fault=first(3, answer, after=after)), Waits()

    async def use(store: ServerStore) -> int:
        await write(store)
        return len(await store.scan(OURS, Where(), limit=9))

    assert on(server, use, waits=waited) == 2
    assert waited == pytest.approx(waits)
    assert asyncio.run(server.local.count("pagefault")).count == 4  # two pages, a head, the header


def test_a_repeated_write_changes_nothing_that_was_there():
    server = RestServer()

    async def use(store: ServerStore) -> None:
        await store.put(OURS, [page(1, "first")])
        server.fault = first(2, raising(httpx.ReadTimeout), after=True)
        other = replace(page(1, "other"), id=page(1, "first").id)
        await store.put(OURS, [other, page(2, "second")])
        found = await store.get(OURS, [other.id, page(2, "second").id])
        assert [record.body for record in found.values()] == [page(1, "first").body, page(2, "second").body]

    on(server, use)


def test_a_head_tried_again_does_not_overtake_the_next():
    server = RestServer()
    slow = asyncio.Event()

    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        if is_write(request) and b'"seq":1,' in request.content.replace(b" ", b"") and not slow.is_set():
            slow.set()
            return said(503, "busy")
        return await execute()

    async def use(store: ServerStore) -> None:
        server.fault = fault
        await asyncio.gather(store.put(OURS, [head(1)]), store.put(OURS, [head(2)]))
        assert (await store.get(OURS, [head(2).id]))[head(2).id].seq == 2

    on(server, use)
    assert slow.is_set()


# -- trouble that lasts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        lambda: said(503, "starting"),
        lambda: said(429, "Rate limiting"),
        raising(httpx.ConnectError),
        raising(httpx.PoolTimeout),
        lambda: ok({"operation_id": 7, "status": "wait_timeout"}),
    ],
)
def test_trouble_that_lasts_names_place_attempts_and_way_out(answer):
    waits = Waits()
    message = failing(RestServer(fault=first(99, answer)), write, StoreUnreachable, waits=waits)
    assert "http://127.0.0.1:6333 (collection 'pagefault'): writing pages failed after 6 attempts in 3.1 s" in message
    assert "calling again is safe" in message
    assert len(waits) == 5


def test_no_server_at_the_start():
    message = failing(RestServer(fault=always(raising(httpx.ConnectError))), nothing, StoreUnreachable)
    assert "asking for the version failed after 6 attempts" in message


def test_a_real_port_that_nobody_listens_on():
    async def main() -> str:
        store = ServerStore("qdrant://127.0.0.1:9", api_key="", pace=Waits().pace(attempts=2))
        with pytest.raises(StoreUnreachable) as caught:
            await store.open(HEADER)
        await store.close()
        return str(caught.value)

    assert "ConnectError" in asyncio.run(main())


def test_a_store_opens_after_the_server_came_back():
    server = RestServer(fault=always(raising(httpx.ConnectError)))

    async def main() -> None:
        store = store_on(server)
        with pytest.raises(StoreUnreachable):
            await store.open(HEADER)
        with pytest.raises(StoreError, match="not open"):
            await store.put(OURS, [page(1)])
        server.fault = None
        await store.open(HEADER)
        await store.put(OURS, [page(1)])
        await store.close()

    asyncio.run(main())


def test_an_answer_that_never_ends_is_given_up(monkeypatch):
    """Each word of it begins the client's own time-out anew."""
    monkeypatch.setattr("pagefault.stores.server_link.WHOLE", 0.002)

    async def fault(*_: object) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    message = failing(RestServer(fault=fault), nothing, StoreUnreachable)
    assert "after 6 attempts" in message
    assert "no answer in time (TimeoutError)" in message


def test_a_key_in_a_reason_that_is_cut_short():
    for room in range(len(KEY) + 1):
        text = "x" * (300 - len("status 403: ") - room)
        message = failing(RestServer(fault=always(lambda: said(403, text + KEY))), nothing, StoreDenied)  # noqa: B023  # used at once
        assert KEY[:4] not in message


def test_a_wait_beyond_our_patience_is_not_begun():
    waits = Waits()
    answer = lambda: said(429, "Rate limiting", {"Retry-After": "3600"})  # noqa: E731  # a table entry elsewhere
    message = failing(RestServer(fault=first(99, answer)), write, StoreUnreachable, waits=waits)
    assert "it asked to wait 3600 s" in message
    assert waits == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_tried_again(status):
    waits = Waits()
    fault = always(lambda: said(status, f"Invalid API key or JWT: {KEY}"))
    message = failing(RestServer(fault=fault), nothing, StoreDenied, waits=waits)
    assert waits == []
    assert "api_key=..." in message
    assert "QDRANT_API_KEY" in message


def test_a_key_that_may_only_read():
    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        return said(403, "Forbidden: Write access is required") if is_write(request) else await execute()

    server = RestServer()
    on(server, nothing)
    server.fault = fault
    assert "Write access is required" in failing(server, write, StoreDenied)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(200, text="<html>Welcome</html>"),
        lambda: httpx.Response(200, json={"result": {"status": 5}, "status": "ok"}),
        lambda: httpx.Response(200, json={"status": "ok", "time": 0}),
        lambda: httpx.Response(200, json=[]),
        lambda: httpx.Response(200, content=b"\xff\xfe"),
        lambda: httpx.Response(200),
    ],
)
def test_garbage_is_named_as_such(answer):
    waits = Waits()
    message = failing(RestServer(fault=first(99, answer)), write, StoreError, waits=waits)
    assert "not one of a Qdrant server" in message
    assert waits == []
    assert "not one of a Qdrant server" in failing(RestServer(fault=always(answer)), nothing, StoreError)


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refusal_is_told_in_the_servers_words(status):
    waits = Waits()
    fault = first(99, lambda: said(status, f"no: {KEY} " + "x" * 5000))
    message = failing(RestServer(fault=fault), write, StoreError, waits=waits)
    assert f"status {status}: no: *** x" in message
    assert len(message) < 600
    assert waits == []


def test_answers_to_fewer_questions_are_noticed():
    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        return ok([]) if request.url.path.endswith("/query/batch") else await execute()

    async def use(store: ServerStore) -> None:
        await store.search(OURS, [terms({1: 1.0})], Where(), limit=1)

    failing(RestServer(fault=fault), use, StoreError)


# -- versions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.16.3", "1.9.0", "0.11.1"])
def test_a_server_without_insert_only_is_refused(version):
    message = failing(RestServer(version=version), nothing, StoreError)
    assert f"runs Qdrant {version}" in message
    assert "1.17" in message
    failing(RestServer(version=version), nothing, StoreError, allow_shared_idf=True)


@pytest.mark.parametrize("version", ["1.17.0", "1.18.2"])
def test_shared_statistics_are_refused_unless_allowed(version, caplog):
    message = failing(RestServer(version=version), nothing, StoreError)
    assert "1.19" in message
    assert "?allow_shared_idf=true" in message
    server = RestServer(version=version)

    async def use(store: ServerStore) -> None:
        await store.put(OURS, [page(1, sparse=terms({1: 1.0}))])
        await store.open(HEADER)
        await store.search(OURS, [terms({1: 1.0})], Where(), limit=1)

    with pytest.raises(AssertionError, match="another corpus"):
        on(server, use, allow_shared_idf=True)
    assert all(each.body.searches[0].params is None for each in server.sent("POST", POINTS + "/query/batch"))
    assert len([r for r in caplog.records if "other tenants" in r.message]) == 1


@pytest.mark.parametrize("version", ["1.19.0", "1.20.0-dev", "v1.21.3", "2.0.0"])
def test_newer_servers_are_taken(version):
    on(RestServer(version=version), write)


@pytest.mark.parametrize("version", ["", "latest", "8"])
def test_a_version_that_is_none(version):
    assert "none of a Qdrant server" in failing(RestServer(version=version), nothing, StoreError)


# -- the rest ---------------------------------------------------------------------------------


def test_a_broken_header_is_named():
    server = RestServer()
    on(server, nothing)
    asyncio.run(server.local.overwrite_payload("pagefault", {"kind": "header"}, points=[str(HEADER_ID)]))
    assert "is not a pagefault header" in failing(server, nothing, StoreMismatch)


def test_a_given_client_stays_open():
    class Client:
        closed = False

        async def close(self) -> None:
            self.closed = True

    async def main() -> bool:
        client: Any = Client()
        store = ServerStore(URL, api_key="", client=client)
        await store.close()
        await store.close()
        return client.closed

    assert asyncio.run(main()) is False


def test_the_header_point_cannot_be_written_over():
    server = RestServer()

    async def use(store: ServerStore) -> None:
        with pytest.raises(StoreError, match="another space or kind"):
            await store.put(OURS, [replace(page(1), id=HEADER_ID)])
        with pytest.raises(StoreError, match="another space or kind"):
            await store.put(OURS, [replace(head(1), id=HEADER_ID)])

    on(server, use)
    on(server, nothing)


def test_text_alone_makes_no_dense_vector():
    server = RestServer()

    async def main() -> None:
        store = store_on(server)
        await store.open(Header())
        await store.close()

    asyncio.run(main())
    (created,) = server.sent("PUT", "/collections/{name}")
    assert created.body.vectors == {}


def test_a_forked_child_leaves_the_connections_alone(monkeypatch):
    server = RestServer()

    async def main() -> None:
        store = store_on(server)
        await store.open(HEADER)
        client = store._link._client
        assert client is not None
        monkeypatch.setattr("os.getpid", lambda: -1)
        with pytest.raises(StoreError, match="before this process was forked"):
            await store.get(OURS, [page(1).id])
        await store.close()
        await client.info()  # still open
        await client.close()

    asyncio.run(main())


def test_a_search_among_more_ids_than_a_request_may_hold_finds_what_one_would(monkeypatch):
    """A server takes 32 MB at once; each id stands in all three filters of a search by words and meaning."""
    told = len(has_id(page(n, f"{n}").id for n in range(1_000)).model_dump_json())
    assert told * server_module._NAMED < 8 * 1024 * 1024 * 1_000
    pages = [page(n, f"{n}", sparse=terms({1: 1.0 + n}), dense=[[1.0, n / 9, 0.0]]) for n in range(9)]
    ids = [page(n, f"{n}").id for n in range(300)]
    queries = [terms({1: 1.0}), [1.0, 0.0, 0.0]]

    async def use(store):
        await store.put(OURS, pages)
        few = await store.search(OURS, queries, Where(ids=ids[3:9]), limit=4)
        monkeypatch.setattr(server_module, "_NAMED", 16)
        among = await store.search(OURS, queries, Where(ids=[*ids[3:], *ids[3:]]), limit=4)
        return among, few, await store.search(OURS, queries, Where(ids=tuple(ids), bare=True), limit=4)

    server = RestServer()
    among, few, bare = on(server, use)
    assert among == few
    assert [len(hits) for hits in few] == [4, 4]
    assert [[hit.id for hit in hits] for hits in bare] == [[ids[n] for n in (8, 7, 6, 5)], ids[:4]]
    sent = [each.raw.count("-") // 4 for each in server.sent("POST", POINTS + "/query/batch")[1:]]
    assert len(sent) > 2 * 297 // 16
    assert max(sent) <= 16
