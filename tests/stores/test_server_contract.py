"""The server store keeps the contract of every page store, on qdrant-client's local mode."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from pagefault.errors import StoreError
from pagefault.ports import Header, Swap
from pagefault.stores.layout import INLINE_BYTES
from pagefault.stores.server import ServerStore
from pagefault.testing.item_contract import ITEM_CHECKS, item
from pagefault.testing.operator_contract import OPERATOR_CHECKS
from pagefault.testing.piece_contract import PIECE_CHECKS
from pagefault.testing.store_contract import CHECKS, OURS, Check
from tests.stores.local_server import LocalServer


@pytest.mark.parametrize(
    "check", [*CHECKS, *ITEM_CHECKS, *OPERATOR_CHECKS, *PIECE_CHECKS], ids=lambda check: check.__name__
)
def test_on_local_mode(check: Check) -> None:
    server = LocalServer()
    asyncio.run(check(lambda: ServerStore("qdrant://localhost", api_key="", client=server)))


@pytest.mark.parametrize("others", [1, 5])
async def test_who_is_overwritten_before_reading_back_has_written_all_the_same(
    others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told that it lost, and who counts by compare-and-set counted twice."""
    server = LocalServer()
    ours, theirs = (ServerStore("qdrant://localhost", api_key="", client=server) for _ in range(2))
    for store in (ours, theirs):
        await store.open(Header())
    assert await ours.swap(OURS, [Swap(record=item("n", 1), version=0)]) == [True]
    assert ours._calls is not None
    points = ours._calls._points
    won: list[bool] = []

    async def later(what: str, *given: Any) -> Any:
        if what == "reading what was written" and not won:
            for version in range(2, 2 + others):
                won.extend(await theirs.swap(OURS, [Swap(record=item("n", version + 1), version=version)]))
        return await points(what, *given)

    monkeypatch.setattr(ours._calls, "_points", later)
    late = Swap(record=item("n", 9), version=1)
    assert await ours.swap(OURS, [Swap(record=item("n", 2), version=1)]) == [True]
    assert won == [True] * others
    assert await ours.swap(OURS, [late]) == [False]


@pytest.mark.parametrize("then", ["overwritten", "made anew"])
async def test_what_is_overwritten_while_it_is_removed_leaves_nothing_behind(
    then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of the newer one stayed on the server, where nobody finds it; one that is made anew later stays."""
    server, large = LocalServer(), "x" * 2 * INLINE_BYTES
    ours, theirs = (ServerStore("qdrant://localhost", api_key="", client=server) for _ in range(2))
    for store in (ours, theirs):
        await store.open(Header())
    old, new = item("n", 1, large), item("n", 2, f"{large} and more")
    assert await ours.swap(OURS, [Swap(record=old, version=0)]) == [True]
    assert ours._calls is not None
    delete = ours._calls._delete
    calls: list[Any] = []

    async def beside(flt: Any) -> None:
        calls.append(flt)
        if then == "overwritten" and len(calls) == 1:
            assert await theirs.swap(OURS, [Swap(record=new, version=1)]) == [True]
        await delete(flt)
        if then == "made anew" and len(calls) == 1:
            assert await theirs.swap(OURS, [Swap(record=new, version=0)]) == [True]

    monkeypatch.setattr(ours._calls, "_delete", beside)
    await ours.remove(OURS, {old.id: None})
    points, _ = await server.scroll(ours._settings.collection, limit=100, with_payload=["kind"])
    kinds = sorted(point.payload["kind"] for point in points)
    assert kinds == {"overwritten": ["header"], "made anew": ["chunk", "header", "item"]}[then]


async def test_who_is_overwritten_all_the_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LocalServer()
    ours, theirs = (ServerStore("qdrant://localhost", api_key="", client=server) for _ in range(2))
    for store in (ours, theirs):
        await store.open(Header())
    assert await ours.swap(OURS, [Swap(record=item("n", 1), version=0)]) == [True]
    assert ours._calls is not None
    delete, versions = ours._calls._delete, itertools.count(1)

    async def beside(flt: Any) -> None:
        version = next(versions)
        assert await theirs.swap(OURS, [Swap(record=item("n", version + 1), version=version)]) == [True]
        await delete(flt)

    monkeypatch.setattr(ours._calls, "_delete", beside)
    with pytest.raises(StoreError, match="overwritten 32 times"):
        await ours.remove(OURS, {item("n", 1).id: None})
