"""The process that is killed: it checks what it finds, then appends until it dies.

Talks to its parent over a pipe: ``("found", messages)`` once all that is stored was checked,
``("flushed", messages)`` after every flush, ``("done", messages)`` when it has written all
that it will, ``("wrong", what)`` if anything is not as it must be.
"""

from __future__ import annotations

import random
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

import pagefault
from pagefault.memory import Memory
from pagefault.messages import canonical
from pagefault.paths.slot import LeftBehind
from pagefault.space import Space
from tests.kernel.conversation import bodies, message
from tests.kernel.support import records

EVICTING = pagefault.Budget(window=1_000_000, target=20_000)
AHEAD = 120
"""More than this and it waits to be killed, so that fifty rounds do not fill the disk."""


def check(memory: Memory, space: Space, told: int) -> int:
    """Every message that was acknowledged is there, exact and once; how many there are."""
    space.view(budget=pagefault.Budget(window=10**9, target=5 * 10**8))
    lineage = space.paging.lineages[0]
    count = len(lineage.seen)
    assert count >= told, f"{told} messages were acknowledged, {count} are there"
    for n, native in enumerate(lineage.seen):
        assert isinstance(native, LeftBehind) or native == canonical.load(canonical.dump(message(n))[0]), (
            f"not message {n}"
        )
    expected = bodies(count)
    pages = [found.page for found in space.fault(f"1-{len(expected)}").pages] if expected else []
    assert [page.body for page in pages] == expected, "other pages"
    stored = records(memory, space)
    assert [record.seq for record in stored] == list(range(1, len(expected) + 1)), "a gap or a page twice"
    assert [record.fields["chain"] for record in stored] == [page.chain for page in pages], "another chain"
    return count


def main(path: str, told: int, seed: int, embedder: Any, pipe: Connection) -> None:
    """Check, then write until killed."""
    try:
        memory = pagefault.open(path, embedder=embedder)
        space = memory.space(thread="t", user="ada")
        count = check(memory, space, told)
        pipe.send(("found", count))
        write(memory, space, count, random.Random(seed), pipe)
    except BaseException:
        pipe.send(("wrong", traceback.format_exc()))
        raise


def write(memory: Memory, space: Space, count: int, chance: random.Random, pipe: Connection) -> None:
    stop = count + AHEAD
    while count < stop:
        size = chance.choice((1, 1, 2, 3, 7))
        space.append([message(n) for n in range(count, count + size)])
        count += size
        if chance.random() < 0.25:
            memory.flush()
            pipe.send(("flushed", count))
        elif chance.random() < 0.2:
            time.sleep(chance.random() * 0.05)
        elif chance.random() < 0.1:
            space.view(budget=EVICTING)
    memory.flush()
    pipe.send(("flushed", count))
    pipe.send(("done", count))  # by the time it is killed it waits for nothing but that
    time.sleep(3600)
