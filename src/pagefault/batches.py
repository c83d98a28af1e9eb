"""Candidates in batches: a few are read where few are wanted, and many together where there are many."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TypeVar

T = TypeVar("T")


async def batches(candidates: AsyncGenerator[T], skip: int, size: int, *, most: int) -> AsyncGenerator[list[T]]:
    """Candidates after the first few, in batches that grow up to so many."""
    batch: list[T] = []
    async with contextlib.aclosing(candidates):
        async for each in candidates:
            if skip:
                skip -= 1
                continue
            batch.append(each)
            if len(batch) >= size:
                yield batch
                batch, size = [], min(most, 2 * size)
    if batch:
        yield batch
