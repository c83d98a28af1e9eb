"""The embedded store among processes: killed, locked out, forked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_edge import EdgeShard

import pagefault
from pagefault.errors import StoreError, StoreLocked
from pagefault.messages import canonical
from pagefault.ports import Where
from pagefault.stores import EdgeStore
from pagefault.stores.engine import Engine
from pagefault.stores.lock import DirectoryLock
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
            with pytest.raises(StoreLocked, match=r"data is open in another process.*qdrant://"):
                await store.open(HEADER)
            assert time.monotonic() - started >= 0.2
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


def test_who_waits_for_a_directory_touches_no_file_of_the_engine(tmp_path, monkeypatch):
    """The engine reads its segments before it asks for its own lock, and works on what it has read."""
    engine = Engine(tmp_path)
    engine.open(HEADER)
    looked: list[object] = []
    for name in ("load", "create"):
        monkeypatch.setattr(f"pagefault.stores.engine.{name}", lambda *args: looked.append(args))
    with pytest.raises(StoreLocked):
        Engine(tmp_path).open(HEADER)
    with pytest.raises(StoreLocked):
        Engine(tmp_path).open(None)
    assert looked == []
    monkeypatch.undo()
    engine.close()
    again = Engine(tmp_path)
    assert again.open(None) == HEADER
    again.close()


class Watched:
    """Stands for a shard that is closed: asks at the end of each call whether others can get in."""

    def __init__(self, shard: EdgeShard, directory: Path) -> None:
        self._shard, self._directory = shard, directory
        self.got_in: list[bool] = []

    def flush(self) -> None:
        self._shard.flush()
        self.got_in.append(DirectoryLock(self._directory).take())

    def close(self) -> None:
        self._shard.close()
        self.got_in.append(DirectoryLock(self._directory).take())


def test_a_directory_is_given_back_when_the_engine_is_done_with_it(tmp_path):
    engine = Engine(tmp_path)
    engine.open(HEADER)
    watched = Watched(engine.call(lambda shard: shard), tmp_path)
    engine._shard = watched
    engine.close()
    assert watched.got_in == [False, False]
    lock = DirectoryLock(tmp_path)
    assert lock.take()
    lock.release()
    lock.release()


def test_a_directory_that_cannot_be_opened_is_given_back(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such segment")

    monkeypatch.setattr("pagefault.stores.engine.load", broken)
    with pytest.raises(StoreError, match="no such segment"):
        Engine(tmp_path).open(HEADER)
    monkeypatch.undo()
    engine = Engine(tmp_path)
    engine.open(HEADER)
    engine.close()


def test_a_directory_without_its_segments_is_not_taken_for_an_empty_one(tmp_path):
    engine = Engine(tmp_path)
    engine.open(HEADER)
    engine.close()
    shutil.rmtree(next(tmp_path.glob("shard/segments/*")))
    for header in (HEADER, None):
        with pytest.raises(StoreError, match=r"is damaged: files of its shard are gone; restore it from a backup"):
            Engine(tmp_path).open(header)


@pytest.mark.long
def test_a_directory_changes_hands_without_a_loss(tmp_path):
    """One process closes while the next one waits, at many moments; what was flushed is there for the next."""
    waits = (
        "import sys, pagefault\nprint('ready', flush=True); sys.stdin.readline()\n"
        "with pagefault.open(sys.argv[1], embedder=None) as m: print(len(m.space(thread='t').view()))\n"
    )
    for moment in range(30):
        place = tmp_path / str(moment)
        with pagefault.open(place, embedder=None) as memory:
            memory.space(thread="t").append({"role": "user", "content": "one"})
        command = [sys.executable, "-c", waits, str(place)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as waiter:
            assert waiter.stdout is not None
            assert waiter.stdout.readline() == "ready\n"
            memory = pagefault.open(place, embedder=None)
            memory.space(thread="t").append({"role": "user", "content": "two"})
            memory.flush()
            assert waiter.stdin is not None
            waiter.stdin.write("go\n")
            waiter.stdin.flush()
            time.sleep(0.04 * moment)
            memory.close()
            assert waiter.stdout.read() == "2\n", f"at moment {moment}"


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
