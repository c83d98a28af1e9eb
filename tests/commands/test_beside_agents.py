"""Commands on a server while agents write there; the server is a stand-in."""

from __future__ import annotations

import asyncio

import pagefault
from pagefault.stores.server import ServerStore
from pagefault.upkeep import verify
from tests.kernel.support import users
from tests.stores.rest_port import RestPort


def test_verify_takes_an_agent_at_work_for_no_damage(monkeypatch):
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with RestPort() as port, pagefault.open(port.url, embedder=None) as memory:
        space = memory.space(thread="t")
        space.append(users(1, 3))
        memory.flush()

        class Meanwhile(ServerStore):
            async def scan(self, scope, where, *, limit):
                found = await super().scan(scope, where, limit=limit)
                space.append(users(4, 6))
                await memory.aflush()
                return found

        async def verified():
            store = Meanwhile(port.url)
            await store.open(None)
            try:
                return await verify(store)
            finally:
                await store.close()

        found = asyncio.run(verified())
        assert found.checked["page"] >= 3
        assert found.findings == ()
