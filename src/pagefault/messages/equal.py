"""Whether messages are equal, whatever objects they hold."""

from __future__ import annotations

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
