"""What the window holds besides pages and the block: pinned items, and notes at the tail.

Pinned items are an agent's core memory: short texts under a key that stand near the top of every
prompt. A change does not touch the top, since the prompt only grows between reclaims: it comes as a
note where the prompt ends, and the next reclaim folds it into its place. Notes of pressure tell the
model that pages are about to leave. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

About = Literal["item", "pressure"]
NOTICE: Final = 0.85
"""Share of the high watermark above which the model is told that pages will leave."""
NAMED: Final = 8
_ITEMS: Final = "[pagefault: pinned items, always in this window]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedItem:
    """A text that stands in every prompt.

    Attributes:
        key: Its name, unique in a conversation.
        text: What the model reads.
        at: The last complete page when it was set, 0 before the first.
        chain: Chain of that page, as proof of the path.
    """

    key: str
    text: str
    at: int
    chain: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A message of ours at the tail, until the next reclaim.

    Attributes:
        before: Number of the page that it stands before, whether that has come already or not.
        at: The last complete page before it, 0 for none.
        chain: Chain of that page, as proof of the path.
        about: Why it is there.
        text: What the model reads.
        tokens: What it costs as a message.
    """

    before: int
    at: int
    chain: str
    about: About
    text: str
    tokens: int


def items_text(items: Iterable[PinnedItem]) -> str:
    """The pinned items as they stand near the top.

    Example:
        >>> print(items_text([PinnedItem(key="name", text="Ada", at=0, chain="")]))
        [pagefault: pinned items, always in this window]
        name: Ada
    """
    return "\n".join([_ITEMS, *map(str, items)])


def change_text(key: str, text: str | None) -> str:
    """A change of an item, for the tail.

    Example:
        >>> print(change_text("name", "Ada Lovelace"))
        [pagefault: pinned item set]
        name: Ada Lovelace
    """
    if text is None:
        return f"[pagefault: pinned item removed]\n{key}"
    return f"[pagefault: pinned item set]\n{key}: {text}"


def pressure_text(share: float, largest: Sequence[tuple[int, int, str]]) -> str:
    """That pages will leave soon, and which ones take most room.

    Args:
        share: How much of the room is used, 0 to 1.
        largest: Page number, tokens and gist of the pages that take most.
    """
    header = (
        f"[pagefault: {share:.0%} of the room for this conversation is used. Soon pages will leave this window; "
        "nothing is lost, recall brings them back. To choose yourself: release(addresses=...) what is done with, "
        "pin_item(...) what must stay in sight. Largest pages, quoted:]"
    )
    return "\n".join(
        [header, *(f"{seq} ({tokens:,} tokens) {' '.join(gist.split())}" for seq, tokens, gist in largest)]
    )
