"""When something that failed is tried again: the pauses grow, a success forgets them."""

from __future__ import annotations

import time
from typing import Final

PAUSES: Final = (0.1, 0.3, 1.0, 3.0, 5.0)


class Patience:
    """The failures in a row of one thing."""

    def __init__(self) -> None:
        self._failures = 0
        self._due = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it may be tried now."""
        return not self._failures or time.monotonic() >= self._due

    def failed(self) -> None:
        """Wait before the next attempt, longer than before the last one."""
        self._due = time.monotonic() + PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1

    def worked(self) -> None:
        """Forget the failures."""
        self._failures = 0
