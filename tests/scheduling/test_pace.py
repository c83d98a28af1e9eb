"""What refusals say and teach."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from pagefault.errors import BadTurn
from pagefault.scheduling import is_refusal, retry_after
from pagefault.scheduling.pace import LONGEST_PAUSE, Pace


class ClientError(Exception):
    """Shaped like the errors of the large providers' clients."""

    def __init__(self, status=None, headers=None, response_status=None):
        super().__init__("refused")
        if status is not None:
            self.status_code = status
        if headers is not None:
            self.response = SimpleNamespace(headers=headers, status_code=response_status)


def raised_from(cause):
    error = RuntimeError("the framework's")
    error.__cause__ = cause
    return error


def raised_from_itself():
    error = RuntimeError("round and round")
    error.__cause__ = raised_from(error)
    return error


def with_attribute(name):
    error = ClientError()
    setattr(error, name, 429)
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ClientError(429), True),
        (ClientError(500), False),
        (ClientError(headers={}, response_status=429), True),
        (ValueError("no"), False),
        (raised_from(ClientError(429)), True),
        (raised_from(raised_from(ClientError(429))), True),
        (raised_from(ClientError(500)), False),
        (ExceptionGroup("several", [ValueError("no"), raised_from(ClientError(429))]), True),
        (with_attribute("status"), True),
        (with_attribute("code"), True),
        (raised_from_itself(), False),
    ],
)
def test_a_refusal_is_recognised(error, expected):
    assert is_refusal(error) is expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "1e12"}, 86_400.0),
        ({}, None),
        (None, None),
    ],
)
def test_how_long_it_asks_to_wait(headers, seconds):
    assert retry_after(ClientError(429, headers), wall=10.0) == seconds
    assert retry_after(raised_from(ClientError(429, headers)), wall=10.0) == seconds
    assert retry_after(ClientError(500, headers), wall=10.0) is None


def test_without_a_time_the_pauses_grow_until_a_success():
    pace = Pace(8)
    now, pauses = 0.0, []
    for _ in range(8):
        pace.refused(None, now)
        pauses.append(pace.until - now)
        now = pace.until
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE]
    assert pace.slots == 1
    pace.succeeded()
    assert pace.slots == 2
    pace.refused(None, now)
    assert pace.until - now == 1


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan, "5", 1e12, pytest.param(10**400, id="huge")])
def test_a_pause_is_a_number_of_seconds(seconds):
    with pytest.raises(BadTurn, match="retry_after"):
        Pace(1).refused(seconds, 0.0)
