"""``python -m examples.mixed``: two frameworks, one memory, one scheduler."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pydoc_data.topics import topics
from typing import Any

try:
    from rich.console import Console

    import pagefault
    from examples.demo.models import model_for
    from examples.demo.trouble import CannotRun
    from examples.mixed.planner import ASKED_OF, QUESTION, READING, build, plan
    from examples.mixed.workers import hire, read
    from examples.team.backend import Backend, StandIn
    from examples.team.live import summary, watched
except ImportError as error:
    needed = "pip install '.[langgraph,llamaindex,demo]' in a clone, or use the .venv of `make setup`"
    print(f"mixed: {error}; {needed}", file=sys.stderr)
    raise SystemExit(2) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when the answer stands in the reference word for word."""
    parser = argparse.ArgumentParser(prog="python -m examples.mixed", description=__doc__)
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a real model for all; by default stand-ins")
    options = parser.parse_args(arguments)
    try:
        return 0 if run(Console(highlight=False), options.model) else 1
    except (CannotRun, pagefault.PagefaultError) as error:
        print(f"mixed: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def run(console: Console, model: str | None) -> bool:
    """One run, its answer and its table."""
    scheduler = pagefault.Scheduler(slots=2)
    backend = Backend(slots=2) if model is None else None
    real = None if model is None else model_for(model)
    with pagefault.open(":memory:") as memory:
        reading = real or StandIn(backend=backend, respond=read)
        workers = {name: hire(name, memory, scheduler, reading) for name in READING}
        planner = build(real or StandIn(backend=backend, respond=plan), memory, scheduler, workers, topics)
        asked: Any = {"messages": [("user", f"Have everything read, then answer: {QUESTION}")]}
        config: Any = {"configurable": {"thread_id": "plan"}, "recursion_limit": 200}
        with watched(console, scheduler, backend):
            answer = str(planner.invoke(asked, config)["messages"][-1].text)
        left = len(workers[ASKED_OF].memory.get_all()) - len(workers[ASKED_OF].memory.get())
    console.print(f"{QUESTION}\n{answer}")
    console.print(f"{left} messages had left the window of {ASKED_OF} by then")
    console.print(summary(scheduler, ["planner", *READING]))
    if backend is not None:
        console.print(f"{backend.calls} calls of both frameworks served, {backend.refusals} refused with 429")
    quote = " ".join(answer.rsplit(" (page", 1)[0].split())
    is_right = bool(quote) and quote in " ".join(" ".join(topics[t] for t in READING[ASKED_OF]).split())
    console.print("quoted from the reference" if is_right else "NOT in the reference")
    return is_right


if __name__ == "__main__":
    sys.exit(main())
