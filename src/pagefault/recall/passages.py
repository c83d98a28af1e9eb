"""What sources outside answer: judged like everything else, quoted with where it comes from, never taken for a page."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from pagefault.estimate import cost_of
from pagefault.messages.fences import PASSAGES, fence_of, header, quotation, under_one_fence
from pagefault.ports import TokenCounter
from pagefault.recall.focus import focus
from pagefault.recall.found import Found, RecalledPassage
from pagefault.recall.gate import Evidence, Outcome, coverage, decide, weigh
from pagefault.recall.remembered import best_of
from pagefault.recall.rendering import at_most, left_out_of, time_of

T = TypeVar("T")
_WEAK: Final = "What is marked weak may be about something else. Do not state what it says as certain."
_NAME_CHARS: Final = 80
_WIDTH: Final = 1_600
"""Characters shown of one passage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassageEvidence:
    """What speaks for a passage.

    Attributes:
        found: The passage.
        terms: Term ids of its text.
        cosine: Its similarity to the query, ``None`` without an embedder.
    """

    found: RecalledPassage
    terms: Collection[int]
    cosine: float | None


def judge_passages(candidates: Sequence[PassageEvidence], sought: Sequence[Sequence[int]]) -> list[RecalledPassage]:
    """The passages that are evidence by themselves, best first.

    How rare a word is in somebody else's collection is not known, so all words of the query weigh the same.

    Args:
        candidates: What the sources gave.
        sought: Term ids that an answer should have, all of one of these (``sought``).
    """
    masses = weigh(sought, {})
    kept: list[RecalledPassage] = []
    for each in candidates:
        share = coverage(masses, each.terms)
        outcome = decide(Evidence(coverage=share, cosine=each.cosine, hits=1))
        if outcome is not Outcome.ABSTAIN:
            kept.append(replace(each.found, score=share + (each.cosine or 0.0), outcome=outcome))
    return sorted(kept, key=lambda found: -found.score)


def render_passages(
    found: Sequence[RecalledPassage],
    failed: Sequence[str],
    weights: Mapping[int, float],
    *,
    counter: TokenCounter,
    budget: int,
) -> str:
    """Quote passages for a model, as many as fit, and say which sources did not answer."""
    room = budget / (1 + counter.reserve)
    may_fit = at_most((min(len(each.passage.text), _WIDTH) for each in found), room)
    pieces = [_piece(each.passage.text, weights) for each in found[:may_fit]]
    for shown in range(may_fit, -1, -1):
        text = _frame(found, pieces[:shown], failed)
        if cost_of(text, counter) <= budget:
            return text
    return "\n".join(failed)  # said whatever the room is


def with_passages(found: Found, passages: Sequence[RecalledPassage], failed: Sequence[str], text: str) -> Found:
    """A recall's result with what sources outside say, after what was said here."""
    if not passages and not failed:
        return found
    own = left_out_of(found.text) if passages and found.outcome is Outcome.ABSTAIN else found.text
    return replace(
        found,
        outcome=best_of(found.outcome, *(each.outcome for each in passages)),
        passages=tuple(passages),
        failed=tuple(failed),
        text=under_one_fence(*(part for part in (own, text) if part)),
    )


def shared(own: Sequence[T], outside: Sequence[T], limit: int) -> list[T]:
    """The best of what was found here, then the best of what sources outside say: up to a third where both have more.

    Example:
        >>> shared([1, 2, 3, 4], [10, 20, 30], 3), shared([1], [10, 20, 30], 3)
        ([1, 2, 10], [1, 10, 20])
    """
    kept = own[: limit - min(len(outside), limit // 3)]
    return [*kept, *outside[: limit - len(kept)]]


def _frame(found: Sequence[RecalledPassage], pieces: Sequence[tuple[str, str]], failed: Sequence[str]) -> str:
    """The text with the first passages, of which these pieces are shown; the others are named."""
    shown = len(pieces)
    names = [_name(each) for each in found]
    fence = fence_of([*names, *failed, *(text for text, _ in pieces)])
    lines: list[str] = []
    if found:
        lines += [
            header(PASSAGES, fence),
            *([_WEAK] if any(each.outcome is Outcome.WEAK for each in found[:shown]) else []),
        ]
    for each, name, (text, cut) in zip(found, names, pieces, strict=False):
        when = f" | {time_of(each.passage.updated_at)}" if each.passage.updated_at is not None else ""
        weak = " | weak" if each.outcome is Outcome.WEAK else ""
        lines.append(quotation(f"{name}{when}{cut}{weak}", text, fence))
    if names[shown:]:
        lines.append(f"No room here for {', '.join(names[shown:])}.")
    return "\n".join([*lines, *failed])


def _piece(text: str, weights: Mapping[int, float]) -> tuple[str, str]:
    """What is shown of a text, and a note where that is not all."""
    if len(text) <= _WIDTH:
        return text, ""
    start = focus(text, weights, _WIDTH)
    piece = text[start : start + _WIDTH]
    return piece, f" | characters {start + 1}-{start + len(piece)} of {len(text)}"


def _name(found: RecalledPassage) -> str:
    source, address = (
        re.sub(r"[^\w .:/@-]", "_", each[:_NAME_CHARS]) for each in (found.source, found.passage.address)
    )
    return f"source {source}" + (f" | {address}" if address else "")
