"""What one turn costs when nobody waits: ``python -m benchmarks.scheduling.turn_cost``.

Processor time of the calling thread, so that other work on the machine disturbs less.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import pagefault

TURNS, ROUNDS = 5_000, 15


def threads(scheduler: pagefault.Scheduler) -> float:
    began = time.thread_time()
    for _ in range(TURNS):
        with scheduler.turn(agent="a", input_tokens=900, max_output_tokens=300) as turn:
            turn.charge(input_tokens=900, output_tokens=200)
    return (time.thread_time() - began) / TURNS * 1e6


async def tasks(scheduler: pagefault.Scheduler) -> float:
    began = time.thread_time()
    for _ in range(TURNS):
        async with scheduler.turn(agent="a", input_tokens=900, max_output_tokens=300) as turn:
            turn.charge(input_tokens=900, output_tokens=200)
    return (time.thread_time() - began) / TURNS * 1e6


def main() -> int:
    """Print the least and the median of 15 rounds."""
    scheduler = pagefault.Scheduler(slots=4)
    for name, rounds in (
        ("with", [threads(scheduler) for _ in range(ROUNDS)]),
        ("async with", [asyncio.run(tasks(scheduler)) for _ in range(ROUNDS)]),
    ):
        print(f"{name}: {min(rounds):.1f} us a turn at best, {statistics.median(rounds):.1f} in the median")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
