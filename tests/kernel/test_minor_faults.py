"""A fault of pages whose messages are in this process: as the store would answer it, also while the store is away."""

from __future__ import annotations

import asyncio

import pytest

import pagefault
from pagefault.chat import CHAT
from pagefault.errors import StoreError
from pagefault.testing.faults import FlakyStore
from tests.core.conversation import said
from tests.kernel.conversation import message
from tests.kernel.support import store_alone, user, users, wrapped

ADDRESSES = ("1", "1-3", "2, 5", "5.2@10", "1-9")


@pytest.fixture(params=["sync", "async"])
def fault(request):
    if request.param == "sync":
        return lambda space, *args, **kwargs: space.fault(*args, **kwargs)
    return lambda space, *args, **kwargs: asyncio.run(space.afault(*args, **kwargs))


def odd(count):
    """Tool groups, a lone surrogate, and text that JSON escapes."""
    return [message(n) for n in range(count)]


def test_the_stores_answer_and_that_from_memory_are_one(monkeypatch, fault):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        space.append(odd(18))
        memory.flush()
        with store_alone():
            answers = [fault(space, each, budget=room) for each in ADDRESSES for room in (60, 2_000)]
        read = store.calls["get"]
        store.fail()
        assert [fault(space, each, budget=room) for each in ADDRESSES for room in (60, 2_000)] == answers
        assert store.calls["get"] == read
        with store_alone(), pytest.raises(StoreError, match="outage"):
            fault(space, "1")


def test_the_objects_of_a_state_that_was_reloaded_are_let_go_of_behind_the_agent(monkeypatch):
    with wrapped(monkeypatch, FlakyStore) as (memory, _):
        space, budget = memory.space(thread="t"), pagefault.Budget(window=10**6)
        before = space.step(users(1, 200), CHAT, budget, now=1.0).lineage
        memory.flush()
        after = space.step(users(1, 200), CHAT, budget, now=1.0).lineage
        assert after is before
        memory.flush()
        assert not after.replaced


def test_what_was_never_stored_is_answered_and_written_as_it_was_shown(monkeypatch, fault):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        space.append(odd(1))
        store.fail()
        space.append(odd(10)[1:])
        answer = fault(space, "1-7")
        store.heal()
        memory.flush()
        with store_alone():
            assert fault(space, "1-7") == answer


def test_a_page_that_was_left_behind_is_the_stores_to_give(monkeypatch, fault):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        space.append(users(1, 9))
        memory.flush()
        before = fault(space, "1-9")
        space.paging.lineages[0].leave_behind([2, 3])
        assert fault(space, "1-9") == before
        store.fail()
        assert fault(space, "1, 4-9").pages == tuple(p for p in before.pages if p.page.seq not in {2, 3})
        with pytest.raises(StoreError, match="outage"):
            fault(space, "1-3")


def test_messages_that_were_changed_in_place_are_not_taken_for_the_page(monkeypatch, fault):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        space.append(users(1, 3))
        memory.flush()
        before = fault(space, "2")
        space.paging.lineages[0].seen[1]["content"] = "something else"
        assert fault(space, "2") == before, "the store has what was said"
        store.fail()
        with pytest.raises(StoreError, match="outage"):
            fault(space, "2")


def test_after_a_restart_the_store_says_when_it_was(tmp_path, monkeypatch, fault):
    with pagefault.open(tmp_path, embedder=None) as memory:
        memory.space(thread="t").append([user("long ago"), user("and later")])
        memory.flush()
        memory.space(thread="t").view()
        before = fault(memory.space(thread="t"), "1-2")
    with wrapped(monkeypatch, FlakyStore, tmp_path) as (memory, store):
        space = memory.space(thread="t")
        space.view()
        space.append(user("now"))
        found = fault(space, "1-2")
        assert found.pages == before.pages
        store.fail()
        assert fault(space, "3").pages[0].page.text == "now"
        with pytest.raises(StoreError, match="outage"):
            fault(space, "1")


def test_what_no_prompt_has_shown_is_in_no_window(fault):
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="t")
        space.append([user("The locker code is 4711."), said("Noted.")])
        assert not any(page.resident for page in fault(space, "1-2").pages)
        assert "4711" in space.recall("locker code", skip_resident=True).text
        space.append(user("Where is the gym?"))
        space.view()
        space.append(said("A gym is on Elm street."))
        assert [page.resident for page in fault(space, "1-4").pages] == [True, True, True, False]
        assert "already in your context at 1" in space.recall("locker code", skip_resident=True).text
