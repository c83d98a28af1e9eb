"""Which files of the write-ahead log are synced, and when."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil

import pytest

from pagefault.errors import StoreError
from pagefault.stores import EdgeStore, durability, edge
from pagefault.stores.durability import WalSync
from pagefault.testing import ThreadRunner
from pagefault.testing.store_contract import HEADER, OURS, page


@pytest.fixture
def wal(tmp_path):
    for name in ("open-1", "open-2", "closed-0", "tmp-open-3", "first-index"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def synced(monkeypatch):
    """Names synced, in order; a directory by its own name."""
    names: list[str] = []
    sync_file, sync_directory = durability.sync_file, durability.sync_directory

    def record_file(file):
        sync_file(file)
        names.append(file.name)

    def record_directory(path):
        sync_directory(path)
        names.append("directory")

    monkeypatch.setattr(durability, "sync_file", record_file)
    monkeypatch.setattr(durability, "sync_directory", record_directory)
    return names


def test_open_logs_are_synced_each_time_and_closed_ones_once(wal, synced):
    sync = WalSync(wal)
    assert sync.sync() == 1
    assert synced == ["closed-0", "open-1", "open-2", "directory"]
    synced.clear()
    assert sync.sync() == 1
    assert synced == ["open-1", "open-2"]


def test_a_rotation_syncs_the_closed_log_and_the_directory(wal, synced):
    sync = WalSync(wal)
    sync.sync()
    synced.clear()
    (wal / "open-1").rename(wal / "closed-9")
    (wal / "open-3").touch()
    assert sync.sync() == 2
    assert synced == ["closed-9", "open-2", "open-3", "directory"]


def test_a_rotation_in_between_starts_again(wal, synced, monkeypatch):
    recorded = durability.sync_file

    def rotate_first(file):
        if (wal / "open-1").exists():
            (wal / "open-1").rename(wal / "closed-9")
        recorded(file)

    monkeypatch.setattr(durability, "sync_file", rotate_first)
    WalSync(wal).sync()
    assert synced[-4:] == ["closed-0", "closed-9", "open-2", "directory"]


def test_a_name_that_appears_while_listing_is_not_missed(wal, synced, monkeypatch):
    listings = iter([{"open-2"}])
    names = WalSync._names
    monkeypatch.setattr(WalSync, "_names", lambda self: next(listings, None) or names(self))
    WalSync(wal).sync()
    assert {"open-1", "closed-0"} <= set(synced)


def test_a_directory_that_never_holds_still_is_an_error(wal, monkeypatch):
    numbers = iter(range(1000))
    monkeypatch.setattr(WalSync, "_names", lambda self: {"open-1", f"closed-{next(numbers)}"} - {"closed-0"})
    monkeypatch.setattr(durability, "sync_file", lambda file: None)
    with pytest.raises(StoreError, match="hold still"):
        WalSync(wal).sync()


def test_a_failed_sync_stays_failed(wal, monkeypatch):
    sync = WalSync(wal)
    with monkeypatch.context() as broken:

        def fail(file):
            raise OSError(5, "Input/output error")

        broken.setattr(durability, "sync_file", fail)
        with pytest.raises(StoreError, match="power loss"):
            sync.sync()
    with pytest.raises(StoreError, match="power loss") as caught:
        sync.sync()
    assert isinstance(caught.value.__cause__, OSError)


def test_a_log_that_could_not_be_opened_is_synced_when_it_can(wal, synced, monkeypatch):
    sync = WalSync(wal)
    with monkeypatch.context() as broken:

        def fail(*_):
            raise OSError(errno.EMFILE, "Too many open files")

        broken.setattr(os, "open", fail)
        with pytest.raises(StoreError, match="ulimit -n"):
            sync.sync()
    assert sync.sync() == 1
    assert synced == ["closed-0", "open-1", "open-2", "directory"]


def test_no_log_at_all(tmp_path):
    assert WalSync(tmp_path).sync() is None
    assert WalSync(tmp_path / "missing").sync() is None


def in_store(tmp_path, body):
    async def main():
        with ThreadRunner() as run:
            store = EdgeStore(tmp_path, run=run)
            await store.open(HEADER)
            await body(store, run)
            await store.close()

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fdatasync"), reason="needs fdatasync")
def test_the_engine_has_logs_where_we_look(tmp_path, synced):
    async def body(store, run):
        await store.put(OURS, [page(1)])
        calls = run.other
        await store.sync()
        assert [name.partition("-")[0] for name in synced] == ["open", "open", "directory"]
        assert run.other == calls  # off the engine's thread

    in_store(tmp_path, body)


def test_without_logs_the_engine_is_flushed_and_it_is_said_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(WalSync, "sync", lambda self: None)

    async def body(store, run):
        calls = run.other
        await store.sync()
        await store.sync()
        assert run.other == calls + 2

    with caplog.at_level(logging.WARNING):
        in_store(tmp_path, body)
    assert len([record for record in caplog.records if "no write-ahead log to sync" in record.message]) == 1


def test_a_directory_that_was_moved_away_is_named_as_gone_and_goes_on_when_it_is_back(tmp_path):
    place, elsewhere = tmp_path / "here", tmp_path / "there"

    async def body(store, run):
        await store.put(OURS, [page(1)])
        place.rename(elsewhere)
        with pytest.raises(StoreError, match="is gone: the data directory was deleted or moved"):
            await store.sync()
        elsewhere.rename(place)
        await store.sync()
        assert len(await store.get(OURS, [page(1).id])) == 1

    in_store(place, body)


def test_a_directory_that_another_has_made_anew_is_not_touched_and_nothing_is_called_stored(tmp_path):
    """By its name it is another's: the engine would rename that one's logs, and what it writes would be lost."""
    place, elsewhere = tmp_path / "here", tmp_path / "there"

    def files():
        return {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in place.rglob("*")}

    async def body(store, run):
        await store.put(OURS, [page(1)])
        place.rename(elsewhere)
        other = EdgeStore(place, run=run)
        await other.open(HEADER)
        before = files()
        for use in (store.put(OURS, [page(2)]), store.sync(), store.close()):
            with pytest.raises(StoreError, match="is gone: the data directory was deleted or moved"):
                await use
        assert files() == before
        await other.close()
        back = EdgeStore(elsewhere, run=run)
        await back.open(HEADER)
        assert set(await back.get(OURS, [page(1).id, page(2).id])) == {page(1).id}
        await back.close()

    in_store(place, body)


def test_a_lock_alone_that_was_cleared_away_does_no_harm(tmp_path):
    """As by who deletes what lies untouched in /tmp, where a throw-away memory is."""

    async def body(store, run):
        await store.put(OURS, [page(1)])
        (tmp_path / "pagefault.lock").unlink()
        await store.put(OURS, [page(2)])
        await store.sync()
        assert len(await store.get(OURS, [page(1).id, page(2).id])) == 2

    in_store(tmp_path, body)


@pytest.mark.parametrize("left", ["nothing", "a file"])
def test_a_directory_that_was_emptied_is_gone(tmp_path, left):
    place = tmp_path / "here"

    async def body(store, run):
        await store.put(OURS, [page(1)])
        shutil.rmtree(place)
        place.mkdir() if left == "nothing" else place.touch()
        for use in (store.put(OURS, [page(2)]), store.sync(), store.close()):
            with pytest.raises(StoreError, match="is gone"):
                await use

    in_store(place, body)


def test_many_full_logs_are_flushed_away(tmp_path, monkeypatch):
    monkeypatch.setattr(edge, "_FULL_LOGS", 2)
    megabyte = "x" * 1_000_000

    async def body(store, run):
        wal = tmp_path / "shard" / "wal"
        for number in range(90):
            await store.put(OURS, [page(number, megabyte)])
            if not number % 10:
                await store.sync()
        await store.sync()
        assert len([f for f in wal.iterdir() if f.name.startswith("closed-")]) < 2
        assert any(f.name.startswith("open-") and f.name > "open-3" for f in wal.iterdir())
        assert len(await store.get(OURS, [page(7, megabyte).id])) == 1

    in_store(tmp_path, body)
