"""Reading items while others write, delete or let expire what is read, and where the store does not take writes."""

from __future__ import annotations

import logging
import time

import pytest
from qdrant_edge import UpdateOperation

import pagefault
from pagefault import StoreUnwritable, VersionConflict
from pagefault.items import point_of
from pagefault.ports import Where
from pagefault.shelf import WINDOW, Change, Search
from pagefault.stores.layout import INLINE_BYTES, chunk_ids

NS = ("a",)
LARGE = "cat " * INLINE_BYTES


@pytest.fixture
def memory(tmp_path):
    with pagefault.open(tmp_path / "data", embedder=None) as memory:
        yield memory


@pytest.fixture
def shelf(memory):
    return memory.core.shelf(kind="test", name="s")


def on(memory, work):
    return memory.core.kernel.call(work)


def change(key, value=None, *, namespace=NS, **more):
    return Change(namespace=namespace, key=key, value={"v": value}, **more)


async def _refused(*_given, **_more):
    raise StoreUnwritable("the disk is nearly full")


async def _lose_a_chunk(store, shelf, namespace, key):
    scope = shelf._scope
    point = point_of(scope.space, namespace, key)
    payload, _ = (await store._calls.fetch(scope, [point], bodies=True))[point]
    lost = chunk_ids(point, str(payload["chunks"]))[:1]
    await store._write(lambda shard: shard.update(UpdateOperation.delete_points(lost)))


def test_a_large_item_that_is_removed_while_it_is_read_is_not_there(memory, shelf, monkeypatch):
    """Its chunks are read after it; that they were gone by then was told as damage."""
    on(memory, shelf.write([change("large", LARGE), change("small", "cat")]))
    calls = memory.core.store._calls
    fetch_chunks = calls.fetch_chunks
    removed = []

    async def removing(*given, **more):
        if not removed:
            removed.append(await shelf.write([change("large", deletes=True)]))
        return await fetch_chunks(*given, **more)

    monkeypatch.setattr(calls, "fetch_chunks", removing)
    large, small = on(memory, shelf.get([(NS, "large"), (NS, "small")]))
    assert removed
    assert large is None
    assert small.value == {"v": "cat"}


def test_a_large_item_that_lacks_a_part_does_not_hide_the_others(memory, shelf, caplog):
    on(memory, shelf.write([change("large", LARGE), change("small", "cat")]))
    on(memory, _lose_a_chunk(memory.core.store, shelf, NS, "large"))
    for search in (Search(), Search(query="cat")):
        assert [item.key for item, _ in on(memory, shelf.search(search))] == ["small"]
    space = memory.space(user="ada", thread="t")
    space.remember("large", LARGE)
    space.remember("small", "the cat sleeps")
    on(memory, _lose_a_chunk(memory.core.store, memory.core.shelf(kind="user", name="ada"), (), "large"))
    assert [found.item.key for found in space.recall("cat sleeps").items] == ["small"]
    assert "lacks chunk" in caplog.text


def test_where_nothing_can_be_written_reading_goes_on(memory, shelf, monkeypatch, caplog):
    """What has expired cannot be cleared away and no time to live begun anew, but both can be read."""
    on(memory, shelf.write([change("short", "cat", ttl=5.0), change("long", "cat", ttl=500.0), change("ever", "cat")]))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    store = memory.core.store
    with monkeypatch.context() as full:
        for call in ("remove", "amend"):
            full.setattr(store, call, _refused)
        found = on(memory, shelf.get([(NS, key) for key in ("short", "long", "ever")]))
        assert [item and item.key for item in found] == [None, "long", "ever"]
        for search in (Search(), Search(query="cat")):
            assert {item.key for item, _ in on(memory, shelf.search(search))} == {"long", "ever"}
        assert on(memory, shelf.namespaces()) == {NS}
        with caplog.at_level(logging.WARNING, logger="pagefault"):
            on(memory, shelf.refresh([item for item in found if item]))
        assert "expire as before" in caplog.text
        with pytest.raises(StoreUnwritable):
            on(memory, shelf.sweep())
    on(memory, shelf.sweep())
    assert on(memory, store.count(shelf._scope, Where(kind="item"))) == 2


def test_to_delete_what_has_expired_as_if_it_were_not_there_is_no_conflict(memory, shelf, monkeypatch):
    on(memory, shelf.write([change("k", "cat", ttl=5.0), change("living", "cat")]))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    gone, living = on(memory, shelf.write([change(key, deletes=True, version=0) for key in ("k", "living")]))
    assert gone is None
    assert isinstance(living, VersionConflict)
    assert on(memory, memory.core.store.count(shelf._scope, Where(kind="item"))) == 1


def test_what_is_written_again_while_a_shelf_is_walked_is_not_missed(memory, shelf, monkeypatch):
    """It moves from the part that is still to be read into the one that was read."""
    there = 2 * WINDOW + 10
    on(memory, shelf.write([change(f"k{n}", n, namespace=(f"u{n}",), text="") for n in range(there)]))
    store = memory.core.store
    scan, rewritten = store.scan, []

    async def rewriting(*given, **more):
        found = await scan(*given, **more)
        if len(rewritten) < 5:
            n = len(rewritten)
            rewritten.append(await shelf.write([change(f"k{n}", n, namespace=(f"u{n}",), text="")]))
        return found

    monkeypatch.setattr(store, "scan", rewriting)
    assert len(on(memory, shelf.namespaces())) == there
    rewritten.clear()
    found = [item.key for item, _ in on(memory, shelf.search(Search(limit=2 * there)))]
    assert len(found) == len(set(found)) == there


def test_a_walk_ends_beside_one_who_never_stops_writing(memory, shelf, monkeypatch):
    there = WINDOW + 10
    on(memory, shelf.write([change(f"k{n}", n, text="") for n in range(there)]))
    store = memory.core.store
    scan, scans = store.scan, []

    async def rewriting(*given, **more):
        found = await scan(*given, **more)
        scans.append(await shelf.write([change(f"k{n}", n, text="") for n in range(there)]))
        assert len(scans) < 100, "the walk goes on for as long as others write"
        return found

    monkeypatch.setattr(store, "scan", rewriting)
    assert on(memory, shelf.namespaces()) == {NS}
