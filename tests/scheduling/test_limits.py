"""Limits, beside a list of everything that was used."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import QuotaExceeded
from pagefault.scheduling.limits import MINUTE, Limits, Meter, Window

LIMIT = 5
STEPS = st.lists(
    st.tuples(st.sampled_from([0, 20, 30, 59, 60]), st.sampled_from(["use", "correct"]), st.integers(0, 4)), max_size=12
)


def earliest(used, amount, now):
    """When so much more fits, by trying each moment at which something is a minute old."""
    moments = sorted({now, *(at + MINUTE for at, _ in used if at + MINUTE > now)})
    return next(t for t in moments if sum(n for at, n in used if at + MINUTE > t) + amount <= LIMIT)


@given(STEPS)
def test_a_minute_never_holds_more_than_its_limit_and_nobody_waits_longer_than_needed(steps):
    window, used, calls, now = Window(LIMIT), {}, [], 0.0
    keys = itertools.count(1)
    for seconds, what, amount in steps:
        now += seconds
        if what == "use":
            key = next(keys)
            window.add(key, amount, now)
            used[key] = (now, amount)
            calls.append((key, amount))
        elif calls:
            key, before = calls.pop(0)
            window.correct(key, before, amount, now)
            if amount > before:
                used[-key] = (now, amount - before)
            else:
                used[key] = (used[key][0], amount)
        for more in range(1, LIMIT + 1):
            assert window.fits_at(more, now) == earliest(used.values(), more, now)


@given(st.integers(1, 3), st.integers(1, 9), st.lists(st.integers(0, 4), max_size=6), st.integers(0, 6))
def test_what_runs_holds_slots_and_tokens_until_it_ends(slots, kv_tokens, running, tokens):
    meter = Meter(Limits(slots=slots, kv_tokens=kv_tokens))
    while running:
        room = len(running) < slots and sum(running) + tokens <= kv_tokens
        for each in running:
            meter.take(each)
        assert (meter.running, meter.in_flight) == (len(running), sum(running))
        assert meter.has_room(tokens) is room
        assert meter.fits_at(tokens, 7.0) == (7.0 if room else math.inf)
        for each in running:
            meter.give(each)
        running.pop()
    assert meter.has_room(tokens) is (tokens <= kv_tokens)


def test_a_call_waits_for_the_later_of_requests_and_tokens():
    meter = Meter(Limits(requests_per_minute=2, tokens_per_minute=10))
    meter.count(1, 6, 0.0)
    meter.count(2, 3, 10.0)
    assert meter.fits_at(1, 20.0) == 60.0, "the third request, though its token would fit"
    assert meter.fits_at(8, 20.0) == 70.0, "its tokens, though a request would fit at 60"
    meter.settle(2, 3, 1, 20.0)
    assert meter.fits_at(8, 20.0) == 60.0, "less was used"
    meter.settle(1, 6, 9, 30.0)
    assert meter.fits_at(7, 30.0) == 70.0, "3 tokens more, and they count from 30 on"
    assert meter.fits_at(8, 30.0) == 90.0


@pytest.mark.parametrize("name", ["tokens_per_minute", "kv_tokens"])
def test_a_call_as_large_as_the_limit_may_wait_and_a_larger_one_never_fits(name):
    meter = Meter(Limits(**{name: 50}))
    meter.check("the backend", 50)
    assert meter.fits_at(50, 0.0) == 0.0
    with pytest.raises(QuotaExceeded, match=r"up to 51 tokens can never fit the backend's limit of 50"):
        meter.check("the backend", 51)
