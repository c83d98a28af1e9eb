"""Real text of any length: Python's own reference documentation, which ships with Python."""

from __future__ import annotations

import random
from pydoc_data import topics

ASKED = 7
"""Words of a question."""


class Texts:
    """Stretches of the documentation, and questions about them; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._text = " ".join(" ".join(topics.topics[name].split()) for name in sorted(topics.topics))

    def stretch(self, chars: int = 250) -> str:
        """Some text from anywhere."""
        start = self._text.find(" ", self._chance.randrange(len(self._text) - 2 * chars)) + 1
        return self._text[start : start + chars]

    def question(self) -> str:
        """Some words of one stretch, in any order."""
        words = self.stretch().split()[1:-1]
        self._chance.shuffle(words)
        return " ".join(words[:ASKED])
