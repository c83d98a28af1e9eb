"""What follows from the turns can be counted anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.scheduling import Dispatcher, Limits, Mark, Phase, Replica, Request, Rules, recount
from pagefault.scheduling.affinity import IN_USE_SECONDS
from tests.properties import tried
from tests.scheduling.events import Writer, happenings, rules


def counts(dispatcher):
    """All that says who runs and who waits."""
    meters = [dispatcher._backend, *dispatcher.accounts._meters.values()]
    return {
        "meters": [(meter.running, meter.in_flight) for meter in meters],
        "waiting": dispatcher._waiting,
        "returning": sorted(dispatcher._returning),
        "phases": {number: entry.phase for number, entry in dispatcher.turns.items()},
        "classes": {
            priority: (fair._open, {line.account: (list(line.waiting), line.open) for line in fair._lines.values()})
            for priority, fair in dispatcher._classes.items()
        },
        "lines": {
            priority: {account: list(line.waiting) for account, line in fair.waiting.items()}
            for priority, fair in dispatcher._classes.items()
        },
    }


@tried(100)
@given(rules(), st.lists(happenings, max_size=40))
def test_a_recount_finds_what_is_there(rules, happened):
    replica = Replica(rules)
    writer = Writer(replica)
    for each in happened:
        replica.apply(writer.entry(each))
    dispatcher = replica.dispatcher
    expected = counts(dispatcher)
    dispatcher._backend.running += 3
    dispatcher._waiting = 99
    dispatcher._moved.append(5)
    dispatcher._returning.clear()
    for fair in dispatcher._classes.values():
        fair._open += 1
        fair.waiting.clear()
    recount(dispatcher, {number: entry.inner for number, entry in dispatcher.turns.items()})
    assert counts(dispatcher) == expected
    assert not dispatcher._moved


def test_turns_that_are_not_named_are_dropped_and_who_waits_goes_on():
    dispatcher = Dispatcher(Rules(limits=Limits(slots=1)))
    request = Request(account=("t", "a"), agent="a", priority=1)
    first, second, third = (dispatcher.submit(request, 0.0) for _ in range(3))
    recount(dispatcher, {second: 0, third: 0})
    assert dispatcher.running == 0
    assert dispatcher.pump(1.0) == [second]
    assert first not in dispatcher.turns
    recount(dispatcher, {})
    assert not dispatcher._classes


def test_what_a_turn_does_follows_from_those_inside_it():
    dispatcher = Dispatcher(Rules(limits=Limits(slots=2)))
    outer, other = (dispatcher.submit(Request(account=("t", "a"), agent="a"), 0.0) for _ in range(2))
    recount(dispatcher, {outer: 1, other: 0})
    assert [dispatcher.turns[number].phase for number in (outer, other)] == [Phase.LENT, Phase.RUNNING]
    recount(dispatcher, {outer: 0, other: 0})
    assert dispatcher.turns[outer].phase is Phase.RETURNING
    assert dispatcher.pump(1.0) == [outer]
    assert dispatcher.running == 2


def test_a_slot_that_was_given_back_twice_is_given_back_once():
    dispatcher = Dispatcher(Rules(limits=Limits(slots=1)))
    outer = dispatcher.submit(Request(account=("t", "a"), agent="a"), 0.0)
    dispatcher.lend(outer, 0.0)
    dispatcher.regain(outer, 0.0)
    dispatcher.regain(outer, 0.0)
    assert dispatcher._returning == [outer]
    dispatcher.pump(0.0)
    assert dispatcher.running == 1


@pytest.mark.parametrize("marks", [(Mark(digest="a", tokens=60),), ()], ids=["a conversation", "without marks"])
def test_the_cache_is_in_use_by_what_runs_after_a_recount(marks):
    dispatcher = Dispatcher(Rules(limits=Limits(slots=2, kv_tokens=100)))
    size = {"input_tokens": 60, "max_output_tokens": 0}
    first = dispatcher.submit(Request(account=("t", "a"), agent="a", marks=marks, **size), 0.0)
    recount(dispatcher, {first: 0})
    dispatcher.finish(first, 1.0)
    other = (Mark(digest="b", tokens=60),)
    second = dispatcher.submit(Request(account=("t", "b"), agent="b", marks=other, **size), 1.0 + IN_USE_SECONDS)
    assert dispatcher.pump(1.0 + IN_USE_SECONDS) == [second]
