"""What of a text goes into which vector: a short text is one piece, a long one several.

One vector of a long text says what it is about on the whole and hides what stands in one place of it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

WHOLE_CHARS: Final = 2_000
"""Up to so many characters a text is one piece: about what models with 512 tokens see of it."""
PIECE_CHARS: Final = 1_000
"""About the length of a piece of a longer text."""
MAX_PIECES: Final = 32
"""Of one text. Beyond 32,000 characters the pieces grow, and beyond 64,000 only the first 2,000 of each count."""
FIELD: Final = "\x1e"
"""Stands between parts of a text that are each to be embedded by themselves, however short."""
_BACK: Final = 100


def pieces_of(text: str) -> list[str]:
    r"""Stretches of a text, in order and evenly spread, each to be embedded by itself.

    Parts with a ``FIELD`` between them are pieces of their own, unless they are more than ``MAX_PIECES``. A longer
    text is cut after whitespace where there is some near. At most ``MAX_PIECES`` pieces of at most ``WHOLE_CHARS``
    characters come back, whatever the length; blank ones are left out, but there is always one.

    Example:
        >>> pieces_of("short")
        ['short']
        >>> [len(piece) for piece in pieces_of("word " * 500)]
        [830, 835, 835]
        >>> pieces_of("one\x1eother")
        ['one', 'other']
    """
    if FIELD in text:
        fields = [piece for each in text.split(FIELD) if each.strip() for piece in pieces_of(each)]
        if 0 < len(fields) <= MAX_PIECES:
            return fields
    if len(text) <= WHOLE_CHARS:
        return [text]
    count = min(MAX_PIECES, math.ceil(len(text) / PIECE_CHARS))
    marks = [0, *(_break(text, len(text) * i // count) for i in range(1, count)), len(text)]
    found = [text[first : min(last, first + WHOLE_CHARS)] for first, last in pairwise(marks)]
    return [piece for piece in found if piece.strip()] or [text[:WHOLE_CHARS]]


def _break(text: str, at: int) -> int:
    """The end of the last whitespace shortly before a place; the place itself where there is none."""
    return next((i + 1 for i in range(at - 1, at - _BACK - 1, -1) if text[i].isspace()), at)
