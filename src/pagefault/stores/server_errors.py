"""What an error of the Qdrant client means, for REST and gRPC alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # its types are in another package
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from pagefault.errors import StoreDenied, StoreError, StoreUnreachable

_MAX_REASON: Final = 300
_DENIED: Final = frozenset({401, 403})
_GONE: Final = 404
_WHY_GONE: Final = (
    " (either the URL's path is wrong, or the collection was deleted: restore it from a snapshot, and what waits is "
    "written; a memory that is opened anew makes an empty one)"
)
_WHY_REFUSED: Final = "is it a Qdrant server, of a supported version?"
_LOOK: Final = "Check that a Qdrant server answers there and that the URL is right"
_LIMITED: Final = (
    "Raise the limits of calls a minute (read_rate_limit and write_rate_limit of the collection's strict mode, or a "
    "proxy's), or let fewer agents use it at a time"
)
_TOO_LARGE: Final = "larger than max"
"""What gRPC says of a message beyond the limit that it was given; the same answer would come again."""
_TOO_MANY: Final = 429
_PASSING: Final = frozenset({408, _TOO_MANY, 502, 503, 504})
_DENIED_CODES: Final = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_PASSING_CODES: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    }
)
_ELSEWHERE: Final = range(300, 400)
_WHY_ELSEWHERE: Final = (
    " (a redirect, which is not followed: a proxy's login page, or http:// where https:// is wanted)"
)


class UnconfirmedError(Exception):
    """The server took a write but did not say that it is done."""


class RefusedError(Exception):
    """An answer that is not read: too large, or not in the form that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do about an error.

    Attributes:
        kind: The error to raise when it lasts.
        reason: What happened, in few words.
        again: Whether trying again may help.
        asked: Seconds that the server asked to wait, 0 for none.
        way_out: What may help where it is :class:`StoreUnreachable`.
    """

    kind: type[StoreError]
    reason: str
    again: bool = False
    asked: float = 0.0
    way_out: str = _LOOK


# What the client raises; anything else is a defect and passes through. It asserts on answers
# without a result, and lets the errors of its JSON and model parsers through (ValueErrors, or
# a RecursionError).
CLIENT_ERRORS: Final = (
    ApiException,
    QdrantException,
    UnconfirmedError,
    RefusedError,
    grpc.RpcError,
    httpx.HTTPError,
    AssertionError,
    ValueError,
    RecursionError,
    OSError,
)


def judge(error: Exception) -> Verdict:
    """What ``error``, one of :data:`CLIENT_ERRORS`, means."""
    if isinstance(error, ResponseHandlingException):  # the client wraps what the transport raised
        error = error.source
    for kinds, verdict in _VERDICTS:
        if isinstance(error, kinds):
            return verdict(error)
    return _unforeseen(error)


def _busy(error: QdrantException) -> Verdict:
    """Status 429 with ``Retry-After``, which may be no number."""
    asked = error.retry_after_s if isinstance(error, ResourceExhaustedResponse) else 0
    reason = f"too many requests ({error})"[:_MAX_REASON]
    return Verdict(kind=StoreUnreachable, reason=reason, again=True, asked=max(0.0, asked), way_out=_LIMITED)


def _answered(error: UnexpectedResponse) -> Verdict:
    status = error.status_code or 0
    reason = f"status {status}: {_said(error)}"
    if status == _GONE:
        reason += _WHY_GONE
    if status in _ELSEWHERE:
        reason += _WHY_ELSEWHERE
    if status in _DENIED:
        return Verdict(kind=StoreDenied, reason=reason)
    if status in _PASSING:
        way_out = _LIMITED if status == _TOO_MANY else _LOOK
        return Verdict(kind=StoreUnreachable, reason=reason, again=True, asked=_retry_after(error), way_out=way_out)
    return Verdict(kind=StoreError, reason=reason, again=status >= 500)


def _grpc(error: grpc.RpcError) -> Verdict:
    call: Any = error  # only errors of a call have a code and details
    has_code = hasattr(error, "code")
    status = call.code() if has_code else grpc.StatusCode.UNKNOWN
    reason = f"gRPC {status.name}: {call.details() if has_code else error}"[:_MAX_REASON]
    if status in _DENIED_CODES:
        return Verdict(kind=StoreDenied, reason=reason)
    if status is grpc.StatusCode.NOT_FOUND:
        reason += _WHY_GONE
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in reason:
        return Verdict(kind=StoreError, reason=f"{reason}; {_WHY_REFUSED}")
    if status in _PASSING_CODES:
        way_out = _LIMITED if status is grpc.StatusCode.RESOURCE_EXHAUSTED else _LOOK
        return Verdict(kind=StoreUnreachable, reason=reason, again=True, way_out=way_out)
    return Verdict(kind=StoreError, reason=reason, again=status is grpc.StatusCode.INTERNAL)


def _unconfirmed(error: UnconfirmedError) -> Verdict:
    return Verdict(kind=StoreUnreachable, reason=str(error), again=True)


def _refused(error: RefusedError) -> Verdict:
    return Verdict(kind=StoreError, reason=f"{error}; {_WHY_REFUSED}")


def _late(error: Exception) -> Verdict:
    return Verdict(kind=StoreUnreachable, reason=f"no answer in time ({type(error).__name__})", again=True)


def _away(error: Exception) -> Verdict:
    """The connection failed; a certificate that is refused now is refused again."""
    reason = f"{type(error).__name__}: {error}"[:_MAX_REASON]
    return Verdict(kind=StoreUnreachable, reason=reason, again="certificate" not in reason.lower())


def _garbled(error: Exception) -> Verdict:
    reason = f"the answer is not one of a Qdrant server ({type(error).__name__}); does a proxy stand in between?"
    return Verdict(kind=StoreError, reason=reason)


def _unforeseen(error: Exception) -> Verdict:
    return Verdict(kind=StoreError, reason=f"{type(error).__name__}: {error}"[:_MAX_REASON])


# The first that fits counts.
_VERDICTS: Final[tuple[tuple[Any, Callable[[Any], Verdict]], ...]] = (
    (QdrantException, _busy),
    (UnexpectedResponse, _answered),
    (grpc.RpcError, _grpc),
    (UnconfirmedError, _unconfirmed),
    (RefusedError, _refused),
    (httpx.UnsupportedProtocol, _unforeseen),
    ((httpx.TimeoutException, TimeoutError), _late),
    ((httpx.TransportError, OSError), _away),
    ((AssertionError, ValueError, RecursionError), _garbled),
)


def _said(error: UnexpectedResponse) -> str:
    """The message in the body, or the body's beginning."""
    try:
        said = json.loads(error.content)["status"]["error"]
    except (ValueError, LookupError, TypeError):  # not Qdrant's form: a proxy's page, or nothing
        said = error.content.decode("utf-8", "replace").strip() or error.reason_phrase
    return " ".join(str(said).split())[:_MAX_REASON]


def _retry_after(error: UnexpectedResponse) -> float:
    try:
        return max(0.0, float(error.headers.get("Retry-After", "0")))
    except ValueError:  # a date
        return 0.0
