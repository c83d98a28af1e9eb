"""What was said right after a page is shown with it: a correction or a reply shares no word with the question."""

from __future__ import annotations

import re
from itertools import count

import pytest

import pagefault
from pagefault import Outcome
from pagefault.chain import point_id
from tests.core.conversation import said, user

_numbers = count()
TALK = [user("Let us talk about the weather in Spain."), said("Rain is common there in autumn.")]


@pytest.fixture(params=["default", None], ids=["vectors", "words"])
def memory(request):
    with pagefault.open(":memory:", embedder=request.param) as memory:
        yield memory


def recall(memory, *messages, query="What is the gate PIN?", **options):
    space = memory.space(thread=f"t{next(_numbers)}")
    space.append([*TALK, *messages, *TALK])
    return space.recall(query, **options)


@pytest.mark.parametrize("thanks", [(), (said("Noted."),), (said("Noted, the gate PIN is 8443."),)])
def test_a_correction_that_names_nothing_is_shown_behind_what_it_corrects(memory, thanks):
    found = recall(memory, user("The gate PIN is 8443."), *thanks, user("Sorry, it should be 4712."))
    assert found.outcome is Outcome.ANSWER
    assert found.pages[0].address == "3"
    assert found.text.index("PIN is 8443") < found.text.index("Sorry, it should be 4712.")
    assert found.text.count("4712") == 1


def test_it_is_quoted_with_its_own_address_and_what_it_was_said_after():
    with pagefault.open(":memory:", embedder=None) as memory:  # vectors may find it by itself
        found = recall(memory, user("The gate PIN is 8443."), user("Sorry, it should be 4712."))
    assert [page.address for page in found.pages] == ["3"]
    assert found.pages[0].then is not None
    assert found.pages[0].then.address == "4"
    assert re.search(r"\] page 4 \| .* \| said after 3\n<", found.text)


def test_a_reply_that_names_nothing_is_shown_as_weak_evidence_behind_its_question(memory):
    found = recall(memory, user("What is the gate PIN?"), said("It is 4712."))
    assert (found.outcome, [page.address for page in found.pages]) == (Outcome.WEAK, ["3"])
    assert found.pages[0].address == "3"
    assert "assistant: It is 4712." in found.text
    assert "said after 3" in found.text


def test_a_question_that_was_asked_again_without_a_reply_does_not_hide_the_one_with(memory):
    question, idle = user("What is the gate PIN?"), said("I do not know.")
    found = recall(memory, question, said("It is 4712."), *TALK, *(question, idle) * 3)
    assert found.outcome is Outcome.WEAK
    assert "It is 4712." in found.text


@pytest.mark.parametrize("reply", ["Let me look.", "Hm.", "Unfortunately I do not know."])
def test_a_reply_that_says_nothing_answers_nothing(memory, reply):
    assert recall(memory, user("What is the gate PIN?"), said(reply)).outcome is Outcome.ABSTAIN


def test_what_the_user_answers_to_a_question_is_shown_behind_it(memory):
    found = recall(memory, said("Is the contract with Siemens signed?"), user("Yes."), query="Is Siemens signed?")
    assert "assistant: Is the contract with Siemens signed?" in found.text
    assert "user: Yes." in found.text


def test_a_reply_stands_beside_what_else_was_said(memory):
    other = user("Give the gate PIN to the cleaning crew; it was 8443 until May.")
    found = recall(memory, user("What is the gate PIN?"), said("It is 4712."), *TALK, other)
    assert found.outcome is Outcome.ANSWER
    assert "8443 until May" in found.text
    assert "It is 4712." in found.text
    few = recall(memory, user("What is the gate PIN?"), said("It is 4712."), *TALK, other, limit=1)
    assert [page.address for page in few.pages] == ["7"]


def test_what_was_said_after_the_time_asked_for_is_not_shown(memory, monkeypatch):
    space = memory.space(thread="timed")
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    space.append([*TALK, user("The gate PIN is 8443.")])
    monkeypatch.setattr("time.time", lambda: 2_000.0)
    space.append([user("Sorry, it should be 4712."), *TALK])
    assert "4712" not in space.recall("gate PIN", before=1_500.0).text
    assert "4712" in space.recall("gate PIN").text


def test_long_texts_are_no_remarks(memory):
    found = recall(memory, user("The gate PIN is 8443."), user("Sorry, it should be 4712. " + "And so on. " * 40))
    assert not any("4712" in page.then.page.text for page in found.pages if page.then)


def test_what_follows_in_another_conversation_is_quoted_with_its_address(memory):
    memory.space(user="ada", thread="one").append([user("The gate PIN is 8443."), user("Sorry, it should be 4712.")])
    here = memory.space(user="ada", thread="two")
    here.append(user("Hello."))
    memory.flush()
    found = here.recall("gate PIN", scope="user")
    remark = next(each for each in (found.pages[0].then, *found.pages) if each and "4712" in each.page.text)
    assert remark.space == memory.space(user="ada", thread="one").id
    assert f"page {remark.address} | conversation one | " in found.text
    assert here.fault(remark.address, scope="user").pages[0].page == remark.page


def test_a_reply_is_shown_whatever_else_the_question_s_message_says(memory):
    asked = user("Hi! The train leaves in ten minutes and my battery is low. What is the gate PIN?")
    found = recall(memory, asked, said("It is 4712."), user("Thanks, and is there rain in Spain in autumn?"))
    assert found.pages[0].address == "3"
    assert "assistant: It is 4712." in found.text


def test_a_correction_is_shown_behind_a_message_that_asks_as_well(memory):
    told = user("The gate PIN is 8443. Is that a good gate PIN?")
    found = recall(memory, told, said("Yes, it is hard to guess."), user("Sorry, it should be 4712."))
    assert found.pages[0].then is not None
    assert "Sorry, it should be 4712." in found.text


def test_a_call_and_its_results_are_not_read_for_what_may_be_said_in_them():
    """They may be long, and are no remark."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    looked = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Nothing of that kind. " * 50},
    ]
    with pagefault.open(":memory:", embedder=None) as memory:
        store, asked = memory.core.store, []
        get = store.get

        async def watched(scope, ids, **how):
            asked.extend(ids)
            return await get(scope, ids, **how)

        store.get = watched
        space = memory.space(thread="t")
        space.append([*TALK, user("The gate PIN is 8443."), *looked, user("Sorry, it should be 4712."), *TALK])
        asked.clear()
        (page,) = space.recall("What is the gate PIN?").pages
        (there,) = [slot.chain for slot in space.paging.lineages[0].slots if slot.seq == 4]
    assert (page.address, page.then.address) == ("3", "5")
    assert asked
    assert point_id(space.id.key, there) not in asked
