"""What stands around a question does not hide what is known."""

from __future__ import annotations

import pytest

import pagefault
from pagefault import Outcome
from tests.core.conversation import said, user

TALK = [user("Let us talk about the weather in Spain."), said("Rain is common there in autumn.")]
WORDY = (
    "Please remind me: {}",
    "Hi! Sorry to bother you again, I forgot something. {} Thanks!",
    "I am in a hurry, the train leaves in ten minutes and my battery is low. {}",
    "{} Please answer in one short sentence and name the source.",
)


@pytest.fixture(scope="module", params=["default", None], ids=["vectors", "words"])
def memory(request):
    with pagefault.open(":memory:", embedder=request.param) as memory:
        space = memory.space(thread="t")
        space.append([user("The gate code of the garage is 8443."), said("Noted."), *TALK * 20])
        memory.space(thread="t").remember("wifi password", "hunter2")
        yield memory


@pytest.mark.parametrize("around", WORDY)
def test_a_question_is_answered_whatever_stands_around_it(memory, around):
    space = memory.space(thread="t")
    found = space.recall(around.format("What is the gate code of the garage?"))
    assert (found.outcome, found.pages[0].address) == (Outcome.ANSWER, "1")
    (item,) = space.recall(around.format("What is the wifi password?")).items
    assert (item.item.value, item.outcome) == ("hunter2", Outcome.ANSWER)


@pytest.mark.parametrize("around", WORDY)
def test_and_what_is_not_known_is_still_not_answered(memory, around):
    found = memory.space(thread="t").recall(around.format("What is the name of my blue parrot?"))
    assert found.outcome is Outcome.ABSTAIN


@pytest.mark.parametrize(
    "question",
    ["Did the user mention a gate code earlier in this conversation?", "user's gate code", "How many gate codes?"],
)
def test_how_a_model_asks_a_memory_is_no_page_s_word(memory, question):
    found = memory.space(thread="t").recall(question)
    assert (found.outcome, found.pages[0].address) == (Outcome.ANSWER, "1")
