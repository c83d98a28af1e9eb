"""What the pages found are worth to the asker, and where in them to start reading."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pagefault.page import Address
from pagefault.recall.evidence import is_evidence
from pagefault.recall.focus import focus
from pagefault.recall.following import FOLLOWED, follow
from pagefault.recall.found import RecalledPage
from pagefault.recall.fusion import fuse
from pagefault.recall.gate import Evidence, Outcome, coverage, decide, weigh
from pagefault.recall.rendering import PAGE_TOKENS, QUOTE_CHARS, QUOTED
from pagefault.recall.restating import newest_first
from pagefault.recall.slices import reading

MIN_WIDTH: Final = 60
CHARS_PER_TOKEN: Final = 3
HEAD_TOKENS: Final = 60
"""About what stands around all quotes, and around each, by any counter."""
NEAR: Final = 0.2
"""Share of the best page's score that a page must have to be shown beside it: what is about something else has less
(``benchmarks/recall_quality.py`` compares)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is known of a query once it was searched for.

    Attributes:
        terms: Term ids of the query, as it was searched for.
        sought: Term ids that an answer should have, all of one of these (``sought``).
        names: Of each name or identifier that it asks about, the term ids (``names_in``).
        words: Term ids of all its words.
        weights: IDF of those that occur where was searched.
        dense: Similarity by address, ``None`` without an embedder.
        pages: Pages where was searched.
        request: The page with the user's present request, when a model asks; 0 otherwise.
    """

    terms: Sequence[int]
    sought: Sequence[Sequence[int]]
    names: Sequence[Collection[int]]
    words: Collection[int]
    weights: Mapping[int, float]
    dense: Mapping[str, float] | None
    pages: int
    request: int = 0

    @property
    def is_elsewhere(self) -> bool:
        """Whether it asks about somebody or something whose name no page has."""
        return any(self.weights.keys().isdisjoint(name) for name in self.names)


def apart(
    ranked: Sequence[tuple[int, float]],
    found: Mapping[int, RecalledPage],
    asking: Collection[int],
    *,
    dense: Mapping[int, float],
    sparse: Mapping[int, float],
) -> tuple[list[RecalledPage], list[RecalledPage]]:
    """What may answer, best first, and what only asks, the newest first.

    A copy of the question is the best match of all, and beside it every answer would look poor: so those that may
    answer are scored anew among each other.

    Args:
        ranked: All candidates and their fused scores, best first.
        found: The pages of those that were read, by number.
        asking: Numbers of those that only ask (``counts``).
        dense: Cosine by number; empty without an embedder.
        sparse: BM25 score by number.
    """
    if not asking:
        return [found[n] for n, _ in ranked if n in found], []
    dense, sparse = ({n: score for n, score in scores.items() if n not in asking} for scores in (dense, sparse))
    evident = [replace(found[n], score=score) for n, score in fuse(dense, sparse) if n in found]
    return evident, [replace(found[n], score=0.0) for n in sorted(asking, reverse=True)]


def weighed(terms: Mapping[str, Collection[int]], question: Question) -> dict[str, Evidence]:
    """What speaks for each page alone, by address.

    Args:
        terms: Term ids of each page, by address.
        question: What they shall answer.
    """
    masses, similar = weigh(question.sought, question.weights, pages=question.pages), question.dense
    return {
        at: Evidence(coverage=coverage(masses, held), cosine=None if similar is None else similar.get(at, 0.0), hits=1)
        for at, held in terms.items()
    }


def in_order(
    found: Sequence[RecalledPage],
    terms: Mapping[str, frozenset[int]],
    question: Question,
    alone: Mapping[str, Evidence],
) -> list[RecalledPage]:
    """Candidates, best first, with what was said anew behind the newest page that says so (``newest_first``).

    Args:
        found: Candidates, best first.
        terms: Term ids of each candidate, by address.
        question: What they shall answer.
        alone: What speaks for each (``weighed``).
    """

    def is_weighty(page: RecalledPage) -> bool:
        return decide(alone[page.address]) is not Outcome.ABSTAIN

    return newest_first(found, terms, question.terms, is_weighty)


def judge(
    found: Sequence[RecalledPage],
    terms: Mapping[str, Collection[int]],
    question: Question,
    alone: Mapping[str, Evidence],
    *,
    asking: Collection[str],
    behind: Mapping[str, RecalledPage],
    limit: int,
    skip_resident: bool,
) -> tuple[Outcome, list[RecalledPage]]:
    """The outcome, and the pages to show: evidence first, word for word the same once, none far behind the best one.

    A message that asks what the query asks is no evidence, but what was replied to it may answer: it is shown with
    that, as weak evidence where there is no other.

    Args:
        found: Candidates, best first.
        terms: Term ids of each candidate, by address.
        question: What they shall answer.
        alone: What speaks for each (``weighed``).
        asking: Addresses of those that do not count (``counts``).
        behind: The remark right behind some of them, by address.
        limit: Pages to show at most. The one that speaks most for the outcome is among them.
        skip_resident: The asker sees its window: pages in it are no news, and count only when
            nothing outside of it answers; so a model does not say that it does not know what it can read. Then
            also its own request does, which may state what it asks for, as weak evidence.
    """
    evident = [p for p in found if p.address not in asking]
    away = [p for p in evident if not (skip_resident and p.resident)]
    asks = [p for p in found if p.address in asking and decide(alone[p.address]) is Outcome.ANSWER]
    replied = [p for p in asks if p.address in behind][:FOLLOWED]
    outcome = _decided(away, alone, question)
    if outcome is not Outcome.ABSTAIN:
        first = _with(_strongest(away, alone), _near(evident, away[0].score), max(1, limit - len(replied)))
        both = [*first, *replied] if outcome is Outcome.ANSWER else [*replied, *first]
        return outcome, follow(both[:limit], behind)
    here = [p for p in evident if skip_resident and p.resident]
    outcome = _decided(here, alone, question)
    if outcome is Outcome.ANSWER or (outcome is Outcome.WEAK and not replied):
        return outcome, follow(_with(_strongest(here, alone), _near(here, here[0].score), limit), behind)
    if replied or not skip_resident:
        shown = follow(replied[:limit], behind)
        return (Outcome.WEAK if replied else Outcome.ABSTAIN), shown
    asked = [p for p in found if _is_request(p, question) and is_evidence(p.page, question.words, terms[p.address])]
    is_said = _decided(asked, alone, question) is not Outcome.ABSTAIN
    return (Outcome.WEAK, asked) if is_said else (Outcome.ABSTAIN, [])


def _near(pages: Sequence[RecalledPage], best: float) -> list[RecalledPage]:
    """Those that are not far behind the best; of pages that say the same, the newest in the place of the first."""
    shown: dict[object, RecalledPage] = {}
    for page in pages:
        if page.score >= NEAR * best:
            said = said_by(page)
            before = shown.get(said)
            if before is None or page.page.seq > before.page.seq:  # not by time: a clock may go back
                shown[said] = page
    return list(shown.values())


def said_by(found: RecalledPage) -> object:
    """What a page says; the same for pages of one conversation that say the same."""
    said = [
        (m.role, m.name, m.text, tuple((c.name, c.arguments) for c in m.calls), m.media) for m in found.page.messages
    ]
    return found.space, tuple(said)


def _decided(pages: Sequence[RecalledPage], alone: Mapping[str, Evidence], question: Question) -> Outcome:
    """The outcome of some pages together."""
    each = [alone[page.address] for page in pages]
    cosines = [one.cosine for one in each if one.cosine is not None]
    covered = max((one.coverage for one in each), default=0.0)
    cosine, elsewhere = max(cosines, default=None), question.is_elsewhere
    return decide(Evidence(coverage=covered, cosine=cosine, hits=len(each), is_elsewhere=elsewhere))


def _strongest(pages: Sequence[RecalledPage], alone: Mapping[str, Evidence]) -> RecalledPage:
    """The page that speaks most for the outcome; the first of equals."""

    def strength(page: RecalledPage) -> float:
        one = alone[page.address]
        return one.coverage + (one.cosine or 0.0)

    return max(pages, key=strength)


def _with(page: RecalledPage, pages: list[RecalledPage], limit: int) -> list[RecalledPage]:
    """The first of some pages, this one among them, or the one that says it anew.

    A long page that answers may be far behind by its score.
    """
    first = pages[:limit]
    if any(each is page or each.address == page.superseded_by for each in first):
        return first
    said = said_by(page)
    return first if any(said_by(each) == said for each in first) else [*first[: limit - 1], page]


def _is_request(found: RecalledPage, question: Question) -> bool:
    return found.space is None and found.page.seq == question.request


def counts(found: RecalledPage, terms: Collection[int], question: Question) -> bool:
    """Whether a page may answer the question at all; the request that led to it never does."""
    return not _is_request(found, question) and is_evidence(found.page, question.words, terms)


def starts(
    pages: Sequence[RecalledPage], weights: Mapping[int, float], budget: int, *, skip_resident: bool = False
) -> list[Address]:
    """Where to start quoting those long pages whose beginning is not the place that answers.

    Args:
        pages: The pages to show.
        weights: The query's terms and how much each tells.
        budget: Tokens for all of them together.
        skip_resident: Pages in the window are not shown, or, where there are no others, as short quotes.
    """
    shown = [page for page in pages if not (skip_resident and page.resident)]
    beside = max(1, min(len(shown), budget // PAGE_TOKENS))  # at most so many share: smaller shares are not cut
    width = (budget - HEAD_TOKENS * (1 + beside)) * CHARS_PER_TOKEN // beside if shown else QUOTE_CHARS
    shown = shown or list(pages[:QUOTED])
    found = [(p.whole, focus(reading(p.page), weights, max(MIN_WIDTH, width))) for p in shown]
    return [replace(whole, offset=offset) for whole, offset in found if offset]
