"""What the tests of the kernel share: a memory whose store can fail, and looks behind the scenes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

import pagefault
from pagefault.memory import Memory
from pagefault.ports import Record, Scope, Where
from pagefault.space import Space
from pagefault.stores import EdgeStore
from pagefault.testing.faults import FlakyStore, SlowStore

S = TypeVar("S", bound=FlakyStore)
PATIENCE = 60.0


@contextlib.contextmanager
def wrapped(
    monkeypatch: pytest.MonkeyPatch, wrapper: type[S], target: Any = ":memory:", **options: Any
) -> Iterator[tuple[Memory, S]]:
    """A memory whose store is a fake around the real one."""
    options.setdefault("embedder", None)
    monkeypatch.setattr("pagefault.core.EdgeStore", lambda path, **kwargs: wrapper(EdgeStore(path, **kwargs)))
    memory = pagefault.open(target, **options)
    store = memory.core.store
    assert isinstance(store, wrapper)
    try:
        yield memory, store
    finally:
        store.heal()
        if isinstance(store, SlowStore):
            store.let_go()
        memory.close()


@contextlib.contextmanager
def store_alone() -> Iterator[None]:
    """Faults are answered by the store, also where the messages are here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pagefault.faults.retrieval.at_hand", lambda *_: {})
        yield


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that happens on another thread. The limit only ends a test that hangs."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.002)


def threads_since(before: set[threading.Thread]) -> list[str]:
    """Names of the threads that began since and have not ended. What ends meanwhile is nobody's business."""
    return sorted(thread.name for thread in set(threading.enumerate()) - before)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def users(first: int, last: int) -> list[dict[str, Any]]:
    return [user(f"message {n}") for n in range(first, last + 1)]


def texts(space: Space) -> list[str]:
    """What every page of a space says, read back from the store."""
    length = space.paging.lineages[0].length if space.paging.lineages else 0
    with store_alone():
        return [found.page.text for found in space.fault(f"1-{length}").pages] if length else []


def records(memory: Memory, space: Space) -> list[Record]:
    """All pages that the store holds of a space, whatever path they are on."""
    scope = Scope(tenant=space.id.tenant, space=space.id.key)
    memory.ready()
    return memory.core.kernel.call(memory.core.store.scan(scope, Where(), limit=1_000_000))


def scope_of(space: Space) -> Scope:
    return Scope(tenant=space.id.tenant, space=space.id.key)
