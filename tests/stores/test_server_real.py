"""The contract on a real Qdrant server, when there is one.

``QDRANT_URL=qdrant://localhost:6333`` (with ``QDRANT_API_KEY`` and ``QDRANT_PREFER_GRPC=1`` if
need be) runs it in collections of its own, which are dropped afterwards. ``QDRANT_REQUIRED=1``
makes their absence a failure, for places where a server is known to be there.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from qdrant_client import AsyncQdrantClient

from pagefault.ports import Header, Where
from pagefault.stores.server import ServerStore
from pagefault.stores.server_link import Link, Pace
from pagefault.stores.server_settings import key_from, server_settings
from pagefault.testing.item_contract import ITEM_CHECKS
from pagefault.testing.operator_contract import OPERATOR_CHECKS
from pagefault.testing.piece_contract import PIECE_CHECKS
from pagefault.testing.store_contract import CHECKS, HEADER, OURS, Check, head, page, terms
from pagefault.testing.user_contract import USER_CHECKS

NOT_RUN = "QDRANT_URL unset: server contract NOT run"
HOST = urlsplit(os.environ.get("QDRANT_URL", "")).hostname or "localhost"
pytestmark = pytest.mark.allow_hosts(["127.0.0.1", "::1", HOST])


@pytest.fixture
def place() -> Iterator[dict[str, Any]]:
    """Where the server is, with a collection of one's own."""
    url = os.environ.get("QDRANT_URL")
    if not url:
        if os.environ.get("QDRANT_REQUIRED") == "1":
            pytest.fail(f"{NOT_RUN}, but QDRANT_REQUIRED is 1")
        pytest.skip(NOT_RUN)
    grpc = os.environ.get("QDRANT_PREFER_GRPC", "").lower() in {"1", "true", "yes"}
    where = {"url": url, "collection": f"pagefault-test-{uuid.uuid4().hex}", "prefer_grpc": grpc or None}
    yield where
    asyncio.run(drop(where))


async def drop(where: dict[str, Any]) -> None:
    settings = server_settings(**where, api_key=key_from(os.environ))
    link = Link(settings, client=None, client_options={}, pace=Pace())
    link.connect()

    async def delete(client: AsyncQdrantClient) -> bool:
        return await client.delete_collection(settings.collection)

    await link.call("dropping the test's collection", delete)
    await link.close()


@pytest.mark.parametrize(
    "check", [*CHECKS, *ITEM_CHECKS, *OPERATOR_CHECKS, *PIECE_CHECKS, *USER_CHECKS], ids=lambda check: check.__name__
)
def test_contract(check: Check, place: dict[str, Any]) -> None:
    asyncio.run(check(lambda: ServerStore(**place)))


def test_writers_side_by_side(place: dict[str, Any]) -> None:
    """Several stores at once, as several processes would: what each wrote is there, once."""

    async def main() -> None:
        stores = [ServerStore(**place) for _ in range(4)]
        await asyncio.gather(*(store.open(HEADER) for store in stores))
        shared = [page(i, f"{i}", sparse=terms({1: 1.0})) for i in range(1, 200)]
        await asyncio.gather(*(store.put(OURS, [*shared, head(199)]) for store in stores))
        for store in stores:
            assert [r.seq for r in await store.scan(OURS, Where(), limit=999)] == list(range(1, 200))
        await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(main())


def test_a_second_opening_finds_what_the_first_made(place: dict[str, Any]) -> None:
    async def main() -> None:
        for _ in range(2):
            store = ServerStore(**place)
            await store.open(Header())
            await store.close()

    asyncio.run(main())
