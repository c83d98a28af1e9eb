"""Breaths: a long stretch of work behind the agent lets other threads have the interpreter now and then."""

from __future__ import annotations

import time
from typing import Final

BREATH_SECONDS: Final = 0.00002
"""Enough: whoever waits for the interpreter gets it only from a thread that really sleeps, however short."""
STRETCH_SECONDS: Final = 0.0005
"""After so long without a breath one is due."""


def rest() -> None:
    """Let other threads have the interpreter for a moment."""
    time.sleep(BREATH_SECONDS)


class Breath:
    """Sleeps for a moment where a stretch of work has been long enough."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def draw(self) -> None:
        """Let others have the interpreter, if it is time."""
        if time.perf_counter() - self._last > STRETCH_SECONDS:
            rest()
            self._last = time.perf_counter()
