"""A server that answers in form and lies in content: typed errors, an end to every call, nobody else's record."""

from __future__ import annotations

import copy
import gzip
import json
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import httpx
import pytest
from langgraph.store.base import GetOp, Op, PutOp

import pagefault
from pagefault.errors import CorruptPage, StoreError, StoreMismatch
from pagefault.ports import Record, Where
from pagefault.stores import server_bounds, server_calls
from pagefault.stores.server import ServerStore
from pagefault.testing.store_contract import HEADER, OURS, page, terms
from pagefault_langgraph import PagefaultStore
from tests.stores.rest_server import RestServer
from tests.stores.test_server_transport import Execute, store_on

Told = Callable[[Any, int], None]
LARGE = page(1_000, "large " * 20_000)
SAME = [page(900, f"path {n}") for n in range(270)]
"""More than one request lists."""


def lying(end: str, lie: Told) -> Callable[[httpx.Request, Execute], Awaitable[httpx.Response]]:
    """Changes the result of each request to a route with this end; told how often that was before."""
    told = 0

    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        nonlocal told
        answer = await execute()
        if not request.url.path.endswith(end):
            return answer
        said = json.loads(answer.content)
        lie(said["result"], told)
        told += 1
        return httpx.Response(200, content=json.dumps(said).encode())

    return fault


async def asked(end: str, lie: Told, use: Callable[[ServerStore], Awaitable[Any]], more: Sequence[Record] = ()) -> Any:
    server = RestServer()
    store = store_on(server)
    try:
        await store.open(HEADER)
        some = [page(n, f"{n}", sparse=terms({1: 1.0, n + 1: 1.0}), dense=[[1.0, 0.0, 0.0]]) for n in range(1, 11)]
        await store.put(OURS, [*some, LARGE, *more])
        server.fault = lying(end, lie)
        return await use(store)
    finally:
        await store.close()


def every(key: str, value: Any) -> Told:
    def lie(result: Any, told: int) -> None:
        for each in result if isinstance(result, list) else [result]:
            for point in each.get("points", [each]):
                point[key] = value

    return lie


def never_ends(result: Any, told: int) -> None:
    result["next_page_offset"] = str(SAME[0].id)


def begins_again() -> Told:
    first: list[Any] = []

    def lie(result: Any, told: int) -> None:
        first.append(copy.deepcopy(result))
        result.update(first[0])

    return lie


def numbers_everything_five(result: Any, told: int) -> None:
    for point in result["points"]:
        point["payload"]["seq"] = 5


@pytest.mark.parametrize("lie", [never_ends, begins_again(), numbers_everything_five])
async def test_a_listing_that_never_ends_is_given_up(lie: Told) -> None:
    with pytest.raises(StoreError, match=r"does not end|beyond those"):
        await asked("/scroll", lie, lambda store: store.scan(OURS, Where(), limit=10**6), SAME)


@pytest.mark.parametrize("lie", [never_ends, begins_again()])
async def test_a_count_that_never_ends_is_given_up(lie: Told) -> None:
    with pytest.raises(StoreError, match="does not end, since the server gives the same ones again"):
        await asked("/scroll", lie, lambda store: store.count(OURS, Where()), SAME)


async def test_records_that_are_invented_without_end_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_calls, "_MOST_SAME", 1_000)

    def invents(result: Any, told: int) -> None:
        never_ends(result, told)
        for point in result["points"]:
            point["id"] = str(uuid.uuid4())

    with pytest.raises(StoreError, match="does not end, since the server gives ever more"):
        await asked("/scroll", invents, lambda store: store.scan(OURS, Where(first=900), limit=10), SAME)


async def test_a_large_body_that_is_another_one_at_each_look_is_given_up() -> None:
    def lie(result: Any, told: int) -> None:
        for point in result:
            if "chunks" in point["payload"]:
                point["payload"]["chunks"] = f"1/{told:032d}"

    with pytest.raises(CorruptPage, match="lacks chunk"):
        await asked("/points", lie, lambda store: store.get(OURS, [LARGE.id]))


async def test_a_chunk_without_its_text_is_a_damaged_page() -> None:
    def lie(result: Any, told: int) -> None:
        for point in result:
            if point["payload"]["kind"] == "chunk":
                del point["payload"]["body"]

    with pytest.raises(CorruptPage, match="lacks chunk"):
        await asked("/points", lie, lambda store: store.get(OURS, [LARGE.id]))


@pytest.mark.parametrize("id_", [7, "not-a-uuid"])
async def test_an_id_that_pagefault_does_not_give_is_told(id_: Any) -> None:
    for end, use in (
        ("/points", lambda store: store.get(OURS, [LARGE.id])),
        ("/scroll", lambda store: store.scan(OURS, Where(), limit=9)),
        ("/batch", lambda store: store.search(OURS, [terms({1: 1.0})], Where(bare=True), limit=9)),
    ):
        with pytest.raises(StoreError, match=f"with the id {id_!r}"):
            await asked(end, every("id", id_), use)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
async def test_a_score_that_is_no_number_is_no_answer(score: float) -> None:
    with pytest.raises(StoreError, match="not one of a Qdrant server"):
        await asked(
            "/batch", every("score", score), lambda store: store.search(OURS, [terms({1: 1.0})], Where(), limit=9)
        )


async def test_a_count_below_nothing_is_no_answer() -> None:
    with pytest.raises(StoreError, match="not one of a Qdrant server"):
        await asked("/count", every("count", -1), lambda store: store.census())


@pytest.mark.parametrize(
    "vector",
    [
        None,
        [0.5, 0.5],
        {},
        {"text": {"indices": [3], "values": [1.0]}},
        {"text": {"indices": [], "values": [1.0]}},
    ],
)
async def test_a_weight_that_cannot_be_read_is_told(vector: Any) -> None:
    with pytest.raises(StoreError, match="gives no weight"):
        await asked("/batch", every("vector", vector), lambda store: store.idf(OURS, [1]))


@pytest.mark.parametrize("vector", [[0.5, 0.5], {"text": [0.5]}, {"text": {"indices": [3, 4], "values": [1.0]}}])
async def test_words_that_cannot_be_read_are_told(vector: Any) -> None:
    with pytest.raises(StoreError, match="in a form that it never has"):
        await asked("/points", every("vector", vector), lambda store: store.get(OURS, [LARGE.id], words=True))


@pytest.mark.parametrize("where", [Where(), Where(newest=True)])
async def test_a_server_that_ignores_the_order_hides_no_record(where: Where) -> None:
    """Who goes on from the last number of a listing would pass by those that it leaves out."""

    def turned(result: Any, told: int) -> None:
        result["points"].reverse()

    whole = await asked("/scroll", turned, lambda store: store.scan(OURS, where, limit=5))
    assert [record.seq for record in whole] == ([1000, 10, 9, 8, 7] if where.newest else [1, 2, 3, 4, 5])
    server = RestServer()
    store = store_on(server)
    await store.open(HEADER)
    await store.put(OURS, [page(n, f"{n}") for n in range(1, 20)])
    server.orders_work = False
    with pytest.raises(StoreError, match="and some were left out"):
        await store.scan(OURS, where, limit=5)
    await store.close()


# -- how much is read --------------------------------------------------------------------------


class Endless(httpx.AsyncByteStream):
    """A body without an end; ``sent`` counts what was read of it."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            self.sent += len(part)
            yield part


def zipped() -> Iterator[bytes]:
    made = zlib.compressobj(wbits=31)
    while True:
        yield made.compress(bytes(4_000_000)) + made.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("encoding", "parts", "most"),
    [("", lambda: repeat(b"x" * 1_000), 12_000), ("gzip", zipped, 8_000)],
    ids=["plain", "gzip"],
)
@pytest.mark.parametrize("status", [200, 429, 500])
async def test_an_endless_answer_is_not_kept(
    encoding: str, parts: Callable[[], Iterator[bytes]], most: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_bounds, "ANSWER_BYTES", 10_000)
    body = Endless(parts())

    async def fault(*_: object) -> httpx.Response:
        return httpx.Response(status, headers={"content-encoding": encoding} if encoding else {}, stream=body)

    store = store_on(RestServer(fault=fault))
    with pytest.raises(StoreError, match=r"more than 10,000 bytes"):
        await store.open(HEADER)
    assert body.sent <= most
    await store.close()


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "deflate"])
async def test_an_answer_that_unpacks_to_anything_is_not_read(encoding: str) -> None:
    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        assert request.headers["accept-encoding"] == "gzip"
        return httpx.Response(200, headers={"content-encoding": encoding}, stream=Endless(repeat(b"x")))

    store = store_on(RestServer(fault=fault))
    with pytest.raises(StoreError, match=rf"comes as '{encoding}', where gzip"):
        await store.open(HEADER)
    await store.close()


async def test_an_answer_that_is_zipped_once_is_read() -> None:
    async def fault(request: httpx.Request, execute: Execute) -> httpx.Response:
        answer = await execute()
        return httpx.Response(
            answer.status_code, headers={"content-encoding": "GZIP"}, content=gzip.compress(answer.content)
        )

    store = store_on(RestServer(fault=fault))
    await store.open(HEADER)
    await store.put(OURS, [LARGE])
    assert (await store.get(OURS, [LARGE.id]))[LARGE.id].body == LARGE.body
    await store.close()


async def test_a_header_with_an_endless_dimension_is_named() -> None:
    server = RestServer()
    store = store_on(server)
    await store.open(HEADER)
    await store.close()

    def lie(result: Any, told: int) -> None:
        result[0]["payload"]["dimension"] = float("inf")

    server.fault = lying("/points", lie)
    store = store_on(server)
    with pytest.raises(StoreMismatch, match="not a pagefault header"):
        await store.open(HEADER)
    await store.close()


# -- through a memory ------------------------------------------------------------------------


def given_in_each_others_place(result: Any, told: int) -> None:
    items = [point for point in result if (point.get("payload") or {}).get("kind") == "item"]
    for point, other in zip(items, [point["id"] for point in items][::-1], strict=True):
        point["id"] = other


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> RestServer:
    """What memories that are opened by a URL talk to."""
    made = RestServer()
    monkeypatch.setattr("pagefault.stores.server.ServerStore", lambda _: store_on(made))
    return made


def test_an_item_in_another_ones_place_is_not_shown(server: RestServer) -> None:
    with pagefault.open("qdrant://127.0.0.1:6333", embedder=None) as memory:
        store = PagefaultStore(memory)
        asked: list[Op] = [GetOp(("keys",), name) for name in ("front door", "safe")]
        store.batch([PutOp(("keys",), name, {"code": name}) for name in ("front door", "safe")])
        server.fault = lying("/points", given_in_each_others_place)
        with pytest.raises(CorruptPage, match="calls itself"):
            store.batch(asked)
        server.fault = None
        found: list[Any] = store.batch(asked)
        assert [item.value for item in found] == [{"code": "front door"}, {"code": "safe"}]


def test_a_damaged_time_in_another_conversation_hides_nothing_else(server: RestServer) -> None:
    def lie(result: Any, told: int) -> None:
        for point in [point for each in result for point in each.get("points", ())]:
            if (fields := json.loads((point["payload"] or {}).get("_fields", "{}"))) and point["payload"]["seq"] == 2:
                point["payload"]["_fields"] = json.dumps(fields | {"created_at": "never"})

    with pagefault.open("qdrant://127.0.0.1:6333", embedder=None) as memory:
        said = ["The cat is called Turing.", "The cat sleeps."]
        memory.space(tenant="acme", user="ada", thread="before").append([{"role": "user", "content": s} for s in said])
        memory.flush()
        server.fault = lying("/query/batch", lie)
        now = memory.space(tenant="acme", user="ada", thread="now")
        assert "Turing" in now.recall("What is the cat called?", scope="user").text
