"""What a model call costs besides the model, measured inside a real agent.

Run with ``python -m benchmarks.step_cost``. Each row runs a real ``create_agent`` graph on a history of the given
length and times one middleware alone: the whole hook less the model's own time. The first call, which takes the
history over, is left out, and what it wrote back is waited for; after that every step writes its own pages behind
the next ones, as in life. The peers run in the same process, below their triggers, so they too decide to do nothing.
"""

from __future__ import annotations

import argparse
import gc
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ClearToolUsesEdit, ContextEditingMiddleware, SummarizationMiddleware
from langchain.agents.middleware.types import AgentMiddleware
from langchain_core.messages import BaseMessage, SystemMessage, trim_messages
from langchain_core.messages.utils import count_tokens_approximately

import pagefault
from benchmarks.agents import TOOLS, ScriptedModel, history, worker_script
from benchmarks.figures import Watch, quantile, state
from benchmarks.picture import growth
from pagefault_langgraph import PagingMiddleware

STEPS = 120
LONG, FEW = 20_000, 12
"""From so many messages on a peer takes a second a step: fewer steps."""
RECURSION = 10_000
NEVER = 10**9
PROMPT = "Answer from what the tools say, and cite it. " * 200
WIDE = pagefault.Budget(window=100_000_000, target=50_000_000)
TIGHT = pagefault.Budget(window=64_000, target=24_000)


class _Around(AgentMiddleware[Any, Any, Any]):
    """Times what the hook of another middleware takes besides the model."""

    watch: Watch

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Time all but the handler."""
        call = super().wrap_model_call
        for clock, laps in self.watch.hands():
            call = _timed(call, clock, laps)
        return call(request, handler)


def _timed(call: Callable[..., Any], clock: Callable[[], float], laps: list[float]) -> Callable[..., Any]:
    """The same call; what it takes by this clock, less what its handler takes, becomes a lap."""

    def timed(request: Any, handler: Callable[[Any], Any]) -> Any:
        inside = 0.0

        def paused(asked: Any) -> Any:
            nonlocal inside
            start = clock()
            try:
                return handler(asked)
            finally:
                inside = clock() - start

        start = clock()
        answer = call(request, paused)
        laps.append(clock() - start - inside)
        return answer

    return timed


class TimedPaging(_Around, PagingMiddleware):
    """Our middleware."""

    def __init__(self, memory: pagefault.Memory, **kwargs: Any) -> None:
        super().__init__(memory, **kwargs)
        self.watch = Watch.new()

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Time it; the first call takes the history over, and what that wrote is waited for."""
        answer = super().wrap_model_call(request, handler)
        if len(self.watch.wall) == 1:
            self._memory.flush()
        return answer


class Marks(AgentMiddleware[Any, Any, Any]):
    """Marks a request for its provider's prompt cache, as stock middleware does: by new objects for each call."""

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Mark the system prompt and the last tool."""
        mark = {"cache_control": {"type": "ephemeral"}}
        system = SystemMessage([{"type": "text", "text": PROMPT, **mark}])
        *tools, last = request.tools
        return handler(
            request.override(system_message=system, tools=[*tools, last.model_copy(update={"extras": mark})])
        )


class TimedEditing(_Around, ContextEditingMiddleware):
    """The stock middleware that clears old tool results."""

    def __init__(self) -> None:
        super().__init__(edits=[ClearToolUsesEdit(trigger=NEVER)])
        self.watch = Watch.new()


class _Nothing(AgentMiddleware[Any, Any, Any]):
    """Hands the request on: what remains is the stopwatch, which every row of this kind has in it."""

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Hand it on."""
        return handler(request)


class TimedNothing(_Around, _Nothing):
    """The same with a stopwatch."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch.new()


class _Trim(AgentMiddleware[Any, Any, Any]):
    """``trim_messages`` before each model call, as its documentation shows it."""

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Trim to a limit that nothing reaches."""
        kept = trim_messages(request.messages, max_tokens=NEVER, token_counter=count_tokens_approximately)
        return handler(request.override(messages=kept))


class TimedTrim(_Around, _Trim):
    """The same with a stopwatch."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch.new()


class TimedSummarization(SummarizationMiddleware):
    """The stock middleware that summarises."""

    def __init__(self) -> None:
        super().__init__(ScriptedModel(worker_script(1)), trigger=("tokens", NEVER))
        self.watch = Watch.new()

    def before_model(self, state: Any, runtime: Any) -> Any:
        """Time the whole hook."""
        answer: list[Any] = []
        self.watch.time(lambda: answer.append(super(TimedSummarization, self).before_model(state, runtime)))
        return answer[0]


def run(middleware: Any, messages: list[BaseMessage], *before: Any) -> Watch:
    """Costs of each model call after the first, which sees the whole history as new."""
    steps = STEPS if len(messages) < LONG else FEW
    agent = create_agent(ScriptedModel(worker_script(steps)), TOOLS, middleware=[*before, middleware])
    asked: Any = {"messages": messages}
    gc.collect()
    gc.disable()
    try:
        agent.invoke(asked, {"recursion_limit": RECURSION})
    finally:
        gc.enable()
    watch: Watch = middleware.watch
    return Watch(watch.wall[1:], watch.cpu[1:])


def measure(length: int) -> dict[str, Watch]:
    """Costs by scenario for one history length."""
    messages = history(length)
    rows: dict[str, Watch] = {}
    for name, budget in (("pagefault, nothing reclaimed", WIDE), ("pagefault, rendered view", TIGHT)):
        with pagefault.open(":memory:") as memory:
            rows[name] = run(TimedPaging(memory, budget=budget), messages)
    with pagefault.open(":memory:") as memory:
        rows["pagefault, prompt marked anew in each call"] = run(TimedPaging(memory, budget=WIDE), messages, Marks())
    rows["a middleware that does nothing (the stopwatch)"] = run(TimedNothing(), messages)
    rows["SummarizationMiddleware below its trigger"] = run(TimedSummarization(), messages)
    rows["ContextEditingMiddleware below its trigger"] = run(TimedEditing(), messages)
    rows["trim_messages below its limit"] = run(TimedTrim(), messages)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="*", default=[100, 1_000, 5_000, 20_000])
    parser.add_argument("--svg", type=Path, help="also draw the medians here")
    options = parser.parse_args()
    curves: dict[str, dict[float, float]] = {}
    print(f"{state()}\n\n| messages | what | median us | p95 us | CPU, median us | CPU, this / ours |")
    print("|---|---|---|---|---|---|")
    for length in options.lengths:
        rows = measure(length)
        ours = statistics.median(rows["pagefault, nothing reclaimed"].cpu)
        for name, watch in rows.items():
            median, cpu = statistics.median(watch.wall) * 1e6, statistics.median(watch.cpu)
            curves.setdefault(name, {})[length] = cpu * 1e6
            p95 = quantile(watch.wall, 0.95) * 1e6
            line = f"{median:,.0f} | {p95:,.0f} | {cpu * 1e6:,.0f} | {cpu / ours:,.1f}"
            print(f"| {length:,} | {name} | {line} |", flush=True)
    if options.svg:
        title = "A model call besides the model"
        options.svg.write_text(growth(title, "messages", "CPU, microseconds", curves), encoding="utf-8")


if __name__ == "__main__":
    main()
