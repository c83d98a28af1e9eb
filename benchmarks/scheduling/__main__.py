"""All policies on all scenarios: ``python -m benchmarks.scheduling [--seeds 5] [--svg FILE]``."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from benchmarks.scheduling.picture import frontier
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
    """Print the tables; 1 if a slot ever idled beside a waiting call without load control."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    panels: dict[str, dict[str, tuple[float, float]]] = {}
    idle = 0.0
    for scenario in SCENARIOS:
        runs = {name: [simulate(name, scenario, seed) for seed in range(options.seeds)] for name in POLICIES}
        anchor = runs[ANCHOR]
        print(f"\n### {scenario}\n\n{HEAD}\n|---|---|---|---|---|---|---|---|---|")
        for name, results in runs.items():
            print(row(name, results, anchor), flush=True)
            idle += sum(each.idle for each in results) if name not in LOAD_CONTROL else 0
        dearest = max(each.dearest for results in runs.values() for each in results)
        print(f"\nThe dearest call cost {dearest:,.0f}.")
        speed = statistics.mean(each.throughput for each in anchor)
        panels[scenario] = {
            name: (max(each.gap for each in results), statistics.mean(each.throughput for each in results) / speed)
            for name, results in runs.items()
        }
    if options.svg:
        options.svg.write_text(frontier(panels), encoding="utf-8")
    return int(idle > 0)


if __name__ == "__main__":
    raise SystemExit(main())
