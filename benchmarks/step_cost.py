"""What a model call costs besides the model, measured inside a real agent.

Run with ``python -m benchmarks.step_cost``. Each row runs a real ``create_agent`` graph on a
history of the given length and times the middleware alone: the whole hook less the model's
own time. The first call, which takes the history over, is left out, and what it wrote back is
waited for; after that every step writes its own pages behind the next ones, as in life. The peer
runs in the same process, below its trigger, so it too decides to do nothing.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import BaseMessage

import pagefault
from benchmarks.agents import TOOLS, ScriptedModel, history, worker_script
from pagefault_langgraph import PagingMiddleware

STEPS = 60
RECURSION = 10_000


class TimedPaging(PagingMiddleware):
    """Our middleware with a stopwatch around everything but the handler."""

    def __init__(self, memory: pagefault.Memory, **kwargs: Any) -> None:
        super().__init__(memory, **kwargs)
        self.costs: list[float] = []

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Time what the model does not take."""
        inner = 0.0

        def timed(asked: Any) -> Any:
            nonlocal inner
            began = time.perf_counter()
            try:
                return handler(asked)
            finally:
                inner = time.perf_counter() - began

        began = time.perf_counter()
        answer = super().wrap_model_call(request, timed)
        self.costs.append(time.perf_counter() - began - inner)
        if len(self.costs) == 1:
            self._memory.flush()  # a thread that is at work, not one whose whole history is just being taken over
        return answer


class TimedSummarization(SummarizationMiddleware):
    """The stock middleware with a stopwatch around its hook."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, trigger=("tokens", 10**9))
        self.costs: list[float] = []

    def before_model(self, state: Any, runtime: Any) -> Any:
        """Time the whole hook."""
        began = time.perf_counter()
        answer = super().before_model(state, runtime)
        self.costs.append(time.perf_counter() - began)
        return answer


def run(middleware: Any, messages: list[BaseMessage]) -> list[float]:
    """Costs in seconds of each model call after the first, which sees the whole history as new."""
    agent = create_agent(ScriptedModel(worker_script(STEPS)), TOOLS, middleware=[middleware])
    asked: Any = {"messages": messages}
    gc.collect()
    gc.disable()
    try:
        agent.invoke(asked, {"recursion_limit": RECURSION})
    finally:
        gc.enable()
    costs: list[float] = middleware.costs[1:]
    return costs


def measure(length: int) -> dict[str, list[float]]:
    """Costs by scenario for one history length."""
    messages = history(length)
    rows: dict[str, list[float]] = {}
    with pagefault.open(":memory:") as memory:
        wide = pagefault.Budget(window=100_000_000, target=50_000_000)
        rows["pagefault, nothing reclaimed"] = run(TimedPaging(memory, budget=wide), messages)
    with pagefault.open(":memory:") as memory:
        tight = pagefault.Budget(window=64_000, target=24_000)
        rows["pagefault, rendered view"] = run(TimedPaging(memory, budget=tight), messages)
    idle = TimedSummarization(ScriptedModel(worker_script(1)))
    rows["SummarizationMiddleware below its trigger"] = run(idle, messages)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="*", default=[100, 1_000, 5_000])
    lengths = parser.parse_args().lengths
    print("| messages | what | median us | p95 us | peer / ours (median) |")
    print("|---|---|---|---|---|")
    for length in lengths:
        rows = measure(length)
        peer = statistics.median(rows["SummarizationMiddleware below its trigger"])
        for name, costs in rows.items():
            median = statistics.median(costs)
            p95 = sorted(costs)[int(len(costs) * 0.95)]
            print(f"| {length:,} | {name} | {median * 1e6:,.0f} | {p95 * 1e6:,.0f} | {peer / median:,.1f} |")


if __name__ == "__main__":
    main()
