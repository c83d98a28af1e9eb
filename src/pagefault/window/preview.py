"""Previews: a page that is in the window in part, with the addresses at which the rest is read.

A tool result that would crowd out all else is shown by its beginning and its end from the moment
it arrives, so the prompt never has to change for it. The page itself stays whole. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pagefault.page import Address

OVERSIZE: Final = 4
"""A tool result above this fraction (1/4) of the target is oversize: what one recall may bring back."""
PREVIEW: Final = 16
"""... and is shown in this fraction (1/16) of the target."""
LEAST_TOKENS: Final = 64
"""No part is cut below this: what remained would say nothing."""
HEAD: Final = 2 / 3
NOTE: Final = (
    '\n[pagefault: {left:,} of {all:,} characters are not shown here. Nothing is lost: recall(addresses="{address}") '
    "reads on from here.]\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How one part of a page is shown.

    Attributes:
        part: Number of the part within the page, from 1, as addresses count them.
        head: Characters shown from its beginning.
        tail: Characters shown from its end.
    """

    part: int
    head: int
    tail: int

    def shown(self, text: str, seq: int) -> str:
        """The text of the part as the model reads it; whole when nothing would be left out."""
        left = len(text) - self.head - self.tail
        if left <= 0:
            return text
        address = Address(first=seq, last=seq, part=self.part, offset=self.head)
        return (
            text[: self.head] + NOTE.format(left=left, all=len(text), address=address) + text[len(text) - self.tail :]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A page that is shown in part.

    Attributes:
        seq: Its number.
        chain: Its chain, as proof of the path.
        cuts: The parts that are not shown whole.
        tokens: What the page costs as it is shown.
    """

    seq: int
    chain: str
    cuts: tuple[Cut, ...]
    tokens: int


def cap(sizes: Sequence[int], room: int) -> int:
    """The largest size to which all may be cut so that together they fit: small ones stay whole.

    Example:
        >>> cap([10, 500, 900], 310)
        150
    """
    left = room
    for waiting, size in zip(range(len(sizes), 0, -1), sorted(sizes), strict=True):
        if size * waiting > left:
            return max(0, left // waiting)
        left -= size
    return max(sizes, default=0)


def cut(text: str, part: int, seq: int, limit: int, cost: Callable[[str], int]) -> Cut:
    """How to show a part within ``limit`` tokens, two thirds of it from the beginning.

    Args:
        text: The part.
        part: Its number within the page.
        seq: The page's number.
        limit: Tokens that the shown text may cost; at least what its note costs.
        cost: Tokens of a text.
    """
    chars = min(len(text), 8 * limit)
    while True:
        head = _line_end(text, int(chars * HEAD))
        found = Cut(part=part, head=head, tail=chars - int(chars * HEAD))
        spent = cost(found.shown(text, seq))
        if spent <= limit or not chars:
            return found
        chars = min(chars - 1, chars * limit // spent)


def _line_end(text: str, at: int) -> int:
    """The end of the last line before ``at``, unless that gives away more than a quarter."""
    end = text.rfind("\n", at - at // 4, at) + 1
    return end or at
