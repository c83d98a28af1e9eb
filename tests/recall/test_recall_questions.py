"""What of a query an answer should have, and what of it counts how much in a search."""

from __future__ import annotations

import pytest

from pagefault.recall import names_in, query_vector, sought, stressed


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("What is the gate PIN?", ["gate PIN"]),
        ("Please remind me: what is the gate PIN?", ["gate PIN", "gate PIN"]),
        ("Hi! The weather is nice. I forgot what the gate PIN is", ["weather nice gate PIN", "gate PIN"]),
        ("Nice weather! I wonder about the gate PIN", ["nice weather wonder gate PIN"]),
        ("Wetter heute. Wie lautet der PIN vom Tor?", ["Wetter heute lautet PIN Tor", "lautet PIN Tor"]),
        ("A gate PIN was set. Any thoughts?", ["gate PIN set thoughts"]),
        ("Thanks! Who paid the rent? When is the gate open?", ["paid rent gate open", "paid rent", "gate open"]),
        ("please tell me again", ["please tell again"]),
        ("Did the user mention a gate PIN earlier in this conversation?", ["gate PIN"]),
        ("How much did we pay for the gate, and how often?", ["pay gate"]),
        ("user details", ["user details"]),
        ("What is it?", ["what is it"]),
        ("", [""]),
    ],
)
def test_an_answer_has_the_words_of_all_of_a_query_or_of_one_sentence_that_asks(query, words):
    found = sought(query, query_vector(query).indices)
    assert [set(some) for some in found] == [set(query_vector(each).indices) for each in words]


def test_a_query_like_a_book_is_judged_as_a_whole():
    query = "Who paid the rent? " * 2_000
    assert sought(query, query_vector(query).indices) == [list(query_vector("paid rent").indices)]
    assert len(sought(query[:10_000], query_vector(query).indices)) == 17


def test_words_around_a_question_count_half_in_a_search():
    words = query_vector("Hi! The weather is nice. What is the gate PIN?")
    gate = set(query_vector("gate PIN").indices)
    found = stressed(words, sought("Hi! The weather is nice. What is the gate PIN?", words.indices))
    assert found.indices == words.indices
    assert {term for term, value in zip(found.indices, found.values, strict=True) if value == 1} == gate
    assert {value for term, value in zip(found.indices, found.values, strict=True) if term not in gate} == {0.5}


@pytest.mark.parametrize("query", ["gate PIN", "What is the gate PIN?", "The weather is nice. It is warm.", ""])
def test_without_other_sentences_around_all_words_count_the_same(query):
    words = query_vector(query)
    assert stressed(words, sought(query, words.indices)) == words


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("When is the deadline for the Munich tender?", ["Munich"]),
        ("Munich tender", []),
        ("Deadline For The Munich Tender", []),
        ("Hi! The weather in Rome is nice. When is the deadline for the Munich tender?", ["Munich"]),
        ("Which flowers does Ada's sister like?", ["Ada's"]),
        ("Wie lange l\u00e4uft die Ausschreibung von M\u00fcnchen?", []),
        ("What did we decide on Friday, 12th March 2026 at 10:30?", []),
        ("What does E1043 mean, or HTTP 503?", ["E1043", "503"]),
        ("where is order A-48214-X", ["48214"]),
        ("", []),
    ],
)
def test_names_and_identifiers_that_a_query_asks_about(query, names):
    found = names_in(query, sought(query, query_vector(query).indices))
    assert found == [set(query_vector(name).indices) for name in names]
