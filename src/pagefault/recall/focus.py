"""Where in a long page to start reading."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from pagefault.recall.terms import split_terms, term_id

MAX_CHARS: Final = 200_000
"""Characters searched for the best place to start."""
_PLACES: Final = 16
"""So many places within one width are tried; sentences shorter than that are not told apart."""
_SENTENCE: Final = re.compile(r"\n\s*\n\s*|(?<=[.!?。！？])\s+|\n(?=\s*[-*•#>\d])")
_LINE: Final = re.compile(r"\n+")


def focus(text: str, weights: Mapping[int, float], width: int) -> int:
    """Where to start quoting a long text so that ``width`` characters say most about a query.

    A word counts more the nearer it is to the middle: what answers often stands around it, not only behind it.

    Args:
        text: A page's reading.
        weights: The query's terms and how much each tells (IDF).
        width: Characters that will be shown.

    Returns:
        Offset of a line's or sentence's start; 0 when the text is short enough or nothing
        in it is better than its beginning.

    Example:
        >>> from pagefault.recall.terms import term_id
        >>> focus("One thing. Another thing. The needle is here. And so on. And on.", {term_id("needl"): 1.0}, 40)
        11
    """
    if len(text) <= width:
        return 0
    text = text[:MAX_CHARS]
    starts = _spaced(_starts(text, width), max(1, width // _PLACES))
    hits = [
        ((first + last) / 2, found)
        for first, last in pairwise([*starts, len(text)])
        if (found := {t for t in map(term_id, split_terms(text[first:last])) if t in weights})
    ]
    best, best_score, passed = 0, 0.0, 0
    for start in starts[: bisect_left(starts, len(text) - width) + 1]:  # up to the first that reaches the end
        while passed < len(hits) and hits[passed][0] < start:
            passed += 1
        score = _told(hits, passed, weights, start, width)
        if score > best_score:
            best, best_score = start, score
    return best


def _told(
    hits: Sequence[tuple[float, set[int]]], first: int, weights: Mapping[int, float], start: int, width: int
) -> float:
    """What a stretch says by the hits from one on: each term once, in full in its middle and half at its edges."""
    nearest: dict[int, float] = {}
    for index in range(first, len(hits)):  # not a slice: there may be as many hits as stretches
        place, terms = hits[index]
        if place >= start + width:
            break
        share = 1 - abs((place - start) / width - 0.5)
        nearest.update((term, share) for term in terms if share > nearest.get(term, 0.0))
    return math.fsum(weights[term] * share for term, share in nearest.items())


def _spaced(places: Sequence[int], gap: int) -> list[int]:
    """Those places that are far enough behind the last one."""
    kept = [places[0]]
    for place in places:
        if place >= kept[-1] + gap:
            kept.append(place)
    return kept


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
