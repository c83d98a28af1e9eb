"""What a page costs in memory and on disk, beside LangGraph's InMemoryStore and qdrant-client's local mode.

Run with ``python -m benchmarks.footprint``, on Linux; ``--pages 100000`` takes minutes. Each case is a process of its
own: it loads everything with one page, notes its resident memory, takes in the others, answers some questions, and
notes it again. Anonymous memory is the process's alone; pages of mapped files are the system's to drop. On disk,
blocks count, not the length of files with holes.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from langgraph.store.memory import InMemoryStore
from qdrant_client import QdrantClient, models

import pagefault
from benchmarks.recall_speed import BUDGET, load
from benchmarks.texts import Texts
from pagefault.embedders import default_embedder
from pagefault.ports import Embedder

ASKED = 20
BATCH = 500
BLOCK = 512
"""Bytes of what ``st_blocks`` counts."""


class Size(NamedTuple):
    """Bytes."""

    anonymous: int
    mapped: int
    disk: int


def memory_now() -> tuple[int, int]:
    """Anonymous and mapped resident memory of this process."""
    gc.collect()
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines if line.startswith("Rss"))
    return int(fields["RssAnon"].split()[0]) * 1024, int(fields["RssFile"].split()[0]) * 1024


def disk_of(place: Path) -> int:
    """What a directory takes on disk."""
    return sum(path.stat().st_blocks * BLOCK for path in place.rglob("*") if path.is_file())


Steps = Iterator[None]
"""A case in three steps, each up to a ``yield``: ready with one page, full and asked, closed."""


def ours(place: Path, pages: int, *, words_alone: bool = False) -> Steps:
    """One space of a memory on disk."""
    with pagefault.open(place, embedder=None if words_alone else default_embedder(), budget=BUDGET) as memory:
        first = memory.space(user="ada", thread="first")
        first.append([{"role": "user", "content": Texts(3).stretch()}])
        first.recall("a first question")
        yield
        (space,) = load(memory, 1, pages)
        texts = Texts(2)
        for _ in range(ASKED):
            space.recall(texts.question())
        yield
    yield


def again(place: Path, _pages: int) -> Steps:
    """A memory that another process wrote: it has one page here until all are asked for."""
    with pagefault.open(place, budget=BUDGET) as memory:
        memory.space(user="ada", thread="first").recall("a first question")
        yield
        space, texts = memory.space(user="ada", thread="t0"), Texts(2)
        for _ in range(ASKED):
            space.recall(texts.question())
        yield
    yield


def in_memory_store(_place: Path, pages: int) -> Steps:
    """LangGraph's store, with the same embedder."""
    embedder = _embedder()
    index = {"dims": embedder.dimension, "embed": partial(_floats, embedder), "fields": ["text"]}
    store, texts = InMemoryStore(index=index), Texts(1)  # type: ignore[arg-type]  # a dict of its keys
    store.put(("pages", "first"), "first", {"text": texts.stretch()})
    store.search(("pages", "first"), query="a first question")
    yield
    for number in range(pages):
        store.put(("pages", "t0"), str(number), {"text": texts.stretch()})
    for _ in range(ASKED):
        store.search(("pages", "t0"), query=texts.question(), limit=10)
    yield
    yield


def local_client(_place: Path, pages: int) -> Steps:
    """qdrant-client's local mode in memory, with the same vectors."""
    embedder, client, texts = _embedder(), QdrantClient(":memory:"), Texts(1)
    size = models.VectorParams(size=embedder.dimension, distance=models.Distance.COSINE)
    client.create_collection("pages", vectors_config=size)
    _upsert(client, embedder, ["a first page"], 0)
    client.query_points("pages", query=_floats(embedder, ["a first question"])[0], limit=10)
    yield
    for first in range(0, pages, BATCH):
        _upsert(client, embedder, [texts.stretch() for _ in range(min(BATCH, pages - first))], first + 1)
    for _ in range(ASKED):
        client.query_points("pages", query=_floats(embedder, [texts.question()])[0], limit=10)
    yield
    yield


def _upsert(client: QdrantClient, embedder: Embedder, texts: list[str], first: int) -> None:
    vectors = _floats(embedder, texts)
    points = [
        models.PointStruct(id=first + n, vector=vector, payload={"space": "t0", "text": text})
        for n, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]
    client.upsert("pages", points)


def _embedder() -> Embedder:
    embedder = default_embedder()
    assert embedder is not None
    embedder.embed(["so that it is loaded"])
    return embedder


def _floats(embedder: Embedder, texts: list[str]) -> list[list[float]]:
    return [list(map(float, vector)) for vector in embedder.embed(texts)]


AGAIN = "pagefault, opened again"
CASES: dict[str, Callable[[Path, int], Steps]] = {
    "pagefault": ours,
    "pagefault, full text alone": partial(ours, words_alone=True),
    AGAIN: again,
    "InMemoryStore": in_memory_store,
    "qdrant-client, local mode": local_client,
}


def measure(steps: Steps, place: Path) -> None:
    """Print what a case takes, as JSON: ready, then by how much it grew, and what lies on disk."""
    next(steps)
    ready, before = memory_now(), disk_of(place)
    next(steps)
    full = memory_now()
    next(steps)
    grown = Size(full[0] - ready[0], full[1] - ready[1], disk_of(place) - before)
    print(json.dumps({"ready": sum(ready), **grown._asdict()}))


def main() -> None:
    """Print the table, or one case's figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--case", choices=CASES, help="only this one, in this process, as JSON")
    parser.add_argument("--place", type=Path, help="the directory of a case")
    options = parser.parse_args()
    if options.case:
        measure(CASES[options.case](options.place, options.pages[0]), options.place)
        return
    print("| pages | what | before them, MB | anonymous bytes a page | mapped bytes a page | disk bytes a page |")
    print("|---|---|---|---|---|---|")
    for pages in options.pages:
        with tempfile.TemporaryDirectory() as root:
            for case in CASES:
                place = Path(root) / ("pagefault" if case == AGAIN else case)
                of_case = ["--case", case, "--place", str(place), "--pages", str(pages)]
                command = [sys.executable, "-m", "benchmarks.footprint", *of_case]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                parts = (f"{found[part] / pages:,.0f}" if found[part] else "" for part in Size._fields)
                print(f"| {pages:,} | {case} | {found['ready'] / 1e6:.0f} | {' | '.join(parts)} |", flush=True)


if __name__ == "__main__":
    main()
