"""How long a recall takes, from 1,000 to 100,000 pages, in one space and in twenty.

Run with ``python -m benchmarks.recall_speed``; loading 100,000 pages twice takes minutes. Pages are stretches of
Python's documentation, questions are words of such stretches, each asked once. Time is split into the vector of
the question, the engine's search by vectors, its search by words, and the rest: items, weights, bodies, hashes, the
gate, rendering. LangGraph's InMemoryStore (same embedder) and qdrant-client's local mode (same vectors, a filter by
space) answer the same questions at the sizes they can bear; they search by vectors alone.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from langgraph.store.memory import InMemoryStore
from qdrant_client import QdrantClient, models

import pagefault
from benchmarks.figures import quantile, state
from benchmarks.picture import growth
from benchmarks.texts import Texts
from pagefault.embedders import WordLlamaEmbedder, default_embedder
from pagefault.ports import Embedder, PageStore, Sparse

SPACES = 20
BATCH = 500
ASKED = 200
ASKED_OF_PEERS = 20
BEARABLE = 10_000
"""Pages up to which the peers are asked; beyond, a question takes them seconds."""
BUDGET = pagefault.Budget(window=64_000, target=24_000)
Spent = dict[str, float]


def timed_embedding(spent: Spent) -> AbstractContextManager[object]:
    """Time the default embedder, where it is: another object in its place would be called on another thread."""
    embed = WordLlamaEmbedder.embed

    def timed(self: WordLlamaEmbedder, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        began = time.perf_counter()
        vectors = embed(self, texts)
        spent["embedding"] = spent.get("embedding", 0.0) + time.perf_counter() - began
        return vectors

    return mock.patch.object(WordLlamaEmbedder, "embed", timed)


def watch(store: PageStore, spent: Spent) -> None:
    """Time a store's searches, one query at a time, as it makes them anyhow."""
    search = store.search

    async def timed(scope: Any, queries: Sequence[Any], where: Any, *, limit: int) -> Any:
        found = []
        for query in queries:
            began = time.perf_counter()
            found += await search(scope, [query], where, limit=limit)
            name = "words" if isinstance(query, Sparse) else "vectors"
            if where.kind == "page":
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - began
        return found

    store.search = timed  # type: ignore[method-assign]  # for measuring alone


def load(memory: pagefault.Memory, spaces: int, pages: int) -> list[pagefault.Space]:
    """So many pages, written as agents write them."""
    texts = Texts(1)
    found = [memory.space(user="ada", thread=f"t{number}") for number in range(spaces)]
    roles = ("user", "assistant")
    for space in found:
        for first in range(0, pages // spaces, BATCH):
            count = min(BATCH, pages // spaces - first)
            space.append([{"role": roles[n % 2], "content": texts.stretch()} for n in range(count)])
            space.view(budget=BUDGET)
        memory.flush()
    return found


def ours(spaces: int, pages: int, asked: int) -> list[Spent]:
    """What each question took, in seconds, by part."""
    spent: Spent = {}
    chance, texts, rows = random.Random(3), Texts(2), list[Spent]()
    with (
        tempfile.TemporaryDirectory() as place,
        pagefault.open(place, budget=BUDGET) as memory,
        timed_embedding(spent),
    ):
        found = load(memory, spaces, pages)
        watch(memory.core.store, spent)
        for space in found:
            space.recall("a first question")
        for _ in range(asked):
            space, question = chance.choice(found), texts.question()
            spent.clear()
            began = time.perf_counter()
            space.recall(question)
            spent["all"] = time.perf_counter() - began
            spent["rest"] = spent["all"] - sum(spent.get(part, 0.0) for part in ("embedding", "vectors", "words"))
            rows.append(dict(spent))
    return rows


def in_memory_store(spaces: int, pages: int, asked: int) -> list[float]:
    """Seconds of each search of LangGraph's store."""
    embedder = default_embedder()
    assert embedder is not None
    embed = partial(_floats, embedder)
    store = InMemoryStore(index={"dims": embedder.dimension, "embed": embed, "fields": ["text"]})
    texts = Texts(1)
    for number in range(pages):
        store.put(("pages", f"t{number % spaces}"), str(number), {"text": texts.stretch()})
    return _times(spaces, asked, lambda space, asks: store.search(("pages", f"t{space}"), query=asks, limit=10))


def local_client(spaces: int, pages: int, asked: int) -> list[float]:
    """Seconds of each search of qdrant-client's local mode."""
    embedder = default_embedder()
    assert embedder is not None
    client = QdrantClient(":memory:")
    client.create_collection(
        "pages", vectors_config=models.VectorParams(size=embedder.dimension, distance=models.Distance.COSINE)
    )
    texts = Texts(1)
    stretches = [texts.stretch() for _ in range(pages)]
    for first in range(0, pages, BATCH):
        points = [
            models.PointStruct(
                id=first + n, vector=vector, payload={"space": f"t{(first + n) % spaces}", "text": stretches[first + n]}
            )
            for n, vector in enumerate(_floats(embedder, stretches[first : first + BATCH]))
        ]
        client.upsert("pages", points)

    def search(space: int, asks: str) -> object:
        match = models.FieldCondition(key="space", match=models.MatchValue(value=f"t{space}"))
        wanted = models.Filter(must=[match])
        return client.query_points("pages", query=_floats(embedder, [asks])[0], query_filter=wanted, limit=10)

    return _times(spaces, asked, search)


def _floats(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    return [list(map(float, vector)) for vector in embedder.embed(texts)]


def _times(spaces: int, asked: int, search: Callable[[int, str], object]) -> list[float]:
    chance, texts, times = random.Random(3), Texts(2), list[float]()
    for _ in range(asked):
        space, question = chance.randrange(spaces), texts.question()
        began = time.perf_counter()
        search(space, question)
        times.append(time.perf_counter() - began)
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--spaces", type=int, nargs="*", default=[1, SPACES])
    parser.add_argument("--asked", type=int, default=ASKED)
    parser.add_argument("--svg", type=Path, help="also draw the medians here")
    options = parser.parse_args()
    curves: dict[str, dict[float, float]] = {}
    print(f"{state()}\n")
    print("| pages | spaces | what | p50 ms | p95 ms | embedding | vectors | words | rest | this / ours |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for pages in options.pages:
        for spaces in options.spaces:
            rows = ours(spaces, pages, options.asked)
            whole = [row["all"] * 1e3 for row in rows]
            base = statistics.median(whole)
            parts = (
                f"{statistics.median(row.get(part, 0.0) for row in rows) * 1e3:.2f}"
                for part in ("embedding", "vectors", "words", "rest")
            )
            name = f"pagefault, {spaces} space{'s' if spaces > 1 else ''}"
            curves.setdefault(name, {})[pages] = base
            head = f"| {pages:,} | {spaces} |"
            print(
                f"{head} pagefault | {base:.1f} | {quantile(whole, 0.95):.1f} | {' | '.join(parts)} | 1 |", flush=True
            )
            peers = {"InMemoryStore": in_memory_store, "qdrant-client, local mode": local_client}
            for peer, ask in peers.items() if pages <= BEARABLE else ():
                times = [each * 1e3 for each in ask(spaces, pages, ASKED_OF_PEERS)]
                median = statistics.median(times)
                curves.setdefault(f"{peer}, {spaces} space{'s' if spaces > 1 else ''}", {})[pages] = median
                print(
                    f"{head} {peer} | {median:.1f} | {quantile(times, 0.95):.1f} | | | | | {median / base:.1f} |",
                    flush=True,
                )
    print(f"\n{state()}")
    if options.svg:
        options.svg.write_text(growth("A recall", "pages", "milliseconds", curves), encoding="utf-8")


if __name__ == "__main__":
    main()
