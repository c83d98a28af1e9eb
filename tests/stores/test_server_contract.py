"""The server store keeps the contract of every page store, on qdrant-client's local mode."""

from __future__ import annotations

import asyncio

import pytest

from pagefault.stores.server import ServerStore
from pagefault.testing.item_contract import ITEM_CHECKS
from pagefault.testing.operator_contract import OPERATOR_CHECKS
from pagefault.testing.piece_contract import PIECE_CHECKS
from pagefault.testing.store_contract import CHECKS, Check
from tests.stores.local_server import LocalServer


@pytest.mark.parametrize(
    "check", [*CHECKS, *ITEM_CHECKS, *OPERATOR_CHECKS, *PIECE_CHECKS], ids=lambda check: check.__name__
)
def test_on_local_mode(check: Check) -> None:
    server = LocalServer()
    asyncio.run(check(lambda: ServerStore("qdrant://localhost", api_key="", client=server)))
