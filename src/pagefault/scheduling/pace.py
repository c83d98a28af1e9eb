"""What a backend's refusal (429) teaches: pause as long as it asks, then go on with fewer calls at a time."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pagefault.errors import BadTurn

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
REFUSED: Final = "the backend, which refused"
OTHERS: Final = "the other processes, after the server lost its data"


class Pace:
    """Calls at a time: halved by a refusal, one more after each full round of successes (as TCP does).

    Attributes:
        until: No call begins before this time.
        reason: Why not, in words.
    """

    __slots__ = ("_most", "_pause", "_width", "reason", "until")

    def __init__(self, slots: int) -> None:
        self._most = slots
        self._width = float(slots)
        self._pause = FIRST_PAUSE
        self.until = -math.inf
        self.reason = REFUSED

    @property
    def slots(self) -> int:
        """How many calls may run at a time now."""
        return max(1, int(self._width))

    def refused(self, retry_after: float | None, now: float) -> None:
        """The backend said 429. Those already on their way when it first did count as one refusal.

        Raises:
            BadTurn: ``retry_after`` is not a number of seconds.
        """
        check_pause(retry_after)
        if now >= self.until:
            self._width = max(1.0, self._width / 2)
        pause = self._pause if retry_after is None else retry_after
        if retry_after is None and now >= self.until:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self.until, self.reason = max(self.until, now + pause), REFUSED

    def wait_for_others(self, until: float) -> None:
        """No call begins before that time, for another reason."""
        if until > self.until:
            self.until, self.reason = until, OTHERS

    def succeeded(self) -> None:
        """A call came back."""
        self._pause = FIRST_PAUSE
        self._width = min(float(self._most), self._width + 1 / self._width)


def check_pause(retry_after: float | None) -> None:
    """Refuse what is no pause.

    Raises:
        BadTurn: Not a number of seconds.
    """
    if retry_after is not None and not 0 <= retry_after < math.inf:
        raise BadTurn(f"retry_after={retry_after}; it is a number of seconds, or None")


def is_refusal(error: BaseException) -> bool:
    """Whether a model client's error means 429, as the clients of the large providers report it."""
    status = getattr(error, "status_code", None)
    return (getattr(getattr(error, "response", None), "status_code", None) if status is None else status) == 429


def retry_after(error: BaseException, wall: float) -> float | None:
    """Seconds that a refusal asks to wait, from its ``Retry-After`` headers; ``None`` if it does not say.

    Args:
        error: The client's error, with the response it came from.
        wall: Seconds since the epoch, for headers that name a date.
    """
    headers: Any = getattr(getattr(error, "response", None), "headers", None)
    if not hasattr(headers, "get"):
        return None
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _seconds(str(headers.get(name) or ""), unit, wall)
        if seconds is not None:
            return seconds
    return None


def _seconds(text: str, unit: float, wall: float) -> float | None:
    try:
        seconds = float(text) * unit
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - wall
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
