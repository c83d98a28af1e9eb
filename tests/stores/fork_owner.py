"""Opens a store, forks, and says what the child met and whether the files stayed as they were.

Usage: fork_owner.py DIRECTORY. A program of test_edge_processes.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from pagefault.errors import StoreError
from pagefault.ports import Where
from pagefault.stores import EdgeStore
from pagefault.testing import ThreadRunner
from pagefault.testing.store_contract import HEADER, OURS, page


def digest(directory: Path) -> str:
    """Of all files' names and bytes."""
    files = sorted(file for file in directory.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(str(f).encode() + f.read_bytes() for f in files)).hexdigest()


async def child(store: EdgeStore) -> None:
    """Try to use the inherited store."""
    for call in (store.get(OURS, []), store.sync(), store.put(OURS, [page(9)]), store.open(HEADER)):
        try:
            await call
        except StoreError as error:
            sys.stdout.write(f"child: {error}\n")
    await store.close()
    sys.stdout.write("child closed\n")


async def use(store: EdgeStore) -> None:
    """Open and write, without a flush."""
    await store.open(HEADER)
    await store.put(OURS, [page(n) for n in range(1, 100)])


async def finish(store: EdgeStore) -> None:
    """Go on writing after the child is gone."""
    await store.put(OURS, [page(n) for n in range(100, 200)])
    sys.stdout.write(f"parent: {len(await store.scan(OURS, Where(), limit=1000))}\n")
    await store.close()


def main(directory: str) -> None:
    """Fork in the middle of the work."""
    run = ThreadRunner()
    store = EdgeStore(directory, run=run)
    asyncio.run(use(store))
    before = digest(Path(directory))
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        asyncio.run(child(store))
        return  # an ordinary end of the process, which destroys every object
    os.waitpid(pid, 0)
    sys.stdout.write(f"untouched: {digest(Path(directory)) == before}\n")
    asyncio.run(finish(store))
    run.close()


if __name__ == "__main__":
    main(sys.argv[1])
