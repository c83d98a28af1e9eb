"""The embedded store among processes: killed, locked out, forked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pagefault import canonical
from pagefault.errors import StoreLocked
from pagefault.ports import Where
from pagefault.stores import EdgeStore
from pagefault.testing import ThreadRunner
from pagefault.testing.store_contract import HEADER, OURS, head
from tests.stores.crash_writer import record

ROOT = Path(__file__).parents[2]
KILLS = 8


@contextlib.contextmanager
def program(name: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", f"tests.stores.{name}", *map(str, args)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(process: subprocess.Popen[str], *, kill_after: float) -> int:
    """Let the writer run for a while, kill it, and return the last record it was told is stored."""
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    timer = threading.Timer(kill_after, process.kill)
    timer.start()
    lines = [line.split() for line in process.stdout if line.endswith("\n")]
    timer.join()
    return max((int(line[2]) for line in lines), default=0)


async def check(directory: Path, told: int) -> int:
    """Every acknowledged record is there once and exact; return the number to go on with."""
    with ThreadRunner() as run:
        store = EdgeStore(directory, run=run)
        await store.open(HEADER)
        scanned = await store.scan(OURS, Where(), limit=1_000_000)
        numbers = [r.seq for r in scanned]
        assert numbers == list(range(1, len(numbers) + 1))  # in order, none missing, none twice
        assert len(numbers) >= told
        found = await store.get(OURS, [r.id for r in scanned])
        for r in found.values():
            assert r.body == record(r.seq).body
            assert canonical.sha256(r.body) == r.sha256
        if told:
            (h,) = (await store.get(OURS, [head(0).id])).values()
            assert told <= h.seq <= len(numbers)
        # A killed writer's last batch may be stored in part: writing it again completes it.
        rest = len(numbers) // 20 * 20 + 1
        await store.put(OURS, [record(n) for n in range(rest, rest + 20)])
        await store.close()
        return rest + 20


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    chance = random.Random(20)
    told, first = 0, 1
    for _ in range(KILLS):
        with program("crash_writer", tmp_path / "data", first) as process:
            told = max(told, acknowledged(process, kill_after=chance.uniform(0.0, 0.5)))
        first = asyncio.run(check(tmp_path / "data", told))
    assert told > KILLS * 20


def test_a_second_process_is_told_what_to_do(tmp_path):
    async def attempt() -> None:
        with ThreadRunner() as run:
            store = EdgeStore(tmp_path / "data", run=run, lock_timeout=0.2)
            started = time.monotonic()
            with pytest.raises(StoreLocked, match=r"data is open in another process.*qdrant://") as caught:
                await store.open(HEADER)
            assert time.monotonic() - started >= 0.2
            assert caught.value.__cause__ is not None
            await store.close()

    with program("crash_writer", tmp_path / "data", 1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        asyncio.run(attempt())


def test_a_reloading_server_waits_for_its_predecessor(tmp_path):
    with program("crash_writer", tmp_path / "data", 1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        timer = threading.Timer(0.3, process.kill)
        timer.start()

        async def attempt() -> None:
            with ThreadRunner() as run:
                store = EdgeStore(tmp_path / "data", run=run, lock_timeout=60)
                await store.open(HEADER)
                await store.close()

        asyncio.run(attempt())
        timer.join()


def test_two_stores_in_one_process_do_not_share_a_directory(tmp_path):
    async def main() -> None:
        with ThreadRunner() as run:
            first = EdgeStore(tmp_path, run=run)
            second = EdgeStore(tmp_path, run=run, lock_timeout=0)
            await first.open(HEADER)
            with pytest.raises(StoreLocked):
                await second.open(HEADER)
            await first.close()
            await second.open(HEADER)
            await second.close()

    asyncio.run(main())


def test_processes_that_create_one_directory_at_once_agree(tmp_path):
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(program("crash_writer", tmp_path / "data", 1)) for _ in range(3)]
        deadline = time.monotonic() + 60
        while sum(process.poll() is not None for process in started) < 2:  # two give up, one goes on
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for process in started:
            process.kill()
    assert asyncio.run(check(tmp_path / "data", 0)) > 1
    assert [p.name for p in (tmp_path / "data").iterdir() if "new" in p.name] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_neither_hangs_nor_touches_the_files(tmp_path):
    with program("fork_owner", tmp_path / "data") as process:
        out, _ = process.communicate(timeout=100)
    lines = out.splitlines()
    assert len([line for line in lines if line.startswith("child:") and "open it after the fork" in line]) == 4
    assert "child closed" in lines
    assert "untouched: True" in lines
    assert "parent: 199" in lines
    assert process.returncode == 0
