"""What every store must do for an operator's commands, as checks like those of ``store_contract``."""

from __future__ import annotations

from typing import Final

from pagefault.errors import StoreMissing
from pagefault.ports import Scope
from pagefault.testing.expect import refused, same
from pagefault.testing.store_contract import HEADER, OURS, Check, StoreFactory, _holds, _noise, _opened, head, page


async def a_census_counts_every_tenant(make: StoreFactory) -> None:
    """Each space's records by kind, whatever its names hold; chunks of large bodies do not count."""
    odd = [OURS, Scope(tenant="a/b", space="c" * 32), Scope(tenant="a", space="b/c"), Scope(tenant="/", space="3/x/")]
    async with _opened(make) as store:
        same(await store.census(), [], "a census of nothing")
        for number, scope in enumerate(odd, 1):
            pages = [page(i, f"{number}/{i}", scope=scope) for i in range(number)]
            await store.put(scope, [*pages, page(9, _noise(3_000_000 + number), scope=scope), head(9, scope=scope)])
        found = {(t.scope, t.kind): t.count for t in await store.census()}
        pages_of = {(scope, "page"): number + 1 for number, scope in enumerate(odd, 1)}
        same(found, pages_of | {(scope, "head"): 1 for scope in odd}, "the census")


async def what_is_there_opens_as_it_is(make: StoreFactory) -> None:
    """Without a header a store is loaded, never made, and tells what it was written with."""
    await refused(make().open(None), "opening nothing without a header", StoreMissing)
    async with _opened(make) as store:
        same(await store.open(None), HEADER, "the header while it is open")
        await store.put(OURS, [page(1)])
    store = make()
    same(await store.open(None), HEADER, "the header of what is there")
    await _holds(store, OURS, [page(1)])
    await store.close()


OPERATOR_CHECKS: Final[tuple[Check, ...]] = (a_census_counts_every_tenant, what_is_there_opens_as_it_is)
