"""What a recall is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for.

    Attributes:
        text: The question.
        limit: Pages returned at most.
        after: Only pages first seen at or after this time, Unix seconds.
        before: Only pages first seen before this time, Unix seconds.
        budget: Tokens that the rendering may use.
        skip_resident: Leave out what is in the window already; it is named, not repeated.
        crosses: Also look into the user's other conversations.
    """

    text: str
    limit: int
    budget: int
    after: float | None = None
    before: float | None = None
    skip_resident: bool = False
    crosses: bool = False

    @property
    def is_timed(self) -> bool:
        """Whether only some time is looked at."""
        return self.after is not None or self.before is not None

    def is_in_time(self, moment: float) -> bool:
        """Whether something of this moment is looked for."""
        late = self.after is None or moment >= self.after
        return late and (self.before is None or moment < self.before)
