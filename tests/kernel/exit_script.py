"""Appends and exits normally without closing anything. Usage: exit_script.py DIRECTORY HOW."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

import pagefault

COUNT = 40


def main(directory: str, how: str) -> None:
    """Append in one of several ways and leave."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    space = pagefault.open(directory, embedder=None).space(thread="t")
    batch = [{"role": "user", "content": f"message {n}"} for n in range(1, COUNT + 1)]
    if how == "plain":
        space.append(batch)
    elif how == "async":
        asyncio.run(space.aappend(batch))
    elif how == "thread":
        thread = threading.Thread(target=space.append, args=(batch,))
        thread.start()
    elif how == "error":
        space.append(batch)
        raise SystemExit(3)
    else:
        pagefault.open(directory, embedder=None)  # two holders, none of whom closes
        space.append(batch)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
