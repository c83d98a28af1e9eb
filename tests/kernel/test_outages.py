"""A store that fails or is slow: appends go on or wait, nothing is lost, and it is said once."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagefault.errors import StoreError, StoreUnreachable
from pagefault.testing.embedders import HashingEmbedder
from pagefault.testing.faults import FlakyStore, SlowStore
from tests.kernel.support import PATIENCE, records, store_alone, texts, until, user, users, wrapped


@pytest.fixture
def small_backlog(monkeypatch):
    monkeypatch.setattr("pagefault.held.MAX_BACKLOG", 20)


def test_a_full_backlog_makes_append_wait(monkeypatch, small_backlog):
    with wrapped(monkeypatch, SlowStore) as (memory, store):
        space = memory.space(thread="t")
        memory.ready()
        store.hold("put")
        space.append(users(1, 21))  # one more than may wait: taken in, since nothing was too many before
        appending = threading.Thread(target=space.append, args=(users(22, 22),))
        appending.start()
        until(lambda: memory.core.kernel._tasks, "the append to wait")
        assert appending.is_alive()
        assert len(space.view()) == 21
        store.let_go()
        appending.join()
        assert len(space.view()) == 22
        assert texts(space) == [f"message {n}" for n in range(1, 23)]


def served(store, verb, *args):
    """Texts of the pages that a verb gives; one that waits for the held store fails instead of hanging."""
    with store_alone(), ThreadPoolExecutor(1) as pool:
        job = pool.submit(verb, *args)
        try:
            return [found.page.text for found in job.result(PATIENCE).pages]
        finally:
            if not job.done():
                store.let_go()


def test_a_fault_of_stored_pages_goes_before_a_long_queue_of_write_backs(monkeypatch):
    with wrapped(monkeypatch, SlowStore) as (memory, store):
        space, other = memory.space(thread="t"), memory.space(thread="other")
        space.append(users(1, 20))
        other.append(user("zebras live in Kenya"))
        memory.flush()
        store.hold("put")  # from here on, no unit of write-backs ends
        space.append(users(21, 500))
        until(lambda: store.waiting, "the first write")
        written = store.calls["put"]
        assert served(store, space.fault, "3, 17-18") == ["message 3", "message 17", "message 18"]
        assert served(store, other.recall, "where do zebras live") == ["zebras live in Kenya"]
        assert store.calls["put"] == written, "the whole queue still waits"


def test_a_fault_of_a_page_that_waits_is_served_before_the_pages_behind_it(monkeypatch):
    with wrapped(monkeypatch, SlowStore) as (memory, store):
        space = memory.space(thread="t")
        memory.ready()
        put, units = store.put, []

        async def the_first_two(scope, records):
            units.append(len(records))
            if len(units) == 3:
                store.hold("put")
            await put(scope, records)

        monkeypatch.setattr(store, "put", the_first_two)
        space.append(users(1, 500))
        assert served(store, space.fault, "1") == ["message 1"]  # how many are in a unit depends on the machine
        until(lambda: store.waiting, "the third unit")
        assert len(units) == 3, "no unit behind the page was waited for"


def test_waiting_for_room_blocks_no_other_task_and_no_other_space(monkeypatch, small_backlog):
    async def main():
        with wrapped(monkeypatch, SlowStore) as (memory, store):
            space, other = memory.space(thread="t"), memory.space(thread="other")
            await space.aappend(users(1, 2))
            await other.aappend(users(1, 2))
            store.hold("put")
            await space.aappend(users(3, 40))
            waiting = asyncio.create_task(space.aappend(user("late")))
            await asyncio.to_thread(until, lambda: store.waiting, "the write")
            await other.aappend(user("at once"))
            assert len(await other.aview()) == 3
            assert not waiting.done()
            store.let_go()
            await waiting
            assert [m["content"] for m in await space.aview()][-1] == "late"

    asyncio.run(main())


def test_a_cancelled_append_that_waited_added_nothing(monkeypatch, small_backlog):
    async def main():
        with wrapped(monkeypatch, SlowStore) as (memory, store):
            space = memory.space(thread="t")
            await memory.aready()
            store.hold("put")
            await space.aappend(users(1, 30))
            waiting = asyncio.create_task(space.aappend(user("never")))
            await asyncio.to_thread(until, lambda: store.waiting, "the write")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            store.let_go()
            await memory.aflush()
            assert len(await space.aview()) == 30

    asyncio.run(main())


def test_many_writers_never_have_much_more_than_the_limit_waiting(monkeypatch, small_backlog):
    with wrapped(monkeypatch, FlakyStore) as (memory, _):
        space = memory.space(thread="t")
        space.append(user("0"))
        most = [0]

        def write(name):
            for n in range(100):
                space.append(user(f"{name} {n}"))
                with space.paging.lock:
                    most[0] = max(most[0], len(space.paging.lineages[0].unstored(1000)))

        threads = [threading.Thread(target=write, args=(f"writer {n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most[0] <= 20 + len(threads)
        assert len(texts(space)) == 401


@pytest.mark.parametrize("broken", ["put", "sync", "index"])
def test_an_outage_loses_nothing_and_is_said_once(monkeypatch, caplog, broken):
    caplog.set_level(logging.INFO, "pagefault")
    monkeypatch.setattr("pagefault.writing.patience.PAUSES", (0.01, 0.02))
    monkeypatch.setattr("pagefault.writing.indexing.QUICK_SECONDS", 0.0)  # vectors come after the page
    with wrapped(monkeypatch, FlakyStore, embedder=HashingEmbedder()) as (memory, store):
        space = memory.space(thread="t")
        space.append(users(1, 5))
        memory.flush()
        store.fail(broken)
        for n in range(6, 106):
            space.append(user(f"message {n}"))  # goes on
        assert len(space.view()) == 105  # and so does the agent
        tries = store.calls[broken]
        until(lambda: store.calls[broken] >= tries + 5, "several retries")
        with pytest.raises(StoreError, match=f"outage has hit {broken}"):
            memory.flush()
        assert memory.core.writeback.has_work
        assert isinstance(memory.trouble, StoreError)
        store.heal()
        until(lambda: not memory.core.writeback.has_work, "recovery without anybody asking")
        until(lambda: memory.trouble is None, "the end of the trouble")
        memory.flush()
        assert texts(space) == [f"message {n}" for n in range(1, 106)]
        assert [r.seq for r in records(memory, space)] == list(range(1, 106))
    assert caplog.text.count("write-back waits, the agent goes on") == 1
    assert caplog.text.count("write-back works again") == 1


def test_an_append_that_finds_no_room_during_an_outage_adds_nothing(monkeypatch, small_backlog):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        memory.ready()
        store.fail("put")
        space.append(users(1, 21))
        with pytest.raises(StoreError, match="hit put"):
            space.append(users(22, 30))
        assert len(space.view()) == 21
        store.heal()
        space.append(users(22, 30))  # the caller's own retry does not double anything
        assert texts(space) == [f"message {n}" for n in range(1, 31)]


@pytest.mark.parametrize("error", [ValueError("odd"), RuntimeError("odd"), KeyError("odd"), StopAsyncIteration()])
def test_an_error_that_nobody_foresaw_is_typed_said_and_retried(monkeypatch, caplog, error):
    monkeypatch.setattr("pagefault.writing.patience.PAUSES", (0.01,))
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        memory.ready()
        store.fail("put", error=error)
        space.append(users(1, 3))
        until(lambda: store.calls["put"] >= 4, "retries")
        trouble = memory.trouble
        assert isinstance(trouble, StoreError)
        assert trouble.__cause__ is error
        with pytest.raises(StoreError, match="nobody foresaw"):
            memory.flush()
        store.heal()
        until(lambda: len(records(memory, space)) == 3, "recovery")
    logged = [record for record in caplog.records if "write-back waits" in record.message]
    assert len(logged) == 1
    assert logged[0].exc_info is not None  # with its traceback: it is a bug of somebody's


def test_a_store_that_fails_now_and_then_still_ends_up_complete(monkeypatch):
    monkeypatch.setattr("pagefault.writing.patience.PAUSES", (0.001,))

    class Moody(FlakyStore):
        async def _before(self, call, scope=None):
            await super()._before(call, scope)
            if call in {"put", "index", "sync"} and self.calls[call] % 3:
                raise StoreError(f"moody {call}")

    with wrapped(monkeypatch, Moody, embedder=HashingEmbedder()) as (memory, store):
        spaces = [memory.space(thread=f"{n}") for n in range(5)]
        for n in range(1, 41):
            for space in spaces:
                space.append(user(f"message {n}"))
        until(lambda: not memory.core.writeback.has_work, "all to be written")
        for space in spaces:
            assert [r.seq for r in records(memory, space)] == list(range(1, 41))
        assert store.calls["put"] > 5
        monkeypatch.setattr(Moody, "_before", FlakyStore._before)


def test_reads_fail_typed_and_recover(monkeypatch):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        space.append(user("the cat is called Turing"))
        memory.flush()
        store.fail()
        for verb in (space.recall, space.fault):
            with store_alone(), pytest.raises(StoreError, match="outage"):
                verb("1")
        assert len(space.view()) == 1
        store.heal()
        assert space.recall("cat").pages


def test_a_store_that_cannot_be_opened_is_tried_again_at_the_next_verb(monkeypatch):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        store.fail("open")
        for _ in range(3):
            with pytest.raises(StoreError, match="hit open"):
                space.append(user("x"))
        store.heal()
        space.append(user("x"))
        assert texts(space) == ["x"]


def test_under_steady_load_pages_become_durable_all_the_same(monkeypatch):
    monkeypatch.setattr("pagefault.writing.writeback.SYNC_SECONDS", 0.05)
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        space.append(user("0"))
        synced = store.calls["sync"]
        n = 0
        while store.calls["sync"] < synced + 3 and n < 100_000:  # never idle, never flushed
            n += 1
            space.append(user(str(n)))
        assert store.calls["sync"] >= synced + 3


def test_a_flush_asks_a_store_that_nobody_answers_at_once_and_not_for_each_conversation(monkeypatch):
    """Each such question can take twenty seconds, and closing a memory flushes."""
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        spaces = [memory.space(thread=f"t{n}") for n in range(5)]
        for space in spaces:
            space.append(user("hi"))
        memory.flush()
        monkeypatch.setattr("pagefault.writing.patience.PAUSES", (1_000.0,))  # the pump tries each of them once
        written = store.calls["put"]
        store.fail("put", error=StoreUnreachable("nobody answers"))
        for space in spaces:
            space.append(user("hello"))
        until(lambda: store.calls["put"] == written + 5, "the pump to try each")
        with pytest.raises(StoreUnreachable):
            memory.flush()
        assert store.calls["put"] == written + 6
        store.heal()
        memory.flush()
        assert [texts(space) for space in spaces] == [["hi", "hello"]] * 5
