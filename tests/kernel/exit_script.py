"""Appends and exits normally without closing anything. Usage: exit_script.py DIRECTORY HOW."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from typing import Any

import pagefault
from tests.kernel.support import until

COUNT = 40


async def _leave_while_closing(memory: pagefault.Memory, batch: list[dict[str, Any]]) -> None:
    await memory.space(thread="t").aappend(batch)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(memory.aclose(), 0.001)


def main(directory: str, how: str) -> None:
    """Append in one of several ways and leave."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    memory = pagefault.open(directory, embedder=None)
    space = memory.space(thread="t")
    batch = [{"role": "user", "content": f"message {n}"} for n in range(1, COUNT + 1)]
    if how == "plain":
        space.append(batch)
    elif how == "async":
        asyncio.run(space.aappend(batch))
    elif how == "thread":
        thread = threading.Thread(target=space.append, args=(batch,))
        thread.start()
    elif how == "closing":  # and does not wait for it
        space.append(batch)
        threading.Thread(target=memory.close, daemon=True).start()
        until(lambda: memory.core.is_closed, "the closing")
    elif how == "cancelled":
        asyncio.run(_leave_while_closing(memory, batch))
    elif how == "error":
        space.append(batch)
        raise SystemExit(3)
    else:
        pagefault.open(directory, embedder=None)  # two holders, none of whom closes
        space.append(batch)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
