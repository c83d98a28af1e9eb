"""What refusals say and teach."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from pagefault.errors import BadTurn
from pagefault.scheduling import is_refusal, retry_after
from pagefault.scheduling.pace import LONGEST_PAUSE, OTHERS, REFUSED, Pace


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


def test_calls_that_were_on_their_way_are_refused_with_the_first():
    pace = Pace(8)
    for late in (0.0, 0.2, 0.9):
        pace.refused(None, late)
    assert (pace.slots, pace.until) == (4, 1.0), "halved once, and one pause of the first length"
    pace.refused(2.5, 0.95)
    assert (pace.slots, pace.until) == (4, 3.45), "unless one of them asks for more"
    pace.refused(None, 4.0)
    assert (pace.slots, pace.until) == (2, 6.0), "the next pause is twice the first"


@pytest.mark.parametrize("slots", [1, 2, 5, 8])
def test_a_full_round_of_successes_brings_back_one_call(slots):
    pace = Pace(slots)
    pace.refused(0, 0.0)
    seen = []
    for _ in range(8 * slots):
        seen.append(pace.slots)
        pace.succeeded()
    assert seen == sorted(seen)
    assert seen[-1] == slots
    for width in set(seen[1:]) - {seen[0], slots}:
        assert seen.count(width) in {width, width + 1}


def test_a_pause_for_others_only_lengthens_what_there_is():
    pace = Pace(2)
    pace.refused(5, 0.0)
    pace.wait_for_others(3.0)
    assert (pace.until, pace.reason) == (5.0, REFUSED)
    pace.wait_for_others(9.0)
    assert (pace.until, pace.reason) == (9.0, OTHERS)
    pace.refused(1, 4.0)
    assert (pace.until, pace.reason) == (9.0, REFUSED)


def test_a_refusal_while_others_are_waited_for_counts():
    pace = Pace(8)
    pace.wait_for_others(0.5)
    pace.refused(None, 0.1)
    assert (pace.slots, pace.until, pace.reason) == (4, 1.1, REFUSED)
