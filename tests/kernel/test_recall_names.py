"""What is known of somebody or something else is not told as an answer."""

from __future__ import annotations

import pytest

import pagefault
from pagefault import Outcome
from tests.core.conversation import said, user

TALK = [user("Let us talk about the weather in Spain."), said("Rain is common there in autumn.")]


@pytest.fixture(scope="module", params=["default", None], ids=["vectors", "words"])
def space(request):
    with pagefault.open(":memory:", embedder=request.param) as memory:
        space = memory.space(thread="t")
        space.append([user("The deadline for the Hamburg tender is 14 September."), *TALK * 10])
        space.append([user("The error was HTTP 502 Bad Gateway from nginx."), *TALK * 10])
        yield space


@pytest.mark.parametrize(
    ("question", "outcome", "address"),
    [
        ("When is the deadline for the Hamburg tender?", Outcome.ANSWER, "1"),
        ("When is the deadline for the Munich tender?", Outcome.WEAK, "1"),
        ("HTTP 502 error from nginx", Outcome.ANSWER, "22"),
        ("HTTP 503 error from nginx", Outcome.WEAK, "22"),
        ("When is the deadline for the tender in September?", Outcome.ANSWER, "1"),
        ("When is the deadline for the tender in October?", Outcome.ANSWER, "1"),
    ],
)
def test_a_name_that_occurs_nowhere_is_answered_by_nothing(space, question, outcome, address):
    found = space.recall(question)
    assert (found.outcome, found.pages[0].address) == (outcome, address)
