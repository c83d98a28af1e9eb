"""Several replicas on a real server decide what one dispatcher decides that is fed the same log."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault import Limits, RulesDiffer, Scheduler, SchedulerError, SharedStateUnreadable
from pagefault.coordination.conversation import LONGEST_PAUSE
from pagefault.coordination.place import meeting_place
from pagefault.coordination.valkey_log import Membership, ValkeyLog
from pagefault.scheduling import Phase, Replica, Request, Rules, plain
from pagefault.scheduling import replica as steps
from pagefault.scheduling.replica import Entry
from tests.properties import tried
from tests.scheduler.loops import until
from tests.scheduling.events import TENANTS, Writer, happenings, rules

ONE = Rules(limits=Limits(slots=1))


class Client:
    """A process without its threads: a log, a replica, and one call after the other."""

    def __init__(self, url, rules, before=None):
        self.log = ValkeyLog(meeting_place(url))
        self.rules = rules
        self.batch = 0
        reply = self.log.join(before or Membership(), plain.rules_text(rules), [], uuid.uuid4().hex)
        self.kind, self.who = reply.kind, reply.membership
        if reply.kind == "loaded":
            self._load(reply)

    def _load(self, reply):
        if reply.state:
            self.replica = Replica.of_text(self.rules, reply.state, reply.membership.position)
        else:
            self.replica = Replica(self.rules, f"{reply.entries[0].number - 1}-0")
        self._follow(reply.entries)

    def _follow(self, entries):
        for entry in entries:
            assert entry.number == self.replica.number + 1
            self.replica.apply(entry)

    def now(self):
        return Membership(epoch=self.who.epoch, client=self.who.client, position=self.replica.position)

    def write(self, *bodies, **options):
        self.batch += bool(bodies)
        return self.hear(self.log.append(self.now(), self.batch, bodies, **options))

    def hear(self, reply):
        if reply.kind == "loaded":
            self._load(reply)
        else:
            self._follow(reply.entries)
        return reply.kind

    def save(self):
        self.log.save(self.now(), self.replica.text())


def body(client, happening):
    """What this client would write: its own turns are those its replica knows to be its own."""
    verb, _, *rest = happening
    verb = {"gone": "tick", "adopt": "ask"}.get(verb, verb)  # what only the script, or only a loss, brings about
    writer = Writer(client.replica)
    writer.number, writer.time = client.replica.number, round(client.replica.time * 1_000_000)
    return writer.entry((verb, client.who.client, *rest)).body


def whole_log(server, url):
    key = meeting_place(url).keys[1]
    return [
        Entry(id=place, client=fields["c"], body=fields["b"]) for place, fields in server.ask("XRANGE", key, "-", "+")
    ]


acts = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(("write", "write", "write", "read", "tick")), happenings))


def within(rules, dispatcher):
    """Slots of the backend and of quotas, counted anew."""
    running = [entry.request for entry in dispatcher.turns.values() if entry.phase is Phase.RUNNING]
    assert len(running) <= rules.slots
    for tenant, quota in rules.tenant_quotas.items():
        assert quota.slots is None or sum(r.account[0] == tenant for r in running) <= quota.slots
    for agent, quota in rules.quotas.items():
        for tenant in TENANTS:
            own = [r for r in running if r.account[0] == tenant and agent in {r.agent, r.account[1]}]
            assert quota.slots is None or len(own) <= quota.slots


@tried(100)
@given(rules(), acts)
def test_replicas_decide_as_one_dispatcher(valkey, rules, acts):
    url = valkey.url(lease=60)
    clients = [Client(url, rules) for _ in range(3)]
    for index, act, happening in acts:
        client = clients[index]
        if act == "write":
            client.write()  # so that what it writes is about what is
            client.write(body(client, happening))
        elif act == "read":
            client.write()
        else:
            client.write(steps.body(0), only_here=True)
    for client in clients:
        client.write()
    log = whole_log(valkey, url)
    alone = Replica(rules, f"{log[0].number - 1}-0")
    for entry in log:
        alone.apply(entry)
        within(rules, alone.dispatcher)
    assert {client.replica.text() for client in clients} == {alone.text()}
    valkey.ask("DEL", *meeting_place(url).keys)


@tried(15)
@given(rules(), st.lists(st.tuples(st.booleans(), happenings), max_size=30))
def test_who_joins_at_a_snapshot_decides_as_who_was_there_from_the_start(valkey, rules, acts):
    url = valkey.url(lease=60)
    first = Client(url, rules)
    asleep = Client(url, rules)
    for saves, happening in acts:
        first.write(body(first, happening))
        if saves:
            first.save()
    later = Client(url, rules)
    first.write()
    assert later.replica.text() == first.replica.text()
    asleep.write()
    assert asleep.replica.text() == first.replica.text()
    valkey.ask("DEL", *meeting_place(url).keys)


# ------------------------------------------------------------------ the script


@pytest.fixture
def url(valkey):
    return valkey.url(lease=30)  # nobody's ends by itself, however slow the machine is


def asks(event=1):
    return steps.body(event, steps.ask(Request(account=("t", "a"), agent="a")))


def run_out(server, url, client):
    """As if it had not been heard for long; no time has to pass for it."""
    server.ask("ZADD", meeting_place(url).keys[2], 1, client.who.client)


def ends_of(server, url, client):
    return [entry for entry in whole_log(server, url) if f'["gone","{client.who.client}"]' in entry.body]


def test_a_batch_that_is_sent_twice_is_written_once(valkey, url):
    client = Client(url, ONE)
    client.write(asks())
    client.batch -= 1
    client.write(asks())
    assert len(client.replica.dispatcher.turns) == 1


def test_of_two_that_say_that_time_has_passed_one_is_written(valkey, url):
    first, second = Client(url, ONE), Client(url, ONE)
    first.write()
    before = len(whole_log(valkey, url))
    for client in (first, second):
        client.write(steps.body(0), only_here=True)
    assert len(whole_log(valkey, url)) == before + 1


def test_a_client_past_its_lease_is_refused_and_ended_once(valkey):
    url = valkey.url(lease=1)
    late, others = Client(url, ONE), [Client(url, ONE) for _ in range(2)]
    late.write(asks())

    def is_late():
        for other in others:
            other.write()
        return ends_of(valkey, url, late)

    until(is_late, "the end of a lease")
    assert late.log.append(late.now(), 9, [asks()]).kind == "expired"
    assert Client(url, ONE, before=late.now()).kind == "expired"
    assert len(ends_of(valkey, url, late)) == 1
    others[0].write()
    assert not others[0].replica.dispatcher.turns


def test_leases_stand_still_while_nobody_is_heard(valkey):
    url = valkey.url(lease=0.9)
    client, other = Client(url, ONE), Client(url, ONE)
    client.write(asks())
    time.sleep(1.0)
    assert other.write() == "read"
    assert client.write() == "read"
    assert len(client.replica.dispatcher.turns) == 1


def test_numbers_rise_also_after_everything_was_lost(valkey, url):
    client = Client(url, ONE)
    client.write(asks())
    before = client.replica.number
    valkey.ask("DEL", *meeting_place(url).keys)
    assert client.log.append(client.now(), 2, []).kind == "lost"
    again = Client(url, ONE, before=client.now())
    assert again.replica.number > before
    again.write(asks())
    assert "other processes" in again.replica.dispatcher.why(again.replica.number, again.replica.time)


@pytest.mark.parametrize("key", [0, 1])
def test_a_log_of_which_a_part_was_evicted_is_lost(valkey, url, key):
    client = Client(url, ONE)
    client.write(asks())
    valkey.ask("DEL", meeting_place(url).keys[key])
    assert client.log.append(client.now(), 2, []).kind == "lost"
    assert Client(url, ONE, before=client.now()).kind == "loaded"


def test_clients_whose_leases_were_evicted_get_new_ones(valkey, url):
    """The dead among them, too: only then are their slots given to others one day."""
    client, dead = Client(url, ONE), Client(url, ONE)
    dead.write(asks())
    leases = meeting_place(url).keys[2]
    valkey.ask("DEL", leases)
    assert client.write() == "read"
    assert set(valkey.ask("ZRANGE", leases, 0, -1)) == {client.who.client, dead.who.client}
    run_out(valkey, url, dead)
    client.write()
    assert len(ends_of(valkey, url, dead)) == 1


def test_a_log_whose_end_was_lost_is_noticed(valkey, url):
    """As after a restart from a file that lacks the last second; others have gone on since."""
    client, other = Client(url, ONE), Client(url, ONE)
    other.write()
    client.write(asks())
    head, log, _ = meeting_place(url).keys
    valkey.ask("XDEL", log, client.replica.position)
    valkey.ask("HSET", head, "last", other.replica.position)
    valkey.ask("DEL", log + "x")
    assert other.write(asks()) in {"read", "lost"}
    assert client.log.append(client.now(), 2, []).kind == "lost"


def test_a_client_whose_lease_is_over_writes_nothing_more(valkey, url):
    """Whatever it says next: it is ended once, by whoever comes first, and its batch is not written."""
    late, other = Client(url, ONE), Client(url, ONE)
    late.write(asks())
    run_out(valkey, url, late)
    assert late.write(asks(2)) == "expired"
    other.write()
    assert not other.replica.dispatcher.turns
    bodies = [entry.body for entry in whole_log(valkey, url) if entry.client == late.who.client]
    assert asks(2) not in bodies
    assert asks() in bodies


def test_a_client_that_leaves_after_its_lease_is_not_ended_twice(valkey, url):
    late, other = Client(url, ONE), Client(url, ONE)
    run_out(valkey, url, late)
    other.write()
    late.log.leave(late.now())
    assert len(ends_of(valkey, url, late)) == 1


def test_who_joins_finds_no_turn_of_a_client_whose_lease_is_over(valkey, url):
    late = Client(url, ONE)
    late.write(asks())
    run_out(valkey, url, late)
    assert not Client(url, ONE).replica.dispatcher.turns


def test_who_joins_anew_is_not_two_clients(valkey, url):
    """Its turns of before end, and what of it is still on its way is refused."""
    client = Client(url, ONE)
    client.write(asks())
    again = Client(url, ONE, before=client.now())
    again.write()
    assert not again.replica.dispatcher.turns
    assert client.write(asks(2)) == "expired"
    assert valkey.ask("ZCARD", meeting_place(url).keys[2]) == 1


@pytest.mark.parametrize("is_lost", [False, True])
def test_who_joins_anew_and_hears_no_answer_joins_once(valkey, url, is_lost):
    """The first call was done and its answer lost: what runs is neither twice in the log nor taken from its client."""
    client = Client(url, ONE)
    client.write(asks())
    if is_lost:
        valkey.ask("DEL", *meeting_place(url).keys)
    request = Request(account=("t", "a"), agent="a")
    bodies = [steps.body(2, steps.adopt(request, inner=0, holds=True))]
    for _ in range(2):
        reply = client.log.join(client.now(), plain.rules_text(ONE), bodies, "attempt")
        assert reply.kind == "loaded"
    watcher = Client(url, ONE)
    assert watcher.replica.dispatcher.running == 1
    (number,) = watcher.replica.dispatcher.turns
    assert watcher.replica.owner(number) == reply.membership.client


def test_nothing_is_kept_of_clients_that_are_gone(valkey, url):
    stays = Client(url, ONE)
    for each in [Client(url, ONE) for _ in range(3)]:
        each.write(asks())
        each.log.leave(each.now())
    stays.write(asks())
    head, _, leases = meeting_place(url).keys
    kept = sorted(key.partition(":")[0] for key in valkey.ask("HKEYS", head) if ":" in key)
    assert kept == ["a", "j", "n"], "one of each: of the client that stays"
    assert valkey.ask("ZRANGE", leases, 0, -1) == [stays.who.client]


def test_when_the_servers_clock_is_put_back_time_goes_on_from_where_it_was(valkey, url):
    client = Client(url, ONE)
    head, _, leases = meeting_place(url).keys
    later = int(whole_log(valkey, url)[-1].id.split("-")[1]) + 3_600_000_000
    valkey.ask("HSET", head, "heard", later)  # as if the clock had been an hour ahead
    valkey.ask("ZADD", leases, later + 500_000, client.who.client)
    times = []
    for number in range(3):
        assert client.write(asks(number)) == "read"
        times.append(int(client.replica.position.split("-")[1]))
    assert times[0] == later < times[1] < times[2] < later + 60_000_000


def test_who_joins_a_log_whose_end_was_lost_begins_another_one(valkey, url):
    client = Client(url, ONE)
    client.write(asks())
    valkey.ask("XDEL", meeting_place(url).keys[1], client.replica.position)
    assert Client(url, ONE).who.epoch != client.who.epoch
    assert client.write() == "lost"


def test_a_log_whose_end_was_lost_is_lost_also_to_who_is_behind_its_snapshot(valkey, url):
    first, asleep = Client(url, ONE), Client(url, ONE)
    first.write(asks())
    first.save()
    first.write(asks(2))
    valkey.ask("XDEL", meeting_place(url).keys[1], first.replica.position)
    assert asleep.write() == "lost"


def test_what_only_a_lost_end_says_is_not_kept(valkey, url):
    client = Client(url, ONE)
    client.write(asks())
    valkey.ask("XDEL", meeting_place(url).keys[1], client.replica.position)
    client.save()
    assert valkey.ask("HGET", meeting_place(url).keys[0], "saved") is None


def test_who_knows_another_log_is_told_so_and_does_not_lose_its_turns(valkey, url):
    """Not that its lease is over: a snapshot of the new log lies behind what it has read."""
    client = Client(url, ONE)
    client.write(asks())
    valkey.ask("DEL", *meeting_place(url).keys)
    other = Client(url, ONE)
    other.write(asks())
    other.save()
    assert client.write() == "lost"


def test_who_leaves_is_gone_at_once(valkey, url):
    client, other = Client(url, ONE), Client(url, ONE)
    client.write(asks())
    client.log.leave(client.now())
    other.write()
    assert not other.replica.dispatcher.turns
    assert client.log.append(client.now(), 2, []).kind == "expired"


def test_other_rules_are_refused_while_somebody_lives_by_these(valkey, url):
    client = Client(url, ONE)
    with pytest.raises(RulesDiffer, match=r'"slots":1.*another name') as caught:
        Client(url, Rules(limits=Limits(slots=2)))
    assert '"slots":2' in str(caught.value)
    client.log.leave(client.now())
    Client(url, Rules(limits=Limits(slots=2)))


def test_an_old_log_is_short_and_nothing_stays_for_ever(valkey, url):
    client = Client(url, ONE)
    for number in range(50):
        client.write(asks(number))
    client.save()
    assert len(whole_log(valkey, url)) == 1
    assert all(0 < int(valkey.ask("PTTL", key)) <= 3_600_000 for key in meeting_place(url).keys)


def spoil(valkey, url, *fields):
    """An entry that is none."""
    head, log, _ = meeting_place(url).keys
    last = valkey.ask("HGET", head, "last")
    place = f"{int(last.split('-')[0]) + 1}-{int(last.split('-')[1]) + 1}"
    valkey.ask("XADD", log, place, *(fields or ("c", "", "b", "nonsense")))
    valkey.ask("HSET", head, "last", place)


def test_while_a_call_runs_a_log_that_cannot_be_read_is_asked_for_less_and_less_often(valkey):
    url = valkey.url(lease=0.9)
    scheduler = Scheduler(slots=1, shared=url)
    with contextlib.suppress(SharedStateUnreadable), scheduler.turn(agent="a"):
        spoil(valkey, url)
        until(lambda: scheduler._coordinator._talk._pause == LONGEST_PAUSE, "the longest pause")
    scheduler.close()


def test_a_foreign_entry_ends_turns_with_an_error_that_names_it(valkey, url):
    scheduler = Scheduler(slots=1, shared=url)
    with scheduler.turn(agent="a"):
        pass
    spoil(valkey, url)
    with pytest.raises(SharedStateUnreadable, match=r"nonsense.*another one"), scheduler.turn(agent="a"):
        pass
    scheduler.close()


@pytest.mark.parametrize(
    "fields",
    [
        ("x", "y"),
        ("c", "", "b", b"\xff"),
        ("c", "", "b", "[" * 100_000),
        ("c", "", "b", '{"e":0,"do":[["pause",Infinity]]}'),
        ("c", "", "b", '{"e":0,"do":[["pause",1e18]]}'),
    ],
    ids=["fields", "bytes", "depth", "endless", "long"],
)
def test_who_waits_is_told_of_a_foreign_entry_whatever_it_holds(valkey, url, fields):
    holder, waiter = Scheduler(slots=1, shared=url), Scheduler(slots=1, shared=url)
    told = []

    def wait():
        try:
            with waiter.turn(agent="b"):
                told.append(None)
        except SchedulerError as error:
            told.append(error)

    with contextlib.suppress(SchedulerError), holder.turn(agent="a"):
        waits = threading.Thread(target=wait, daemon=True)
        waits.start()
        until(lambda: len(waiter.state().turns) == 2, "somebody who waits")
        spoil(valkey, url, *fields)
        until(lambda: told, "an end of waiting")
    waits.join()
    assert isinstance(told[0], SharedStateUnreadable)
    valkey.ask("DEL", *meeting_place(url).keys)
    holder.close()
    waiter.close()


# ------------------------------------------------------------------ limits, as callers see them


def test_slots_quotas_and_a_minute_hold_for_several_schedulers(valkey, monkeypatch):
    monkeypatch.setattr("pagefault.scheduling.limits.MINUTE", 0.4)
    monkeypatch.setattr("pagefault.coordination.conversation.SNAPSHOT_EVERY", 2**62)  # the whole log is read below
    url = valkey.url()
    schedulers = [
        Scheduler(slots=3, requests_per_minute=20, quotas={"q": Limits(slots=1)}, shared=url) for _ in range(3)
    ]
    lock, running, most, begun = threading.Lock(), {"q": 0, "r": 0}, {"q": 0, "all": 0}, []

    def work(scheduler, agent):
        for _ in range(8):
            with scheduler.turn(agent=agent) as turn:
                with lock:
                    running[agent] += 1
                    begun.append(turn.token.number)
                    most["q"] = max(most["q"], running["q"])
                    most["all"] = max(most["all"], sum(running.values()))
                time.sleep(0.002)
                with lock:
                    running[agent] -= 1

    threads = [threading.Thread(target=work, args=(s, agent)) for s in schedulers for agent in ("q", "r")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    times = {entry.number: int(entry.id.split("-")[1]) for entry in whole_log(valkey, url)}  # in microseconds
    grants = sorted(times[number] for number in begun)
    assert all(later - sooner >= 400_000 for sooner, later in zip(grants, grants[20:], strict=False))
    assert most == {"q": 1, "all": most["all"]}
    assert most["all"] <= 3
    for scheduler in schedulers:
        scheduler.close()
