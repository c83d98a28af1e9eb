"""What all programs here share: quantiles, and the state of the machine that a table was made on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOOP = 1_000_000
"""Additions of the loop that says how fast this machine is just now; 30 to 40 ms where nothing else runs."""


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share (0..1) of the others lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def state() -> str:
    """One line: how busy the machine is, and how long a plain loop takes on it, alone and with waiting."""
    wall, cpu = time.perf_counter(), time.thread_time()
    total = 0
    for number in range(LOOP):
        total += number
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, load {load:.1f}; a million additions: {cpu * 1e3:.0f} ms of CPU, {wall * 1e3:.0f} ms"
    )


@dataclass(slots=True)
class Watch:
    """A stopwatch of wall time and of the calling thread's CPU time, in seconds; the first lap has both."""

    wall: list[float]
    cpu: list[float]

    @classmethod
    def new(cls) -> Watch:
        """One without laps."""
        return cls([], [])

    def time(self, work: Callable[[], object]) -> None:
        """One lap."""
        wall, cpu = time.perf_counter(), time.thread_time()
        work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.thread_time() - cpu)

    def hands(self) -> list[tuple[Callable[[], float], list[float]]]:
        """The clocks of the next lap: both for the first one, then one of them in turns, since reading costs time."""
        hands = [(time.perf_counter, self.wall), (time.thread_time, self.cpu)]
        laps = len(self.wall) + len(self.cpu)
        return hands if not laps else [hands[laps % 2]]
