"""How many examples a property is tried with: as many as it says, times EXAMPLES of the environment."""

from __future__ import annotations

import os
from typing import Any, Final

from hypothesis import settings

TIMES: Final = int(os.environ.get("EXAMPLES", "1"))
LARGER: Final = min(TIMES, 2)
"""How much larger workloads may be, when there is time for many."""


def tried(examples: int, **others: Any) -> settings:
    """Settings of a property whose examples are many, few, or large."""
    return settings(max_examples=examples * TIMES, **others)
