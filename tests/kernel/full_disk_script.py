"""A memory on a small disk that somebody else fills up. Usage: full_disk_script.py MOUNT first|second.

Ends with a SIGBUS, and so without an exit code of its own, where the engine writes without room.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pagefault
from pagefault.errors import StoreUnwritable
from pagefault.testing.embedders import HashingEmbedder
from tests.kernel.support import texts

COUNT = 60
EMBEDDER = HashingEmbedder()


def said(first: int, last: int) -> list[dict[str, str]]:
    """Messages of which no two are alike, of some kilobytes each."""
    return [{"role": "user", "content": f"message {n}: " + f"word{n} " * 300} for n in range(first, last + 1)]


def fill(mount: Path) -> None:
    """Leave not one block."""
    with (mount / "fill").open("wb", buffering=0) as file:
        for size in (65_536, 4_096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    usage = os.statvfs(mount)
    assert usage.f_bavail == 0, usage


def make_room(mount: Path) -> None:
    """Give all of it back."""
    (mount / "fill").unlink()


def refused(verb: Callable[[], None]) -> None:
    """Try something that has to write."""
    with pytest.raises(StoreUnwritable, match="free some space"):
        verb()


def first(mount: Path) -> None:
    """The disk fills up at every moment of a memory's life."""
    place = mount / "memory"
    memory = pagefault.open(place, embedder=EMBEDDER)
    space = memory.space(thread="t")
    space.append(said(1, COUNT))
    memory.flush()
    fill(mount)
    for one in said(COUNT + 1, 2 * COUNT):
        space.append(one)
        space.view()
    refused(memory.flush)
    assert [page.page.text for page in space.fault(f"1-{COUNT}").pages] == [one["content"] for one in said(1, COUNT)]
    assert space.fault(str(2 * COUNT)).pages
    make_room(mount)
    memory.flush()
    fill(mount)
    assert space.recall("word7").pages
    refused(memory.close)
    refused(pagefault.open(place, embedder=EMBEDDER).ready)
    make_room(mount)
    memory = pagefault.open(place, embedder=EMBEDDER)
    space = memory.space(thread="t")
    space.view()
    assert texts(space) == [one["content"] for one in said(1, 2 * COUNT)]
    space.append(said(2 * COUNT + 1, 3 * COUNT))
    memory.flush()
    fill(mount)
    # and leave, without closing


def second(mount: Path) -> None:
    """Another process finds all of it, once there is room."""
    place = mount / "memory"
    refused(pagefault.open(place, embedder=EMBEDDER).ready)
    make_room(mount)
    with pagefault.open(place, embedder=EMBEDDER) as memory:
        space = memory.space(thread="t")
        space.view()
        assert texts(space) == [one["content"] for one in said(1, 3 * COUNT)]


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    {"first": first, "second": second}[sys.argv[2]](Path(sys.argv[1]))
    print("all is there")
