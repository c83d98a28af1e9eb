"""Numbers at the edge of what is taken, and many of everything: nobody starves, and nothing grows for ever."""

from __future__ import annotations

import math
from collections import Counter
from enum import IntEnum

import pytest

from pagefault.errors import BadTurn
from pagefault.scheduling import Limits, Phase, Request, Rules
from pagefault.scheduling import replica as steps
from pagefault.scheduling.accounts import MOST_METERS
from pagefault.scheduling.dispatcher import Dispatcher
from pagefault.scheduling.fairness import classes_in_order
from pagefault.scheduling.numbers import LARGEST, whole
from pagefault.scheduling.pace import is_refusal, retry_after
from pagefault.scheduling.replica import Entry, Replica


def request(agent, tokens=100, tenant="t", **options):
    return Request(account=(tenant, agent), agent=agent, input_tokens=tokens, max_output_tokens=0, **options)


class Clock:
    """A dispatcher whose turns end and ask again."""

    def __init__(self, **options):
        self.dispatcher = Dispatcher(Rules(**options))
        self.now = 0.0

    def ask(self, agent, tokens=100, **options):
        return self.dispatcher.submit(request(agent, tokens, **options), self.now)

    def pump(self):
        return self.dispatcher.pump(self.now)

    def end(self, number):
        self.dispatcher.finish(number, self.now)

    def phase(self, number):
        return self.dispatcher.turns[number].phase


@pytest.mark.parametrize("how", ["alone", "beside another", "waiting"])
def test_small_costs_count_after_a_huge_one(how):
    clock = Clock(limits=Limits(slots=2 if how == "beside another" else 1))
    for _ in range(3):
        clock.now += 1
        huge = [clock.ask("huge", LARGEST, weight=1e-6) for _ in range(2 if how == "waiting" else 1)]
        others = [clock.ask("other", 1)] if how == "beside another" else []
        clock.pump()
        for number in [*others, *huge]:
            clock.end(number)
            clock.pump()
    served, asked = Counter(), {}
    for agent, tokens in (("little", 200), ("much", 2_000)) * 2:
        asked[clock.ask(agent, tokens)] = (agent, tokens)
    for _ in range(1_000):
        clock.now += 1
        for number in [n for n in asked if clock.phase(n) is Phase.RUNNING]:
            agent, tokens = asked.pop(number)
            served[agent] += tokens
            clock.end(number)
            asked[clock.ask(agent, tokens)] = (agent, tokens)
        clock.pump()
    assert abs(served["little"] - served["much"]) <= 2 * (2_000 + 4_000)


def test_a_turn_gets_its_share_of_a_quota_back_before_new_ones_have_it():
    clock = Clock(limits=Limits(slots=8), tenant_quotas={"t": Limits(kv_tokens=1_000)})
    outer = clock.ask("outer", 900)
    inner = clock.ask("outer", 100)
    clock.dispatcher.lend(outer, clock.now)
    running = [clock.ask("small", 450) for _ in range(2)]
    clock.pump()
    clock.end(inner)
    clock.dispatcher.regain(outer, clock.now)
    waiting = [clock.ask("small", 450) for _ in range(2)]
    elsewhere = clock.ask("far", 900, tenant="other")
    clock.pump()
    assert clock.phase(elsewhere) is Phase.RUNNING, "who has nothing to do with that quota goes on"
    for number in running:
        clock.now += 1
        clock.end(number)
        clock.pump()
    assert clock.phase(outer) is Phase.RUNNING
    assert [clock.phase(number) for number in waiting] == [Phase.WAITING] * 2
    clock.end(outer)
    clock.pump()
    assert [clock.phase(number) for number in waiting] == [Phase.RUNNING] * 2


def test_quotas_of_tenants_that_went_away_are_forgotten():
    clock = Clock(limits=Limits(slots=8), quotas={"a": Limits(requests_per_minute=1, slots=1)})
    busy = clock.ask("a", tenant="stays")
    clock.pump()
    for number in range(3 * MOST_METERS):
        clock.now += 0.01
        clock.end(clock.ask("a", tenant=f"t{number}"))
        clock.pump()
    assert len(clock.dispatcher.accounts._meters) <= 2 * MOST_METERS
    late = clock.ask("a", tenant="stays")
    clock.pump()
    assert clock.phase(late) is Phase.WAITING, "one that is in use is kept"
    clock.end(busy)
    clock.pump()
    assert clock.phase(late) is Phase.RUNNING


def test_of_thousands_of_classes_each_is_looked_at_a_few_times():
    looks = 0

    class Looked(dict[int, float]):
        def __getitem__(self, priority: int) -> float:
            nonlocal looks
            looks += 1
            return super().__getitem__(priority)

    since = Looked.fromkeys(range(2_000), 0.0)
    order = classes_in_order(since, now=1e9, aging=1.0)
    assert sorted(order) == sorted(since)
    assert len(since) <= looks <= 5 * len(since)


def test_to_look_changes_no_decision():
    """A process that looks knows the time, and not what others did meanwhile: the next event may be older than now."""
    rules = Rules(limits=Limits(slots=4, requests_per_minute=1))
    ask = [steps.ask(request("a")), steps.ask(request("b")), steps.ask(request("c"))]
    bodies = [*(steps.body(at, each) for at, each in enumerate(ask))]
    times = (1_000_000, 2_000_000, 60_500_000)
    log = [Entry(id=f"{at + 1}-{times[at]}", client="P", body=text) for at, text in enumerate(bodies)]
    one, other = Replica(rules), Replica(rules)
    for entry in log[:2]:
        one.apply(entry)
        other.apply(entry)
    assert one.dispatcher.why(2, 61.5, one.time) == "the backend's limits"
    assert one.apply(log[2]).moved == other.apply(log[2]).moved == []
    assert one.text() == other.text()


class Urgency(IntEnum):
    HIGH = 2


def test_a_member_of_an_enumeration_is_a_whole_number():
    assert type(whole("priority", Urgency.HIGH)) is int
    with pytest.raises(BadTurn):
        whole("priority", Urgency.HIGH, least=3)


@pytest.mark.parametrize("slack", [10**400, math.nan, -1, True, "4000"])
def test_a_slack_that_cannot_be_one(slack):
    with pytest.raises(BadTurn, match="affinity_slack"):
        Rules(limits=Limits(slots=1), affinity_slack=slack)


def test_an_endless_slack_is_one():
    assert Rules(limits=Limits(slots=1), affinity_slack=math.inf).affinity_slack == math.inf


def test_rules_stay_as_they_were_given():
    quotas = {"a": Limits(slots=1)}
    rules = Rules(limits=Limits(slots=4), quotas=quotas, tenant_quotas=quotas)
    quotas.clear()
    assert list(rules.quotas) == list(rules.tenant_quotas) == ["a"]


class Refusal(Exception):
    status_code = 429

    def __init__(self, header):
        self.response = self
        self.headers = {"retry-after": header}


@pytest.mark.parametrize(
    "header",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2020 99999999999999999999999:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 -99999999999999999999999",
    ],
)
def test_a_date_that_is_none_says_nothing(header):
    assert retry_after(Refusal(header), 0.0) is None


class Odd(Exception):
    exceptions = 3

    @property
    def response(self):
        raise RuntimeError("there was none")


def test_an_error_that_cannot_be_asked_is_no_refusal():
    assert not is_refusal(Odd())
    assert retry_after(Odd(), 0.0) is None
