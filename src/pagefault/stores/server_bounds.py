"""How much of an answer is read at most: a server, or whoever stands in its place, must not fill the memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx

from pagefault.stores.server_errors import RefusedError

ANSWER_BYTES: Final = 256 * 1024 * 1024
"""What is asked for at once takes a tenth of it, unless every record has fields of 64 KB."""
ENCODING: Final = "gzip"
"""The one that is accepted: it makes no more than 64 MB of each 64 KB that arrive, others make gigabytes."""


class _Bounded(httpx.Response):
    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        size = 0
        async for part in super().aiter_bytes(chunk_size):
            size += len(part)
            if size > ANSWER_BYTES:
                raise RefusedError(f"the answer has more than {ANSWER_BYTES:,} bytes, and was not read to its end")
            yield part


async def _bound(response: httpx.Response) -> None:
    """Before the body of an answer is read."""
    encoding = response.headers.get("content-encoding", ENCODING)
    if encoding.strip().lower() not in (ENCODING, "identity"):
        raise RefusedError(f"the answer comes as {encoding!r:.40}, where {ENCODING} or nothing was asked for")
    response.__class__ = _Bounded


def rest_options() -> dict[str, Any]:
    """For a client that speaks REST."""
    return {"headers": {"accept-encoding": ENCODING}, "event_hooks": {"response": [_bound]}}


def grpc_options() -> dict[str, Any]:
    """For a client that speaks gRPC; its messages say how long they are."""
    return {"grpc_options": {"grpc.max_receive_message_length": ANSWER_BYTES}}
