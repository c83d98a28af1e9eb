"""The server store over gRPC: every call of ours has that form too, and its errors are ours."""

from __future__ import annotations

import asyncio

import grpc  # type: ignore[import-untyped]  # its types are in another package
import pytest

from pagefault.errors import StoreDenied, StoreError, StoreUnreachable
from pagefault.stores import server_bounds
from pagefault.stores.backoff import Backoff
from pagefault.stores.server import ServerStore
from pagefault.stores.server_link import Pace
from pagefault.testing.item_contract import ITEM_CHECKS
from pagefault.testing.operator_contract import OPERATOR_CHECKS
from pagefault.testing.piece_contract import PIECE_CHECKS
from pagefault.testing.store_contract import CHECKS, HEADER, OURS, Check, head, page
from pagefault.testing.user_contract import USER_CHECKS
from tests.stores.grpc_server import STRONG, WEAK, GrpcServer

Code = grpc.StatusCode
PACE = Pace(backoff=Backoff(attempts=4, first=0.001))


def store_on(server: GrpcServer, api_key: str = "") -> ServerStore:
    return ServerStore(f"qdrant+grpc://127.0.0.1:{server.port}", api_key=api_key, pace=PACE)


@pytest.mark.parametrize(
    "check", [*CHECKS, *ITEM_CHECKS, *OPERATOR_CHECKS, *PIECE_CHECKS, *USER_CHECKS], ids=lambda check: check.__name__
)
def test_contract_over_grpc(check: Check) -> None:
    async def main() -> None:
        async with GrpcServer() as server:
            await check(lambda: store_on(server))

    asyncio.run(main())


def test_writes_name_their_ordering_and_calls_their_key():
    async def main() -> GrpcServer:
        async with GrpcServer() as server:
            store = store_on(server, "k")
            await store.open(HEADER)
            await store.put(OURS, [page(1), head(1)])
            await store.close()
            return server

    server = asyncio.run(main())
    assert server.orderings == {(False, STRONG), (False, WEAK), (True, STRONG)}  # header, pages, heads
    assert {each.get("api-key") for each in server.metadata} == {"k"}


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED, Code.INTERNAL])
def test_trouble_over_grpc_passes(code):
    async def main() -> None:
        async with GrpcServer() as server:
            store = store_on(server)
            server.refuse = [code, code]
            await store.open(HEADER)
            server.refuse = [code, code]
            await store.put(OURS, [page(1)])
            assert set(await store.get(OURS, [page(1).id])) == {page(1).id}
            await store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "kind"),
    [(Code.UNAVAILABLE, StoreUnreachable), (Code.UNAUTHENTICATED, StoreDenied), (Code.PERMISSION_DENIED, StoreDenied)],
)
def test_trouble_over_grpc_that_lasts(code, kind):
    async def main() -> int:
        async with GrpcServer() as server:
            store = store_on(server)
            server.refuse = [code] * 9
            with pytest.raises(kind):
                await store.open(HEADER)
            await store.close()
            return len(server.refuse)

    assert asyncio.run(main()) == (5 if kind is StoreUnreachable else 8)


def test_nobody_listens_on_a_grpc_port():
    async def main() -> None:
        store = ServerStore("qdrant+grpc://127.0.0.1:9", api_key="", pace=PACE)
        with pytest.raises(StoreUnreachable, match="gRPC UNAVAILABLE"):
            await store.open(HEADER)
        await store.close()

    asyncio.run(main())


def test_a_message_that_is_too_large_is_not_taken_over_grpc(monkeypatch):
    """Its sender says how long it is, zipped or not; asking again would bring the same."""
    monkeypatch.setattr(server_bounds, "ANSWER_BYTES", 50_000)

    async def main() -> None:
        for zipped in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            async with GrpcServer(zipped) as server:
                store = store_on(server)
                await store.open(HEADER)
                large = page(1, "x" * 60_000)
                await store.put(OURS, [large])
                with pytest.raises(StoreError, match=r"after 1 attempt .* larger than max") as caught:
                    await store.get(OURS, [large.id])
                assert type(caught.value) is StoreError
                await store.close()

    asyncio.run(main())
