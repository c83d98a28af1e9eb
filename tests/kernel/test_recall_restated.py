"""Of statements that say the same anew, the newest comes first and the older ones name it."""

from __future__ import annotations

import pytest

import pagefault
from pagefault import Outcome
from tests.core.conversation import said, user

TALK = [user("Let us talk about the weather in Spain."), said("Rain is common there in autumn.")] * 4
BLUE, GREEN = user("My favourite colour is blue."), user("Actually my favourite colour is green these days.")


@pytest.fixture(params=["default", None], ids=["vectors", "words"])
def memory(request):
    with pagefault.open(":memory:", embedder=request.param) as memory:
        yield memory


@pytest.mark.parametrize("limit", [1, 10])
def test_what_was_changed_since_is_not_told_alone_or_first(memory, limit):
    space = memory.space(thread="t")
    space.append([BLUE, said("Noted."), *TALK, GREEN, said("Noted."), *TALK])
    found = space.recall("What's my favourite colour?", limit=limit)
    assert found.outcome is Outcome.ANSWER
    assert [page.address for page in found.pages[:2]] == ["11", "1"][:limit]
    assert [page.superseded_by for page in found.pages[:2]] == [None, "11"][:limit]
    assert ("a newer page says something like it: 11" in found.text) is (limit > 1)


@pytest.mark.parametrize("limit", [1, 10])
def test_the_newest_of_the_same_words_is_shown_though_the_clock_went_back_before_it(memory, limit):
    space = memory.space(thread="t")
    again = {**BLUE, "created_at": 1_600_000_000}
    space.append([BLUE, said("Noted."), *TALK, GREEN, said("Noted."), *TALK, again, said("Noted."), *TALK])
    found = space.recall("What's my favourite colour?", limit=limit)
    assert [page.address for page in found.pages[:2]] == ["21", "11"][:limit]
    assert "1" not in [page.address for page in found.pages], "the same words, said before"


def test_a_correction_behind_the_newest_statement_is_shown(memory):
    space = memory.space(thread="t")
    space.append([BLUE, *TALK, GREEN, said("Noted."), user("Sorry, I meant turquoise."), *TALK])
    found = space.recall("What's my favourite colour?", limit=1)
    assert [page.address for page in found.pages] == ["10"]
    assert "Sorry, I meant turquoise." in found.text


@pytest.mark.parametrize(
    ("older", "newer", "question"),
    [
        (
            user("My phone number is 0171 555 1234."),
            user("Please note my new phone number: 0160 777 8888."),
            "What is my phone number?",
        ),
        (
            user("The meeting is at 10:25 in room 3."),
            user("The meeting was moved to 14:00, room 7."),
            "When is the meeting?",
        ),
        (
            said("Your flight LH442 leaves at 10:25."),
            user("My flight LH442 leaves at 12:40 now, the airline wrote."),
            "When does LH442 leave?",
        ),
    ],
    ids=["numbers", "times", "the user corrects the assistant"],
)
def test_a_value_that_was_changed_since_comes_first(memory, older, newer, question):
    space = memory.space(thread="t")
    space.append([older, *TALK, newer, *TALK])
    found = space.recall(question)
    assert [(page.address, page.superseded_by) for page in found.pages[:2]] == [("10", None), ("1", "10")]


def test_what_the_assistant_repeats_is_no_news(memory):
    space = memory.space(thread="t")
    space.append([user("My flight LH442 leaves at 12:40."), *TALK, said("Your flight LH442 leaves at 12:40."), *TALK])
    assert all(page.superseded_by is None for page in space.recall("When does LH442 leave?").pages)
