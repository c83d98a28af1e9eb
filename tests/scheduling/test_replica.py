"""A replica follows a log; a restored one decides equally for ever after."""

from __future__ import annotations

import itertools
import json
import math
from collections import deque
from types import MethodType
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import QueueFull, QuotaExceeded, SharedStateUnreadable
from pagefault.scheduling import Dispatcher, Limits, Mark, Phase, Replica, Request, Rules, Token, Usage, plain, snapshot
from pagefault.scheduling import replica as steps
from pagefault.scheduling.dispatcher import MOST_PASSED
from pagefault.scheduling.replica import Entry
from tests.properties import tried
from tests.scheduling.events import CLIENTS, START, Writer, happenings, rules

ONE = Rules(limits=Limits(slots=1))


def follow(rules, happened):
    replica = Replica(rules)
    writer = Writer(replica)
    entries = []
    for each in happened:
        entries.append(writer.entry(each))
        replica.apply(entries[-1])
    return replica, entries


@tried(200)
@given(rules(), st.lists(happenings, max_size=40), st.integers(0, 40))
def test_a_restored_replica_decides_equally_for_ever_after(rules, happened, cut):
    _, entries = follow(rules, happened)
    first = Replica(rules)
    for entry in entries[:cut]:
        first.apply(entry)
    second = Replica.of_text(rules, first.text(), first.position)
    assert second.text() == first.text()
    for entry in entries[cut:]:
        assert str(first.apply(entry)) == str(second.apply(entry))
        assert first.text() == second.text()
        assert first.wake_at == second.wake_at


def picture(value, seen=None):
    """Everything in a value, to the last field; which objects are one and the same is part of it."""
    seen = {} if seen is None else seen
    if isinstance(value, dict):
        return [(key, picture(each, seen)) for key, each in value.items()]
    if isinstance(value, list | tuple | deque):
        return [picture(each, seen) for each in value]
    if isinstance(value, itertools.count | MethodType):
        return repr(value).partition(" of ")[0]
    if type(value).__module__.partition(".")[0] != "pagefault" or type(value).__hash__ is not object.__hash__:
        return value  # a number, a text, or a frozen record
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = f"{type(value).__name__} {len(seen)}"
    names = getattr(type(value), "__slots__", None) or vars(value)
    return seen[id(value)], [(name, picture(getattr(value, name), seen)) for name in names]


@tried(150)
@given(rules(), st.lists(happenings, min_size=15, max_size=40), st.sampled_from((1, 10_000)))
def test_a_restored_replica_is_the_same_to_the_last_field(rules, happened, most_accounts):
    with mock.patch("pagefault.scheduling.fairness.MOST_ACCOUNTS", most_accounts):
        replica, _ = follow(rules, happened)
        assert picture(Replica.of_text(rules, replica.text(), replica.position)) == picture(replica)


def test_how_often_a_turn_was_passed_outlives_a_snapshot():
    replica = Replica(ONE)
    request = {"input_tokens": 10, "max_output_tokens": 0}
    replica.apply(entry(1, asks(**request, marks=(Mark(digest="warm", tokens=10),))))
    replica.apply(entry(2, asks(**request)))  # the oldest of those that wait, and cold
    running, passed = 1, 0
    for number in range(3, 3 + 2 * MOST_PASSED + 2, 2):
        replica.apply(entry(number, asks(**request, marks=(Mark(digest="warm", tokens=10),))))
        moved = replica.apply(entry(number + 1, steps.finish(running, None, failed=False))).moved
        if moved == [2]:
            break
        running, passed = moved[0], passed + 1
        replica = Replica.of_text(ONE, replica.text(), replica.position)
    assert passed == MOST_PASSED


def test_a_restored_dispatcher_gives_the_numbers_that_follow():
    dispatcher = Dispatcher(ONE)
    dispatcher.submit(Request(account=("t", "a"), agent="a"), 0.0)
    restored = snapshot.dispatcher_from(ONE, json.loads(json.dumps(snapshot.dispatcher_to(dispatcher))))
    assert restored.submit(Request(account=("t", "a"), agent="a"), 0.0) == 2
    assert dispatcher.submit(Request(account=("t", "a"), agent="a"), 0.0) == 2


@tried(100)
@given(rules(), st.lists(happenings, max_size=40))
def test_tokens_are_held_by_who_runs_and_their_numbers_rise(rules, happened):
    replica = Replica(rules)
    writer, newest = Writer(replica), {}
    for each in happened:
        replica.apply(writer.entry(each))
        turns = replica.dispatcher.turns
        running = [number for number, entry in turns.items() if entry.phase is Phase.RUNNING]
        tokens = {number: replica.token(number) for number in turns if replica.token(number)}
        assert sorted(tokens) == sorted(running)
        assert len({token.slot for token in tokens.values()}) == len(running)
        for token in tokens.values():
            assert token.number >= newest.get(token.slot, 0)
            newest[token.slot] = token.number
        assert all(replica.owner(number) for number in turns)


def test_every_field_has_a_place_in_the_snapshot():
    """Who adds one to these classes adds it to the snapshot, and then here."""
    dispatcher = Dispatcher(ONE)
    fair = snapshot._class_from({"virtual": 0, "since": 0, "open": 0, "room": 0, "lines": [], "waiting": []})
    meter = dispatcher._backend
    assert set(vars(dispatcher)) == {
        "rules", "wake_at", "turns", "accounts", "_numbers", "_backend", "_pace", "_warm", "_has_cache", "_classes",
        "_everyone", "_waiting", "_returning", "_moved", "_kept",
    }  # fmt: skip
    kept = {
        type(dispatcher.accounts): {"_meters", "_records", "_room_for_meters", "_rules", "have_quotas"},
        type(meter): {"_kv_tokens", "_largest", "_requests", "_slots", "_tokens", "in_flight", "limits", "running"},
        type(dispatcher._pace): {"_most", "_pause", "_width", "reason", "until"},
        type(dispatcher._warm): {"_others", "_seen", "_tokens", "capacity"},
        type(fair): {"_lines", "_open", "_room", "since", "virtual", "waiting"},
        type(fair._line(("t", "a"))): {"account", "blocked", "counter", "open", "passed", "waiting"},
    }
    for kind, fields in kept.items():
        assert set(kind.__slots__) == fields, kind


# ------------------------------------------------------------------ entries


def at(number, seconds=0.0):
    return f"{number}-{START + round(seconds * 1_000_000)}"


def entry(number, *done, client=CLIENTS[0], seconds=0.0, event=1):
    return Entry(id=at(number, seconds), client=client, body=steps.body(event, *done))


def asks(agent="a", **options):
    return steps.ask(Request(account=("acme", agent), agent=agent, **options))


def test_a_turn_has_its_entrys_number():
    replica = Replica(ONE)
    assert replica.apply(entry(7, asks(), event=3)) == (3, None, [7], "")
    assert replica.token(7) == Token(0, 7)
    assert replica.waiting_clients() == []
    assert replica.apply(entry(8, asks("b"), client=CLIENTS[1])).moved == []
    assert replica.token(8) is None
    assert replica.owner(8) == CLIENTS[1]
    assert replica.waiting_clients() == [CLIENTS[1]], "who runs does not wait"
    assert replica.apply(entry(9, steps.finish(7, Usage(output_tokens=2), failed=False))).moved == [8]
    assert replica.token(8) == Token(0, 9)
    assert replica.owner(7) == ""


def test_a_refusal_is_part_of_the_log():
    replica = Replica(Rules(limits=Limits(slots=1, tokens_per_minute=10), max_waiting=1))
    assert isinstance(replica.apply(entry(1, asks(input_tokens=11), ["lend", 0])).refusal, QuotaExceeded)
    for number in (2, 3):
        assert replica.apply(entry(number, asks(input_tokens=1, max_output_tokens=0))).refusal is None
    assert isinstance(replica.apply(entry(4, asks(input_tokens=1, max_output_tokens=0))).refusal, QueueFull)
    assert list(replica.dispatcher.turns) == [2, 3]


def test_the_turns_of_who_is_gone_end_and_others_go_on():
    replica = Replica(ONE)
    replica.apply(entry(1, asks()))
    replica.apply(entry(2, asks("b"), client=CLIENTS[1]))
    applied = replica.apply(entry(3, ["gone", CLIENTS[0]], client=""))
    assert (applied.moved, applied.gone) == ([2], CLIENTS[0])
    assert replica.dispatcher.accounts.usage(("acme", "a")).failed == 1


def test_a_turn_belongs_to_who_asked_for_it():
    replica = Replica(ONE)
    replica.apply(entry(1, asks()))
    for step in (steps.finish(1, None, failed=False), ["lend", 1], ["regain", 1]):
        replica.apply(entry(replica.number + 1, step, client=CLIENTS[1]))
    assert replica.dispatcher.turns[1].phase is Phase.RUNNING


def test_a_lent_slot_comes_back_with_a_new_token():
    replica = Replica(ONE)
    replica.apply(entry(1, asks()))
    replica.apply(entry(2, asks("b"), ["lend", 1]))
    assert (replica.token(1), replica.token(2)) == (None, Token(0, 2))
    applied = replica.apply(entry(3, steps.finish(2, None, failed=True), ["regain", 1]))
    assert applied.moved == [1]
    assert replica.token(1) == Token(0, 3)


def test_turns_that_are_let_in_together_take_slots_of_their_own():
    replica = Replica(Rules(limits=Limits(slots=3)))
    replica.apply(entry(1, ["pause", START / 1_000_000 + 5]))
    for number in (2, 3, 4):
        replica.apply(entry(number, asks()))
    assert replica.apply(entry(5, seconds=5.1)).moved == [2, 3, 4]
    assert [replica.token(number) for number in (2, 3, 4)] == [Token(0, 5), Token(1, 5), Token(2, 5)]


def test_turns_that_go_on_take_slots_that_are_not_there():
    replica = Replica(ONE)
    request = Request(account=("acme", "a"), agent="a", input_tokens=10, max_output_tokens=0)
    for number in (1, 2):
        replica.apply(entry(number, steps.adopt(request, inner=0, holds=True)))
    replica.apply(entry(3, steps.adopt(request, inner=1, holds=True)))
    replica.apply(entry(4, steps.adopt(request, inner=0, holds=False)))
    phases = [each.phase for each in replica.dispatcher.turns.values()]
    assert phases == [Phase.RUNNING, Phase.RUNNING, Phase.LENT, Phase.RETURNING]
    assert [replica.token(number) for number in (1, 2)] == [Token(0, 1), Token(1, 2)]
    assert replica.dispatcher.running == 2
    replica.apply(entry(5, steps.finish(1, None, failed=False)))
    assert replica.token(4) is None
    replica.apply(entry(6, steps.finish(2, None, failed=False)))
    assert replica.token(4) == Token(0, 6)


def test_a_pause_lets_nobody_in_until_time_has_passed():
    replica = Replica(ONE)
    replica.apply(entry(1, ["pause", START / 1_000_000 + 5]))
    replica.apply(entry(2, ["pause", START / 1_000_000 + 2]))
    replica.apply(entry(3, asks()))
    assert "other processes" in replica.dispatcher.why(3, replica.time)
    assert replica.wake_at == pytest.approx(START / 1_000_000 + 5)
    assert replica.apply(entry(4, seconds=4.9)).moved == []
    assert replica.apply(entry(5, seconds=5.1)).moved == [3]
    assert replica.wake_at == math.inf


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "1", "{}", '{"e":1}', '{"e":"1","do":[]}', '{"e":1,"do":{}}', '{"e":1,"do":[["nonsense"]]}',
        '{"e":1,"do":[["ask"]]}', '{"e":1,"do":[["ask",[1]]]}', '{"e":1,"do":[[]]}', '{"e":1,"do":[["lend"]]}',
        '{"e":1,"do":[["ask",["t","a","a",0,0,1,1,[]]]]}', '{"e":1,"do":[["ask",["t","a",5,0,1,1,1,[]]]]}',
        '{"e":1,"do":[["ask",["t","a","a","0",1,1,1,[]]]]}', '{"e":1,"do":[["ask",["t","a","a",0,1,-1,1,[]]]]}',
        '{"e":1,"do":[["ask",["t","a","a",0,1,1,1,[["bxyz",1]]]]]}',
        '{"e":1,"do":[["ask",["t","a","a",0,1e-300,1,1,[]]]]}', '{"e":1,"do":[["refused","5"]]}',
        f'{{"e":1,"do":[["ask",["t","a","a",0,1,{10**400},1,[]]]]}}', f'{{"e":1,"do":[["pause",{10**400}]]}}',
        '{"e":1,"do":[["pause",NaN]]}', '{"e":1,"do":[["pause",1e18]]}', "[" * 100_000,
    ],
)  # fmt: skip
def test_an_entry_that_is_none_is_named(text):
    with pytest.raises(SharedStateUnreadable, match="log entry 1-"):
        Replica(ONE).apply(Entry(id=at(1), client="x", body=text))


@pytest.mark.parametrize(
    "change", [{"format": 99}, {"dispatcher": {}}, {"owners": 5}, {"tokens": [[1]]}, {"owners": [["x", "y"]]}]
)
def test_a_snapshot_that_is_none_is_named(change):
    values = json.loads(Replica(ONE).text()) | change
    with pytest.raises(SharedStateUnreadable, match="snapshot at 5-5"):
        Replica.of_text(ONE, json.dumps(values), "5-5")


def test_a_snapshot_under_other_rules_is_none():
    limited = Rules(limits=Limits(slots=1, requests_per_minute=5))
    replica = Replica(limited)
    replica.apply(entry(1, asks()))
    with pytest.raises(SharedStateUnreadable):
        Replica.of_text(ONE, replica.text(), "1-1")


# ------------------------------------------------------------------ plain values


@given(st.lists(st.one_of(st.text(max_size=5), st.binary(max_size=5)), max_size=3))
def test_digests_come_back_as_they_were(digests):
    request = Request(account=("t", "a"), agent="a", marks=tuple(Mark(digest=d, tokens=1) for d in digests))
    assert plain.request_from(json.loads(json.dumps(plain.request_to(request)))) == request


def test_rules_that_decide_differently_have_another_text():
    texts = {
        plain.rules_text(each)
        for each in (
            ONE,
            Rules(limits=Limits(slots=2)),
            Rules(limits=Limits(slots=1, kv_tokens=5)),
            Rules(limits=Limits(slots=1), affinity_slack=1),
            Rules(limits=Limits(slots=1), aging=1),
            Rules(limits=Limits(slots=1), max_waiting=1),
            Rules(limits=Limits(slots=1), quotas={"a": Limits(slots=1)}),
            Rules(limits=Limits(slots=1), tenant_quotas={"a": Limits(slots=1)}),
        )
    }
    assert len(texts) == 8
    assert plain.rules_text(Rules(limits=Limits(slots=1), aging=30, affinity_slack=4_000)) == plain.rules_text(ONE)
