"""What the agent is asked. It sees the questions; topic and phrase are for the checker alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what a right answer quotes.

    Attributes:
        text: What the agent is asked.
        phrase: Words that the quoted sentence must hold; empty when the documentation has no answer.
    """

    text: str
    phrase: str = ""

    @property
    def is_answerable(self) -> bool:
        """Whether the documentation answers it."""
        return bool(self.phrase)


ANSWERABLE: Final = (
    Question('To which variables do identifiers listed in a "nonlocal" statement refer?', "nearest enclosing scope"),
    Question("When are default parameter values evaluated?", "when the function definition is executed"),
    Question(
        'What does the "with" statement guarantee if the "__enter__()" method returns without an error?',
        '"__exit__()" will always be called',
    ),
    Question("What does declaring __slots__ reserve space for?", "for the declared variables"),
    Question("What type does floor division of integers result in?", "results in an integer"),
    Question('What do the operators "is" and "is not" test for?', "identity"),
    Question("What does the conversion '!r' call in a formatted string literal?", 'calls "repr()"'),
    Question("What does using yield in a function definition create?", "a generator function"),
    Question('Which of its operands does the expression "x and y" evaluate first?', "first evaluates *x*"),
    Question("Does the power operator bind more tightly than unary operators?", "binds more tightly"),
    Question('What happens to the "else" clause of a loop when "break" terminates the loop?', '"else"'),
    Question("When is __debug__ False?", "when optimization is requested"),
    Question("Into which normal form are identifiers converted while parsing?", "NFKC"),
    Question("Are leading zeros in a non-zero decimal number allowed?", "leading zeros in a non-zero decimal number"),
)

UNANSWERABLE: Final = (
    Question("Who won the 1998 World Cup?"),
    Question("What is the price of a Qdrant licence?"),
    Question("How do I configure nginx as a reverse proxy?"),
    Question("Which garbage collector does PyPy use?"),
    Question("What is the default port of the http.server module?"),
    Question("How do I install a package with pip?"),
)


def asked(topics: Mapping[str, str]) -> list[Question]:
    """The questions that fit what was read: answers worded as this Python words them, and all without an answer."""
    texts = [" ".join(text.split()) for text in topics.values()]
    found = [question for question in ANSWERABLE if any(question.phrase in text for text in texts)]
    mixed: list[Question] = []
    for index in range(max(len(found), len(UNANSWERABLE))):
        mixed += found[2 * index : 2 * index + 2]
        mixed += UNANSWERABLE[index : index + 1]
    return mixed
