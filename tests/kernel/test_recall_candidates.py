"""What a recall looks at before it answers: copies of the question and another time must not use up its candidates."""

from __future__ import annotations

import pytest

import pagefault
from pagefault import Outcome
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


def test_pages_of_another_time_do_not_hide_those_that_are_asked_for(space, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    space.append([user(f"service port {n}") for n in range(90)])
    monkeypatch.setattr("time.time", lambda: 2_000.0)
    space.append(user("By the way, after the long meeting with everybody the service shall in future use port 4712."))
    found = space.recall("service port", after=1_500.0)
    assert (found.outcome, [page.address for page in found.pages]) == (Outcome.ANSWER, ["91"])
    assert "91" not in [page.address for page in space.recall("service port", before=1_500.0).pages]
