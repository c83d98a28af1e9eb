"""A fake embedder for tests: quick, deterministic, no files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final


class HashingEmbedder:
    """A fake: each word adds one pseudo-random direction, so texts sharing words are similar.

    It knows no meaning. The same text has the same vector in every process.

    Args:
        dimension: Length of the vectors.

    Example:
        >>> one, two = HashingEmbedder(dimension=64).embed(["page fault", "fault page"])
        >>> one == two
        True
    """

    def __init__(self, *, dimension: int = 64) -> None:
        self._dimension: Final = dimension

    @property
    def name(self) -> str:
        """Says that it is a fake, and its dimension."""
        return f"fake-hashing/1/{self._dimension}"

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One unit vector per text; text without words has a direction of its own."""
        return [self._embed(text) for text in texts]

    def _embed(self, text: str) -> list[float]:
        words = text.casefold().split() or [""]
        total = [0.0] * self._dimension
        for word in sorted(words):  # one order of summing, so that the order of words changes nothing
            seed = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=64).digest()
            for i in range(self._dimension):
                total[i] += (seed[i % 64] ^ (i * 37 & 0xFF)) / 127.5 - 1
        norm = math.hypot(*total)
        return [x / norm for x in total] if norm else [1.0, *total[1:]]
