"""Nested turns while the server is killed, stopped, flushed and cut off at random: nothing hangs, nothing is left."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time

import pytest

from pagefault import Scheduler, SchedulerError, SchedulerUnreachable

SLOTS, SECONDS, PATIENCE = 2, 6.0, 60.0


class Storm:
    """What happens to the server, by chance."""

    def __init__(self, server, chance):
        self.server, self.chance = server, chance

    def strike(self):
        what = self.chance.choice(("kill", "away", "stop", "flush", "cut"))
        if what in {"kill", "away"}:
            self.server.kill()
            time.sleep(1.8 if what == "away" else self.chance.random() * 0.3)
            self.server.start()
        elif what == "stop":
            self.server.signal(signal.SIGSTOP)
            time.sleep(self.chance.random())
            self.server.signal(signal.SIGCONT)
        elif what == "flush":
            self.server.ask("FLUSHALL")
        else:
            self.server.ask("CLIENT", "KILL", "TYPE", "normal")


def in_threads(schedulers, number, chance, until):
    scheduler, other = schedulers[number % 3], schedulers[(number + 1) % 3]
    while time.monotonic() < until:
        try:
            with scheduler.turn(agent=f"a{number}", timeout=chance.choice((None, None, 0.05))):
                time.sleep(chance.random() * 0.01)
                with chance.choice((scheduler, other)).turn(agent="inner", timeout=chance.choice((None, 0.02))):
                    time.sleep(chance.random() * 0.01)
        except SchedulerError:
            time.sleep(0.02)


async def in_tasks(scheduler, agent, chance, until):
    while time.monotonic() < until:
        try:
            async with asyncio.timeout(chance.choice((5, 0.05))):
                async with scheduler.turn(agent=agent), scheduler.turn(agent="inner"):
                    await asyncio.sleep(chance.random() * 0.01)
        except (SchedulerError, TimeoutError):
            await asyncio.sleep(0.02)


def on_a_loop(scheduler, chance, until):
    async def main():
        await asyncio.gather(*(in_tasks(scheduler, f"t{number}", chance, until) for number in range(3)))

    asyncio.run(main())


def is_at_rest(schedulers):
    try:
        for scheduler in schedulers:
            with scheduler.turn(agent="last"):
                pass
    except SchedulerUnreachable:
        return False
    return not any(scheduler.state().turns for scheduler in schedulers)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("persists", [True, False])
@pytest.mark.parametrize("round_", range(5))
def test_a_storm_leaves_nothing_behind(own_server, pytestconfig, persists, round_):
    chance = random.Random(f"{pytestconfig.getoption('randomly_seed')} {round_} {persists}")
    server = own_server(persists=persists).start()
    url, until = server.url(lease=chance.choice((0.6, 1.5))), time.monotonic() + SECONDS
    schedulers = [Scheduler(slots=SLOTS, shared=url) for _ in range(3)]
    threads = [
        threading.Thread(target=in_threads, args=(schedulers, number, random.Random(number), until), daemon=True)
        for number in range(9)
    ]
    threads += [
        threading.Thread(target=on_a_loop, args=(each, random.Random(7), until), daemon=True) for each in schedulers
    ]
    for thread in threads:
        thread.start()
    storm = Storm(server, chance)
    while time.monotonic() < until:
        time.sleep(chance.random())
        storm.strike()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "it hangs"
    deadline = time.monotonic() + PATIENCE
    while not is_at_rest(schedulers):
        assert time.monotonic() < deadline, "a turn was left behind"
        time.sleep(0.1)
    for scheduler in schedulers:
        scheduler.close()
