"""What in a page answers: which pages are evidence at all, and where in a long one to start reading."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Final

from pagefault.page import Page, Role
from pagefault.recall.terms import split_terms, term_id

MAX_CHARS: Final = 200_000
"""Characters searched for the best place to start."""
_SENTENCE: Final = re.compile(r"\n\s*\n\s*|(?<=[.!?。！？])\s+|\n(?=\s*[-*•#>\d])")
_LINE: Final = re.compile(r"\n+")
_QUESTION: Final = ("?", "？", "؟")


def is_evidence(
    page: Page, query_terms: Collection[int], page_terms: Collection[int], *, asked_by_model: bool = False
) -> bool:
    """Whether a page can answer, or only asks as the query does.

    In an agent the question itself is a page, and so are its earlier copies; they hold every word
    of the query and answer nothing. So a user's message that ends with a question mark, and of which
    at least half the words are the query's, is no evidence. When a model asks, it asks what the user
    asked for, so the same holds without the question mark from two thirds of the words on.

    Args:
        page: The page.
        query_terms: Term ids of the query.
        page_terms: Term ids of the page.
        asked_by_model: The query stands for a request that is itself a page.
    """
    spoken = page.messages[0]
    if len(page.messages) > 1 or spoken.role is not Role.USER:
        return True
    own = set(page_terms)
    shared = len(own & set(query_terms))
    if spoken.text.rstrip().endswith(_QUESTION) and 2 * shared >= len(own):
        return False
    return not (asked_by_model and 3 * shared >= 2 * len(own))


def focus(text: str, weights: Mapping[int, float], width: int) -> int:
    """Where to start quoting a long text so that ``width`` characters say most about a query.

    Args:
        text: A page's reading.
        weights: The query's terms and how much each tells (IDF).
        width: Characters that will be shown.

    Returns:
        Offset of a line's or sentence's start; 0 when the text is short enough or nothing
        in it is better than its beginning.

    Example:
        >>> from pagefault.recall.terms import term_id
        >>> focus("One thing. Another thing. The needle is here.", {term_id("needl"): 1.0}, 20)
        26
    """
    if len(text) <= width:
        return 0
    starts = _starts(text[:MAX_CHARS], width)
    segments = [
        {t for t in map(term_id, split_terms(text[a:b])) if t in weights}
        for a, b in pairwise([*starts, min(len(text), MAX_CHARS)])
    ]
    best, best_score = 0, 0.0
    inside: Counter[int] = Counter()
    last = 0
    for first, start in enumerate(starts):
        while last < len(starts) and (last == first or starts[last] < start + width):
            inside.update(segments[last])
            last += 1
        score = math.fsum(weights[t] for t, times in inside.items() if times)
        is_same_place = score == best_score and 0 < start < best + width
        if score > best_score or (score and is_same_place):  # as late as possible: what tells stands at the top
            best, best_score = start, score
        inside.subtract(segments[first])
    return best


def _starts(text: str, width: int) -> list[int]:
    """Where sentences and paragraphs begin; lines, and then any place, where nothing else divides the text."""
    marks = [0, *(m.end() for m in _SENTENCE.finditer(text))]
    starts: list[int] = []
    for first, last in pairwise([*marks, len(text)]):
        lines = [first]
        if last - first > width:
            lines += [m.end() for m in _LINE.finditer(text, first + 1, last) if m.end() < last]
        for begin, end in pairwise([*lines, last]):  # a line without an end, such as minified JSON, is cut anywhere
            starts += range(begin, max(begin + 1, end - width // 2), max(1, width // 2))
    return starts
