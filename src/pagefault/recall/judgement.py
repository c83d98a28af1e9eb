"""What the pages found are worth to the asker, and where in them to start reading."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pagefault.page import Address
from pagefault.recall.focus import focus, is_evidence
from pagefault.recall.gate import Evidence, Outcome, coverage, decide
from pagefault.recall.rendering import RecalledPage
from pagefault.recall.slices import reading

MIN_WIDTH: Final = 400
CHARS_PER_TOKEN: Final = 3
NEAR: Final = 0.2
"""Share of the best page's score that a page must have to be shown beside it: what is about something else has less
(``benchmarks/recall_quality.py`` compares)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is known of a query once it was searched for.

    Attributes:
        terms: Term ids of the query.
        weights: IDF of those that occur where was searched.
        dense: Similarity by address, ``None`` without an embedder.
        pages: Pages where was searched.
        request: The page with the user's present request, when a model asks; 0 otherwise.
    """

    terms: Sequence[int]
    weights: Mapping[int, float]
    dense: Mapping[str, float] | None
    pages: int
    request: int = 0


def judge(
    found: Sequence[RecalledPage],
    terms: Mapping[str, Collection[int]],
    question: Question,
    *,
    skip_resident: bool,
) -> tuple[Outcome, list[RecalledPage]]:
    """The outcome, and the pages to show, evidence first, without those that are far behind the best one.

    Args:
        found: Candidates, best first.
        terms: Term ids of each candidate, by address.
        question: What they shall answer.
        skip_resident: The asker sees its window: pages in it are no news, and count only when
            nothing outside of it answers. So a model does not say that it does not know what it can read.
    """
    evident = [p for p in found if counts(p, terms[p.address], question)]
    away = [p for p in evident if not (skip_resident and p.resident)]
    outcome = decide(_weigh(away, terms, question))
    if outcome is not Outcome.ABSTAIN:
        known = {p.address for p in evident}
        others = [p for p in found if p.address not in known and not (skip_resident and p.resident)]
        return outcome, _near([*evident, *others])
    here = [p for p in evident if skip_resident and p.resident]
    outcome = decide(_weigh(here, terms, question))
    return outcome, [] if outcome is Outcome.ABSTAIN else _near(here)


def _near(pages: Sequence[RecalledPage]) -> list[RecalledPage]:
    return [page for page in pages if page.score >= NEAR * pages[0].score]


def counts(found: RecalledPage, terms: Collection[int], question: Question) -> bool:
    """Whether a page may answer the question at all; the request that led to it never does."""
    if found.space is None and found.page.seq == question.request:
        return False
    return is_evidence(found.page, question.terms, terms)


def _weigh(pages: Sequence[RecalledPage], terms: Mapping[str, Collection[int]], question: Question) -> Evidence:
    named = [p.address for p in pages]
    shares = [coverage(question.terms, question.weights, terms[each], pages=question.pages) for each in named]
    similar = None if question.dense is None else [question.dense.get(each, 0.0) for each in named]
    return Evidence(
        coverage=max(shares, default=0.0),
        cosine=None if similar is None else max(similar, default=0.0),
        hits=len(named),
    )


def starts(pages: Sequence[RecalledPage], weights: Mapping[int, float], budget: int) -> list[Address]:
    """Where to start quoting those long pages whose beginning is not the place that answers.

    Args:
        pages: The pages to show.
        weights: The query's terms and how much each tells.
        budget: Tokens for all of them together.
    """
    width = max(MIN_WIDTH, budget * CHARS_PER_TOKEN // max(1, len(pages)))
    found = [(p.whole, focus(reading(p.page), weights, width)) for p in pages]
    return [replace(whole, offset=offset) for whole, offset in found if offset]
