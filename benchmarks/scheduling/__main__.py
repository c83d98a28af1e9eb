"""All policies on all scenarios: ``python -m benchmarks.scheduling [--seeds 5] [--pictures FOLDER]``."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from benchmarks.scheduling.picture import bars, frontier
from benchmarks.scheduling.policies import LOAD_CONTROL, POLICIES
from benchmarks.scheduling.simulate import Result, simulate
from benchmarks.scheduling.workload import SCENARIOS

ANCHOR = "longest prefix first"
COLUMNS = (
    "policy",
    "tokens/s",
    "against LPM",
    "cached",
    "worst gap",
    "LPM's gap / this",
    "Jain",
    "p95 wait s",
    "worst agent's",
)
HEAD = f"| {' | '.join(COLUMNS)} |"


def row(name: str, runs: list[Result], anchor: list[Result]) -> str:
    """One line of a table; the gap is the worst of all seeds, the rest are means."""

    def mean(field: str, of: list[Result] = runs) -> float:
        return float(statistics.mean(getattr(each, field) for each in of))

    gap, theirs = max(each.gap for each in runs), max(each.gap for each in anchor)
    speed = mean("throughput") / mean("throughput", anchor)
    less = f"{theirs / gap:.1f}" if gap else "-"
    return (
        f"| {name} | {mean('throughput'):,.0f} | {speed:.2f} | {mean('hit'):.2f} | {gap:,.0f} | {less} "
        f"| {mean('jain'):.2f} | {mean('wait'):.0f} | {mean('worst_wait'):.0f} |"
    )


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
        print(f"\n### {scenario}\n\n{HEAD}\n|{'---|' * len(COLUMNS)}")
        for name, results in runs.items():
            print(row(name, results, runs[ANCHOR]), flush=True)
            idle += sum(each.idle for each in results) if name not in LOAD_CONTROL else 0
        dearest = max(each.dearest for results in runs.values() for each in results)
        print(f"\nThe dearest call cost {dearest:,.0f}.")
    if options.pictures:
        draw(everything, options.pictures)
    return int(idle > 0)


def draw(everything: dict[str, dict[str, list[Result]]], folder: Path) -> None:
    """One picture for each claim of ``docs/scheduling.md``."""

    def mean(results: list[Result], field: str) -> float:
        return float(statistics.mean(getattr(each, field) for each in results))

    panels: dict[str, dict[str, tuple[float, float]]] = {}
    for scenario, runs in everything.items():
        if scenario != "crowd":
            speed = mean(runs[ANCHOR], "throughput")
            panels[scenario] = {
                name: (max(each.gap for each in results), mean(results, "throughput") / speed)
                for name, results in runs.items()
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
