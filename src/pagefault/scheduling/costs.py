"""What a model call costs its account: tokens, weighted by what they cost to serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pagefault.errors import BadTurn
from pagefault.scheduling.numbers import whole

LARGEST_PRICE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The tokens of one or more model calls.

    Attributes:
        input_tokens: All that was sent, the cached part included.
        output_tokens: All that came back.
        cached_tokens: The part of the input that the backend had in its prompt cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Input and output together, as rate limits count."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
        )


NOTHING = Usage()


def reported(input_tokens: int, output_tokens: int, cached_tokens: int) -> Usage:
    """Usage as somebody outside reports it.

    Raises:
        BadTurn: A number below 0 or not whole, or more cached than sent.
    """
    usage = Usage(
        input_tokens=whole("input_tokens", input_tokens),
        output_tokens=whole("output_tokens", output_tokens),
        cached_tokens=whole("cached_tokens", cached_tokens),
    )
    if usage.cached_tokens > usage.input_tokens:
        raise BadTurn(
            f"cached_tokens={cached_tokens} of input_tokens={input_tokens}: the cached part is counted in the input"
        )
    return usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What one token costs, in uncached input tokens. Only ratios matter; the defaults follow common price lists.

    Raises:
        BadTurn: A price below 0 or above a million.
    """

    uncached: float = 1.0
    cached: float = 0.1
    output: float = 4.0

    def __post_init__(self) -> None:
        for name in ("uncached", "cached", "output"):
            price: object = getattr(self, name)
            if not isinstance(price, int | float) or not 0 <= price <= LARGEST_PRICE:
                raise BadTurn(f"the price of {name} tokens is {price!r:.40}; give a number from 0 to {LARGEST_PRICE:,}")

    def cost(self, usage: Usage) -> float:
        """What this usage is charged.

        Example:
            >>> Prices().cost(Usage(input_tokens=1_000, cached_tokens=800, output_tokens=50))
            480.0
        """
        fresh = usage.input_tokens - usage.cached_tokens
        return fresh * self.uncached + usage.cached_tokens * self.cached + usage.output_tokens * self.output
