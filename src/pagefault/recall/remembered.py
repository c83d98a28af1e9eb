"""Items as a recall shows them: each judged by itself, quoted with its key and time."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pagefault.estimate import cost_of
from pagefault.items import Item
from pagefault.messages.fences import ITEMS, fence_of, header, quotation, under_one_fence
from pagefault.ports import TokenCounter
from pagefault.recall.found import Found, RecalledItem
from pagefault.recall.gate import Evidence, Outcome, coverage, decide, weigh
from pagefault.recall.rendering import at_most, left_out_of, time_of

_WEAK: Final = "What is marked weak may be about something else. Do not state it as certain."
_NOTICE_TOKENS: Final = 60
"""Kept for the line that names the pages that were found, where the best item needs more than its half."""
_SMALL: Final = 300
"""In a budget below this, that line is shown whatever the budget."""
_KEY_CHARS: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEvidence:
    """What speaks for an item.

    Attributes:
        item: The item.
        terms: Term ids of what search sees of it.
        cosine: Its similarity to the query, ``None`` without an embedder.
    """

    item: Item
    terms: Collection[int]
    cosine: float | None


def judge_items(
    candidates: Sequence[ItemEvidence], sought: Sequence[Sequence[int]], weights: Mapping[int, float], *, items: int
) -> list[RecalledItem]:
    """The items that are evidence by themselves, best first, the newer one in a tie.

    Args:
        candidates: What was found.
        sought: Term ids that an answer should have, all of one of these (``sought``).
        weights: IDF of those that occur among the items.
        items: How many items there are.
    """
    masses = weigh(sought, weights, pages=items)
    found: list[RecalledItem] = []
    for each in candidates:
        share = coverage(masses, each.terms)
        outcome = decide(Evidence(coverage=share, cosine=each.cosine, hits=1))
        if outcome is not Outcome.ABSTAIN:
            found.append(RecalledItem(item=each.item, score=share + (each.cosine or 0.0), outcome=outcome))
    found.sort(key=lambda recalled: (-recalled.score, -recalled.item.version))
    return found


def best_of(*outcomes: Outcome) -> Outcome:
    """The best of some outcomes; an abstention when there are none."""
    return next((each for each in (Outcome.ANSWER, Outcome.WEAK) if each in outcomes), Outcome.ABSTAIN)


def render_items(found: Sequence[RecalledItem], *, counter: TokenCounter, budget: int) -> str:
    """Quote items for a model, as many as fit into half of the budget; empty when there are none.

    An item is shown whole or only named: half a value may say the opposite of the whole. It has no address to read on
    at, so the best one may take nearly all of the budget, below 300 tokens all of it. Where none fits, that is said
    whatever the budget, since a model must not read that nothing is known.
    """
    if not found:
        return ""
    most = budget - _NOTICE_TOKENS if budget >= _SMALL else budget
    values = [_value(recalled.item) for recalled in found]
    for shown in range(at_most(map(len, values), budget), 0, -1):
        text = _frame(found, values[:shown])
        cost = cost_of(text, counter)
        if cost <= budget // 2 or (shown == 1 and cost <= most):
            return text
    return f"Remembered, but there is no room here to show it: {', '.join(_name(each.item) for each in found)}."


def with_items(found: Found, items: Sequence[RecalledItem], text: str) -> Found:
    """A recall's result with the items that answer, too; they are read first."""
    if not items:
        return found
    own = left_out_of(found.text) if found.outcome is Outcome.ABSTAIN else found.text
    outcome = best_of(found.outcome, *(each.outcome for each in items))
    return replace(found, outcome=outcome, items=tuple(items), text=under_one_fence(text, *([own] if own else [])))


def _frame(found: Sequence[RecalledItem], texts: Sequence[str]) -> str:
    """The text with the first items, whose values these are; the others are named."""
    shown = len(texts)
    names = [_name(recalled.item) for recalled in found]
    fence = fence_of([*texts, *names], *(str(recalled.item.version) for recalled in found))
    lines = [header(ITEMS, fence), *([_WEAK] if any(map(_is_weak, found[:shown])) else [])]
    for recalled, name, text in zip(found, names, texts, strict=False):
        origin = f"{name} | {time_of(recalled.item.updated_at)}{' | weak' if _is_weak(recalled) else ''}"
        lines.append(quotation(f"item {origin}", text, fence))
    if names[shown:]:
        lines.append(f"No room here for {', '.join(names[shown:])}; recall these by their keys, one at a time.")
    return "\n".join(lines)


def _is_weak(recalled: RecalledItem) -> bool:
    return recalled.outcome is Outcome.WEAK


def _name(item: Item) -> str:
    """Its key on one line, quoted; what no reader would see, or would see in another order, is spelled out."""
    key = item.key[:_KEY_CHARS]
    return json.dumps(key, ensure_ascii=not key.isprintable())


def _value(item: Item) -> str:
    return item.value if isinstance(item.value, str) else json.dumps(item.value, ensure_ascii=False)
