"""What a recall looks at before it answers: copies of the question and another time must not use up its candidates."""

from __future__ import annotations

import asyncio
import importlib
import threading

import pytest

import pagefault
from pagefault import Outcome
from pagefault.faults import retrieval
from tests.core.conversation import said, user


@pytest.fixture
def space():
    with pagefault.open(":memory:", embedder=None) as memory:
        yield memory.space(thread="t")


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_copies_of_a_question_do_not_hide_its_answer(space, limit):
    space.append(user("The gate PIN is 4712; only tell the cleaning crew, the neighbours and my sister, please."))
    for _ in range(25):
        space.append([user("What is the gate PIN?"), said("One moment.")])
    found = space.recall("What is the gate PIN?", limit=limit)
    assert (found.outcome, found.pages[0].address) == (Outcome.ANSWER, "1")


@pytest.mark.parametrize("read", ["pagefault.paths.restore.page_from", "pagefault.faults.gathering.counts"])
def test_other_coroutines_have_their_turn_between_long_pages(space, monkeypatch, read):
    """A dozen pages of megabytes, or of questions alone, held up all that others asked for."""
    space.append([user(f"What is the gate PIN? {'Who knows the gate? ' * 900} {n}") for n in range(8)])
    turns, seen = [0], []
    module, name = read.rsplit(".", 1)
    real = getattr(importlib.import_module(module), name)
    monkeypatch.setattr(read, lambda *a: seen.append(turns[0]) or real(*a))

    async def asked():
        async def others():
            while True:
                await asyncio.sleep(0)
                turns[0] += 1

        task = asyncio.create_task(others())
        await space._recall(space._query("gate PIN", 10, None, None, None), None, ())
        task.cancel()

    space._core.kernel.call(asked())
    assert len(seen) >= 8
    assert len(set(seen)) == len(seen)


def test_a_document_pasted_as_a_question_is_read_beside_the_loop(space, monkeypatch):
    """Its words took a second in which nobody else's fault was answered."""
    real, turned = retrieval.query_words, threading.Event()

    def waits(text):
        assert turned.wait(10), "the loop has no turn meanwhile"
        return real(text)

    monkeypatch.setattr(retrieval, "query_words", waits)
    space.append(user("The gate PIN is 4712."))

    async def asked():
        question = f"{'lorem ipsum ' * 2_000} What is the gate PIN?"
        work = asyncio.create_task(space._recall(space._query(question, 10, None, None, None), None, ()))
        await asyncio.sleep(0.05)
        turned.set()
        return await work

    assert [page.address for page in space._core.kernel.call(asked()).pages] == ["1"]


@pytest.mark.parametrize("scope", ["thread", "user"])
@pytest.mark.parametrize("embedder", [None, "default"])
def test_of_what_is_said_in_the_same_words_the_newest_is_shown_however_often_it_was(embedder, scope):
    """More pages score alike than are looked at, and a search finds any of them."""
    with pagefault.open(":memory:", embedder=embedder) as memory:
        space, other = memory.space(user="ada", thread="a"), memory.space(user="ada", thread="b")
        other.append(user("The weather is fine."))
        space.append([user(f"The gate PIN is now {n}.") for n in range(300)])
        found = space.recall("What is the gate PIN?", scope=scope, limit=3)
        assert (found.outcome, found.pages[0].address, found.pages[0].superseded_by) == (Outcome.ANSWER, "300", None)
        assert [page.superseded_by for page in found.pages[1:]] == ["300", "300"]


def test_so_is_the_newest_of_the_time_asked_for_among_many_pages_of_another(space):
    """Here the store is told which pages to look at, and leaves out some that score alike all the same."""
    for moment, numbers in ((1_000.0, range(400)), (2_000.0, range(400, 700))):
        space.append([user(f"The gate PIN is now {n}.") | {"created_at": moment} for n in numbers])
    found = space.recall("What is the gate PIN?", after=1_500.0, limit=3)
    assert (found.outcome, found.pages[0].address) == (Outcome.ANSWER, "700")


def test_more_equals_than_are_looked_at_end_the_search(space, monkeypatch):
    monkeypatch.setattr("pagefault.faults.candidates.MAX_CANDIDATES", 300)
    space.append([user("The gate is shut.") for _ in range(400)])
    found = space.recall("Is the gate shut?")
    assert found.outcome is Outcome.ANSWER
    assert len(found.pages) == 1


def test_pages_of_another_time_do_not_hide_those_that_are_asked_for(space, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    space.append([user(f"service port {n}") for n in range(90)])
    monkeypatch.setattr("time.time", lambda: 2_000.0)
    space.append(user("By the way, after the long meeting with everybody the service shall in future use port 4712."))
    found = space.recall("service port", after=1_500.0)
    assert (found.outcome, [page.address for page in found.pages]) == (Outcome.ANSWER, ["91"])
    assert "91" not in [page.address for page in space.recall("service port", before=1_500.0).pages]


@pytest.mark.parametrize("asker", ["here", "there"])
def test_nor_do_they_across_conversations(asker):
    with pagefault.open(":memory:", embedder=None) as memory:
        spaces = {name: memory.space(user="ada", thread=name) for name in ("here", "there")}
        spaces["here"].append([user(f"service port {n}") | {"created_at": 1_000.0} for n in range(1_100)])
        told = "By the way, after the long meeting with everybody the service shall in future use port 4712."
        spaces["here"].append(user(told) | {"created_at": 2_000.0})
        found = spaces[asker].recall("service port", after=1_500.0, scope="user")
        assert (found.outcome, [page.page.text for page in found.pages]) == (Outcome.ANSWER, [told])
