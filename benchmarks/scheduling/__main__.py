"""All policies on all scenarios: ``python -m benchmarks.scheduling [--seeds 5] [--pictures FOLDER]``."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks.scheduling.picture import bars, frontier
from benchmarks.scheduling.policies import LOAD_CONTROL, POLICIES
from benchmarks.scheduling.simulate import Result, simulate
from benchmarks.scheduling.workload import SCENARIOS

ANCHOR = "longest prefix first"


def mean(runs: list[Result], field: str) -> float:
    """The mean of all seeds."""
    return float(statistics.mean(getattr(each, field) for each in runs))


def worst_gap(runs: list[Result]) -> float:
    """The worst of all seeds."""
    return max(each.gap for each in runs)


def speed(runs: list[Result], anchor: list[Result]) -> str:
    """Tokens a second as a share of the anchor's, and how much of the prompts was cached."""
    return f"{mean(runs, 'throughput') / mean(anchor, 'throughput'):.2f} ({mean(runs, 'hit'):.2f})"


def gap(runs: list[Result], _: list[Result]) -> str:
    """The worst gap, in cost."""
    return f"{worst_gap(runs):,.0f}"


def waits(runs: list[Result], _: list[Result]) -> str:
    """Jain's index; the p95 of all waits, and of those of the agent that fares worst, in seconds."""
    return f"{mean(runs, 'jain'):.2f}, {mean(runs, 'wait'):.0f} / {mean(runs, 'worst_wait'):.0f}"


def table(everything: dict[str, dict[str, list[Result]]], cell: Callable[[list[Result], list[Result]], str]) -> None:
    """Print a line for each policy, with a cell for each scenario."""
    print(f"\n{cell.__doc__}\n\n| policy | {' | '.join(everything)} |\n|---|{'---|' * len(everything)}")
    for name in POLICIES:
        print(f"| {name} | {' | '.join(cell(runs[name], runs[ANCHOR]) for runs in everything.values())} |")


def main() -> int:
    """Print the tables, draw the pictures; 1 if a slot ever idled beside a waiting call without load control."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    everything: dict[str, dict[str, list[Result]]] = {}
    idle = 0.0
    for scenario in SCENARIOS:
        runs = {name: [simulate(name, scenario, seed) for seed in range(options.seeds)] for name in POLICIES}
        everything[scenario] = runs
        for name, results in runs.items():
            idle += sum(each.idle for each in results) if name not in LOAD_CONTROL else 0
        dearest = max(each.dearest for results in runs.values() for each in results)
        served = mean(runs[ANCHOR], "throughput")
        print(f"{scenario}: {ANCHOR} served {served:,.0f} tokens/s; the dearest call cost {dearest:,.0f}", flush=True)
    for cell in (speed, gap, waits):
        table(everything, cell)
    if options.pictures:
        draw(everything, options.pictures)
    return int(idle > 0)


def draw(everything: dict[str, dict[str, list[Result]]], folder: Path) -> None:
    """One picture for each claim of ``docs/scheduling.md``."""
    panels: dict[str, dict[str, tuple[float, float]]] = {}
    for scenario, runs in everything.items():
        if scenario != "crowd":
            most = mean(runs[ANCHOR], "throughput")
            panels[scenario] = {
                name: (worst_gap(results), mean(results, "throughput") / most) for name, results in runs.items()
            }
    crowd = {name: mean(results, "throughput") for name, results in everything["crowd"].items()}
    forgotten = {name: mean(results, "worst_wait") for name, results in everything["sessions"].items()}
    pictures = {
        "frontier": frontier(panels),
        "load-control": bars("crowd: tokens served", "tokens/s", crowd),
        "starvation": bars("sessions: p95 wait of the agent that fares worst", "s", forgotten),
    }
    for name, svg in pictures.items():
        (folder / f"scheduling-{name}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
