"""Languages besides English: what a query leaves out, and questions without a mark."""

from __future__ import annotations

import pytest

from pagefault.recall import document_vector, query_vector, query_words, term_id
from pagefault.recall.evidence import says
from pagefault.recall.languages import asks, function_words
from pagefault.recall.terms import STOP_WORDS, split_terms


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        ("Wie lautet meine Kontonummer?", "lautet kontonummer"),
        ("\u00bfCu\u00e1l es el color de mi coche?", "color coche"),
        ("Quelle est la couleur de la voiture de mon fr\u00e8re ?", "couleur voiture frere"),
        ("Qual \u00e8 il colore della mia macchina?", "colore macchina"),
        ("Wat is de kleur van mijn auto?", "kleur auto"),
        ("Onde est\u00e1 o carro da minha irm\u00e3?", "carro irma"),
        ("What is the colour of my car?", "colour car"),
        ("de la Cruz", "cruz"),
        ("Wie ist das?", "wie ist das"),
        ("Where did the man die in the war?", "man die war"),
        ("0:A:J", "0 j"),
        ("", ""),
    ],
)
def test_a_query_leaves_out_what_says_nothing_in_its_language(question, kept):
    expected = {term_id(term) for word in kept.split() for term in split_terms(word)}
    assert set(query_vector(question).indices) == expected
    assert query_words(question) == set(document_vector(question).indices) >= expected


def test_function_words_are_those_of_one_language():
    assert function_words(["was", "the", "die"], STOP_WORDS) == frozenset(), "as much English as German"
    assert "mijn" in function_words(["wat", "van"], STOP_WORDS)
    assert function_words([], STOP_WORDS) == frozenset()


@pytest.mark.parametrize(
    "question",
    [
        "Wie lautet der PIN f\u00fcr das Tor",
        "\u00bfcu\u00e1l es el PIN",
        "Combien co\u00fbte le train",
        "\u041a\u0430\u043a\u043e\u0439 \u0443 \u043c\u0435\u043d\u044f \u043f\u0430\u0440\u043e\u043b\u044c",
        "\u5927\u95e8\u7684\u5bc6\u7801\u662f\u4ec0\u4e48",
        "\u6697\u8a3c\u756a\u53f7\u306f\u4f55\u3067\u3059\u304b",
    ],
)
def test_a_question_without_a_mark_is_known_as_one(question):
    assert asks(question)
    assert not says(question, set(query_words(question)))


@pytest.mark.parametrize(
    "statement",
    [
        "Meine Kontonummer lautet 998877",
        "Wieder ein Tor",
        "The gate PIN is 4712",
        "\u5927\u95e8\u7684\u5bc6\u7801\u662f4712",
    ],
)
def test_a_statement_is_no_question(statement):
    assert not asks(statement)


def test_a_statement_that_begins_as_a_question_says_what_it_says():
    assert says("Wie besprochen: der PIN ist 4712.", set(query_words("Wie lautet der PIN?")))
