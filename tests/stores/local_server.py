"""qdrant-client's local mode in the place of a server.

It executes the same requests with Python code of its own, so it checks what the server store
asks for, not how a server answers: no wire, no ordering, no copies, no limits. It races under
concurrent calls, hence the lock; it holds no payload index, hence the two warnings.
"""

from __future__ import annotations

import asyncio
import inspect
import warnings
from typing import Any

from qdrant_client import AsyncQdrantClient


class LocalServer:
    """A client whose calls run one at a time, on data that lives as long as this object."""

    def __init__(self) -> None:
        self._client = AsyncQdrantClient(":memory:")
        self._lock = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def locked(*args: Any, **kwargs: Any) -> Any:
            async with self._lock:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="Local mode performs exact")
                    warnings.filterwarnings("ignore", message="Payload indexes have no effect")
                    return await method(*args, **kwargs)

        return locked
