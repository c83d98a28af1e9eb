"""Fusion: one ranking out of similarity and full-text scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NEIGHBOUR: Final = 0.25
"""Share of the better of its two neighbours' fused scores that a page gets on top of its own."""


def fuse(
    dense: Mapping[int, float], sparse: Mapping[int, float], *, neighbour: float = NEIGHBOUR
) -> list[tuple[int, float]]:
    """Rank the candidates of two searches, best first.

    Each score counts relative to the best of its list: full text from zero, where no word is
    shared, similarity from the lowest candidate, since texts about anything are a little similar.
    So a list says as much as it tells its candidates apart. Ranks, or stretching both lists to
    0..1, find less (``benchmarks/recall_quality.py`` compares). An answer often stands next to
    the words of its question, so a page also gets a share of the score of its better neighbour: of
    one, since in a row of pages about the same those in the middle would win by both.

    Args:
        dense: Cosine by page number; empty without an embedder.
        sparse: BM25 score by page number.
        neighbour: Share of the better neighbour's fused score.

    Returns:
        (page number, score) of every candidate, by falling score, the newer page first in a tie.

    Example:
        >>> fuse({1: 0.9, 2: 0.4}, {2: 7.0, 9: 3.0})
        [(2, 1.1388888888888888), (1, 0.8055555555555556), (9, 0.42857142857142855)]
    """
    similar = _relative(dense, min(dense.values(), default=0.0))
    shared = _relative(sparse, 0.0)
    own = dict(similar)
    for seq, score in shared.items():
        own[seq] = own.get(seq, 0.0) + score
    beside: dict[int, float] = {}  # the better neighbour's score of those that have one; few do
    for seq in own.keys() & {seq + 1 for seq in own}:
        beside[seq] = max(beside.get(seq, 0.0), own[seq - 1])
        beside[seq - 1] = max(beside.get(seq - 1, 0.0), own[seq])
    full = own | {seq: own[seq] + neighbour * best for seq, best in beside.items()}
    return [(seq, score) for score, seq in sorted(zip(full.values(), full, strict=True), reverse=True)]


def _relative(scores: Mapping[int, float], floor: float) -> dict[int, float]:
    """How far each score is above the floor, as a share of the best score; 0..1."""
    best = max(scores.values(), default=0.0)
    whole = max(best, best - floor)  # a negative floor, as cosines may have, must not push a share beyond 1
    if whole <= 0:
        return dict.fromkeys(scores, 0.0)
    return {seq: (score - floor) / whole for seq, score in scores.items()}
