"""The way to a Qdrant server: one client, attempts with waits between them, our errors."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from qdrant_client import AsyncQdrantClient, models

from pagefault.errors import StoreDenied, StoreError, StoreUnreachable
from pagefault.stores.backoff import Backoff, delays, next_wait
from pagefault.stores.server_bounds import grpc_options, rest_options
from pagefault.stores.server_errors import CLIENT_ERRORS, UnconfirmedError, Verdict, judge
from pagefault.stores.server_settings import ServerSettings

T = TypeVar("T")

WHOLE: Final = 3
"""So many times the time-out is a whole answer given: the time-out by itself begins anew with each word of it."""
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How attempts follow one another, and the clock that they go by.

    Attributes:
        backoff: The rule.
        sleep: Waits.
        clock: Seconds from any point on.
        draw: Numbers from 0 to 1, for jitter.
    """

    backoff: Backoff = Backoff()  # noqa: RUF009  # frozen, so it may be shared
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random


class Link:
    """Makes calls on one server until they succeed or it is clear that they will not."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        client: AsyncQdrantClient | None,
        client_options: Mapping[str, Any],
        pace: Pace,
    ) -> None:
        self.settings = settings
        self._given = client
        self._client = client
        self._client_options = client_options
        self._pace = pace
        has_own = client is not None or "timeout" in client_options
        self._limit = None if has_own else WHOLE * settings.timeout

    def connect(self) -> None:
        """Make the client, in the event loop that it will serve. It connects at its first call."""
        if self._client is None:
            if self.settings.exposes_key:
                _LOG.warning(
                    "the API key for %s goes over the network unencrypted; use https:// (or qdrant+grpcs://)",
                    self.settings.url,
                )
            self._client = _new_client(self.settings, self._client_options)

    async def call(self, what: str, ask: Callable[[AsyncQdrantClient], Awaitable[T]]) -> T:
        """Make one call that may be made again, as often as its pace allows.

        Args:
            what: What is done, for messages.
            ask: Makes the call; safe to repeat.

        Raises:
            StoreUnreachable: No answer, or no confirmation, in all attempts.
            StoreDenied: The server refused the API key.
            StoreError: The server refused or failed the call.
        """
        if self._client is None:
            raise StoreError(f"the store at {self.settings.place} has no connection; await its open() first")
        backoff, started = self._pace.backoff, self._pace.clock()
        waits = delays(backoff, self._pace.draw)
        tried = 0
        while True:
            tried += 1
            try:
                async with asyncio.timeout(self._limit):
                    return await ask(self._client)
            except CLIENT_ERRORS as error:
                verdict, cause = judge(error), error
            spent = self._pace.clock() - started
            planned = next(waits, None) if verdict.again else None
            wait = next_wait(backoff, planned, asked=verdict.asked, spent=spent)
            if wait is None:
                raise self._failure(what, verdict, tried, spent) from self._shown(cause)
            _LOG.info("%s: %s did not succeed; again in %.1f s", self.settings.url, what, wait)
            await self._pace.sleep(wait)

    async def update(self, what: str, ask: Callable[[AsyncQdrantClient], Awaitable[models.UpdateResult]]) -> None:
        """Make one write; on return the server has confirmed it.

        Raises:
            StoreError: As for :meth:`call`. The write may have happened: make it again.
        """

        async def confirmed(client: AsyncQdrantClient) -> None:
            result = await ask(client)
            if result.status != models.UpdateStatus.COMPLETED:
                raise UnconfirmedError(f"the server took the write but did not confirm it (status {result.status})")

        await self.call(what, confirmed)

    async def close(self) -> None:
        """Close the client, unless it was given."""
        client, self._client = self._client, None
        if client is not None and client is not self._given:
            await client.close()

    def forget(self) -> None:
        """In a forked child: leave the inherited connections to the parent."""
        self._client = None

    def _failure(self, what: str, verdict: Verdict, tried: int, spent: float) -> StoreError:
        where = f"{self.settings.place}: {what}"
        reason = self._clean(verdict.reason)
        attempts = f"{tried} attempt{'s' if tried > 1 else ''} in {spent:.1f} s"
        if verdict.kind is StoreDenied:
            return StoreDenied(
                f"{where} was refused ({reason}); set the environment variable QDRANT_API_KEY to a key that may read "
                "and write this collection (or give it to a ServerStore of your own as api_key=...)"
            )
        if verdict.kind is StoreUnreachable:
            asked = f"; it asked to wait {verdict.asked:.0f} s" if verdict.asked else ""
            return StoreUnreachable(
                f"{where} failed after {attempts}, last with: {reason}{asked}. {verdict.way_out}; calling again is safe"
            )
        return StoreError(f"{where} failed after {attempts}: {reason}")

    def _clean(self, text: str) -> str:
        key = self.settings.api_key
        if not key:
            return text
        text = text.replace(key, "***")
        cut = next((n for n in range(len(key) - 1, 3, -1) if text.endswith(key[:n])), 0)  # long reasons are cut short
        return f"{text[:-cut]}***" if cut else text

    def _shown(self, error: Exception) -> Exception | None:
        """The cause to show in tracebacks: not one that repeats the key, as some proxies do."""
        key = self.settings.api_key
        told = f"{error} {getattr(error, 'content', b'')!r} {getattr(error, 'source', '')}"
        return None if key and key in told else error


def _new_client(settings: ServerSettings, options: Mapping[str, Any]) -> AsyncQdrantClient:
    """A client that checks no version by itself: it would do so in a thread, and only print."""
    ours: dict[str, Any] = {
        "url": f"{'https' if settings.tls else 'http'}://{settings.host}{settings.path}",
        "port": settings.port,
        "prefer_grpc": settings.prefer_grpc,
        "timeout": settings.timeout,
        "check_compatibility": False,
    }
    ours |= grpc_options() | {"grpc_port": settings.port} if settings.prefer_grpc else rest_options()
    if settings.api_key:  # as a header: ``api_key=`` makes the client warn on loopback as well
        ours["headers"] = {**ours.get("headers", {}), "api-key": settings.api_key}
    return AsyncQdrantClient(**{**ours, **options})
