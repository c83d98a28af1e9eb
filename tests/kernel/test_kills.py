"""Killed at any moment: what was acknowledged is there, exact and once, and work goes on."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from multiprocessing.connection import Connection
from typing import Any

import pytest

from tests.kernel.chat_writer import main

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL")


EARLY_EVERY = 7
"""One life in so many ends before it has said anything."""


def one_life(path: Any, told: int, embedder: Any, chance: random.Random, *, early: bool) -> tuple[int, int]:
    """Start the writer, let it live for a while, kill it; what it found and what it last acknowledged."""
    # Children of a server that has the imports already: a start costs the opening alone.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pagefault", "pagefault.embedders.wordllama"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=main, args=(str(path), told, chance.randrange(2**32), embedder, theirs))
    process.start()
    theirs.close()
    events = 0 if early else chance.randint(1, 6)  # the first event says what was found
    heard: dict[str, Any] = {"found": -1, "flushed": told}
    try:
        while events and "done" not in heard:
            listen(ours, heard)
            events -= 1
        time.sleep(chance.uniform(0.0, 0.3 if early else 0.04))
    finally:
        process.kill()
        process.join()
    while ours.poll():  # what it said before it died
        try:
            listen(ours, heard)
        except EOFError:
            break
    ours.close()
    process.close()
    return heard["found"], heard["flushed"]


def listen(pipe: Connection, heard: dict[str, Any]) -> None:
    kind, value = pipe.recv()
    assert kind != "wrong", value
    heard[kind] = value


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("embedder", "kills"), [(None, 42), ("default", 8)], ids=["no-embedder", "default-embedder"])
def test_fifty_kills_lose_nothing(tmp_path, embedder, kills):
    seed = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
    print(f"KILL_SEED={seed}")  # shown when the test fails: how to repeat it
    chance = random.Random(seed)
    told, founds = 0, []
    for life in range(kills):
        early = life % EARLY_EVERY == EARLY_EVERY - 1
        found, told = one_life(tmp_path / "data", told, embedder, chance, early=early)
        founds.append(found)
    assert told > kills  # they did write
    assert sum(found >= 0 for found in founds) >= kills - kills // EARLY_EVERY  # and most of them were checked
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    last = context.Process(target=main, args=(str(tmp_path / "data"), told, 0, embedder, theirs))
    last.start()
    assert ours.recv()[0] == "found"
    last.kill()
    last.join()
