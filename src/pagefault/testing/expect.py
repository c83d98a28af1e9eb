"""Expectations that work without a test framework and under ``python -O``."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

from pagefault.errors import PagefaultError, StoreError

_PRECISION: Final = 1e-5  # scores are float32


async def refused(call: Awaitable[Any], what: str, kind: type[PagefaultError] = StoreError) -> None:
    """Fail unless awaiting ``call`` raises ``kind``."""
    try:
        await call
    except kind:
        return
    raise AssertionError(f"{what} was not refused with {kind.__name__}")


def true(condition: object, what: str) -> None:
    """Fail unless ``condition`` holds."""
    if not condition:
        raise AssertionError(f"not so: {what}")


def same(actual: object, expected: object, what: str) -> None:
    """Fail unless both are equal."""
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r:.500}, expected {expected!r:.500}")


def close(actual: float, expected: float, what: str) -> None:
    """Fail unless both agree to five digits."""
    if abs(actual - expected) > _PRECISION * max(1.0, abs(expected)):
        raise AssertionError(f"{what}: got {actual}, expected {expected}")
