"""Recall across a user's conversations: what counts there is what they say today, marked, and nobody else's."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from qdrant_edge import UpdateOperation

import pagefault
from pagefault.chain import head_id, point_id
from pagefault.chat import CHAT, accept
from pagefault.errors import BadAddress, InvalidId, PageNotFound, PagesLost, StoreError
from pagefault.page import SpaceId
from pagefault.testing.embedders import HashingEmbedder
from pagefault.testing.faults import FlakyStore
from tests.kernel.support import until, user, wrapped
from tests.properties import tried


@pytest.fixture
def memory():
    with pagefault.open(":memory:", embedder=None) as memory:
        yield memory


def says(text):
    return {"role": "assistant", "content": text}


def replaced(space, *messages):
    """The conversation begins anew, as after a reset or an edit of its first message."""
    space.held(CHAT).replace(list(accept(messages)))


def test_other_conversations_are_found_and_marked(memory):
    rome, here = memory.space(user="ada", thread="rome"), memory.space(user="ada", thread="here")
    rome.append([user("I booked a hotel in Rome."), says("Noted: the hotel is called Artemide.")])
    here.append([user("Hello again, any plans?"), says("Which hotel do you mean?")])
    found = here.recall("hotel Artemide", scope="user")
    assert found.outcome == "answer"
    first, *others = found.pages
    assert (first.page.text, first.space, first.resident) == ("Noted: the hotel is called Artemide.", rome.id, False)
    assert first.address == f"{rome.id.alias}:2"
    assert {page.address: page.space for page in others} == {f"{rome.id.alias}:1": rome.id, "2": None}
    assert f"page {rome.id.alias}:2 | conversation rome | " in found.text
    assert re.search(r"\] page 2 \| \d{4}-", found.text), "one's own pages as ever"
    assert [page.space for page in here.recall("hotel Artemide").pages] == [None]
    assert here.recall("booked in Rome").outcome == "abstain", "the default is one's own past"
    assert asyncio.run(here.arecall("hotel Artemide", scope="user")) == found


def test_what_a_recall_costs_grows_with_the_conversations_not_as_their_square(memory, monkeypatch):
    """The key of a space is a hash, made at each look: with 2,000 conversations the kernel stood still for 0.4 s."""
    spaces = [memory.space(user="ada", thread=f"t{number}") for number in range(48)]
    for space in spaces:
        space.append(user(f"The hotel of {space.id.thread} is called Artemide."))
    memory.flush()
    looks, read = [], vars(SpaceId)["key"].__get__
    monkeypatch.setattr(SpaceId, "key", property(lambda space: looks.append(space) or read(space)))
    for most in (4, 3):  # whose a head is is known from the second one on
        looks.clear()
        assert len(spaces[0].recall("hotel Artemide", scope="user", limit=5).pages) == 5
        assert len(looks) < most * len(spaces)


@pytest.mark.parametrize("bound", [1, 5, 12, 1_000])
def test_paths_are_remembered_up_to_a_bound_and_found_all_the_same(memory, monkeypatch, bound):
    monkeypatch.setattr("pagefault.faults.others.MAX_CHAINS", bound)
    spaces = [memory.space(user="ada", thread=f"t{n}") for n in range(6)]
    others = memory.core.retrieval._others
    for turn in range(3):
        for n, space in enumerate(spaces):
            space.append([user(f"Gate {n} is shut in turn {turn}."), says("Fine.")])
        found = spaces[0].recall("gate shut", scope="user", limit=30)
        assert len({page.address for page in found.pages if page.page.text != "Fine."}) == 6 * (turn + 1)
        kept = [len(path) for _, path in others._paths.values()]
        assert others._chains == sum(kept)
        assert sum(kept) <= bound or len(kept) == 1


def test_who_comes_back_to_a_path_finds_it_as_the_conversation(tmp_path):
    """Without a word more: the head that says so was written before, and another path's after that."""
    first, budget = [user("The city is Rome."), user("The hotel is called Artemide.")], pagefault.Budget(window=100_000)
    with pagefault.open(tmp_path, embedder=None) as memory:
        rome, here = memory.space(user="ada", thread="rome"), memory.space(user="ada", thread="here")
        for messages in (first, [first[0], user("The hotel is called Bologna.")], first):
            rome.step(list(messages), CHAT, budget, now=1.0)
            memory.flush()
            found = here.recall("hotel called", scope="user")
            assert [page.page.text for page in found.pages] == [messages[1]["content"]]
    with pagefault.open(tmp_path, embedder=None) as memory:
        found = memory.space(user="ada", thread="here").recall("hotel called", scope="user")
        assert [page.page.text for page in found.pages] == ["The hotel is called Artemide."]


def test_a_longer_path_that_was_left_before_it_was_stored_is_not_the_conversation(tmp_path, monkeypatch):
    with wrapped(monkeypatch, FlakyStore, tmp_path) as (memory, store):
        store.fail("put")
        rome, budget = memory.space(user="ada", thread="rome"), pagefault.Budget(window=100_000)
        old = [user("The hotel is called Artemide."), *(user(f"message {n} of the old plan") for n in range(60))]
        for messages in (old, [user("The hotel is called Bologna.")]):
            rome.step(messages, CHAT, budget, now=1.0)
        store.heal()
        until(lambda: not memory.core.writeback.has_work, "both are stored")
    with pagefault.open(tmp_path, embedder=None) as memory:
        found = memory.space(user="ada", thread="here").recall("hotel called", scope="user")
        assert [page.page.text for page in found.pages] == ["The hotel is called Bologna."]


def test_addresses_lead_back_there_and_nowhere_else(memory):
    rome, here = memory.space(user="ada", thread="rome"), memory.space(user="ada", thread="here")
    eve = memory.space(user="eve", thread="rome")
    rome.append([user("A marble. " + "word " * 3_000 + "the end"), says("seen")])
    here.append(user("mine"))
    eve.append(user("hers"))
    assert f"continues at {rome.id.alias}:1@" in here.recall("marble", scope="user", budget=1_000).text
    read, address = "", f"{rome.id.alias}:1"
    while address:
        page = here.fault(address, scope="user", budget=3_000)
        (part,) = re.findall(r"<([0-9]{8})\n(.*)\n\1>", page.text, re.DOTALL)
        read += part[1]
        more = re.search(r"continues at (\S+)", page.text)
        address = more[1] if more else ""
    assert read == "user: A marble. " + "word " * 3_000 + "the end"
    both = here.fault(f"1, {rome.id.alias}:1-2", scope="user")
    assert [(p.address, p.space) for p in both.pages] == [
        ("1", None),
        (f"{rome.id.alias}:1", rome.id),
        (f"{rome.id.alias}:2", rome.id),
    ]
    assert here.fault(f"{here.id.alias}:1").pages[0].address == "1", "one's own alias is here"
    assert memory.at(both.pages[2].space).fault("2").pages[0].page == both.pages[2].page, "for the application"
    with pytest.raises(BadAddress, match=r"is in another conversation"):
        here.fault(f"{rome.id.alias}:1")
    for bad in (f"{rome.id.alias}:3", f"{eve.id.alias}:1", "c0000000000:1"):
        with pytest.raises(PageNotFound):
            asyncio.run(here.afault(bad, scope="user"))
    for verb in (here.pin, here.release):
        with pytest.raises(BadAddress, match="in another conversation"):
            verb(f"{rome.id.alias}:1")


def test_a_user_and_a_known_scope_are_needed(memory):
    nobody = memory.space(thread="t")
    nobody.append(user("the cat"))
    for verb in (nobody.recall, nobody.fault):
        with pytest.raises(InvalidId, match="has none"):
            verb("1", scope="user")
        with pytest.raises(ValueError, match="'thread', or 'user'"):
            verb("1", scope="tenant")
    with pytest.raises(InvalidId):
        asyncio.run(nobody.arecall("cat", scope="user"))
    assert memory.space(user="ada", thread="t").recall("cat", scope="user").pages == ()


def test_the_same_name_in_another_tenant_is_somebody_else(memory):
    ours = [memory.space(tenant="acme", user="ada", thread=name) for name in ("one", "two")]
    for space in ours:
        space.append([user(f"my cat {space.id.thread} is called Turing"), user("the weather is fine")])
    before = ours[0].recall("cat Turing weather", scope="user")
    theirs = memory.space(tenant="evil", user="ada", thread="one")
    theirs.append([user(f"my cat {n} is called Turing, Turing, Turing") for n in range(200)])
    memory.flush()
    assert ours[0].recall("cat Turing weather", scope="user") == before, "pages, scores and words"
    assert len(before.pages) == 4
    found = theirs.recall("weather fine", scope="user")
    assert found.pages == ()
    with pytest.raises(PageNotFound):
        theirs.fault(f"{ours[0].id.alias}:1", scope="user")


def test_what_a_conversation_does_not_say_any_more_is_not_found(memory):
    other, here = memory.space(user="ada", thread="other"), memory.space(user="ada", thread="here")
    other.append([user(f"the cat is called Turing {n}") for n in range(400)])
    here.recall("cat", scope="user", limit=100)
    replaced(other, user("the cat is called Babbage"))
    found = here.recall("what is the cat called", scope="user", limit=100)
    assert [page.page.text for page in found.pages] == ["the cat is called Babbage"], "also where old pages abound"
    assert other.fault("1").pages[0].page.text == "the cat is called Babbage"
    replaced(other)
    assert here.recall("cat called", scope="user").pages == ()
    with pytest.raises(PageNotFound):
        here.fault(f"{other.id.alias}:1", scope="user")


def test_it_is_found_after_a_restart(tmp_path):
    with pagefault.open(tmp_path, embedder=HashingEmbedder()) as memory:
        for n in range(5):
            memory.space(user="ada", thread=f"t{n}").append([user(f"topic{n} is settled"), says(f"noted topic{n}")])
    with pagefault.open(tmp_path, embedder=HashingEmbedder()) as memory:
        here = memory.space(user="ada", thread="new", agent="helper")
        for n in range(5):
            found = here.recall(f"topic{n} settled", scope="user")
            assert found.pages[0].page.text == f"topic{n} is settled"
            assert found.pages[0].space.thread == f"t{n}"


def flip(memory, space, point, fields):
    store = memory.core.store
    memory.core.kernel.call(
        store._call(lambda shard: shard.update(UpdateOperation.set_payload([point], fields)), urgent=True)
    )


def test_damage_elsewhere_is_named_and_hides_nothing(memory, caplog):
    spaces = [memory.space(user="ada", thread=f"t{n}") for n in range(5)]
    for space in spaces:
        space.append([user(f"cat number one of {space.id.thread}"), user(f"cat number two of {space.id.thread}")])
    memory.flush()
    chains = [[slot.chain for slot in space.paging.lineages[0].slots] for space in spaces]
    flip(memory, spaces[1], point_id(spaces[1].id.key, chains[1][0]), {"body": "[]"})
    gone = point_id(spaces[2].id.key, chains[2][0])
    memory.core.kernel.call(
        memory.core.store._call(lambda shard: shard.update(UpdateOperation.delete_points([gone])), urgent=True)
    )
    flip(memory, spaces[3], head_id(spaces[3].id.key), {"thread": "another"})
    flip(memory, spaces[4], head_id(spaces[4].id.key), {"chain": ""})
    found = spaces[0].recall("cat number", scope="user", limit=20)
    assert {p.page.text for p in found.pages} == {
        "cat number one of t0",
        "cat number two of t0",
        "cat number two of t1",
    }
    assert found.text.endswith(f"does not match its hash any more: page {spaces[1].id.alias}:1.")
    assert "leaves out a conversation: page 1 of" in caplog.text
    assert "is damaged; its conversation is left out" in caplog.text
    with pytest.raises(PagesLost):
        spaces[0].fault(f"{spaces[2].id.alias}:2", scope="user")


def test_trouble_with_another_conversation_is_said_and_harms_no_recall(monkeypatch, caplog):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        here, other = memory.space(user="ada", thread="here"), memory.space(user="ada", thread="other")
        here.append(user("the cat sleeps"))
        other.append(user("the cat eats"))
        memory.flush()
        other.append(user("the cat runs"))
        store.fail("put")
        assert {p.page.text for p in here.recall("cat", scope="user").pages} == {"the cat sleeps", "the cat eats"}
        assert "are not seen from other conversations yet" in caplog.text
        store.heal()
        assert len(here.recall("cat", scope="user").pages) == 3
        store.fail("search")
        with pytest.raises(StoreError):
            here.recall("cat", scope="user")


def test_a_long_conversation_is_followed_page_by_page(memory):
    long, here = memory.space(user="ada", thread="long"), memory.space(user="ada", thread="here")
    long.append([user(f"page{n} of the story") for n in range(2_500)])
    assert here.recall("page0 story", scope="user").pages[0].page.text == "page0 of the story"
    calls = 0
    scan = memory.core.store.scan

    async def counted(*args, **kwargs):
        nonlocal calls
        calls += 1
        return await scan(*args, **kwargs)

    memory.core.store.scan = counted
    assert here.recall("page2499 story", scope="user").pages[0].page.seq == 2_500
    assert calls == 1, "the path is known, only heads are read"
    long.append(user("page2500 of the story"))
    assert here.recall("page2500 story", scope="user").pages[0].page.seq == 2_501
    assert calls == 3, "of a path that grew, only its end"


def test_threads_and_loops_at_once(memory):
    failures = []

    def work(name):
        space = memory.space(user="ada", thread=name)
        try:
            for n in range(10):
                space.append(user(f"{name} says n{n}"))
                texts = {p.page.text for p in space.recall(f"{name} says n{n}", scope="user", limit=50).pages}
                assert f"{name} says n{n}" in texts
                found = asyncio.run(space.arecall("says", scope="user", limit=100))
                assert all((p.space or space.id).thread == p.page.text.split()[0] for p in found.pages)
        except BaseException as error:  # noqa: BLE001  # reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(memory.space(user="ada", thread="last").recall("says", scope="user", limit=100).pages) == 60


RUNS = itertools.count()
names = st.sampled_from(["a", "b"])
steps = st.lists(st.tuples(names, names, names, st.sampled_from(["add", "add", "add", "anew"])), max_size=14)


@tried(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_exactly_what_the_users_conversations_say(memory, script):
    run = f"run{next(RUNS)}"
    held: dict[tuple[str, str, str], list[str]] = {}
    for step, (tenant, who, thread, action) in enumerate(script):
        space = memory.space(tenant=f"{run}{tenant}", user=who, thread=thread)
        mine = held.setdefault((tenant, who, thread), [])
        text = f"marker {run} {tenant} {who} {thread} {step}"
        if action == "anew":
            replaced(space, user(text))
            mine[:] = [text]
        else:
            space.append(user(text))
            mine.append(text)
    for tenant, who, thread in held:
        found = memory.space(tenant=f"{run}{tenant}", user=who, thread=thread).recall(
            f"marker {run}", scope="user", limit=100
        )
        expected = {(t, text) for (x, y, t), texts in held.items() if (x, y) == (tenant, who) for text in texts}
        got = {((p.space.thread if p.space else thread), p.page.text) for p in found.pages}
        assert got == expected


def test_spaces_of_one_user_keep_their_names_apart(memory):
    one, two = (memory.space(user="ada", thread=t, agent=a) for t, a in (("a", "b"), ("a/b", "")))
    here = memory.space(user="ada", thread="here")
    for n, space in enumerate((one, two)):
        space.append(user(f"the cat {n}"))
    found = here.recall("cat", scope="user")
    assert {page.space for page in found.pages} == {one.id, two.id}
    assert one.id.alias != two.id.alias
    assert replace(one.id, agent="").alias not in {one.id.alias, two.id.alias}
