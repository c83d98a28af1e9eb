"""Numbers from outside are checked where they come in."""

from __future__ import annotations

import math

from pagefault.errors import BadTurn


def whole(name: str, value: object, least: int = 0) -> int:
    """``value`` if it is a whole number of at least ``least``.

    Raises:
        BadTurn: It is not.
    """
    if type(value) is int and value >= least:  # what nearly every value is
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadTurn(f"{name} is a whole number, got {type(value).__name__} {value!r:.40}")
    raise BadTurn(f"{name}={value}; it has to be at least {least}")


def above_zero(name: str, value: object) -> float:
    """``value`` if it is a finite number above 0.

    Raises:
        BadTurn: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadTurn(f"{name} is a number, got {type(value).__name__} {value!r:.40}")
    if 0 < value < math.inf:
        return value
    raise BadTurn(f"{name}={value}; it has to be a finite number above 0")
