"""The checker: compares answers with the source text, and stored pages with the graph's state, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import BaseMessage

from examples.demo.questions import Question
from examples.demo.task import read_answer
from pagefault import Page, PagefaultError, Space

BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a question; ``was_away``: the page quoted was not in the window when it was asked."""

    question: Question
    shown: str
    page: str
    is_right: bool
    reason: str
    was_away: bool = False


def judge(question: Question, reply: str, topics: Mapping[str, str], space: Space, gone: set[int]) -> Verdict:
    """Whether a reply is right: quoted from the source and from the page it names, or a due abstention.

    Args:
        question: What was asked, and what a right answer holds.
        reply: What the agent said.
        topics: The source text.
        space: Where the page it names must say so.
        gone: Pages that were not in the window when it was asked.
    """
    answer = read_answer(reply)
    if answer is None:
        return Verdict(question, reply, "", False, "not in the form asked for")  # noqa: FBT003  # a record's field
    if not answer.quote:
        reason = "not in the source" if not question.is_answerable else "the source has an answer"
        return Verdict(question, "does not say", "", not question.is_answerable, reason)
    faults = _faults(question, answer.quote, topics) + _page_faults(answer.quote, answer.page, space)
    reason = "; ".join(faults) or "verbatim"
    return Verdict(question, answer.quote, answer.page, not faults, reason, was_away=int(answer.page) in gone)


def _faults(question: Question, quote: str, topics: Mapping[str, str]) -> list[str]:
    if not question.is_answerable:
        return ["answered, but the source has no answer"]
    found = [] if any(_same(quote, text) for text in topics.values()) else ["not a quotation from the source"]
    return found if question.phrase in " ".join(quote.split()) else [*found, "another sentence was expected"]


def _page_faults(quote: str, page: str, space: Space) -> list[str]:
    try:
        text = space.fault(page).pages[0].page.text
    except PagefaultError as error:
        return [str(error)]
    return [] if _same(quote, text) else [f"page {page} does not say so"]


def _same(quote: str, text: str) -> bool:
    """Verbatim; line breaks count as blanks, since a model may unwrap lines."""
    return quote in text or " ".join(quote.split()) in " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pages faulted from the store against the messages in the graph's state."""

    compared: int
    different: tuple[int, ...]


def compare(
    space: Space, history: Sequence[BaseMessage], pages: Sequence[tuple[int, int]], which: set[int]
) -> Comparison:
    """Fault every page in ``which`` and compare each of its messages with the original."""
    different: list[int] = []
    numbers = sorted(which)
    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        for found in space.fault(", ".join(map(str, batch))).pages:
            first, stop = pages[found.page.seq - 1]
            if not is_identical(found.page, history[first:stop]):
                different.append(found.page.seq)
    return Comparison(len(numbers), tuple(different))


def is_identical(page: Page, originals: Sequence[BaseMessage]) -> bool:
    """Whether a page's stored bytes hash as recorded and say exactly what the messages say."""
    if hashlib.sha256(page.body.encode("ascii")).hexdigest() != page.sha256:
        return False
    stored: list[dict[str, Any]] = json.loads(page.body)
    return stored == [json.loads(original.model_dump_json()) for original in originals]
