"""Whether messages are equal, whatever objects they hold."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any


def is_equal(one: Any, other: Any) -> bool:
    """Whether two are equal for Python. No where that cannot be seen: a message may hold what raises, as arrays do.

    Example:
        >>> is_equal([1], [1.0])
        True
    """
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  # the code of any object
        return False


def differing(ones: Sequence[Any], others: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Both without the objects that they begin with and end with in common; a long list costs some ten ns an object.

    Example:
        >>> differing("abcde", "abxde")
        ('c', 'x')
    """
    first = _common(ones, others)
    ones, others = ones[first:], others[first:]
    last = _common(ones[::-1], others[::-1])
    return ones[: len(ones) - last], others[: len(others) - last]


def _common(ones: Sequence[Any], others: Sequence[Any]) -> int:
    same = list(map(is_, ones, others))
    return len(same) if all(same) else same.index(False)
