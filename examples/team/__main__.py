"""``python -m examples.team``: a supervisor and three researchers share one memory and one limited backend."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

try:
    from rich.console import Console

    import pagefault
    from examples.demo.models import model_for
    from examples.demo.stand_in import respond
    from examples.demo.trouble import CannotRun
    from examples.team.backend import REQUESTS, TOKENS, Backend, StandIn
    from examples.team.live import summary, watched
    from examples.team.team import FIELDS, asked_of, build, check, lead
except ImportError as error:
    print(
        f"team: {error}; pip install '.[langgraph,demo]' in a clone, or use the .venv of `make setup`", file=sys.stderr
    )
    raise SystemExit(2) from error

TASK = "Find out what the Python reference says about names, control flow and numbers."
CONFIG: Any = {"configurable": {"thread_id": "team"}, "recursion_limit": 200}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the team; 0 when every quoted answer stands in the reference, 1 when one does not, 2 when it cannot run."""
    parser = argparse.ArgumentParser(prog="python -m examples.team", description=__doc__)
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a real model; by default a stand-in")
    parser.add_argument("--slots", type=int, default=2, help="calls the backend serves at a time")
    parser.add_argument("--requests-per-minute", type=int, default=REQUESTS, help="calls it serves within any minute")
    parser.add_argument("--tokens-per-minute", type=int, default=TOKENS, help="tokens it serves within any minute")
    options = parser.parse_args(arguments)
    backend = Backend(options.slots, options.requests_per_minute, options.tokens_per_minute)
    try:
        return 0 if run(Console(highlight=False), options.model, backend) else 1
    except (CannotRun, pagefault.PagefaultError) as error:
        print(f"team: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def run(console: Console, model: str | None, backend: Backend) -> bool:
    """One run, its report and its table; whether all is right. Of a real model, ``backend`` says the limits."""
    scheduler = pagefault.Scheduler(
        slots=backend.slots,
        requests_per_minute=backend.requests_per_minute,
        tokens_per_minute=backend.tokens_per_minute,
    )
    members = ["supervisor", *FIELDS]
    if model is not None:
        models: dict[str, Any] = dict.fromkeys(members, model_for(model))
    else:
        models = {n: _stand_in(n, backend) for n in members}
        console.print("The models are deterministic stand-ins; --model provider:name uses a real one.")
    with pagefault.open(":memory:") as memory:
        team = build(memory, scheduler, models)
        with watched(console, scheduler, backend if model is None else None):
            report = str(team.supervisor.invoke(asked_of(TASK), CONFIG)["messages"][-1].text)
    console.print(report)
    console.print(summary(scheduler, members))
    verdicts = check(report, team)
    for name, is_right in verdicts.items():
        console.print(f"{name}: {'quoted from the reference' if is_right else 'NOT in the reference'}")
    if model is None:
        console.print(f"{backend.calls} calls served, {backend.refusals} refused with 429")
    return all(verdicts.values())


def _stand_in(member: str, backend: Backend) -> StandIn:
    """Each has a name, so that what one is reported to use tells nothing about others, and runs are alike."""
    return StandIn(backend=backend, respond=lead if member == "supervisor" else respond, model_name=member)


if __name__ == "__main__":
    sys.exit(main())
