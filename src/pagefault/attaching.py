"""Handles of adapters that were written down find their memory again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pagefault.errors import StoreError, StoreMissing
from pagefault.kernel import refuse_other_loops
from pagefault.memory import Memory, open, opened  # noqa: A004  # as pagefault.open
from pagefault.stores.header import FILE, SHARD
from pagefault.targets import key_of, place_of


def attach(place: str) -> Memory:
    """The open memory whose :attr:`Memory.place` this is, else that place opened with the default options.

    What is open already stays its opener's to close.

    Raises:
        StoreError: A throw-away memory that is closed, or was another process's.
        StoreMissing: There is no memory in that directory, so nothing that was written down is there.
    """
    known = opened(place)
    if known is not None:
        return known
    if place.startswith(":memory:"):
        raise StoreError(
            f"{place} was a throw-away memory, which is gone with its process or was closed; "
            "to find a session again, open a directory such as './agent-memory'"
        )
    real = place_of(place)
    known = opened(key_of(real))
    if known is not None:
        return known
    if isinstance(real, Path) and not _has_memory(real):
        raise StoreMissing(
            f"there is no memory at {place}, where this session was; if it was moved, open it where it is now and give "
            "that to the session (of a Context: ctx.store.set('memory', ...)); for a new one call pagefault.open first"
        )
    return open(place)


async def aattach(place: str) -> Memory:
    """Async twin of :func:`attach`, which asks the file system beside the event loop."""
    refuse_other_loops()
    known = opened(place)
    return known if known is not None else await asyncio.to_thread(attach, place)


def _has_memory(directory: Path) -> bool:
    """Whether there is one, or what is left of one; what cannot be told is for ``open`` to say."""
    try:
        return any(each.name == FILE or each.name.startswith(SHARD) for each in directory.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True
