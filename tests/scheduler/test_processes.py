"""Real processes on a real server: one is killed, one is stopped past its lease; the others go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.house.tree import REPO
from tests.scheduler.backend import Backend
from tests.scheduler.loops import PATIENCE, until


class Workers:
    def __init__(self, url, port, *, slots, agents, turns, seconds):
        self.options = [url, str(slots), str(agents), str(turns), str(port), str(seconds)]
        self.processes = {}

    def start(self, number):
        url, slots, agents, turns, port, seconds = self.options
        style = "tasks" if number % 2 else "threads"
        self.processes[number] = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.scheduler.worker",
                url,
                str(number),
                slots,
                agents,
                turns,
                port,
                seconds,
                style,
            ],
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def go(self):
        for process in self.processes.values():
            assert process.stdout.readline() == "ready\n"
        for process in self.processes.values():
            process.stdin.write("go\n")
            process.stdin.flush()

    def signal(self, number, what):
        os.kill(self.processes[number].pid, what)

    def result(self, number, patience):
        out, err = self.processes[number].communicate(timeout=patience)
        assert self.processes[number].returncode == 0, err
        return json.loads(out)

    def end(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.communicate()


def stop(workers, backend, number):
    """Stop a process until all its calls are gone; whether one of them was replaced, and not just ending."""

    def replaced():
        return sum(token[0] == number for token in backend.replaced)

    until(lambda: backend.of(number), "the one to be stopped works")
    before = replaced()
    workers.signal(number, signal.SIGSTOP)
    until(lambda: not backend.of(number), "its slots are given to others")
    workers.signal(number, signal.SIGCONT)
    return replaced() > before


def run(valkey, *, slots, agents, turns, seconds, lease, stops, patience=PATIENCE):
    """Processes 0 to 3; 1 is killed, 2 is stopped ``stops`` times and goes on after its lease."""
    backend = Backend(slots)
    with backend.served() as port:
        workers = Workers(valkey.url(lease=lease), port, slots=slots, agents=agents, turns=turns, seconds=seconds)
        try:
            for number in range(4):
                workers.start(number)
            workers.go()
            until(lambda: backend.of(1), "the first to be killed works")
            workers.signal(1, signal.SIGKILL)
            for _ in range(stops):
                while not stop(workers, backend, 2):
                    pass
                time.sleep(lease)
            results = [workers.result(number, patience) for number in (0, 2, 3)]
        finally:
            workers.end()
    return backend, results


def check(backend, results, *, agents, turns):
    assert [each["done"] for each in results] == [agents * turns] * 3, "somebody did not finish"
    lost = {tuple(token) for each in results for token in each["lost"]}
    replaced = {token for token in backend.replaced if token[0] != 1}
    assert not backend.beyond, "more calls at a time than there are slots"
    assert replaced, "nobody was replaced, so nothing was tested"
    assert replaced <= lost, "a slot was given to somebody else while its holder was alive"
    assert backend.most <= backend.slots
    assert all(token in lost for token in backend.refused if token[0] != 1)


def test_a_killed_and_a_stopped_process_give_their_slots_back(valkey):
    agents, turns = 8, 10
    backend, results = run(valkey, slots=4, agents=agents, turns=turns, seconds=0.03, lease=0.9, stops=1)
    check(backend, results, agents=agents, turns=turns)
    assert backend.refused, "no stale token was refused"


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_a_process_that_is_stopped_again_and_again(valkey):
    agents, turns = 8, 150
    backend, results = run(valkey, slots=4, agents=agents, turns=turns, seconds=0.05, lease=1.5, stops=6, patience=600)
    check(backend, results, agents=agents, turns=turns)
    assert backend.refused
    print(f"\n{backend.begun} calls, {len(backend.replaced)} replaced, {len(backend.refused)} refused as stale")
