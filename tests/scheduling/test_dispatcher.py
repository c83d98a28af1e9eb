"""The dispatcher's cases one by one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import BadTurn, QueueFull, QuotaExceeded
from pagefault.scheduling import (
    AccountUsage,
    Dispatcher,
    Limits,
    Mark,
    Phase,
    Prices,
    Request,
    Rules,
    Usage,
    marks,
    reported,
)
from pagefault.scheduling.accounts import UNKNOWN_INPUT, UNKNOWN_OUTPUT
from pagefault.scheduling.affinity import IN_USE_SECONDS, MOST_PREFIXES, WARM_SECONDS, WarmPrefixes
from pagefault.scheduling.costs import LARGEST_PRICE
from pagefault.scheduling.fairness import MOST_ACCOUNTS, FairClass
from pagefault.scheduling.pace import OTHERS
from pagefault.scheduling.snapshot import dispatcher_to


def request(agent="a", *, tenant="", **fields):
    return Request(account=(tenant, agent), agent=fields.pop("own", agent), **fields)


def dispatcher(slots=1, *, kv_tokens=None, requests=None, tokens=None, **rules):
    limits = Limits(slots=slots, kv_tokens=kv_tokens, requests_per_minute=requests, tokens_per_minute=tokens)
    return Dispatcher(Rules(limits=limits, **rules))


# ------------------------------------------------------------------ numbers from outside


@pytest.mark.parametrize("slots", [0, -1, 1.5, True, "4", None, 10**13, pytest.param(10**5000, id="huge")])
def test_slots_are_a_number_above_zero(slots):
    with pytest.raises(BadTurn):
        dispatcher(slots)


@pytest.mark.parametrize("rules", [{"affinity_slack": each} for each in (-1, math.nan, True, "4", None)])
def test_slack_is_a_cost(rules):
    with pytest.raises(BadTurn, match="affinity_slack"):
        dispatcher(**rules)


@pytest.mark.parametrize("aging", [0, -1, math.inf, math.nan, "30", True, pytest.param(10**400, id="huge")])
def test_aging_is_a_time(aging):
    with pytest.raises(BadTurn, match="aging"):
        dispatcher(aging=aging)


@pytest.mark.parametrize("price", [-1, math.inf, math.nan, "1", 1e300])
def test_prices_are_numbers(price):
    with pytest.raises(BadTurn, match="cached"):
        Prices(cached=price)


@pytest.mark.parametrize("usage", [(-1, 0, 0), (0, 1.5, 0), (10, 0, 11), (True, 0, 0), (0, 10**400, 0)])
def test_reported_usage_is_checked(usage):
    with pytest.raises(BadTurn):
        reported(*usage)


@pytest.mark.parametrize(
    "rules",
    [{"quotas": {"a": 3}}, {"tenant_quotas": [Limits(slots=1)]}, {"quotas": {1: Limits(slots=1)}}, {"prices": 3}],
)
def test_quotas_and_prices_are_what_they_are_called(rules):
    with pytest.raises(BadTurn, match=next(iter(rules))):
        dispatcher(**rules)


@pytest.mark.parametrize("price", [0, LARGEST_PRICE])
def test_a_price_may_be_nothing_and_very_high(price):
    assert Prices(output=price).cost(Usage(output_tokens=2)) == 2 * price


def test_usage_adds_up():
    both = reported(10, 5, 4) + reported(1, 2, 1)
    assert both == Usage(input_tokens=11, output_tokens=7, cached_tokens=5)
    assert both.tokens == 18


# ------------------------------------------------------------------ what a turn is expected to cost


def test_an_uncounted_call_is_expected_to_be_like_the_last_ones():
    scheduler = dispatcher(slots=9)
    first = scheduler.submit(request(), 0.0)
    assert scheduler.turns[first].tokens == 1_250
    scheduler.pump(0.0)
    scheduler.finish(first, 1.0, usage=Usage(input_tokens=300, output_tokens=40))
    assert scheduler.turns[scheduler.submit(request(), 1.0)].tokens == 340
    assert scheduler.turns[scheduler.submit(request(input_tokens=7), 1.0)].tokens == 47
    assert scheduler.turns[scheduler.submit(request(max_output_tokens=7), 1.0)].tokens == 307


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 90), st.booleans(), st.booleans()), max_size=6))
def test_an_uncounted_call_is_expected_to_be_like_the_average_of_those_whose_tokens_are_known(calls):
    """Those that failed after they reported what they used are among them; those that just failed tell nothing."""
    scheduler = dispatcher()
    asked = request(input_tokens=500, max_output_tokens=50)
    for inputs, outputs, reports, failed in calls:
        turn = scheduler.submit(asked, 0.0)
        usage = Usage(input_tokens=inputs, output_tokens=outputs) if reports else None
        scheduler.finish(turn, 0.0, usage=usage, failed=failed)
    told = [(i, o) if reports else (500, 50) for i, o, reports, failed in calls if reports or not failed]
    mean = [sum(each) // len(told) for each in zip(*told, strict=True)] if told else [UNKNOWN_INPUT, UNKNOWN_OUTPUT]
    expected = scheduler.turns[scheduler.submit(request(), 0.0)].expected
    assert [expected.input_tokens, expected.output_tokens] == mean


def test_a_guess_is_never_too_large():
    scheduler = dispatcher(tokens=100, quotas={"b": Limits(kv_tokens=50)})
    assert scheduler.turns[scheduler.submit(request(), 0.0)].tokens == 100
    assert scheduler.turns[scheduler.submit(request("b", max_output_tokens=20), 0.0)].tokens == 50


def test_what_can_never_fit_is_refused():
    scheduler = dispatcher(
        tokens=100, quotas={"b": Limits(tokens_per_minute=50)}, tenant_quotas={"t": Limits(kv_tokens=60)}
    )
    with pytest.raises(QuotaExceeded, match="backend"):
        scheduler.submit(request(input_tokens=101, max_output_tokens=0), 0.0)
    with pytest.raises(QuotaExceeded, match="agent 'b'"):
        scheduler.submit(request("b", input_tokens=51, max_output_tokens=0), 0.0)
    with pytest.raises(QuotaExceeded, match="agent 'b'"):
        scheduler.submit(request("a", own="b", input_tokens=51, max_output_tokens=0), 0.0)
    with pytest.raises(QuotaExceeded, match="tenant 't'"):
        scheduler.submit(request(tenant="t", input_tokens=61, max_output_tokens=0), 0.0)
    assert not scheduler.turns


def test_a_queue_is_bounded():
    scheduler = dispatcher(max_waiting=2)
    running = scheduler.submit(request("b"), 0.0)
    for _ in range(2):
        scheduler.submit(request(), 0.0)
    with pytest.raises(QueueFull, match="max_waiting=2"):
        scheduler.submit(request(), 0.0)
    scheduler.submit(request("b"), 0.0)  # another account's queue has room of its own
    scheduler.finish(running, 0.0)
    assert scheduler.pump(0.0) == [running, running + 1]
    scheduler.submit(request(), 0.0)


def test_the_queue_of_an_account_is_bounded_over_all_its_priorities():
    scheduler = dispatcher(max_waiting=2)
    scheduler.submit(request("b"), 0.0)
    for priority in (0, 1):
        scheduler.submit(request(priority=priority), 0.0)
    before = dispatcher_to(scheduler)["classes"]
    with pytest.raises(QueueFull, match="max_waiting=2"):
        scheduler.submit(request(priority=2), 0.0)
    assert dispatcher_to(scheduler)["classes"] == before, "a turn that was refused left a class with nobody in it"


# ------------------------------------------------------------------ accounts


def test_what_an_account_used():
    scheduler = dispatcher(slots=3)
    turns = [scheduler.submit(request(input_tokens=100, max_output_tokens=10), 0.0) for _ in range(3)]
    assert scheduler.pump(0.0) == turns
    scheduler.finish(turns[0], 1.0)
    scheduler.finish(turns[1], 1.0, usage=Usage(input_tokens=100, output_tokens=5, cached_tokens=50))
    scheduler.finish(turns[2], 1.0, failed=True)
    used = scheduler.accounts.usage(("", "a"))
    assert used is not None
    assert (used.turns, used.failed) == (2, 1)
    assert used.usage == Usage(input_tokens=200, output_tokens=15, cached_tokens=50)
    assert used.cost == 140 + 50 + 5 + 20
    assert scheduler.accounts.usage(("", "b")) is None


@pytest.mark.parametrize("begins", ["at once", "after it waited", "elsewhere"])
def test_what_a_call_cost_and_what_is_given_back_counts_per_weight(begins):
    """500 for weight 4 is 125: more than 120 and less than 130 for weight 1, whatever was expected at first."""
    for cost, goes_first in ((120, "b"), (130, "a")):
        scheduler = dispatcher(affinity_slack=0)
        heavy = request("a", weight=4, input_tokens=900 if begins == "at once" else 500, max_output_tokens=0)
        if begins == "after it waited":
            scheduler.submit(request("c"), 0.0, number=0)
        if begins == "elsewhere":
            scheduler.adopt(heavy, 0.0, number=1, inner=0, holds=True)
        else:
            scheduler.submit(heavy, 0.0, number=1)
        light = scheduler.submit(request("b", input_tokens=cost, max_output_tokens=0), 0.0, number=2)
        more = {"a": scheduler.submit(heavy, 0.0, number=3)}
        more["b"] = scheduler.submit(request("b", input_tokens=cost, max_output_tokens=0), 0.0, number=4)
        if begins == "after it waited":
            assert scheduler.pump(0.0) == [0]
            scheduler.finish(0, 0.0)
        assert scheduler.pump(0.0) == [1]
        scheduler.finish(1, 1.0, usage=Usage(input_tokens=500))
        assert scheduler.pump(1.0) == [light]
        scheduler.finish(light, 2.0)
        assert scheduler.pump(2.0) == [more[goes_first]]


def test_a_failed_call_is_given_back():
    scheduler = dispatcher(affinity_slack=0)
    first = scheduler.submit(request("a", input_tokens=1_000, max_output_tokens=0), 0.0)
    second = scheduler.submit(request("b", input_tokens=10, max_output_tokens=0), 0.0)
    third = scheduler.submit(request("a", input_tokens=10, max_output_tokens=0), 0.0)
    fourth = scheduler.submit(request("b", input_tokens=10, max_output_tokens=0), 0.0)
    assert scheduler.pump(0.0) == [first]
    scheduler.finish(first, 1.0, failed=True)
    granted = []
    for _ in range(3):
        granted += scheduler.pump(1.0)
        scheduler.finish(granted[-1], 1.0)
    assert granted == [second, third, fourth]


def test_accounts_that_are_like_new_ones_are_forgotten():
    fair = FairClass()
    busy = fair.join(("", "busy"), 0, 0.0)
    for number in range(1, MOST_ACCOUNTS + 10):
        line = fair.join(("", str(number)), number, 0.0)
        fair.serve(line, number, [line], 1.0, 0.0)
        fair.correct(line, 0.0)
    assert len(fair._lines) <= MOST_ACCOUNTS + 1
    fair.leave(busy, 0)
    assert not fair._lines
    assert fair.is_idle


def test_records_of_usage_are_bounded(monkeypatch):
    monkeypatch.setattr("pagefault.scheduling.accounts.MOST_RECORDS", 2)
    scheduler = dispatcher()
    for agent in "abac":
        scheduler.submit(request(agent), 0.0)
    kept = [agent for agent in "abc" if scheduler.accounts.usage(("", agent)) is not None]
    assert kept == ["a", "c"], "the two that asked last"


def test_an_idle_class_is_forgotten():
    scheduler = dispatcher()
    turn = scheduler.submit(request(priority=5), 0.0)
    scheduler.pump(0.0)
    scheduler.finish(turn, 0.0)
    assert 5 not in scheduler._classes
    scheduler.submit(request(), 0.0)
    waiting = scheduler.submit(request(priority=5), 0.0)
    assert scheduler.turns[waiting].phase is Phase.WAITING
    scheduler.finish(waiting, 0.0)
    assert 5 not in scheduler._classes


# ------------------------------------------------------------------ limits


def test_time_lets_in_what_a_minute_held_back():
    scheduler = dispatcher(slots=5, requests=2)
    turns = [scheduler.submit(request(), float(at)) for at in range(3)]
    assert scheduler.pump(2.0) == turns[:2]
    assert scheduler.wake_at == 60.0
    assert scheduler.why(turns[2], 2.0) == "the backend's limits"
    assert scheduler.pump(59.9) == []
    assert scheduler.pump(60.0) == turns[2:]
    assert scheduler.wake_at == math.inf


def test_more_than_was_said_counts_from_when_it_is_known():
    scheduler = dispatcher(slots=5, tokens=1_000)
    first = scheduler.submit(request(input_tokens=500, max_output_tokens=0), 0.0)
    scheduler.pump(0.0)
    scheduler.finish(first, 50.0, usage=Usage(input_tokens=900))
    second = scheduler.submit(request(input_tokens=700, max_output_tokens=0), 50.0)
    assert scheduler.pump(50.0) == []
    assert scheduler.wake_at == 110.0
    assert scheduler.pump(110.0) == [second]
    assert scheduler.why(second, 110.0) == ""


def test_a_pause_and_a_minute_are_waited_for_in_order_of_arrival():
    scheduler = dispatcher(slots=5, requests=1)
    assert scheduler.submit(request(), 0.0) in scheduler.pump(0.0)
    held = scheduler.submit(request("b", input_tokens=10), 0.0)
    scheduler.refused(5.0, 0.0)
    assert scheduler.pump(0.0) == []
    assert scheduler.wake_at == 5.0
    assert scheduler.pump(5.0) == []
    assert scheduler.pump(60.0) == [held]


def test_what_was_not_used_is_free_at_once():
    scheduler = dispatcher(slots=5, tokens=1_000)
    first, second = [scheduler.submit(request(input_tokens=600, max_output_tokens=300), 0.0) for _ in range(2)]
    assert scheduler.pump(0.0) == [first]
    scheduler.finish(first, 1.0, usage=Usage(input_tokens=90, output_tokens=10))
    assert scheduler.pump(1.0) == [second]


def test_a_refund_after_its_minute_changes_nothing():
    scheduler = dispatcher(slots=5, tokens=1_000)
    first = scheduler.submit(request(input_tokens=1_000, max_output_tokens=0), 0.0)
    scheduler.pump(0.0)
    second = scheduler.submit(request(input_tokens=1_000, max_output_tokens=0), 70.0)
    assert scheduler.pump(70.0) == [second]
    scheduler.finish(first, 71.0, failed=True)
    third = scheduler.submit(request(input_tokens=1, max_output_tokens=0), 71.0)
    assert scheduler.pump(71.0) == []
    assert scheduler.pump(130.0) == [third]


def test_a_turn_waits_for_its_quota_only_where_that_holds_it_back():
    scheduler = dispatcher(slots=1, quotas={"a": Limits(slots=2), "b": Limits(requests_per_minute=1)})
    first, second, third = (scheduler.submit(request(agent), 0.0) for agent in "bab")
    assert scheduler.pump(0.0) == [first]
    assert [scheduler.why(number, 0.0) for number in (second, third)] == ["a slot", "its quota"]
    assert scheduler.why(third, 60.0) == "a slot"


def test_a_quota_holds_back_one_agent_and_nobody_else():
    scheduler = dispatcher(slots=5, quotas={"a": Limits(requests_per_minute=1)}, tenant_quotas={"": Limits(slots=4)})
    turns = [scheduler.submit(request(agent), 0.0) for agent in "aab"]
    assert scheduler.pump(0.0) == [turns[0], turns[2]]
    assert scheduler.why(turns[1], 0.0) == "its quota"
    assert scheduler.wake_at == 60.0
    low = scheduler.submit(request("c", priority=-1), 0.0)
    assert scheduler.pump(0.0) == [low], "a lower class goes on as well"
    later = scheduler.submit(request("a"), 0.0)
    assert scheduler.why(later, 0.0) == "an earlier turn of its account"
    assert scheduler.pump(60.0) == [turns[1]]


def test_the_next_of_the_fair_order_is_not_overtaken_by_what_fits_better():
    scheduler = dispatcher(slots=5, kv_tokens=100, affinity_slack=10)
    large = scheduler.submit(request("a", input_tokens=60, max_output_tokens=0), 0.0)
    assert scheduler.pump(0.0) == [large]
    next_large = scheduler.submit(request("b", input_tokens=60, max_output_tokens=0), 0.0)
    small = [scheduler.submit(request("c", input_tokens=8, max_output_tokens=0), 0.0) for _ in range(4)]
    assert scheduler.pump(0.0) == small[:2], "8 tokens are within the slack of 10, 16 are not"
    assert scheduler.why(small[2], 0.0) == "its share"
    assert scheduler.wake_at == math.inf
    scheduler.finish(large, 1.0)
    assert next_large in scheduler.pump(1.0)


# ------------------------------------------------------------------ priority classes


def test_a_lower_class_that_has_waited_goes_once_between_two_of_the_higher():
    scheduler = dispatcher(aging=10)
    running = scheduler.submit(request("a", priority=9), 0.0)
    scheduler.pump(0.0)
    low = [scheduler.submit(request("b", priority=0), 0.0) for _ in range(2)]
    high = [scheduler.submit(request("a", priority=9), 0.0) for _ in range(3)]
    granted = []
    for at in (5.0, 15.0, 40.0, 45.0):
        scheduler.finish(running, at)
        (running,) = scheduler.pump(at)
        granted.append(running)
    assert granted == [high[0], low[0], high[1], low[1]]


def test_a_class_above_with_nobody_waiting_is_none_to_wait_for():
    scheduler = dispatcher(slots=2, aging=10.0)
    stays, running = (scheduler.submit(request("top", priority=9), 0.0) for _ in range(2))
    low, high = scheduler.submit(request("low"), 1.0), scheduler.submit(request("high", priority=5), 2.0)
    assert scheduler.pump(2.0) == [stays, running]
    scheduler.finish(running, 11.0)
    assert scheduler.pump(11.0) == [low], "it has waited for one level, not for two"
    scheduler.finish(stays, 12.0)
    assert scheduler.pump(12.0) == [high]


def test_a_class_has_waited_since_it_began_to_wait():
    scheduler = dispatcher(aging=10.0)
    early = scheduler.submit(request("low"), 0.0)
    scheduler.finish(early, 1.0)
    running = scheduler.submit(request("high", priority=9), 100.0)
    low, high = scheduler.submit(request("low"), 101.0), scheduler.submit(request("high", priority=9), 102.0)
    assert scheduler.pump(102.0)[-1] == running
    scheduler.finish(running, 105.0)
    assert scheduler.pump(105.0) == [high], "for four seconds, however long nobody of the low class had asked before"
    scheduler.finish(high, 111.0)
    assert scheduler.pump(111.0) == [low]


# ------------------------------------------------------------------ refusals


def test_a_refusal_pauses_everybody_and_halves_the_width():
    scheduler = dispatcher(slots=4)
    turns = [scheduler.submit(request(), 0.0) for _ in range(7)]
    assert scheduler.pump(0.0) == turns[:4]
    scheduler.refused(5.0, 1.0)
    scheduler.refused(3.0, 1.5)
    assert scheduler.slots == 2, "calls that were on their way count as one refusal"
    for turn in turns[:4]:
        scheduler.finish(turn, 2.0, failed=True)
    assert scheduler.pump(2.0) == []
    assert scheduler.wake_at == 6.0
    assert scheduler.why(turns[4], 2.0) == "the backend, which refused; 4.0 s to go"
    assert scheduler.pump(6.0) == turns[4:6], "two at a time, though there are four slots"
    assert scheduler.why(turns[6], 6.0) == "a slot"
    for at in range(20):
        scheduler.finish(next(iter(scheduler.turns)), 7.0 + at)
        scheduler.submit(request(), 7.0 + at)
        scheduler.pump(7.0 + at)
    assert scheduler.slots == 4


def test_after_a_refusal_nobody_goes_at_once_beyond_the_narrower_width():
    scheduler = dispatcher(slots=4)
    scheduler.refused(1.0, 0.0)
    turns = [scheduler.submit(request(), 1.0) for _ in range(3)]
    assert [scheduler.turns[turn].phase for turn in turns] == [Phase.RUNNING, Phase.RUNNING, Phase.WAITING]


# ------------------------------------------------------------------ warm prefixes


def test_a_warm_prefix_goes_first_within_the_slack():
    scheduler = dispatcher(affinity_slack=500)
    warm = (Mark(digest="x", tokens=400),)
    first = scheduler.submit(request("a", input_tokens=400, max_output_tokens=0, marks=warm), 0.0)
    assert scheduler.pump(0.0) == [first]
    cold = scheduler.submit(request("b", input_tokens=400, max_output_tokens=0), 0.0)
    again = scheduler.submit(request("a", input_tokens=500, max_output_tokens=0, marks=warm), 0.0)
    scheduler.finish(first, 1.0)
    assert scheduler.pump(1.0) == [again]
    assert scheduler.turns[again].cost == 100 + 40
    scheduler.finish(again, 2.0)
    last = scheduler.submit(request("a", input_tokens=500, max_output_tokens=0, marks=warm), 2.0)
    assert scheduler.pump(2.0) == [cold], "540 are more than the slack"
    assert scheduler.why(last, 2.0) == "a slot"


def test_a_prefix_is_given_as_digest_or_pairs():
    assert marks(None, 5) == ()
    assert marks("x", 5) == (Mark(digest="x", tokens=5),)
    assert marks([("x", 2), (b"y", 5)], 9) == (Mark(digest="x", tokens=2), Mark(digest=b"y", tokens=5))
    wrong: list[Any] = [7, [1], [("x", -1)], [("x",)], [(1, 2)]]
    for bad in wrong:
        with pytest.raises(BadTurn):
            marks(bad, 5)


def test_the_cache_forgets_what_is_old_and_what_does_not_fit():
    warm = WarmPrefixes(capacity=100)
    system, talk = Mark(digest="system", tokens=40), Mark(digest="talk", tokens=80)
    warm.begin((system, talk), 80, 0.0)
    warm.end((system, talk), 80, 80, 0.0)
    assert warm.cached((system, talk), 1.0) == 80
    assert warm.cached((Mark(digest="talk", tokens=60),), 1.0) == 60
    warm.begin((system, Mark(digest="other", tokens=90)), 90, 2.0)
    assert warm.cached((system, talk), 3.0) == 40, "the beginning of both stays"
    assert warm.cached((system,), 2.0 + WARM_SECONDS) == 0
    endless = WarmPrefixes()
    for number in range(MOST_PREFIXES + 5):
        endless.begin((Mark(digest=str(number), tokens=1),), 1, 0.0)
    assert endless.cached((Mark(digest="4", tokens=1),), 0.0) == 0
    assert endless.cached((Mark(digest="5", tokens=1),), 0.0) == 1


def test_the_warmest_of_an_accounts_turns_goes_first_but_none_is_passed_for_ever():
    scheduler = dispatcher(affinity_slack=0)
    warm = (Mark(digest="x", tokens=400),)
    running = scheduler.submit(request("a", input_tokens=400, max_output_tokens=0, marks=warm), 0.0)
    scheduler.pump(0.0)
    oldest = scheduler.submit(request("a", input_tokens=400, max_output_tokens=0), 0.0)
    passed = 0
    while True:
        again = scheduler.submit(request("a", input_tokens=500, max_output_tokens=0, marks=warm), 0.0)
        scheduler.finish(running, 1.0)
        (running,) = scheduler.pump(1.0)
        if running == oldest:
            break
        assert running == again
        passed += 1
    assert passed == 16


def test_a_warm_turn_that_its_quota_holds_back_lets_the_oldest_go():
    scheduler = dispatcher(quotas={"b": Limits(requests_per_minute=1)})
    warm = (Mark(digest="x", tokens=400),)
    first = scheduler.submit(request("a", own="b", input_tokens=400, max_output_tokens=0, marks=warm), 0.0)
    scheduler.pump(0.0)
    cold = scheduler.submit(request("a", input_tokens=400, max_output_tokens=0), 0.0)
    scheduler.submit(request("a", own="b", input_tokens=400, max_output_tokens=0, marks=warm), 0.0)
    scheduler.finish(first, 1.0)
    assert scheduler.pump(1.0) == [cold]


# ------------------------------------------------------------------ load control


def talk(name, tokens=60, agent=None, **fields):
    marks = (Mark(digest=name, tokens=tokens),)
    return request(agent or name, input_tokens=tokens, max_output_tokens=0, marks=marks, **fields)


def used(scheduler, *requests, at=0.0):
    """Let these go and end one after the other."""
    for each in requests:
        turn = scheduler.submit(each, at)
        assert turn in scheduler.pump(at)
        scheduler.finish(turn, at)


def test_a_new_conversation_waits_while_those_in_use_fill_the_cache():
    scheduler = dispatcher(slots=4, kv_tokens=100)
    used(scheduler, talk("a"), at=1.0)
    new = scheduler.submit(talk("b"), 2.0)
    assert scheduler.pump(2.0) == []
    assert scheduler.wake_at == 1.0 + IN_USE_SECONDS
    assert scheduler.why(new, 2.0) == "room beside the conversations in use"
    back = scheduler.submit(talk("a", 70), 2.5)
    assert scheduler.pump(2.5) == [back], "the conversation in use goes on, although another waits"
    assert scheduler.pump(3.0) == []
    assert scheduler.wake_at == math.inf, "only its end can make room"
    scheduler.finish(back, 4.0)
    assert scheduler.pump(4.0) == []
    assert scheduler.pump(6.0) == [new]
    late = scheduler.submit(talk("a", 80), 6.0)
    assert scheduler.pump(6.0) == [], "it has lost its place"
    scheduler.finish(new, 7.0, failed=True)
    assert scheduler.pump(9.0) == [late]


def test_a_conversation_in_use_waits_when_its_account_is_too_far_ahead():
    scheduler = dispatcher(slots=4, kv_tokens=100, affinity_slack=50)
    first = scheduler.submit(talk("a"), 0.0)
    new = scheduler.submit(talk("b"), 0.0)
    again = scheduler.submit(talk("a", 65), 0.0)
    assert scheduler.pump(0.0) == [first]
    scheduler.finish(first, 0.0)
    assert scheduler.pump(0.0) == [], "60 tokens are more than the slack, and its room is kept for two seconds"
    assert scheduler.pump(2.0) == [new]
    scheduler.finish(new, 2.0)
    assert again in scheduler.pump(4.0)


def test_what_fits_beside_those_in_use_goes_at_once():
    scheduler = dispatcher(slots=4, kv_tokens=100)
    used(scheduler, talk("a"), talk("b", 40))
    assert scheduler.submit(talk("b", 41), 0.0) in scheduler.pump(0.0), "it grows by little"
    assert scheduler.submit(talk("c", 30), 2.0) in scheduler.pump(2.0), "the oldest one has to go, not more"


def test_a_prompt_that_grew_by_more_than_half_needs_room_like_a_new_one():
    scheduler = dispatcher(slots=4, kv_tokens=100)
    used(scheduler, talk("a", 20), talk("b", 40))
    grown = scheduler.submit(talk("a", 61), 0.0)
    assert scheduler.pump(0.0) == []
    assert scheduler.pump(2.0) == [grown]


def test_calls_without_marks_need_room_while_they_run():
    scheduler = dispatcher(slots=4, kv_tokens=100)
    plain = request("a", input_tokens=60, max_output_tokens=0)
    used(scheduler, plain, plain, talk("b", 40))
    running = scheduler.submit(plain, 0.0)
    assert scheduler.pump(0.0) == [running]
    new = scheduler.submit(talk("c", 40), 0.0)
    assert scheduler.pump(0.0) == []
    scheduler.finish(running, 1.0, usage=Usage(input_tokens=500))
    assert scheduler.pump(1.0) == [new], "nothing is kept of it"


def test_a_mark_may_stand_for_the_beginning_of_a_conversation():
    scheduler = dispatcher(slots=4, kv_tokens=100)
    part = request("a", input_tokens=60, max_output_tokens=0, marks=(Mark(digest="a", tokens=10),))
    used(scheduler, part, part)
    new = scheduler.submit(talk("b"), 0.0)
    back = scheduler.submit(part, 0.0)
    assert scheduler.pump(0.0) == [back]
    assert scheduler.turns[back].cost == 51, "the mark says what was sent before"
    scheduler.finish(back, 0.0)
    assert scheduler.pump(2.0) == [new]


def test_a_beginning_that_conversations_share_needs_room_once():
    scheduler = dispatcher(slots=4, kv_tokens=100)
    for name in "abc":
        marks = (Mark(digest="system", tokens=20), Mark(digest=name, tokens=46))
        used(scheduler, request("a", input_tokens=46, max_output_tokens=0, marks=marks))


def test_a_lent_turn_s_conversation_is_in_use_for_a_while():
    scheduler = dispatcher(slots=1, kv_tokens=100)
    outer = scheduler.submit(talk("a"), 0.0)
    assert scheduler.pump(0.0) == [outer]
    scheduler.lend(outer, 0.0)
    inner = scheduler.submit(talk("b", agent="a"), 0.0)
    assert scheduler.pump(1.0) == []
    assert scheduler.pump(2.0) == [inner]
    scheduler.finish(inner, 3.0)
    scheduler.regain(outer, 3.0)
    assert scheduler.pump(3.0) == [outer]


# ------------------------------------------------------------------ giving up, and turns from elsewhere


def test_who_gives_up_waiting_leaves_its_place_to_the_next():
    scheduler = dispatcher()
    running, gives_up, last = (scheduler.submit(request(agent), 0.0) for agent in "abc")
    assert scheduler.pump(0.0) == [running]
    scheduler.finish(gives_up, 1.0, failed=True)
    assert scheduler.accounts.usage(("", "b")) == AccountUsage(), "it asked the backend for nothing"
    scheduler.finish(running, 2.0)
    assert scheduler.pump(2.0) == [last]
    scheduler.finish(last, 3.0)
    now = scheduler.submit(request("b"), 3.0)
    assert scheduler.turns[now].phase is Phase.RUNNING, "nobody waits, so it need not"


def test_a_turn_that_was_let_in_elsewhere_holds_its_slot_and_is_charged():
    scheduler = dispatcher(affinity_slack=0)
    there = request("a", input_tokens=900, max_output_tokens=0)
    scheduler.adopt(there, 0.0, number=7, inner=0, holds=True)
    assert scheduler.pump(0.0) == [7]
    assert scheduler.running == 1
    again, other = scheduler.submit(there, 0.0, number=8), scheduler.submit(request("b"), 0.0, number=9)
    assert scheduler.pump(0.0) == []
    scheduler.finish(7, 1.0)
    assert scheduler.pump(1.0) == [other], "its account has had 900 already"
    assert scheduler.accounts.usage(("", "a")).cost == 900
    scheduler.finish(other, 2.0)
    assert scheduler.pump(2.0) == [again]


@pytest.mark.parametrize(("inner", "phase"), [(1, Phase.LENT), (0, Phase.RETURNING)])
def test_a_turn_from_elsewhere_that_lent_its_slot_wants_it_back_first(inner, phase):
    scheduler = dispatcher(kv_tokens=4_000)
    scheduler.adopt(request("a"), 0.0, number=7, inner=inner, holds=False)
    assert scheduler.turns[7].phase is phase
    assert scheduler.running == 0
    for number in (8, 9):
        scheduler.submit(request("b"), 0.0, number=number)
    if inner:
        assert scheduler.pump(0.0) == [7, 8], "7 was let in elsewhere"
        scheduler.regain(7, 0.0)
        scheduler.finish(8, 0.0)
    assert scheduler.pump(0.0)[-1] == 7
    assert scheduler.running == 1


def test_nobody_is_let_in_while_the_others_say_what_they_run():
    scheduler = dispatcher(slots=2)
    scheduler.pause(5.0)
    turn = scheduler.submit(request(), 0.0)
    assert scheduler.pump(0.0) == []
    assert scheduler.wake_at == 5.0
    assert scheduler.why(turn, 1.0) == f"{OTHERS}; 4.0 s to go"
    assert scheduler.pump(5.0) == [turn]
