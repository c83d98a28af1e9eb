"""The embedded store keeps the contract of every page store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pagefault.stores import EdgeStore
from pagefault.testing import ThreadRunner
from pagefault.testing.item_contract import ITEM_CHECKS
from pagefault.testing.operator_contract import OPERATOR_CHECKS
from pagefault.testing.piece_contract import PIECE_CHECKS
from pagefault.testing.store_contract import CHECKS, Check
from pagefault.testing.user_contract import USER_CHECKS


@pytest.mark.parametrize(
    "check", [*CHECKS, *ITEM_CHECKS, *OPERATOR_CHECKS, *PIECE_CHECKS, *USER_CHECKS], ids=lambda check: check.__name__
)
def test_edge_store(check: Check, tmp_path: Path) -> None:
    with ThreadRunner() as run:
        asyncio.run(check(lambda: EdgeStore(tmp_path / "data", run=run)))
