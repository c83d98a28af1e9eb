"""A memory for each test that asks for one; ``memory`` is what LlamaIndex calls what is made of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pagefault


@pytest.fixture
def backend() -> Iterator[pagefault.Memory]:
    with pagefault.open(":memory:", embedder=None) as opened:
        yield opened
