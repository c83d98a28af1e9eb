"""The gate: whether what was found is evidence enough to show.

Fused scores say which page is best, not whether it is any good, so the gate looks at raw values:
how much of the question the best page covers, and how similar it is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What a recall found: an ``ANSWER``, ``WEAK`` evidence, or nothing reliable (``ABSTAIN``)."""

    ANSWER = "answer"
    WEAK = "weak"
    ABSTAIN = "abstain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for the best candidates.

    Attributes:
        coverage: Largest share (0..1) of the query's IDF mass that one page holds.
        cosine: Largest similarity of a page to the query, ``None`` without an embedder.
        hits: Candidates found.
        is_elsewhere: Whether the query names somebody or something that occurs nowhere: then this is about others.
    """

    coverage: float
    cosine: float | None
    hits: int
    is_elsewhere: bool = False


ANSWER: Final = 0.95
"""Coverage and similarity together for an answer; as those below, fitted on two conversations and on documentation."""
WEAK: Final = 0.75
"""Coverage and similarity together for weak evidence."""
ANSWER_BY_WORDS: Final = 0.55
"""Coverage alone for an answer, without an embedder."""
WEAK_BY_WORDS: Final = 0.42
"""Coverage alone for weak evidence, without an embedder."""
OTHER_PAGES: Final = 100
"""Pages without any of the query's words that are imagined beside the real ones: in a space of three
pages nearly every word is absent, and that says little."""


def weigh(
    sought: Sequence[Collection[int]], weights: Mapping[int, float], *, pages: int = 0
) -> list[Mapping[int, float]]:
    """The words that an answer should have, each with its IDF mass, for :func:`coverage` by many pages.

    A term that no page has tells most that the answer is not here, so it weighs as much as the rarest
    term could.

    Args:
        sought: Term ids that an answer should have, all of one of these (``sought``).
        weights: IDF, ``ln((pages + 1) / (frequency + 0.5))``, of those that occur in the space.
        pages: Pages in the space; 0 when not known: absent terms then weigh as much as the largest
            weight given, and small spaces are judged by their few pages alone.
    """
    if pages:
        more = math.log((pages + OTHER_PAGES + 1) / (pages + 1))
        absent = math.log(2 * (pages + OTHER_PAGES + 1))
    else:
        more, absent = 0.0, max(weights.values(), default=1.0)
    return [{term: weights[term] + more if term in weights else absent for term in words} for words in sought]


def coverage(masses: Sequence[Mapping[int, float]], page_terms: Collection[int]) -> float:
    """Share of the IDF mass that a page with these terms holds, where it is largest.

    Returns:
        0..1; 0 for a query without terms.

    Example:
        >>> coverage(weigh([[1, 2, 3]], {1: 1.0, 2: 3.0}), {1, 2})
        0.5714285714285714
    """
    return max(_share(mass, page_terms) for mass in masses)


def _share(mass: Mapping[int, float], page_terms: Collection[int]) -> float:
    total = math.fsum(mass.values())
    held = math.fsum([weight for term, weight in mass.items() if term in page_terms])
    return held / total if total > 0 else 0.0


def decide(evidence: Evidence) -> Outcome:
    """Whether to answer, to warn, or to say that nothing reliable was found.

    It tells questions about something else from questions about this conversation; a near miss
    (right words, wrong person) passes, as weak evidence if that person's name occurs nowhere.
    Measured in ``benchmarks/recall_quality.py``.

    Example:
        >>> decide(Evidence(coverage=0.9, cosine=0.4, hits=3))
        <Outcome.ANSWER: 'answer'>
        >>> decide(Evidence(coverage=0.1, cosine=None, hits=3))
        <Outcome.ABSTAIN: 'abstain'>
    """
    if not evidence.hits:
        return Outcome.ABSTAIN
    if evidence.cosine is None:
        score, answer, weak = evidence.coverage, ANSWER_BY_WORDS, WEAK_BY_WORDS
    else:
        score, answer, weak = evidence.coverage + evidence.cosine, ANSWER, WEAK
    if score >= answer and not evidence.is_elsewhere:
        return Outcome.ANSWER
    return Outcome.WEAK if score >= weak else Outcome.ABSTAIN
