"""A memory for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pagefault


@pytest.fixture
def memory() -> Iterator[pagefault.Memory]:
    with pagefault.open(":memory:", embedder=None) as opened:
        yield opened
