"""The first step after a checkpoint was reloaded, and a reclaim of 500 pages that are stored already.

Run with ``python -m benchmarks.reload``. A thread of the given length is run once with a checkpointer, then asked
again: every message object is new. ``resumed`` is the same process with the same middleware, ``restarted`` another
memory on the same directory, which knows nothing of the thread yet, with a new middleware, which counts its tools
anew. The peer is SummarizationMiddleware below its trigger on the same thread. For the reclaim the window is made
smaller between two steps, a second apart, as with a model that takes its time; calls of the store are counted:
there are none.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Final

from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from benchmarks.agents import TOOLS, ScriptedModel, history, worker_script
from benchmarks.figures import Watch, state
from benchmarks.picture import growth
from benchmarks.step_cost import NEVER, TIGHT, WIDE, TimedPaging, TimedSummarization
from pagefault.ports import PageStore
from pagefault_langgraph.messages import LANGCHAIN

ROUNDS: Final = 7
RECLAIMED: Final = 500
PAUSE: Final = 1.0
CALLS: Final = ("put", "swap", "remove", "amend", "index", "get", "scan", "search", "idf", "sync")


def ask(middleware: Any, saver: InMemorySaver, messages: list[Any], thread: str) -> Watch:
    """One run on a thread; what its model calls cost."""
    agent = create_agent(ScriptedModel(worker_script(2)), TOOLS, middleware=[middleware], checkpointer=saver)
    asked: Any = {"messages": messages}
    gc.collect()
    gc.disable()
    try:
        agent.invoke(asked, {"configurable": {"thread_id": thread}, "recursion_limit": 1_000})
    finally:
        gc.enable()
    watch: Watch = middleware.watch
    return watch


def first(watch: Watch) -> tuple[float, float]:
    """Its first lap, wall and CPU, in milliseconds."""
    return watch.wall[0] * 1e3, watch.cpu[0] * 1e3


def reloads(length: int) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """First steps by scenario."""
    news = [{"role": "user", "content": "go on"}]
    for name, budget in (("nothing reclaimed", WIDE), ("rendered view", TIGHT)):
        resumed, restarted = list[tuple[float, float]](), list[tuple[float, float]]()
        for number in range(ROUNDS):
            saver, thread = InMemorySaver(), f"{name} {number}"
            with tempfile.TemporaryDirectory() as place:
                with pagefault.open(place, embedder=None) as memory:
                    middleware = TimedPaging(memory, budget=budget)
                    ask(middleware, saver, history(length), thread)
                    memory.flush()
                    middleware.watch = Watch.new()
                    resumed.append(first(ask(middleware, saver, news, thread)))
                with pagefault.open(place, embedder=None) as memory:
                    memory.ready()
                    restarted.append(first(ask(TimedPaging(memory, budget=budget), saver, news, thread)))
        yield f"pagefault, {name}, resumed", resumed
        yield f"pagefault, {name}, restarted", restarted
    saver = InMemorySaver()
    ask(TimedSummarization(), saver, history(length), "peer")
    peers = [first(ask(TimedSummarization(), saver, news, "peer")) for _ in range(ROUNDS)]
    yield "SummarizationMiddleware below its trigger", peers


def count_calls(store: PageStore) -> list[str]:
    """The names of the store's calls, from now on."""
    calls: list[str] = []

    def counted(name: str) -> Any:
        method = getattr(store, name)

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return method(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(store, name, counted(name))
    return calls


def reclaim(pause: float = PAUSE) -> tuple[float, float, int]:
    """Milliseconds, wall and CPU, of a step that reclaims stored pages, and how many.

    Args:
        pause: Seconds since the call before: a model takes its time to answer.

    Raises:
        RuntimeError: It called the store.
    """
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="t")
        messages: list[Any] = history(4 * RECLAIMED)
        before = space.step(messages, LANGCHAIN, WIDE, now=time.time())
        memory.flush()
        before = space.step(messages, LANGCHAIN, WIDE, now=time.time())
        pages, tokens = before.lineage.length, before.tokens
        time.sleep(pause)
        contents = pagefault.Budget(window=NEVER, target=tokens).block // 2  # stand in the window in their place
        low = tokens * (pages - RECLAIMED) // pages + contents
        marks = pagefault.Watermarks(high=0.99, low=min(0.98, low / tokens))
        budget = pagefault.Budget(window=NEVER, target=tokens, watermarks=marks)
        calls = count_calls(memory.core.store)
        watch, evicted = Watch.new(), list[int]()
        gc.collect()
        gc.disable()
        watch.time(lambda: evicted.extend(space.step(messages, LANGCHAIN, budget, now=time.time()).evicted))
        gc.enable()
        if calls:
            raise RuntimeError(f"a reclaim called the store: {calls}")
    return watch.wall[0] * 1e3, watch.cpu[0] * 1e3, len(evicted)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="*", default=[1_000, 5_000, 20_000])
    parser.add_argument("--svg", type=Path, help="also draw the medians here")
    options = parser.parse_args()
    curves: dict[str, dict[float, float]] = {}
    print(f"{state()}\n\n| messages | first step after a reload | median ms | best ms | CPU, median ms |")
    print("|---|---|---|---|---|")
    for length in options.lengths:
        for name, times in reloads(length):
            walls, cpus = [wall for wall, _ in times], [cpu for _, cpu in times]
            median = statistics.median(cpus)
            curves.setdefault(name, {})[length] = median
            line = f"{statistics.median(walls):.1f} | {min(walls):.1f} | {median:.1f}"
            print(f"| {length:,} | {name} | {line} |", flush=True)
    reclaims = [reclaim() for _ in range(ROUNDS)]
    print("\n| pages reclaimed | calls of the store | median ms | best ms | CPU, median ms |\n|---|---|---|---|---|")
    walls, cpus = [wall for wall, _, _ in reclaims], [cpu for _, cpu, _ in reclaims]
    line = f"{statistics.median(walls):.1f} | {min(walls):.1f} | {statistics.median(cpus):.1f}"
    print(f"| {reclaims[0][2]} | 0 | {line} |")
    if options.svg:
        title = "The first step after a reload"
        options.svg.write_text(growth(title, "messages", "CPU, milliseconds", curves), encoding="utf-8")


if __name__ == "__main__":
    main()
