"""Fusion: one ranking out of similarity and full-text scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NEIGHBOUR: Final = 0.25
"""Share of the fused scores of the pages just before and after that a page gets on top of its own."""


def fuse(
    dense: Mapping[int, float], sparse: Mapping[int, float], *, neighbour: float = NEIGHBOUR
) -> list[tuple[int, float]]:
    """Rank the candidates of two searches, best first.

    Each list is scaled to 0..1 between its smallest and largest score and both are added 1:1; ranks
    alone would lose by how much a hit leads (``benchmarks/recall_quality.py`` compares). An answer
    often stands next to the words of its question, so a page also gets a share of its neighbours'.

    Args:
        dense: Cosine by page number; empty without an embedder.
        sparse: BM25 score by page number.
        neighbour: Share of the neighbours' fused scores.

    Returns:
        (page number, score) of every candidate, by falling score, the newer page first in a tie.

    Example:
        >>> fuse({1: 0.9, 2: 0.4}, {2: 7.0, 9: 3.0})
        [(2, 1.25), (1, 1.25), (9, 0.0)]
    """
    scaled = _scaled(dense), _scaled(sparse)
    own = {seq: scaled[0].get(seq, 0.0) + scaled[1].get(seq, 0.0) for seq in dense.keys() | sparse.keys()}
    full = {
        seq: score + neighbour * (own.get(seq - 1, 0.0) + own.get(seq + 1, 0.0)) if neighbour else score
        for seq, score in own.items()
    }
    return sorted(full.items(), key=lambda item: (-item[1], -item[0]))


def _scaled(scores: Mapping[int, float]) -> dict[int, float]:
    """Scores between 0 and 1; where all are equal each candidate is as good as the best: 1."""
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    if high == low:
        return dict.fromkeys(scores, 1.0)
    return {seq: (score - low) / (high - low) for seq, score in scores.items()}
