"""How long the user's event loop stands still while pages are written back behind it.

Run with ``python -m benchmarks.loop_stall``. A ticker sleeps one millisecond at a time in the
user's loop; a stall is how much later than that it wakes. Meanwhile pages are appended and
written back: body and search terms, vectors, durable on disk. The first row is the same loop
with nothing to do, so that the machine's own noise can be told apart.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from typing import Any

import pagefault

TICK = 0.001
WORDS = "page fault window budget token engine vector index chain head summary reclaim agent tool memory".split()


def messages(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Talk of about 250 characters a message."""
    chance = random.Random(seed)
    return [
        {"role": "user" if n % 2 else "assistant", "content": f"{n}: " + " ".join(chance.choices(WORDS, k=40))}
        for n in range(count)
    ]


async def ticking(stalls: list[float], stop: asyncio.Event) -> None:
    """Record by how much each tick came late."""
    while not stop.is_set():
        began = time.perf_counter()
        await asyncio.sleep(TICK)
        stalls.append(time.perf_counter() - began - TICK)


async def idle(seconds: float) -> list[float]:
    """The ticker alone."""
    stalls: list[float] = []
    stop = asyncio.Event()
    ticker = asyncio.create_task(ticking(stalls, stop))
    await asyncio.sleep(seconds)
    stop.set()
    await ticker
    return stalls


async def written(pages: int, embedder: Any) -> tuple[list[float], float]:
    """Stalls and seconds while so many pages are written back."""
    stalls: list[float] = []
    stop = asyncio.Event()
    async with pagefault.open(":memory:", embedder=embedder) as memory:
        await memory.space(thread="warm").aappend(messages(32))
        await memory.aflush()  # the model is loaded, the files are there
        space = memory.space(thread="t")
        batch = messages(pages)
        await space.aview()
        ticker = asyncio.create_task(ticking(stalls, stop))
        await asyncio.sleep(0.05)
        stalls.clear()
        began = time.perf_counter()
        for first in range(0, pages, 50):  # as agents do: a little at a time, faster than it can be written
            await space.aappend(batch[first : first + 50])
            await asyncio.sleep(0)
        await memory.aflush()
        seconds = time.perf_counter() - began
        stop.set()
        await ticker
    return stalls, seconds


def row(name: str, stalls: list[float], rate: str) -> str:
    """One line of the table."""
    ordered = sorted(stalls)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1e3 for share in (0.5, 0.99))
    return f"| {name} | {p50:.2f} | {p99:.2f} | {ordered[-1] * 1e3:.1f} | {rate} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| what | stall p50 ms | p99 ms | max ms | pages/s |")
    print("|---|---|---|---|---|")
    print(row("nothing to do", asyncio.run(idle(1.0)), ""))
    for name, embedder in (("full text alone", None), ("default embedder", "default")):
        for _ in range(options.rounds):
            stalls, seconds = asyncio.run(written(options.pages, embedder))
            print(row(f"{options.pages:,} pages, {name}", stalls, f"{options.pages / seconds:,.0f}"))


if __name__ == "__main__":
    main()
