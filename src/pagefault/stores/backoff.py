"""How long to wait before asking a server again: a pure rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Bounded exponential backoff with jitter.

    Attributes:
        attempts: How often a call is made at most, the first time included.
        first: Seconds before the second attempt.
        factor: How much longer each wait is than the one before.
        longest: No wait is longer, except one that the server asked for.
        patience: No attempt starts later than this many seconds after the first, whoever asks for it.
    """

    attempts: int = 6
    first: float = 0.1
    factor: float = 2.0
    longest: float = 5.0
    patience: float = 20.0


def delays(policy: Backoff, draw: Callable[[], float]) -> Iterator[float]:
    """The waits between attempts, one fewer than attempts.

    Args:
        policy: The bounds.
        draw: Gives numbers from 0 to 1. Half of each wait is left to it, so that many clients
            that failed together do not come back together.

    Example:
        >>> list(delays(Backoff(attempts=4, first=1.0, longest=3.0), lambda: 1.0))
        [1.0, 2.0, 3.0]
    """
    wait = policy.first
    for _ in range(policy.attempts - 1):
        yield min(wait, policy.longest) * (1 + draw()) / 2
        wait = min(wait * policy.factor, policy.longest)


def next_wait(policy: Backoff, planned: float | None, *, asked: float, spent: float) -> float | None:
    """How long to wait now; ``None`` to give up.

    Args:
        policy: The bounds.
        planned: The next of :func:`delays`, ``None`` when they are used up.
        asked: Seconds that the server asked for (``Retry-After``), 0 for none.
        spent: Seconds since the first attempt.
    """
    if planned is None:
        return None
    wait = max(planned, asked)
    return wait if spent + wait <= policy.patience else None
