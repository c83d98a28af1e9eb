"""What the agent is asked. It sees the text of a question; topic and phrase are for the checker alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what a right answer quotes.

    Attributes:
        text: What the agent is asked.
        topic: A topic that answers it; empty when the documentation has no answer.
        phrase: Words of the answer, which the quoted sentence must hold.
    """

    text: str
    topic: str = ""
    phrase: str = ""

    @property
    def is_answerable(self) -> bool:
        """Whether the documentation answers it."""
        return bool(self.topic)


ANSWERABLE: Final = (
    Question(
        'To which variables do identifiers listed in a "nonlocal" statement refer?',
        topic="nonlocal",
        phrase="causes the listed identifiers to refer to",
    ),
    Question(
        "When are default parameter values evaluated?",
        topic="function",
        phrase="from left to right when the function definition is executed",
    ),
    Question(
        'What does the "with" statement guarantee if the "__enter__()" method returns without an error?',
        topic="with",
        phrase='"__exit__()" will always be called',
    ),
    Question(
        "What does declaring __slots__ reserve space for?",
        topic="attribute-access",
        phrase="reserves space for the declared variables",
    ),
    Question(
        "What type does floor division of integers result in?",
        topic="binary",
        phrase="floor division of integers results in an integer",
    ),
    Question(
        'What do the operators "is" and "is not" test for?',
        topic="comparisons",
        phrase='The operators "is" and "is not" test for an object\u2019s identity',
    ),
    Question(
        "Which function does the conversion flag '!r' of a format string call?",
        topic="formatstrings",
        phrase='which calls "repr()"',
    ),
    Question(
        "What does using yield in a function definition create?",
        topic="yield",
        phrase="create a generator function instead of a normal function",
    ),
    Question(
        'Which of its operands does the expression "x and y" evaluate first?',
        topic="booleans",
        phrase='"x and y" first evaluates *x*',
    ),
    Question(
        "Does the power operator bind more tightly than unary operators?",
        topic="power",
        phrase="binds more tightly than unary operators on its left",
    ),
    Question(
        'What happens to the "else" clause of a loop when "break" terminates the loop?',
        topic="while",
        phrase='without executing the "else" clause\u2019s suite',
    ),
    Question(
        "When is __debug__ False?",
        topic="assert",
        phrase='"False" when optimization is requested',
    ),
    Question(
        "Into which normal form are identifiers converted while parsing?",
        topic="identifiers",
        phrase="converted into the normal form NFKC while parsing",
    ),
    Question(
        "Are leading zeros in a non-zero decimal number allowed?",
        topic="integers",
        phrase="leading zeros in a non-zero decimal number are not allowed",
    ),
)

UNANSWERABLE: Final = (
    Question("Who won the 1998 World Cup?"),
    Question("What is the price of a Qdrant licence?"),
    Question("How do I configure nginx as a reverse proxy?"),
    Question("Which garbage collector does PyPy use?"),
    Question("What is the default port of the http.server module?"),
    Question("How do I install a package with pip?"),
)


def asked(read: Mapping[str, str]) -> list[Question]:
    """The questions to ask about the topics that were read, with those that have no answer in between.

    Another release of Python may word an answer differently; such a question is left out.
    """
    found = [q for q in ANSWERABLE if q.phrase in " ".join(read.get(q.topic, "").split())]
    mixed: list[Question] = []
    for index in range(max(len(found), len(UNANSWERABLE))):
        mixed += found[2 * index : 2 * index + 2]
        mixed += UNANSWERABLE[index : index + 1]
    return mixed
