"""Rules that hold for every workload: the bound of G11, limits, no idle slot, no starvation."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from pagefault.scheduling import Dispatcher, Limits, Request, Rules, WarmPrefixes
from pagefault.scheduling.affinity import IN_USE_SECONDS
from pagefault.scheduling.limits import MINUTE
from tests.properties import LARGER, tried
from tests.scheduler.driver import TENANT, Call, Driver, Errors, Gaps, calls, dearest, rules, weights

SLACK = 1e-6  # of floating point


with_cache = st.integers(1_300, 4_000).flatmap(lambda tokens: rules(kv_tokens=tokens))


@tried(500)
@given(rules() | with_cache, weights, calls())
def test_shares_of_waiting_accounts_stay_within_the_bound(rules, weights, workload):
    gaps, errors = Gaps(), Errors()
    driver = Driver(rules=rules, weights=weights, watchers=[errors, gaps]).run(workload)
    cost = dearest(driver)
    for (f, g), gap in gaps.gap.items():
        bound = 2 * (cost + rules.affinity_slack) + 2 * (errors.largest[f] + errors.largest[g])
        assert gap <= bound + SLACK, f"{f} and {g} drifted {gap} apart, the bound is {bound}"
        event("a gap of more than half the bound" if gap > bound / 2 else "a smaller gap")
    assert all(turn.ended >= turn.granted for turn in driver.turns.values())


def test_the_gap_would_be_seen():
    """A policy without counters breaks the bound, so the test above can fail."""
    workload = [Call(agent="a", prefix=1) for _ in range(60)] + [Call(agent="b") for _ in range(5)]
    unfair = Rules(limits=Limits(slots=1), affinity_slack=math.inf)
    gaps = Gaps()
    driver = Driver(rules=unfair, watchers=[gaps]).run(workload)
    assert gaps.gap["a", "b"] > 10 * dearest(driver)


def no_idle_slot(driver):
    if driver.waiting:
        assert len(driver.running) == driver.rules.slots, "a slot idles while a turn waits"


@tried(200)
@given(rules(), calls(priorities=(0, 1, 7), patience=True))
def test_no_slot_idles_while_a_turn_waits(rules, workload):
    driver = Driver(rules=rules, watchers=[no_idle_slot]).run(workload)
    assert len(driver.turns) + driver.gave_up == len(workload)
    assert not driver.dispatcher.turns
    assert driver.dispatcher.running == 0


class InUse:
    """Its own books of who used the cache within the last two seconds; checks that a slot idles only for their sake."""

    def __init__(self):
        self.idled = False

    def __call__(self, driver):
        waiting = [driver.turns[number].call for number in driver.waiting]
        if not waiting or len(driver.running) == driver.rules.slots:
            return
        self.idled = True
        fits = [call for call in waiting if self._has_room(call, driver)]
        assert len(fits) < len(waiting), "a slot idles although each turn that waits would fit"
        soon = driver.dispatcher.wake_at <= driver.now + IN_USE_SECONDS
        assert soon or driver.running, "a slot idles beside a waiting turn for longer than two seconds"

    def _has_room(self, call, driver):
        runs, others, in_use, sizes = 0, 0, set(), {}
        for turn in driver.turns.values():
            if not turn.granted <= driver.now:
                continue
            tokens, name, is_over = (
                turn.call.input_tokens + turn.call.max_output,
                turn.call.prefix,
                turn.ended <= driver.now,
            )
            runs += 0 if is_over else tokens
            if name is None:
                others += 0 if is_over else tokens
            elif name != call.prefix:
                used = tokens if turn.call.fails else turn.call.input_tokens + turn.call.output
                last = (turn.ended, used) if is_over else (turn.granted, tokens)
                sizes[name] = max(sizes.get(name, last), last)
                if not is_over or turn.ended + IN_USE_SECONDS > driver.now:
                    in_use.add(name)
        kept = others + sum(sizes[name][1] for name in in_use)
        needs = call.input_tokens + call.max_output
        most = driver.rules.limits.kv_tokens
        return runs + needs <= most and kept + needs <= most


def yields_to_those_in_use(rules, workload):
    in_use = InUse()
    driver = Driver(rules=rules, watchers=[in_use]).run(workload)
    assert len(driver.turns) + driver.gave_up == len(workload)
    assert not driver.dispatcher.turns
    return in_use.idled


def test_a_conversation_is_as_large_as_its_last_call_left_it_while_another_one_runs():
    """A short call of it runs on after a long one: what the long one left is in use as well."""
    workload = [Call(agent="a", input_tokens=0, max_output=0, output=0, seconds=seconds) for seconds in (1.0, 2.0)]
    workload += [Call(agent="a", input_tokens=691, max_output=0, output=300, seconds=5.0, prefix=2)]
    workload += [Call(agent="a", at=1.0, input_tokens=0, max_output=0, output=0, seconds=9.0, prefix=2)]
    workload += [Call(agent="a", at=8.0, input_tokens=10, max_output=300, output=0)]
    rules = Rules(limits=Limits(slots=2, kv_tokens=1_300), affinity_slack=0.0)
    in_use = InUse()
    Driver(rules=rules, watchers=[in_use]).run(workload)
    assert in_use.idled


def run_some_workloads():
    sharing = Rules(limits=Limits(slots=3, kv_tokens=2_000), affinity_slack=1_000.0)
    chance = random.Random(5)
    for _ in range(40):
        workload = [
            Call(
                agent=chance.choice("abc"),
                at=chance.choice((0.0, chance.uniform(0, 30))),
                input_tokens=chance.randrange(1_000),
                output=chance.randrange(300),
                max_output=300,
                seconds=chance.uniform(0.01, 5),
                prefix=chance.choice((None, 0, 1, 2)),
            )
            for _ in range(25)
        ]
        yields_to_those_in_use(sharing, workload)


def keeps_room_for_what_nobody_uses(monkeypatch):
    monkeypatch.setattr("pagefault.scheduling.affinity.IN_USE_SECONDS", 30.0)


def counts_a_conversation_against_itself(monkeypatch):
    room_at = WarmPrefixes.room_at
    monkeypatch.setattr(WarmPrefixes, "room_at", lambda cache, _, tokens, now: room_at(cache, (), tokens, now))


def counts_what_calls_without_a_prefix_left(monkeypatch):
    begin = WarmPrefixes.begin

    def begin_for_ever(cache, prompt, tokens, now):
        begin(cache, prompt, tokens, now)
        cache._others += 0 if prompt else 10

    monkeypatch.setattr(WarmPrefixes, "begin", begin_for_ever)


def lets_one_in_at_a_time(monkeypatch):
    let_in = Dispatcher._let_in
    monkeypatch.setattr(Dispatcher, "_let_in", lambda self, now: let_in(self, now) and False)


def waits_for_a_whole_slot_more(monkeypatch):
    let_in = Dispatcher._let_in
    monkeypatch.setattr(Dispatcher, "_let_in", lambda self, now: self.running < self.slots - 1 and let_in(self, now))


@pytest.mark.parametrize(
    "mutation",
    [
        keeps_room_for_what_nobody_uses,
        counts_a_conversation_against_itself,
        counts_what_calls_without_a_prefix_left,
        lets_one_in_at_a_time,
        waits_for_a_whole_slot_more,
    ],
)
def test_a_dispatcher_that_leaves_a_slot_idle_would_be_seen(monkeypatch, mutation):
    mutation(monkeypatch)
    with pytest.raises(AssertionError, match="a slot idles"):
        run_some_workloads()


def test_the_workloads_that_would_show_it_pass():
    run_some_workloads()


@tried(300)
@given(with_cache, calls(priorities=(0, 1), patience=True))
def test_a_slot_idles_only_for_conversations_in_use_and_not_for_long(rules, workload):
    idled = yields_to_those_in_use(rules, workload)
    event("a slot idled" if idled else "no slot idled")


def within_limits(limits, turns, now):
    """Counted anew from the history: what runs, and what was used within the last minute."""
    granted = [turn for turn in turns if turn.granted <= now]
    running = [turn for turn in granted if not turn.ended <= now]
    assert limits.slots is None or len(running) <= limits.slots
    if limits.kv_tokens is not None:
        assert sum(t.call.input_tokens + t.call.max_output for t in running) <= limits.kv_tokens
    recent = [turn for turn in granted if turn.granted + MINUTE > now]
    assert limits.requests_per_minute is None or len(recent) <= limits.requests_per_minute
    if limits.tokens_per_minute is not None:
        used = sum(tokens(turn, now) for turn in recent)
        assert used <= limits.tokens_per_minute


def tokens(turn, now):
    if not turn.ended <= now:
        return turn.call.input_tokens + turn.call.max_output
    return 0 if turn.call.fails else turn.call.input_tokens + min(turn.call.output, turn.call.max_output)


def limits(slots):
    return st.builds(
        Limits,
        slots=slots,
        requests_per_minute=st.one_of(st.none(), st.integers(1, 8)),
        tokens_per_minute=st.one_of(st.none(), st.integers(1_300, 5_000)),
        kv_tokens=st.one_of(st.none(), st.integers(1_300, 3_000)),
    )


@st.composite
def limited(draw):
    return Rules(
        limits=draw(limits(st.integers(1, 4))),
        quotas=draw(st.dictionaries(st.sampled_from("abc"), limits(st.one_of(st.none(), st.integers(1, 2))))),
        tenant_quotas=draw(st.dictionaries(st.just(TENANT), limits(st.one_of(st.none(), st.integers(1, 3))))),
        affinity_slack=draw(st.sampled_from((0.0, 1_000.0))),
    )


def watch_limits(driver):
    turns = [turn for turn in driver.turns.values() if not math.isnan(turn.granted)]
    rules = driver.rules
    within_limits(rules.limits, turns, driver.now)
    for agent, quota in rules.quotas.items():
        within_limits(quota, [t for t in turns if t.call.agent == agent], driver.now)
    for quota in rules.tenant_quotas.values():
        within_limits(quota, turns, driver.now)


def replace_output(call):
    """A call never gives more than it said, as ``max_tokens`` sees to."""
    return Call(
        agent=call.agent,
        at=call.at,
        input_tokens=call.input_tokens,
        max_output=call.max_output,
        output=min(call.output, call.max_output),
        seconds=call.seconds,
        fails=call.fails,
    )


@tried(300)
@given(limited(), calls(most=20 * LARGER))
def test_limits_and_quotas_are_never_exceeded(rules, workload):
    honest = [replace_output(call) for call in workload]
    driver = Driver(rules=rules, watchers=[watch_limits]).run(honest)
    assert len(driver.turns) == len(workload), "some turns were never let in"


class Services:
    """When each class began to wait, and when it was served."""

    def __init__(self):
        self.waits = []
        self._since = {}

    def __call__(self, driver):
        waiting = {driver.turns[n].call.priority for n in driver.waiting}
        served = {t.call.priority for t in driver.turns.values() if t.granted == driver.now}
        for priority in served & set(self._since):
            self.waits.append((driver.now - self._since.pop(priority), priority))
        for priority in waiting:
            self._since.setdefault(priority, driver.now)
        self._since = {priority: since for priority, since in self._since.items() if priority in waiting}


@tried(200)
@given(rules(), calls(priorities=(0, 1, 7)))
def test_every_class_is_served_in_time(rules, workload):
    """A waiting class goes at least once in ``levels x aging`` seconds and one call of each class."""
    services = Services()
    Driver(rules=rules, watchers=[services]).run(workload)
    longest = max((call.seconds for call in workload), default=0.0)
    for waited, priority in services.waits:
        above = sum(1 for each in (0, 1, 7) if each > priority)
        assert waited <= above * rules.aging + 3 * longest + SLACK


@tried(200)
@given(rules() | with_cache, weights, calls())
def test_a_wait_is_bounded_by_what_others_may_get_meanwhile(rules, weights, workload):
    errors = Errors()
    driver = Driver(rules=rules, weights=weights, watchers=[errors]).run(workload)
    cost = dearest(driver)
    for turn in driver.turns.values():
        agent = turn.call.agent
        meanwhile = dict.fromkeys(driver.weights, 0.0)
        for other in driver.turns.values():
            if turn.asked < other.granted < turn.granted:
                share = other.actual / driver.weight(other.call.agent)
                meanwhile[other.call.agent] = meanwhile.get(other.call.agent, 0.0) + share
        for other, got in meanwhile.items():
            bound = 2 * (cost + rules.affinity_slack) + 2 * (errors.largest[agent] + errors.largest[other])
            assert got <= meanwhile.get(agent, 0.0) + bound + SLACK


@tried(20)
@given(st.integers(1, 4), st.floats(0, 1_000))
def test_an_account_that_was_away_has_saved_nothing_up(slots, away):
    """The trap: it comes back after a time in which nobody asked for anything."""
    busy = [Call(agent="a", at=0.0, seconds=0.1) for _ in range(50)]
    busy += [Call(agent="b", at=0.0, seconds=0.1)]
    later = 60.0 + away
    both = [Call(agent=agent, at=later, seconds=1.0) for agent in "ab" for _ in range(10)]
    driver = Driver(rules=Rules(limits=Limits(slots=slots), affinity_slack=0.0)).run(busy + both)
    grants = [t.call.agent for t in sorted(driver.turns.values(), key=lambda t: t.order) if t.asked == later]
    for count in range(slots, 21 - slots):
        assert abs(grants[:count].count("b") - grants[:count].count("a")) <= slots


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(1, 3))
def test_equal_events_give_equal_grants(agents, slots):
    def grants():
        dispatcher = Dispatcher(Rules(limits=Limits(slots=slots)))
        seen = []
        for at, agent in enumerate(agents):
            dispatcher.submit(Request(account=(TENANT, agent), agent=agent), float(at))
            seen.append(dispatcher.pump(float(at)))
            if at % 3 == 2:
                dispatcher.finish(next(iter(dispatcher.turns)), float(at))
                seen.append(dispatcher.pump(float(at)))
        return seen

    assert grants() == grants()


def test_weights_share_as_they_say():
    workload = [Call(agent=agent) for agent, _ in itertools.product("ab", range(60))]
    driver = Driver(rules=Rules(limits=Limits(slots=1), affinity_slack=0.0), weights={"a": 3.0, "b": 1.0}).run(workload)
    first = [t.call.agent for t in sorted(driver.turns.values(), key=lambda t: t.order)][:40]
    assert 29 <= first.count("a") <= 31
