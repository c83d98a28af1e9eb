"""Search and gate together on text of another kind: Python's own documentation topics."""

from __future__ import annotations

import pydoc_data.topics
from dataclasses import dataclass

import pytest

from benchmarks.recall_quality import Library
from pagefault.embedders import WordLlamaEmbedder
from pagefault.recall import Outcome, decide, fuse

PAGE_CHARS = 1_600

ANSWERABLE = {
    "How do I catch an exception?": "try",
    "What does the with statement do?": "with",
    "How does a for loop work?": "for",
    "How do I raise an error again inside an except clause?": "raise",
    "What is a lambda expression?": "lambda",
    "How are default parameter values evaluated in a function definition?": "function",
    "What does the yield expression return to the caller?": "yield",
    "How do I format a number with two decimals in a string?": "formatstrings",
    "Which operators compare two values?": "comparisons",
    "How can I customise attribute access on a class?": "attribute-access",
    "What does nonlocal do?": "nonlocal",
    "How does the match statement choose a case?": "compound",
    "What is the precedence of operators?": "operator-summary",
    "How do I set a breakpoint in the debugger?": "debugger",
    "When is __del__ called?": "customization",
    "How do I import a module relative to the current package?": "import",
    "What happens with break inside a loop's else clause?": "break",
    "Which names are reserved keywords?": "identifiers",
    "How does slicing a sequence with a step work?": "slicings",
    "What is the difference between a list and a tuple?": "typesseq",
}
UNANSWERABLE = (
    "What is the capital of France?",
    "How do I bake sourdough?",
    "Who won the football world cup in 1998?",
    "What should I feed my cat?",
    "How tall is Mount Everest?",
    "When is my dentist appointment?",
    "What is the best restaurant near the station?",
    "How do I change a flat tire on my bicycle?",
    "Which vaccines does my dog need?",
    "What is the weather in Berlin tomorrow?",
    "How much does a ticket to Tokyo cost?",
    "What did the doctor say about my blood pressure?",
    "Who painted the Mona Lisa?",
    "How do I remove red wine stains?",
    "What is my sister's birthday?",
)


def pages_of(text):
    page = ""
    for paragraph in text.split("\n\n"):
        if page and len(page) + len(paragraph) > PAGE_CHARS:
            yield page
            page = ""
        page += f"{paragraph}\n\n"
    yield page


@dataclass
class Asked:
    names: list[str]
    library: Library

    def topics(self, question):
        """The topics of the ten best pages."""
        ranked = fuse(self.library.dense(question), self.library.sparse(question))
        return {self.names[page] for page, _ in ranked[:10]}

    def outcome(self, question):
        return decide(self.library.evidence(question))


@pytest.fixture(scope="module", params=["similarity", "full text alone"])
def documentation(request):
    embedder = WordLlamaEmbedder() if request.param == "similarity" else None
    if embedder and not embedder.is_available():
        pytest.skip("wordllama is not installed")
    topics = sorted(pydoc_data.topics.topics.items())
    pages = [(topic, page) for topic, text in topics for page in pages_of(text)]
    return Asked(names=[topic for topic, _ in pages], library=Library([page for _, page in pages], embedder))


def test_questions_about_the_documentation_are_answered_from_the_right_topic(documentation):
    found = [question for question, topic in ANSWERABLE.items() if topic in documentation.topics(question)]
    shown = [question for question in ANSWERABLE if documentation.outcome(question) is not Outcome.ABSTAIN]
    assert len(found) >= 18
    assert len(shown) == 20 if documentation.library.embedder else len(shown) >= 18


def test_questions_about_something_else_are_not(documentation):
    outcomes = [documentation.outcome(question) for question in UNANSWERABLE]
    assert Outcome.ANSWER not in outcomes
    abstained = outcomes.count(Outcome.ABSTAIN)
    assert abstained == 15 if documentation.library.embedder else abstained >= 13
