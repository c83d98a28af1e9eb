"""What an error of the client means, one by one; gRPC's are made here, as no server sends them."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import grpc  # type: ignore[import-untyped]  # its types are in another package
import httpx
import pytest
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from pagefault.errors import StoreDenied, StoreError, StoreUnreachable
from pagefault.stores.backoff import Backoff
from pagefault.stores.server_errors import RefusedError, UnconfirmedError, judge
from pagefault.stores.server_link import Link, Pace
from pagefault.stores.server_settings import server_settings

Code = grpc.StatusCode
KEY = "s3cr3t-key-of-ours"


def rpc(code, details="told"):
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


def answered(status, content=b"", **headers):
    return UnexpectedResponse(status, "Reason", content, httpx.Headers(headers))


@pytest.mark.parametrize(
    ("error", "kind", "again", "asked"),
    [
        (rpc(Code.UNAUTHENTICATED), StoreDenied, False, 0),
        (rpc(Code.PERMISSION_DENIED), StoreDenied, False, 0),
        (rpc(Code.UNAVAILABLE), StoreUnreachable, True, 0),
        (rpc(Code.DEADLINE_EXCEEDED), StoreUnreachable, True, 0),
        (rpc(Code.RESOURCE_EXHAUSTED), StoreUnreachable, True, 0),
        (rpc(Code.ABORTED), StoreUnreachable, True, 0),
        (rpc(Code.CANCELLED), StoreUnreachable, True, 0),
        (rpc(Code.INTERNAL), StoreError, True, 0),
        (rpc(Code.NOT_FOUND), StoreError, False, 0),
        (rpc(Code.INVALID_ARGUMENT), StoreError, False, 0),
        (rpc(Code.ALREADY_EXISTS), StoreError, False, 0),
        (grpc.RpcError("bare"), StoreError, False, 0),
        (ResourceExhaustedResponse("slow down", 7), StoreUnreachable, True, 7),
        (ResourceExhaustedResponse("slow down", -7), StoreUnreachable, True, 0),
        (QdrantException("Retry-After header value is not a valid integer: x"), StoreUnreachable, True, 0),
        (answered(401), StoreDenied, False, 0),
        (answered(403), StoreDenied, False, 0),
        (answered(408), StoreUnreachable, True, 0),
        (answered(429), StoreUnreachable, True, 0),
        (answered(500), StoreError, True, 0),
        (answered(502), StoreUnreachable, True, 0),
        (answered(503, **{"Retry-After": "2.5"}), StoreUnreachable, True, 2.5),
        (answered(503, **{"Retry-After": "tomorrow"}), StoreUnreachable, True, 0),
        (answered(504), StoreUnreachable, True, 0),
        (answered(400), StoreError, False, 0),
        (answered(404), StoreError, False, 0),
        (answered(409), StoreError, False, 0),
        (answered(None), StoreError, False, 0),
        (ResponseHandlingException(httpx.ConnectError("refused")), StoreUnreachable, True, 0),
        (ResponseHandlingException(httpx.ReadTimeout("late")), StoreUnreachable, True, 0),
        (ResponseHandlingException(httpx.ConnectError("CERTIFICATE_VERIFY_FAILED")), StoreUnreachable, False, 0),
        (ResponseHandlingException(httpx.UnsupportedProtocol("ftp")), StoreError, False, 0),
        (ResponseHandlingException(RuntimeError("client is closed")), StoreError, False, 0),
        (ResponseHandlingException(ValueError("no model")), StoreError, False, 0),
        (httpx.InvalidURL("bad"), StoreError, False, 0),
        (ConnectionResetError("reset"), StoreUnreachable, True, 0),
        (AssertionError("returned None"), StoreError, False, 0),
        (RecursionError("too deep"), StoreError, False, 0),
        (TimeoutError(), StoreUnreachable, True, 0),
        (UnconfirmedError("not confirmed"), StoreUnreachable, True, 0),
        (RefusedError("too large"), StoreError, False, 0),
        (rpc(Code.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (9 vs. 8)"), StoreError, False, 0),
    ],
    ids=lambda value: f"{value!r:.60}",
)
def test_verdicts(error, kind, again, asked):
    verdict = judge(error)
    assert (verdict.kind, verdict.again, verdict.asked) == (kind, again, asked)
    assert verdict.reason


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"status":{"error":"Not\\n  enough  room"}}', "Not enough room"),
        (b'{"status":"ok"}', '{"status":"ok"}'),
        (b"[]", "[]"),
        (b"<html>\n<b>Bad</b></html>", "<html> <b>Bad</b></html>"),
        (b"", "Reason"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_servers_words(content, said):
    assert judge(answered(400, content)).reason == f"status 400: {said}"


@pytest.mark.parametrize(
    ("status", "why"), [(302, "a redirect, which is not followed"), (404, "the collection was deleted")]
)
def test_a_status_that_says_where_to_look(status, why):
    assert why in judge(answered(status)).reason


@pytest.mark.parametrize(
    "error", [answered(429), ResourceExhaustedResponse("Rate limiting exceeded", 60), rpc(Code.RESOURCE_EXHAUSTED)]
)
def test_a_limit_of_calls_is_not_told_as_a_server_that_is_away(error):
    told, _ = asyncio.run(outcome([error] * 4))
    assert "read_rate_limit and write_rate_limit" in str(told)
    assert "URL" not in str(told)


def test_a_collection_that_is_gone_over_grpc_says_where_to_look():
    assert "the collection was deleted" in judge(rpc(Code.NOT_FOUND)).reason


def test_words_without_end():
    for error in (answered(400, b"x" * 10_000), rpc(Code.NOT_FOUND, "x" * 10_000), OSError("x" * 10_000)):
        assert len(judge(error).reason) < 600


async def outcome(errors):
    """What a call ends with, and the waits before it, when these errors come one after the other."""
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    async def ask(client):
        if errors:
            raise errors.pop(0)
        return "answer"

    settings = server_settings("qdrant+grpc://host", api_key=KEY)
    pace = Pace(backoff=Backoff(attempts=4, first=1.0), sleep=sleep, clock=lambda: sum(waits), draw=lambda: 1.0)
    nobody: Any = object()
    link = Link(settings, client=nobody, client_options={}, pace=pace)
    try:
        return await link.call("asking", ask), waits
    except StoreError as error:
        return error, waits


def test_grpc_trouble_is_waited_out():
    errors = [rpc(Code.UNAVAILABLE), ResourceExhaustedResponse("", 3), rpc(Code.DEADLINE_EXCEEDED)]
    assert asyncio.run(outcome(errors)) == ("answer", [1.0, 3.0, 4.0])


def test_grpc_trouble_that_lasts():
    error, waits = asyncio.run(outcome([rpc(Code.UNAVAILABLE, "failed to connect")] * 9))
    assert type(error) is StoreUnreachable
    assert "http://host:6334 (collection 'pagefault', gRPC): asking failed after 4 attempts in 7.0 s" in str(error)
    assert "failed to connect" in str(error)
    assert waits == [1.0, 2.0, 4.0]


def test_a_key_refused_over_grpc():
    error, waits = asyncio.run(outcome([rpc(Code.UNAUTHENTICATED, f"bad key {KEY}")]))
    assert type(error) is StoreDenied
    assert KEY not in "".join(traceback.format_exception(error))
    assert waits == []


@pytest.mark.parametrize("error", [TypeError("ours"), KeyError("ours"), asyncio.CancelledError()])
def test_defects_and_cancellation_pass_through(error):
    with pytest.raises(type(error)):
        asyncio.run(outcome([error]))
