"""Numbers from outside are checked where they come in: no sum or product of them may lose what is added later."""

from __future__ import annotations

import math
from typing import Final

from pagefault.errors import BadTurn

LARGEST: Final = 10**12
LEAST_WEIGHT: Final = 1e-6
LARGEST_WEIGHT: Final = 1e6


def whole(name: str, value: object, least: int = 0) -> int:
    """``value`` if it is a whole number from ``least`` to a million millions.

    Raises:
        BadTurn: It is not.
    """
    if type(value) is int and least <= value <= LARGEST:  # what nearly every value is
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadTurn(f"{name} is a whole number, got {type(value).__name__} {value!r:.40}")
    if least <= value <= LARGEST:  # such as a member of an IntEnum
        return int(value)
    raise BadTurn(f"{name}={_shown(value)}; it has to be at least {least} and at most {LARGEST:,}")


def above_zero(name: str, value: object) -> float:
    """``value`` if it is a number above 0, up to a million millions.

    Raises:
        BadTurn: It is not.
    """
    number = _number(name, value)
    if 0 < number <= LARGEST:
        return number
    raise BadTurn(f"{name}={_shown(value)}; it has to be a finite number above 0")


def from_zero(name: str, value: object) -> float:
    """``value`` if it is a number from 0 to a million millions, or infinity.

    Raises:
        BadTurn: It is not.
    """
    number = _number(name, value)
    if 0 <= number <= LARGEST or number == math.inf:
        return number
    raise BadTurn(f"{name}={_shown(value)}; it has to be from 0 to {LARGEST:,}, or infinity")


def as_weight(value: object) -> float:
    """``value`` if it is a weight. Beside a much smaller one all that others are charged would be lost in rounding.

    Raises:
        BadTurn: It is not.
    """
    number = _number("weight", value)
    if LEAST_WEIGHT <= number <= LARGEST_WEIGHT:
        return number
    raise BadTurn(f"weight={_shown(value)}; it has to be from {LEAST_WEIGHT} to {LARGEST_WEIGHT:,.0f}")


def seconds(name: str, value: object, most: int) -> float:
    """``value`` if it is a number of seconds from 0 to ``most``.

    Raises:
        BadTurn: It is not.
    """
    number = _number(name, value)
    if 0 <= number <= most:
        return number
    raise BadTurn(f"{name}={_shown(value)}; it is a number of seconds up to {most:,}, or None")


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadTurn(f"{name} is a number, got {type(value).__name__} {value!r:.40}")
    return value


def _shown(value: object) -> str:
    """Not all of a number that has thousands of digits; Python refuses to write those."""
    is_long = isinstance(value, int) and abs(value) > 10 * LARGEST
    return "(a number of more than 13 digits)" if is_long else str(value)
