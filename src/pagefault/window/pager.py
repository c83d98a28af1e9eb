"""The pager: when pages leave, and which. Pure: values in, a decision out.

It knows no store, clock or randomness, so a recorded sequence of events replays to the same
decisions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from pagefault.errors import BudgetError, PageTooLarge, PinnedOverBudget
from pagefault.window.budget import Budget
from pagefault.window.eviction import Candidate, gdsf

NAMED: Final = 8


@dataclass(frozen=True, kw_only=True)
class Census:
    """What a prompt would hold if nothing left, in tokens. It keeps its sums, so it has no slots.

    Attributes:
        overhead: System prompt, tool schemas and what other middleware added.
        held: Pages that must stay: leading system messages, pins, the last user message, the open
            or last group.
        evictable: Pages that may leave, in page order.
        released: Numbers of pages that nobody needs any more: they leave at the next reclaim.
        last_resort: Of pages that leave only when nothing else keeps the budget (system messages given later).
        block: The compaction block already there.
    """

    overhead: int
    held: Sequence[Candidate]
    evictable: Sequence[Candidate]
    released: frozenset[int] = frozenset()
    last_resort: frozenset[int] = frozenset()
    block: int = 0

    @cached_property
    def fixed(self) -> int:
        """What no reclaim can free."""
        return self.overhead + sum([p.tokens for p in self.held])

    @cached_property
    def total(self) -> int:
        """The whole request."""
        return self.fixed + self.block + sum([p.tokens for p in self.evictable])

    def after(self, gone: Collection[int], *, overhead: int, block: int) -> Census:
        """The window without these pages, with other overhead and another block."""
        left = [p for p in self.evictable if p.seq not in gone]
        return replace(self, overhead=overhead, evictable=left, block=block)


def victims(census: Census, budget: Budget) -> tuple[int, ...]:
    """Which pages leave now: none at or below the high watermark, else enough to reach the low one.

    Released pages leave first. The newest pages, up to half of what may stay, are protected: the
    work in progress. They leave (oldest first) only when the rest does not free enough, and pages of last resort only
    when even that leaves more than the high watermark.

    Args:
        census: The window as it would be.
        budget: Watermarks and the share for the compaction block.

    Returns:
        Page numbers, ascending.

    Example:
        >>> from pagefault.window.eviction import PageCost
        >>> pages = [PageCost(seq=n, tokens=100) for n in (1, 2, 3, 4)]
        >>> victims(Census(overhead=0, held=(), evictable=pages), Budget(window=1000, target=400))
        (1, 2, 3)
    """
    total = census.total
    if total <= budget.high or not census.evictable:
        return ()
    fixed = census.fixed
    room = max(0, budget.low - fixed - max(budget.block, census.block))
    first, last = census.released, census.last_resort - census.released
    special = first | last
    ordinary = [p for p in census.evictable if p.seq not in special]
    split = _protected_from(ordinary, room // 2)
    need = total - census.block - fixed - room
    chosen = [p for p in census.evictable if p.seq in first]
    freed = sum([p.tokens for p in chosen])
    if freed < need:
        chosen += gdsf(ordinary[:split], need - freed)
        freed = sum([p.tokens for p in chosen])
    for page in ordinary[split:]:
        if freed >= need:
            break
        chosen.append(page)
        freed += page.tokens
    for page in [p for p in census.evictable if p.seq in last]:
        if total - freed > budget.high:
            chosen.append(page)
            freed += page.tokens
    return tuple(sorted([p.seq for p in chosen]))


def whole_turns(victims: Sequence[int], free: Sequence[int], starts: Sequence[int]) -> tuple[int, ...]:
    """Victims with the rest of their turns, so that no answer stays without its question.

    Args:
        victims: Page numbers that leave.
        free: Page numbers that may leave, ascending.
        starts: The pages with a user message, ascending. The turn that the last one begins is not over:
            of this one only the victims leave.

    Example:
        >>> whole_turns((2, 8), free=(1, 2, 3, 4, 5, 6, 8, 9), starts=(1, 4, 7))
        (1, 2, 3, 8)
    """
    last = len(starts)
    over = {bisect_right(starts, page) for page in victims} - {last}
    return tuple(sorted({*victims, *(page for page in free if bisect_right(starts, page) in over)}))


def _protected_from(pages: Sequence[Candidate], limit: int) -> int:
    kept = 0
    for index in range(len(pages) - 1, -1, -1):
        kept += pages[index].tokens
        if kept > limit:
            return index + 1
    return 0


def check(census: Census, budget: Budget) -> None:
    """Refuse a prompt that cannot be sent.

    Raises:
        PageTooLarge: One page that must stay is larger than the room for it.
        PinnedOverBudget: All that must stay is too large together.
    """
    limit = budget.window - budget.reserve
    if census.total <= limit:
        return
    raise _overflow(census, budget, limit)


def _overflow(census: Census, budget: Budget, limit: int) -> BudgetError:
    room = limit - census.overhead
    if room <= 0:
        return PinnedOverBudget(
            f"system prompt and tools alone have {census.overhead} tokens, window={budget.window} less "
            f"reserve={budget.reserve} allows {limit}; shorten them, or use a model with a larger window"
        )
    largest = max(census.held, key=lambda p: p.tokens, default=None)
    if largest is not None and largest.tokens > room:
        return PageTooLarge(
            f"page {largest.seq} has {largest.tokens} tokens and must be in the prompt, but window={budget.window} "
            f"less reserve={budget.reserve} and {census.overhead} tokens of system prompt and tools leaves {room}; "
            "split that message (a tool's result: have the tool return less), or use a model with a larger window"
        )
    pages = ", ".join(str(p.seq) for p in census.held[:NAMED]) + (", ..." if len(census.held) > NAMED else "")
    kinds = "pins, system messages, the last user message, the last tool results"
    what = f"pages that must stay ({pages}: {kinds}) and " if pages else ""
    return PinnedOverBudget(
        f"{what}{census.overhead} tokens of system prompt and tools need {census.total} tokens, "
        f"window={budget.window} less reserve={budget.reserve} allows {limit}; "
        "release pins, have tools return less, shorten the system prompt, or use a model with a larger window"
    )
