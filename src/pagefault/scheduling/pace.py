"""What a backend's refusal (429) teaches: pause as long as it asks, then go on with fewer calls at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pagefault.scheduling.numbers import seconds

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
MOST_ASKED: Final = 86_400
TOO_MANY: Final = 429
MOST_CAUSES: Final = 16
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
        first = now >= self.until or self.reason != REFUSED
        if first:
            self._width = max(1.0, self._width / 2)
        if retry_after is None:
            if not first:
                return
            retry_after, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        self.until, self.reason = max(self.until, now + retry_after), REFUSED

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
        BadTurn: Not a number of seconds up to a day.
    """
    if retry_after is not None:
        seconds("retry_after", retry_after, MOST_ASKED)


def is_refusal(error: BaseException) -> bool:
    """Whether a model client's error means 429, as clients report it, or was raised from one that does."""
    return any(_is_refusal(each) for each in _causes(error))


def retry_after(error: BaseException, wall: float) -> float | None:
    """Seconds that a refusal asks to wait (a day at most) by its ``Retry-After`` headers; ``None`` if it does not say.

    Args:
        error: The client's error, with the response it came from.
        wall: Seconds since the epoch, for headers that name a date.
    """
    for each in _causes(error):
        headers = _of(_of(each, "response"), "headers")
        if not _is_refusal(each) or not hasattr(headers, "get"):
            continue
        for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            asked = _seconds(str(headers.get(name) or ""), unit, wall)
            if asked is not None:
                return asked
    return None


def _is_refusal(error: BaseException) -> bool:
    places = (error, _of(error, "response"))
    return any(_of(place, name) == TOO_MANY for place in places for name in ("status_code", "status", "code"))


def _of(place: Any, name: str) -> Any:
    """What an error of somebody's has by this name; one that raises when it is asked has nothing."""
    try:
        return getattr(place, name, None)
    except Exception:  # noqa: BLE001  # foreign code, and the error itself is what its caller has to see
        return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and what a group holds; no more than 16 of them."""
    found = [error]
    for each in found:
        yield each
        more = [one for one in (*_inner(each), each.__cause__) if isinstance(one, BaseException)]
        found += more[: MOST_CAUSES - len(found)]


def _inner(error: Any) -> Sequence[Any]:
    """What a group holds; others may call anything ``exceptions``."""
    return error.exceptions if issubclass(type(error), BaseExceptionGroup) else ()


def _seconds(text: str, unit: float, wall: float) -> float | None:
    try:
        asked = float(text) * unit
    except ValueError:
        try:
            asked = parsedate_to_datetime(text).timestamp() - wall
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, asked), float(MOST_ASKED)) if math.isfinite(asked) else None
