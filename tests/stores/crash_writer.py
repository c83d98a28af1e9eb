"""Writes numbered records until it is killed, and prints each batch that was acknowledged.

Usage: crash_writer.py DIRECTORY FIRST. A program of test_edge_processes.py.
"""

from __future__ import annotations

import asyncio
import sys

from pagefault.ports import Record, Sparse
from pagefault.stores import EdgeStore
from pagefault.testing import ThreadRunner
from pagefault.testing.store_contract import HEADER, OURS, head, page

CHUNKED_EVERY = 7
SEVERAL_CHUNKS_EVERY = 70


def record(number: int) -> Record:
    """The record with this number, always the same."""
    repeats = 300_000 if number % SEVERAL_CHUNKS_EVERY == 0 else 12_000 if number % CHUNKED_EVERY == 0 else 20
    text = f"{number:07}" * repeats
    return page(number, text, sparse=Sparse(indices=(number % 50,), values=(1.0,)))


async def main(directory: str, first: int) -> None:
    """Write until killed."""
    with ThreadRunner() as run:
        store = EdgeStore(directory, run=run)
        await store.open(HEADER)
        say("open")
        number = first
        while True:
            batch = [record(n) for n in range(number, number + 20)]
            await store.put(OURS, [*batch, head(number + 19)])
            say(f"stored {number} {number + 19}")
            await store.index(OURS, {r.id: [[1.0, float(r.seq), 0.5]] for r in batch})
            await store.sync()
            number += 20


def say(line: str) -> None:
    """Print one whole line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
