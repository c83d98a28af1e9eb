"""LangGraph stores: put, get and search, and what searches do to the event loop.

Run with ``python -m benchmarks.store_speed``. PagefaultStore (embedded Qdrant on disk) and LangGraph's
InMemoryStore hold the same items and embed with the same model in the same process. A search has
a query; each is asked for once, so no cache helps. The stall is how much later than asked a 1 ms
timer wakes while four searches run at once on its loop.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore

import pagefault
from pagefault.embedders import default_embedder
from pagefault_langgraph import PagefaultStore

WORDS = (
    "agent memory window budget token page fault evict reclaim cache prefix store vector query index chain digest "
    "thread user tenant tool result summary gist block pin recall answer weak abstain score rank fuse dense sparse "
    "term weight garden river bicycle kitchen "
    "violin harbour lantern orchard meadow castle winter summer coffee bread apple silver"
).split()
ROUNDS = 60
BATCH = 200


def items(count: int) -> list[PutOp]:
    """Notes of 30 words, in 20 namespaces below one."""
    chance = random.Random(1)
    return [
        PutOp(("notes", f"n{i % 20}"), f"k{i}", {"text": " ".join(chance.choices(WORDS, k=30)), "n": i})
        for i in range(count)
    ]


def queries(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=5)) for _ in range(count)]


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


async def stalled(work: Callable[[], Coroutine[Any, Any, object]]) -> tuple[float, float]:
    """How long some work takes, and how much later than asked a 1 ms timer wakes meanwhile, in ms."""
    worst, is_over = 0.0, asyncio.Event()

    async def tick() -> None:
        nonlocal worst
        while not is_over.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, (time.perf_counter() - began - 0.001) * 1000)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.005)
    began = time.perf_counter()
    await work()
    took = (time.perf_counter() - began) * 1000
    is_over.set()
    await ticking
    return took, worst


async def four_at_once(store: BaseStore, round_: int) -> None:
    await asyncio.gather(*(store.asearch(("notes",), query=query) for query in queries(4, 1000 + round_)))


async def stalls(store: BaseStore) -> tuple[float, float, float]:
    """Medians: four searches at once, the longest stall meanwhile, and that of a loop with nothing to do as long."""
    busy = [await stalled(partial(four_at_once, store, round_)) for round_ in range(15)]
    took, stall = (statistics.median(each) for each in zip(*busy, strict=True))
    idle = [(await stalled(partial(asyncio.sleep, took / 1000)))[1] for _ in range(15)]
    return took, stall, statistics.median(idle)


def measure(store: BaseStore, ops: list[PutOp], warm: Callable[[], object]) -> dict[str, float]:
    fill = timed(lambda: [store.batch(ops[i : i + BATCH]) for i in range(0, len(ops), BATCH)])
    warm()
    chosen = random.Random(2).sample(ops, ROUNDS)
    put = [timed(partial(store.put, op.namespace, op.key, dict(op.value or {}))) for op in chosen]
    get = [timed(partial(store.get, op.namespace, op.key)) for op in chosen]
    search = [timed(partial(store.search, ("notes",), query=query)) for query in queries(ROUNDS, 3)]
    n3 = partial(store.search, ("notes", "n3"), filter={"n": {"$gte": 5}})
    filtered = [timed(partial(n3, query=query)) for query in queries(ROUNDS, 4)]
    four, stall, idle = asyncio.run(stalls(store))
    return {
        "batched put": fill / len(ops),
        "put": statistics.median(put),
        "get": statistics.median(get),
        "search": statistics.median(search),
        "search, one namespace and a filter": statistics.median(filtered),
        "four searches at once": four,
        "longest stall of the loop meanwhile": stall,
        "... of a loop with nothing to do": idle,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000])
    sizes = parser.parse_args().sizes
    embedder = default_embedder()
    assert embedder is not None
    index: Any = {
        "dims": embedder.dimension,
        "embed": lambda texts: [list(map(float, v)) for v in embedder.embed(texts)],
    }
    print("| items | what | PagefaultStore ms | InMemoryStore ms | peer / ours |")
    print("|---|---|---|---|---|")
    for size in sizes:
        ops = items(size)
        with tempfile.TemporaryDirectory() as place, pagefault.open(place, embedder=embedder) as memory:
            ours = measure(PagefaultStore(memory), ops, memory.flush)
        theirs = measure(InMemoryStore(index=index), ops, lambda: None)
        for name, cost in ours.items():
            print(f"| {size:,} | {name} | {cost:,.3f} | {theirs[name]:,.3f} | {theirs[name] / cost:,.1f} |")


if __name__ == "__main__":
    main()
