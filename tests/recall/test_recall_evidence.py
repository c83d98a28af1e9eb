"""Which messages of a user say something, and which only ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.page import Kind, Page, Projection, Role
from pagefault.recall import document_vector, is_evidence, only_asks, query_vector

PIN = "What is the PIN for the gate?"


def says(text, asked):
    page = Page(
        seq=1, chain="0" * 32, parent="", kind=Kind.MESSAGE, format="chat/1", body="", sha256="",
        messages=(Projection(role=Role.USER, text=text),), tokens=1, gist="", created_at=0.0,
    )  # fmt: skip
    return is_evidence(page, query_vector(asked).indices, set(document_vector(text).indices))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Could you set the timeout to 30 seconds?", "What timeout did I ask you to set?"),
        ("Can you deploy it to port 4712?", "Which port should it deploy to?"),
        ("Would you book a table for seven at Luigi's?", "table booking at Luigi's"),
        ("Could you please also book the table at Luigi's for seven?", "table booking at Luigi's for when"),
        ("The gate PIN is 4712. Is it a good PIN?", "gate PIN"),
        ("What is the gate PIN again? Ah, it is 4712.", "What is the gate PIN?"),
        ("I moved to Berlin last week. Can you recommend a gym in Berlin?", "user moved last week where"),
        ("My flight is LH442 on May 3. Can you check whether my flight is on time?", "flight on May 3"),
        ("Do you remember that my locker code is 9911?", "locker code"),
        ("Did you know that my locker code is 9911?", "locker code"),
        ("Do you remember that my dog is called Rex?", "What is my dog called?"),
        ("Did you know I moved to Berlin?", "Where did I move?"),
        ("Have I already told you that my dog is called Rex?", "What is my dog called?"),
        ("Mein Hund heisst Rex. Was frisst ein Hund wie mein Hund gern?", "Wie heisst mein Hund?"),
        (
            "\u6211\u7684\u72d7\u53eb\u5c0f\u767d\u3002\u6211\u7684\u72d7\u53eb\u4ec0\u4e48\uff1f",
            "\u6211\u7684\u72d7\u53eb\u4ec0\u4e48\uff1f",
        ),
        (
            "\u5927\u95e8\u7684\u5bc6\u7801\u662f4712\uff0c\u5bf9\u5417\uff1f",
            "\u5927\u95e8\u7684\u5bc6\u7801\u662f\u4ec0\u4e48\uff1f",
        ),
        (
            "\u03c3\u03ba\u03cd\u03bb\u03bf\u03c2 \u03bb\u03ad\u03b3\u03b5\u03c4\u03b1\u03b9 \u03a1\u03b5\u03be.",
            "\u03a0\u03ce\u03c2 \u03bb\u03ad\u03b3\u03b5\u03c4\u03b1\u03b9 \u03c3\u03ba\u03cd\u03bb\u03bf\u03c2;",
        ),
        ("What is the gate PIN, house number, street, city, country?", "gate PIN house"),
        ("How about 4712 as the gate PIN", "gate PIN 4712"),
        ("The gate PIN is 4712, right?", "Is the gate PIN 4712?"),
        ("Is the port 8443?", "port"),
        ("I need the PIN for the gate: I am at 4 Elm Street.", PIN),
        ("I want a PIN for the gate without zeros.", PIN),
        (PIN * 1_000, PIN),
        ("Could you tell Anna the gate PIN?", PIN),
        ("What is the PIN for the gate? The PIN for the gate was changed.", PIN),
    ],
)
def test_what_says_something_new_is_evidence_whatever_it_asks_beside(text, asked):
    assert says(text, asked)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("What is the gate PIN, house number, street, city?", "gate PIN house"),
        ("I can't find the gate PIN, what was it?", PIN),
        ("I can't find the gate PIN. What was it?", PIN),
        ("I forgot the gate PIN. What is it?", PIN),
        ("I need the PIN for the gate.", PIN),
        ("We are looking for the PIN for the gate!", PIN),
        ("The meeting with Okafor tomorrow: when is it?", "When is the meeting with Okafor tomorrow?"),
        (
            "One more thing, about the meeting with Okafor tomorrow: when is it?",
            "When is the meeting with Okafor tomorrow?",
        ),
        ("Have I mentioned the name of my dog's new vet?", "What is the name of my dog's vet?"),
        ("Did I tell you where I put my car keys yesterday?", "Where are my car keys?"),
        ("Did we say when the Oslo launch meeting starts?", "When does the Oslo launch meeting start?"),
        ("I lost the car keys again - any idea where?", "Where are the car keys?"),
        ("What is the PIN for the gate? Thanks!", PIN),
        ("What is the PIN for the gate? I forgot it again.", PIN),
        ("What is the PIN for the gate?\nAnna", PIN),
        ("What is the PIN for the gate?\n\nI am standing outside.", PIN),
        ("What is the PIN for the gate, mate?", PIN),
        ("Do you know the PIN for the gate, buddy?", PIN),
        ("What is the gate PIN? And what does the alarm cost?", "What is the gate PIN?"),
        ("1. What is the PIN for the gate?\n2. What is the PIN for the gate?", PIN),
        ('"What is the PIN for the gate?"', PIN),
        ("**What is the PIN for the gate?**", PIN),
        ("(What is the PIN for the gate?)", PIN),
        ("What is the PIN for the gate?!", PIN),
        ("What is the PIN for the gate? \U0001f642", PIN),
        ("Do you know the gate PIN (the one for the side door?)", "gate PIN side door"),
        ("Please look up the PIN for the gate.", PIN),
        ("can you find the PIN for the gate", PIN),
        ("is the PIN for the gate known", PIN),
        ("Did I tell you whether the gate has a PIN now?", PIN),
        (PIN * 500, PIN),
        ("Can you please tell me the new PIN for the gate?", PIN),
        (
            "\u03a0\u03bf\u03b9\u03bf\u03c2 \u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2;",
            "\u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2",
        ),
        (
            "\u03a0\u03bf\u03b9\u03bf\u03c2 \u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2\u037e",
            "\u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2",
        ),
    ],
)
def test_what_only_asks_is_no_evidence_however_it_is_put(text, asked):
    assert not says(text, asked)


ADDED = st.sampled_from(["", "Please?", "Thanks!", "Hello?", "?", "\n", "(Sorry.)", "I forgot it again.", "**"])


@given(ADDED, ADDED)
def test_a_question_with_nothing_but_politeness_around_it_is_a_copy(before, behind):
    assert not says(f"{before} {PIN} {behind}", PIN)


@given(st.lists(st.sampled_from([*PIN.split(), "gate,", "gate. ", "PIN? ", "PIN\n", "(the", "gate;"]), max_size=12))
def test_words_of_the_query_in_any_order_are_a_copy_once_they_ask(words):
    assert not says(" ".join([*words, PIN]), PIN)


@given(st.text(st.characters(codec="utf-8", exclude_characters="?\u037e\u061f\uff1f;"), max_size=60))
def test_what_asks_nothing_is_evidence(text):
    assert says(f"- {text}", PIN)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("What is the PIN for the gate?", True),
        ("The train leaves soon. Who knows what the PIN is?", True),
        ("The gate PIN is 4712. Is it a good PIN?", False),
        ("What is the gate PIN? Ah, the gate PIN is 4712.", False),
        ("Can you set the gate PIN anew?", False),
        ("The train leaves soon. Where is my ticket?", False),
        ("What is the PIN for the gate? " * 1_000, False),
        ("", False),
    ],
)
def test_a_message_may_say_something_else_and_only_ask_what_the_query_does(text, asks):
    assert only_asks(text, set(query_vector(PIN).indices)) is asks
