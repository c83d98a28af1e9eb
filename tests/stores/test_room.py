"""A disk that says it is nearly full: what is refused, what goes on, and what of it comes back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from pagefault.errors import StoreUnwritable
from pagefault.ports import Swap, Where
from pagefault.stores import EdgeStore, edge, engine, room
from pagefault.stores.durability import WalSync
from pagefault.stores.edge_rebuild import rebuild
from pagefault.testing import ThreadRunner
from pagefault.testing.item_contract import item
from pagefault.testing.store_contract import HEADER, OURS, page, terms

MIB = 1024 * 1024


class Disk:
    """A fake of ``shutil.disk_usage``."""

    def __init__(self) -> None:
        self.free = 10**12
        self.total = 10**13
        self.fails = False

    def usage(self, _: object) -> SimpleNamespace:
        if self.fails:
            raise OSError("not supported")
        return SimpleNamespace(free=self.free, total=self.total)


@pytest.fixture
def disk(monkeypatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(room, "disk_usage", disk.usage)
    return disk


def with_store(path, body):
    async def main():
        with ThreadRunner() as run:
            store = EdgeStore(path, run=run, lock_timeout=0.0)
            await store.open(HEADER)
            await body(store)
            await store.close()

    asyncio.run(main())


def test_every_write_is_refused_and_every_read_goes_on(tmp_path, disk):
    first, second, mine = page(1, dense=[[1.0, 0.0, 0.0]]), page(2), item("k", 1)

    async def body(store):
        await store.put(OURS, [first])
        await store.swap(OURS, [Swap(record=mine, version=0)])
        disk.free = room.TO_WRITE - 1
        for write in (
            store.put(OURS, [second]),
            store.swap(OURS, [Swap(record=item("other", 1), version=0)]),
            store.amend(OURS, {mine.id: None}, {"a": 1}),
            store.remove(OURS, {mine.id: 1}),
            store.index(OURS, {first.id: [[0.0, 1.0, 0.0]]}),
        ):
            with pytest.raises(StoreUnwritable, match=r"has 33.6 MB free, and 33.6 MB are wanted .*; free some space"):
                await write
        assert set(await store.get(OURS, [first.id, second.id, mine.id])) == {first.id, mine.id}
        assert await store.count(OURS, Where(kind="page")) == 1
        assert [record.id for record in await store.scan(OURS, Where(kind="page"), limit=9)] == [first.id]
        assert (await store.search(OURS, [terms({1: 1.0})], Where(kind="page"), limit=9)) is not None
        await store.sync()
        disk.free = room.TO_WRITE
        await store.put(OURS, [second])
        assert await store.count(OURS, Where(kind="page")) == 2

    with_store(tmp_path, body)


@pytest.mark.parametrize("holes", [False, True], ids=["ext4", "tmpfs"])
def test_nothing_is_made_where_there_is_no_room_for_it(tmp_path, disk, monkeypatch, holes):
    monkeypatch.setattr(room, "_reading_takes_room", lambda _: holes)

    async def nothing(_):
        pass

    wanted = room.TO_WRITE + 48 * MIB * holes
    disk.free = wanted - 1
    with pytest.raises(StoreUnwritable, match="MB are wanted"):
        with_store(tmp_path / "data", nothing)
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["pagefault.lock"]
    disk.free = wanted
    with_store(tmp_path / "data", nothing)


@pytest.mark.parametrize("holes", [False, True], ids=["ext4", "tmpfs"])
def test_loading_wants_room_for_what_the_log_has(tmp_path, disk, monkeypatch, holes):
    monkeypatch.setattr(room, "_reading_takes_room", lambda _: holes)

    async def two_pages(store):
        await store.put(OURS, [page(n, body="x" * 1_000_000) for n in (1, 2)])

    async def both(store):
        assert await store.count(OURS, Where(kind="page")) == 2

    with_store(tmp_path, two_pages)
    disk.free = room.TO_FLUSH + 2_000_000
    with pytest.raises(StoreUnwritable, match="MB are wanted"):
        with_store(tmp_path, both)
    disk.free = room.TO_FLUSH + 3_000_000 + 200 * MIB * holes
    with_store(tmp_path, both)


@pytest.mark.parametrize("unknown", ["fails", "says nothing"])
def test_a_disk_of_which_nothing_is_known_is_written(tmp_path, disk, unknown):
    disk.free, disk.total, disk.fails = 0, 0, unknown == "fails"

    async def body(store):
        await store.put(OURS, [page(1)])
        assert await store.count(OURS, Where(kind="page")) == 1

    with_store(tmp_path, body)
    with_store(tmp_path, lambda store: store.sync())


def test_what_cannot_be_closed_for_want_of_room_is_closed_by_who_opens_it_again(tmp_path, disk):
    async def a_page(store):
        await store.put(OURS, [page(1)])
        disk.free = room.TO_FLUSH - 1

    async def it_is_there(store):
        assert await store.count(OURS, Where(kind="page")) == 1

    with pytest.raises(StoreUnwritable, match="what is stored lies in its log"):
        with_store(tmp_path, a_page)
    with pytest.raises(StoreUnwritable, match="what is stored lies in its log"):
        with_store(tmp_path, it_is_there)
    disk.free = 10**12
    with_store(tmp_path, it_is_there)
    assert not engine._KEPT


def test_a_flush_that_only_cuts_the_log_can_wait(tmp_path, disk, monkeypatch):
    monkeypatch.setattr(edge, "_FULL_LOGS", 0)

    async def body(store):
        await store.put(OURS, [page(1)])
        disk.free = room.TO_FLUSH - 1
        await store.sync()
        monkeypatch.setattr(WalSync, "sync", lambda _: None)  # no log: then nothing else makes it durable
        with pytest.raises(StoreUnwritable, match="MB are wanted"):
            await store.sync()
        disk.free = room.TO_FLUSH
        await store.sync()

    with_store(tmp_path, body)


def test_a_rebuild_without_room_leaves_the_old_shard(tmp_path, disk, monkeypatch):
    async def a_page(store):
        await store.put(OURS, [page(1)])

    async def it_is_there(store):
        assert await store.count(OURS, Where(kind="page")) == 1

    with_store(tmp_path, a_page)
    before = sorted(file.name for file in tmp_path.iterdir())
    made = engine.load

    def fills_the_disk(*args):
        disk.free = room.TO_WRITE - 1
        return made(*args)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "load", fills_the_disk)
        with pytest.raises(StoreUnwritable, match="MB are wanted"):
            rebuild(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == before
    disk.free = 10**12
    with_store(tmp_path, it_is_there)
    assert rebuild(tmp_path).records == 1
