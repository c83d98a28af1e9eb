"""``python -m examples.team``: a supervisor and three researchers share one memory and one limited backend."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

import pagefault
from examples.demo.models import model_for
from examples.demo.stand_in import respond
from examples.demo.trouble import CannotRun
from examples.team.backend import Backend, StandIn
from examples.team.live import summary, watched
from examples.team.team import FIELDS, asked_of, build, check, lead

TASK = "Find out what the Python reference says about names, control flow and numbers."
CONFIG: Any = {"configurable": {"thread_id": "team"}, "recursion_limit": 200}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the team; 0 when every quoted answer stands in the reference, 1 when one does not, 2 when it cannot run."""
    parser = argparse.ArgumentParser(prog="python -m examples.team", description=__doc__)
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a real model; by default a stand-in")
    parser.add_argument("--slots", type=int, default=2, help="calls the backend serves at a time")
    options = parser.parse_args(arguments)
    try:
        return 0 if run(Console(highlight=False), options.model, options.slots) else 1
    except (CannotRun, pagefault.PagefaultError) as error:
        print(f"team: {error}", file=sys.stderr)
        return 2


def run(console: Console, model: str | None, slots: int) -> bool:
    """One run, its report and its table; whether all is right."""
    backend = Backend(slots=slots) if model is None else None
    scheduler = pagefault.Scheduler(slots=slots)
    members = ["supervisor", *FIELDS]
    if backend is None:
        models: dict[str, Any] = dict.fromkeys(members, model_for(model))
    else:
        models = {n: StandIn(backend=backend, respond=lead if n == "supervisor" else respond) for n in members}
        console.print("The models are deterministic stand-ins; --model provider:name uses a real one.")
    with pagefault.open(":memory:") as memory:
        team = build(memory, scheduler, models)
        with watched(console, scheduler, backend):
            report = str(team.supervisor.invoke(asked_of(TASK), CONFIG)["messages"][-1].text)
    console.print(report)
    console.print(summary(scheduler, members))
    verdicts = check(report, team)
    for name, is_right in verdicts.items():
        console.print(f"{name}: {'quoted from the reference' if is_right else 'NOT in the reference'}")
    if backend is not None:
        console.print(f"{backend.calls} calls served, {backend.refusals} refused with 429")
        return all(verdicts.values()) and backend.refusals == 0
    return all(verdicts.values())


if __name__ == "__main__":
    sys.exit(main())
