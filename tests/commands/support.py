"""What the tests of the commands share: a directory with two tenants' pages and items, and ways to damage it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from qdrant_edge import PayloadSelector, Point, ScrollRequest, UpdateMode, UpdateOperation

import pagefault
from pagefault.stores.engine import Engine
from pagefault.testing.embedders import HashingEmbedder

OLD = HashingEmbedder(dimension=32)
LARGE = "L" * 400_000  # one word, which the fake embedder hashes quickly


def fill(directory: Path) -> Path:
    """Two tenants with a thread each; a large page and a value that was replaced."""
    with pagefault.open(directory, embedder=OLD) as memory:
        for tenant in ("acme", "globex"):
            space = memory.space(tenant=tenant, user="ada", thread="t1", agent="helper")
            texts = [*(f"message {n} of {tenant}" for n in range(20)), LARGE, "the cat is called Turing"]
            space.append([{"role": "user", "content": text} for text in texts])
            space.remember("pet", {"cat": "Alan"})
            space.remember("pet", {"cat": "Turing"})
    return directory


def copy(directory: Path, to: Path) -> Path:
    """A copy that keeps the holes in the log, which would take 100 MiB."""
    subprocess.run(["cp", "-r", "--sparse=always", str(directory), str(to)], check=True)
    return to


def holds_all(directory: Path, embedder: Any) -> None:
    """Every page and item is there, found by meaning and by words."""
    with pagefault.open(directory, embedder=embedder) as memory:
        for tenant in ("acme", "globex"):
            space = memory.space(tenant=tenant, user="ada", thread="t1", agent="helper")
            pages = space.fault("1-22").pages
            assert [p.page.text for p in pages[:2]] == [f"message {n} of {tenant}" for n in range(2)]
            assert pages[20].page.text == LARGE
            assert space.recall("what is the cat called").pages[0].page.text == "the cat is called Turing"


def start(*args: str, **options: Any) -> subprocess.Popen[str]:
    """A process of its own."""
    return subprocess.Popen(
        [sys.executable, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def corrupt(directory: Path, text: str, *, kind: str = "page") -> None:
    """Change the stored body of every page, or item, that says ``text``, behind its hash."""
    engine = Engine(directory)
    engine.open(None)

    def change(shard: Any) -> None:
        points, _ = shard.scroll(_everything())
        for point in points:
            body = str(point.payload.get("body", ""))
            if text in body and point.payload["kind"] == kind:
                payload = {**point.payload, "body": body.replace(text, text[::-1])}
                operation = UpdateOperation.upsert_points(
                    [Point(point.id, point.vector, payload)], None, UpdateMode.Upsert
                )
                shard.update(operation)

    engine.call(change)
    engine.close()


def drop_page(directory: Path, tenant: str, seq: int) -> None:
    """Lose one page of a tenant."""
    engine = Engine(directory)
    engine.open(None)

    def lose(shard: Any) -> None:
        points, _ = shard.scroll(_everything())
        lost = [
            p.id for p in points if (p.payload["tenant"], p.payload["kind"], p.payload["seq"]) == (tenant, "page", seq)
        ]
        shard.update(UpdateOperation.delete_points(lost))

    engine.call(lose)
    engine.close()


def drop_chunks(directory: Path) -> None:
    """Lose the chunks of all large bodies."""
    engine = Engine(directory)
    engine.open(None)

    def lose(shard: Any) -> None:
        points, _ = shard.scroll(_everything())
        shard.update(UpdateOperation.delete_points([p.id for p in points if p.payload["kind"] == "chunk"]))

    engine.call(lose)
    engine.close()


def _everything() -> Any:
    return ScrollRequest(limit=10_000, with_payload=PayloadSelector.Exclude([]), with_vector=True)
