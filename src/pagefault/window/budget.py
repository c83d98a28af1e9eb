"""How many tokens a prompt may hold, and when a reclaim starts and stops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pagefault.errors import BudgetError

DEFAULT_WINDOW: Final = 32_000
MAX_DEFAULT_TARGET: Final = 64_000
MAX_DEFAULT_RESERVE: Final = 4_096
BLOCK_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermarks:
    """Shares of the target: a reclaim starts above ``high`` and stops at or below ``low``.

    Attributes:
        high: Default 0.9: a tenth of the target stays free for what the count may miss.
        low: Default 0.5. Rare, deep reclaims keep the prompt cache warm: batching moves the
            cost of paging more than the choice of victims does.

    Raises:
        BudgetError: Not 0 < low < high <= 1.
    """

    high: float = 0.9
    low: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high <= 1:
            raise BudgetError(f"watermarks need 0 < low < high <= 1, got low={self.low} high={self.high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one request to the model may use, in tokens.

    Attributes:
        window: The model's context window.
        target: What a prompt aims to stay within, tools and system prompt included; below the
            window on purpose. Default: the least of 60 % of the window, 64,000, and what the
            reserve leaves.
        reserve: Kept free for the answer. Default: the lesser of a quarter of the window and 4,096.
        watermarks: When to reclaim and how deep, as shares of the target.
        high: Tokens above which a reclaim starts; follows from the above, as do the next two.
        low: Tokens at which a reclaim may stop.
        block: Tokens that the compaction block may use.

    Raises:
        BudgetError: A number is not positive, or target and reserve exceed the window.

    Example:
        >>> Budget(window=8_000).target
        4800
    """

    window: int = DEFAULT_WINDOW
    target: int = 0
    reserve: int = -1
    watermarks: Watermarks = Watermarks()
    high: int = field(init=False, repr=False, compare=False)
    low: int = field(init=False, repr=False, compare=False)
    block: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("window", "target", "reserve"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise BudgetError(f"{name} is a number of tokens, got {type(value).__name__} {value!r:.40}")
        if self.window < 1:
            raise BudgetError(f"window={self.window} tokens; give the model's context window")
        if self.reserve == -1:
            object.__setattr__(self, "reserve", min(self.window // 4, MAX_DEFAULT_RESERVE))
        if self.target == 0:
            room = self.window - self.reserve
            object.__setattr__(self, "target", max(1, min(self.window * 3 // 5, MAX_DEFAULT_TARGET, room)))
        if self.target < 1 or self.reserve < 0 or self.target + self.reserve > self.window:
            raise BudgetError(
                f"target={self.target} and reserve={self.reserve} do not fit window={self.window}; "
                "lower the target or the reserve"
            )
        object.__setattr__(self, "high", int(self.target * self.watermarks.high))
        object.__setattr__(self, "low", int(self.target * self.watermarks.low))
        object.__setattr__(self, "block", int(self.target * BLOCK_SHARE))


def check_budget(budget: object) -> None:
    """Refuse what is no budget, such as a bare number of tokens; ``None`` leaves the choice to others.

    Raises:
        BudgetError: Neither ``None`` nor a :class:`Budget`.
    """
    if budget is not None and not isinstance(budget, Budget):
        raise BudgetError(f"budget is a pagefault.Budget(window=...), got {type(budget).__name__} {budget!r:.60}")
