"""Calibration: a budget corrected by what a model's provider reports.

Every tokenizer counts differently, and a provider adds tokens that no message shows. Its report
of what a request had is the truth. Reported over counted is a ratio; the budget is divided by it,
so that everything else goes on counting as before. A budget that grows by that grows by no more
than what a report was below its count: the part that was overestimated may be one that stays the
same, such as tool schemas, and then its share is smaller in a larger prompt. Pure, but for the gauge
that remembers.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from pagefault.window.budget import Budget

SAMPLES: Final = 8
"""How many reports count; the largest ratio among them holds: up at once, down slowly."""
LEAST_TOKENS: Final = 500
"""Below this, what the provider adds to every request would pass for a ratio."""
GROWTH: Final = 1.25
"""A prompt is compared again when it has grown this much, and at every reclaim."""
LOWEST: Final = 0.5
HIGHEST: Final = 4.0
_SAID: Final = 0.05
_log: Final = logging.getLogger("pagefault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a model's provider reported, against what was counted.

    Attributes:
        reports: Counted and reported tokens of the last requests, newest last.

    Example:
        >>> Calibration().after(counted=1_000, reported=1_250).factor
        1.25
    """

    reports: tuple[tuple[int, int], ...] = ()

    @property
    def factor(self) -> float:
        """Provider tokens for each token counted here, at most; 1.0 until something was reported."""
        return max((reported / counted for counted, reported in self.reports), default=1.0)

    @property
    def spared(self) -> int:
        """Tokens that a request had less than was counted, at most."""
        return max((counted - reported for counted, reported in self.reports), default=0)

    def after(self, *, counted: int, reported: int) -> Calibration:
        """With one more report. One that cannot be true (half or four times the count) is left out."""
        if counted < LEAST_TOKENS or not LOWEST <= reported / counted <= HIGHEST:
            return self
        return replace(self, reports=(*self.reports, (counted, reported))[-SAMPLES:])

    def applied(self, budget: Budget) -> Budget:
        """The same budget in tokens as they are counted here.

        Example:
            >>> known = Calibration(reports=((4_000, 5_000),))
            >>> known.applied(Budget(window=10_000, target=5_000, reserve=1_000)).target
            4000
        """
        factor = self.factor
        if math.isclose(factor, 1.0):
            return budget
        reserve = math.ceil(budget.reserve / factor)
        window = max(reserve + 1, self._counted(budget.window, factor))
        target = max(1, min(window - reserve, self._counted(budget.target, factor)))
        return Budget(window=window, target=target, reserve=reserve, watermarks=budget.watermarks)

    def _counted(self, tokens: int, factor: float) -> int:
        """How many may be counted where the provider may count ``tokens``."""
        return int(tokens / factor) if factor > 1 else min(int(tokens / factor), tokens + self.spared)


class Gauge:
    """One model's budget, as it was asked for and as reports have corrected it.

    Attributes:
        model: How the model calls itself.
        asked: The budget in the provider's tokens.
        budget: The same in tokens as counted here; what a step decides by.
        calibration: The reports behind the difference.
        due: A prompt of this many counted tokens is worth comparing again.
    """

    __slots__ = ("asked", "budget", "calibration", "due", "model")

    def __init__(self, asked: Budget, model: str = "") -> None:
        self.model = model
        self.asked = asked
        self.budget = asked
        self.calibration = Calibration()
        self.due = LEAST_TOKENS

    def report(self, *, counted: int, reported: int) -> None:
        """Take in what a provider said a request had. What it changes is logged."""
        before = self.calibration.factor
        self.calibration = self.calibration.after(counted=counted, reported=reported)
        self.budget = self.calibration.applied(self.asked)
        self.due = max(self.due, int(counted * GROWTH))
        now = self.calibration.factor
        if abs(now - before) > _SAID * before:
            _log.info(
                "%s reports %.2f tokens for each one counted here (%s for %s); its target of %s is %s as counted here",
                self.model or "the model",
                now,
                f"{reported:,}",
                f"{counted:,}",
                f"{self.asked.target:,}",
                f"{self.budget.target:,}",
            )

    def unreported(self, counted: int) -> None:
        """Take in that an answer said nothing of its request: the next one is asked when the prompt has grown."""
        self.due = max(self.due, int(counted * GROWTH))

    def again(self) -> None:
        """After a reclaim: the prompt is small again, and its growth worth watching."""
        self.due = LEAST_TOKENS

    def __repr__(self) -> str:
        return f"<pagefault.Gauge {self.model!r} factor={self.calibration.factor:.2f} {self.budget}>"


class Sent(NamedTuple):
    """What the last request held, for its answer may say how many tokens that were to the model it was for."""

    gauge: Gauge
    messages: int
    overhead: int
    generation: int
