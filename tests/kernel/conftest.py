"""A memory for each module, and a conversation of its own for each test; some modules have others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

import pagefault
from tests.kernel.support import user

_threads = itertools.count()


@pytest.fixture(scope="module")
def memory() -> Iterator[pagefault.Memory]:
    with pagefault.open(":memory:", embedder=None) as opened:
        yield opened


@pytest.fixture
def space(memory: pagefault.Memory) -> pagefault.Space:
    space = memory.space(thread=f"thread {next(_threads)}")
    space.append([user("the cat is called Turing"), user("the dog is called Ada"), user("it rains")])
    return space
