"""Many threads and event loops on one memory: nothing lost, nothing twice, nobody stuck."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
import random
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from qdrant_edge import UpdateOperation

import pagefault
import pagefault.memory as memories
import pagefault.writing.records
from pagefault import tokens
from pagefault.chain import head_id
from pagefault.chat import CHAT
from pagefault.errors import CorruptPage, PagefaultError, StoreError
from pagefault.space import ACCEPTED_AT_ONCE
from pagefault.stores import EdgeStore
from pagefault.testing.embedders import HashingEmbedder
from pagefault.testing.faults import FlakyStore, SlowStore
from pagefault.writing.writeback import WriteBack
from tests.kernel.support import records, store_alone, texts, until, user, users, wrapped

WIDE = pagefault.Budget(window=10**9, target=5 * 10**8)


def test_threads_and_loops_share_one_space():
    threads, loops, each = 6, 3, 60

    def sync_writer(space, name):
        for n in range(each):
            space.append(user(f"{name} {n}"))
            if n % 17 == 0:
                space.recall("writer")
            if n % 23 == 0:
                space.view()

    async def async_writer(space, name):
        for n in range(each):
            await space.aappend(user(f"{name} {n}"))
            if n % 19 == 0:
                await space.arecall("writer")
            if n % 29 == 0:
                await memory.aflush()

    async def several(space, name):
        await asyncio.gather(*(async_writer(space, f"{name}.{n}") for n in range(3)))

    with pagefault.open(":memory:", embedder=HashingEmbedder()) as memory:
        space = memory.space(thread="t")
        with ThreadPoolExecutor(threads + loops) as pool:
            work = [pool.submit(sync_writer, space, f"writer {n}") for n in range(threads)]
            work += [pool.submit(lambda n=n: asyncio.run(several(space, f"loop {n}"))) for n in range(loops)]
            for done in work:
                done.result()
        memory.flush()
        written = [f"writer {w} {n}" for w in range(threads) for n in range(each)]
        written += [f"loop {x}.{y} {n}" for x in range(loops) for y in range(3) for n in range(each)]
        assert Counter(texts(space)) == Counter(written)
        assert [r.seq for r in records(memory, space)] == list(range(1, len(written) + 1))
        for name in {text.rsplit(" ", 1)[0] for text in written}:  # each writer's own order is kept
            assert [t for t in texts(space) if t.rsplit(" ", 1)[0] == name] == [f"{name} {n}" for n in range(each)]


def test_many_spaces_at_once_keep_apart():
    with pagefault.open(":memory:", embedder=None) as memory:

        def work(n):
            space = memory.space(tenant=f"tenant {n % 5}", thread=f"{n}")
            for i in range(20):
                space.append(user(f"secret {n} number {i}"))
            return [page.page.text for page in space.recall("secret", limit=50).pages]

        with ThreadPoolExecutor(8) as pool:
            for n, found in enumerate(pool.map(work, range(40))):
                assert set(found) <= {f"secret {n} number {i}" for i in range(20)}
        memory.flush()
        for n in range(40):
            assert len(memory.space(tenant=f"tenant {n % 5}", thread=f"{n}").view()) == 20


def test_a_process_that_is_never_quiet_lets_its_conversations_go(monkeypatch):
    monkeypatch.setattr("pagefault.writing.writeback.QUIET_TURNS", 10**9)
    monkeypatch.setattr("pagefault.writing.writeback.MAX_BEHIND", 3)
    monkeypatch.setattr("pagefault.core.MAX_LIVE_SPACES", 1)
    with pagefault.open(":memory:", embedder=HashingEmbedder()) as memory:
        for n in range(12):
            memory.space(thread=f"{n}").append(user(f"number {n}"))
        writeback = memory.core.writeback
        until(lambda: not writeback._is_busy and len(writeback._writer.behind) <= 3, "the heads of all but three")
        gc.collect()
        assert len(memory.core._pagings) <= 4
        for n in range(12):
            assert [m["content"] for m in memory.space(thread=f"{n}").view()] == [f"number {n}"]


def test_the_first_use_by_many_at_once_is_one_opening(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        memory.space(thread="t").append(users(1, 50))
    with pagefault.open(tmp_path, embedder=None) as memory:
        gate = threading.Barrier(12)

        def work(n):
            gate.wait()
            space = memory.space(thread="t")
            space.append(user(f"new {n}"))
            return space

        with ThreadPoolExecutor(12) as pool:
            spaces = list(pool.map(work, range(12)))
        assert len({id(space.paging) for space in spaces}) == 1
        found = texts(spaces[0])
        assert found[:50] == [f"message {n}" for n in range(1, 51)]
        assert sorted(found[50:]) == sorted(f"new {n}" for n in range(12))


def test_two_memories_at_once(tmp_path):
    with contextlib.ExitStack() as stack:
        memories = [stack.enter_context(pagefault.open(tmp_path / str(n), embedder=None)) for n in range(3)]
        for n, memory in enumerate(memories):
            memory.space(thread="t").append([user(f"mine {n}"), user("the same")])
        for n, memory in enumerate(memories):
            assert texts(memory.space(thread="t")) == [f"mine {n}", "the same"]
        memories[0].close()
        memories[1].space(thread="t").append(user("goes on"))
        assert texts(memories[1].space(thread="t"))[-1] == "goes on"


def test_a_memory_outlives_the_loop_that_first_used_it():
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="t")
        for n in range(4):
            asyncio.run(space.aappend(user(str(n))))
            asyncio.run(memory.aflush())
        assert [m["content"] for m in asyncio.run(space.aview())] == ["0", "1", "2", "3"]


def test_a_sync_verb_inside_a_running_loop_works():
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="t")

        async def main():
            space.append(user("the cat is called Turing"))
            memory.flush()
            return space.recall("cat").pages[0].page.text

        assert asyncio.run(main()) == "the cat is called Turing"


def test_an_embedder_that_uses_its_own_memory_gets_an_error_not_a_deadlock():
    told = []

    class Curious(HashingEmbedder):
        def embed(self, texts):
            if "cat" in texts[0]:
                with pytest.raises(RuntimeError, match="must not use the memory it serves"):
                    memory.space(thread="t").recall("anything")
                told.append(texts[0])
            return super().embed(texts)

    with pagefault.open(":memory:", embedder=Curious()) as memory:
        memory.space(thread="t").append(user("cat"))
        memory.flush()
        assert told == ["cat"]


# -- cancellation ---------------------------------------------------------------------------------


def test_cancelling_at_any_moment_leaves_everything_consistent():
    chance = random.Random(11)

    async def main():
        async with pagefault.open(":memory:", embedder=HashingEmbedder()) as memory:
            space = memory.space(thread="t")
            for n in range(150):
                await space.aappend(user(f"kept {n}"))
                match chance.choice(["append", "flush", "recall"]):
                    case "append":
                        task = asyncio.create_task(space.aappend(user(f"{n}")))
                    case "flush":
                        task = asyncio.create_task(memory.aflush())
                    case _:
                        task = asyncio.create_task(space.arecall("cat"))
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                if chance.random() < 0.5:
                    await asyncio.sleep(chance.random() * 0.01)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await memory.aflush()
            accepted = [m["content"] for m in await space.aview(budget=WIDE)]
            assert [t for t in accepted if t.startswith("kept")] == [f"kept {n}" for n in range(150)]
            assert len(accepted) == len(set(accepted))
            length = len(accepted)
            with store_alone():
                found = await space.afault(f"1-{length}")
            assert [page.page.text for page in found.pages] == accepted
            assert memory.core.writeback.trouble is None

    asyncio.run(main())


@pytest.mark.parametrize("held", ["put", "index", "sync"])
def test_a_cancelled_flush_can_be_called_again(monkeypatch, held):
    monkeypatch.setattr("pagefault.writing.indexing.QUICK_SECONDS", 0.0)  # vectors come after the page

    async def main():
        with wrapped(monkeypatch, SlowStore, embedder=HashingEmbedder()) as (memory, store):
            space = memory.space(thread="t")
            await memory.aready()
            store.hold(held)
            await space.aappend(users(1, 40))
            flushing = asyncio.create_task(memory.aflush())
            await asyncio.to_thread(until, lambda: store.waiting, held)
            flushing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await flushing
            store.let_go()
            await memory.aflush()
            assert not memory.core.writeback._indexer.has_work
            with store_alone():
                found = await space.afault("1-40")
            assert [page.page.text for page in found.pages] == [f"message {n}" for n in range(1, 41)]

    asyncio.run(main())


def test_a_cancelled_first_use_does_not_spoil_the_opening_for_others(monkeypatch):
    async def main():
        with wrapped(monkeypatch, SlowStore) as (memory, store):
            store.hold("open")
            first = asyncio.create_task(memory.space(thread="one").aview())
            second = asyncio.create_task(memory.space(thread="two").aview())
            await asyncio.to_thread(until, lambda: store.waiting, "the opening")
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            store.let_go()
            assert await second == []
            assert store.calls["open"] == 1

    asyncio.run(main())


# -- one caller's trouble is its own ----------------------------------------------------------------


def test_one_tenants_outage_is_not_anothers(monkeypatch, caplog):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        bad, good = memory.space(tenant="bad", thread="t"), memory.space(tenant="good", thread="t")
        bad.append(user("0"))
        good.append(user("0"))
        memory.flush()
        store.fail("put", tenant="bad")
        bad.append(users(1, 100))
        good.append(users(1, 100))
        # No pause of the one holds up the other: all is stored while the first is still in trouble.
        until(lambda: len(records(memory, good)) == 101, "the other tenant's pages")
        assert len(records(memory, bad)) == 1
        assert isinstance(memory.core.writeback.trouble, StoreError)
        good.recall("message 7")
        good.fault("1-101")
        with pytest.raises(StoreError, match="hit put"):
            bad.recall("message 7")
        with pytest.raises(StoreError, match="hit put"):
            memory.flush()
        store.heal()
        memory.flush()
        assert len(records(memory, bad)) == 101


class Echoing(FlakyStore):
    """While it is told to, somebody adds a message each time that pages are written, and stores one for each vector."""

    space: pagefault.Space | None = None
    left = 300

    async def put(self, scope, records):
        await super().put(scope, records)
        self.say()

    async def index(self, scope, vectors):
        await super().index(scope, vectors)
        if self.space is not None and self.left:
            self.say()
            paging, writeback = self.space.paging, self.space.held(CHAT).core.writeback
            await writeback.drain(paging, paging.lineages[0])

    def say(self):
        if self.space is not None and self.left:
            self.left -= 1
            self.space.held(CHAT).admit([user(f"message {self.left}")])


@pytest.mark.parametrize("verb", ["flush", "recall", "recall elsewhere"])
def test_what_others_add_meanwhile_is_not_waited_for(monkeypatch, verb):
    monkeypatch.setattr("pagefault.writing.writeback.TURN_SECONDS", 3600.0)  # nothing is written but what is waited for
    monkeypatch.setattr("pagefault.writing.indexing.QUICK_SECONDS", -1.0)  # and vectors come after their pages
    embedder = HashingEmbedder() if verb == "recall" else None
    with wrapped(monkeypatch, Echoing, embedder=embedder) as (memory, store):
        space, other = memory.space(user="ada", thread="t"), memory.space(user="ada", thread="other")
        for each in (space, other):
            each.append(user("the first message"))
            memory.flush()
        store.space = space
        space.append(user("the second message"))
        if verb == "flush":
            memory.flush()
        else:
            found = (space if verb == "recall" else other).recall("second message", scope="user")
            assert found.pages[0].page.text == "the second message"
        assert store.left > 290
        store.space = None


def test_what_is_stored_while_the_writer_falls_asleep_is_made_durable(monkeypatch):
    real, ends = WriteBack._pump, []

    async def pump(writeback):
        await real(writeback)
        ends.append(store.calls["sync"])
        if len(ends) == 1:
            writeback.stored()

    monkeypatch.setattr(WriteBack, "_pump", pump)
    monkeypatch.setattr("pagefault.writing.writeback.LINGER_TURNS", 3)
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        memory.space(user="ada", thread="t").remember("diet", "vegan")
        until(lambda: ends, "the end of the first pump")
        until(lambda: store.calls["sync"] > ends[0], "a sync")


def test_a_path_in_trouble_is_left_alone_until_its_pause_is_over(monkeypatch):
    monkeypatch.setattr("pagefault.writing.patience.PAUSES", (3600.0,))
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        bad, good = memory.space(tenant="bad", thread="t"), memory.space(tenant="good", thread="t")
        memory.ready()
        store.fail("put", tenant="bad")
        bad.append(user("waits"))
        until(lambda: memory.core.writeback.trouble, "the trouble")
        tries = store.calls["put"]
        for n in range(5):
            good.append(user(str(n)))
            until(lambda n=n: len(records(memory, good)) == n + 1, "the other's page")
        assert store.calls["put"] <= tries + 5
        store.heal()
        memory.flush()  # asked for, it does not wait
        assert texts(bad) == ["waits"]


def test_one_spaces_bad_call_fails_nobody_elses():
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="t")
        space.append(users(1, 10))

        def good(n):
            return memory.space(thread=f"good {n}").append(user("x")) or len(space.fault("1-10").pages)

        def bad(n):
            with pytest.raises(PagefaultError):
                space.fault("99")
            with pytest.raises(PagefaultError):
                space.append([{"role": "nobody"}])
            with pytest.raises(ValueError, match="query"):
                space.recall("")
            return 10

        with ThreadPoolExecutor(8) as pool:
            work = [pool.submit(bad if n % 2 else good, n) for n in range(80)]
            assert {done.result() for done in work} == {10}


def test_a_page_that_cannot_be_written_holds_up_only_its_own_path(monkeypatch):
    """An error that nobody foresaw, in the middle of making one space's page."""
    with pagefault.open(":memory:", embedder=None) as memory:
        bad, good = memory.space(thread="bad"), memory.space(thread="good")
        bad.append(user("fine"))
        good.append(user("fine"))
        memory.flush()
        real = pagefault.writing.records.record_of

        def broken(point, user, page, text, **how):
            if page.text == "poison":
                raise ZeroDivisionError("a bug")
            return real(point, user, page, text, **how)

        monkeypatch.setattr("pagefault.writing.records.record_of", broken)
        bad.append(user("poison"))
        good.append(users(1, 30))
        until(lambda: len(records(memory, good)) == 31, "the good pages")
        with pytest.raises(StoreError, match=r"nobody foresaw, ZeroDivisionError\('a bug'\)") as caught:
            memory.flush()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        monkeypatch.undo()
        memory.flush()
        assert texts(bad) == ["fine", "poison"]


def test_a_corrupt_head_is_that_spaces_trouble_alone(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        for name in ("bad", "good"):
            memory.space(thread=name).append(user(name))
        key = memory.space(thread="bad").id.key
        memory.flush()
        spoil = UpdateOperation.set_payload([head_id(key)], {"body": "{}"})
        store = memory.core.store
        assert isinstance(store, EdgeStore)
        memory.core.kernel.call(store._call(lambda shard: shard.update(spoil), urgent=True))
    with pagefault.open(tmp_path, embedder=None) as memory:
        with pytest.raises(CorruptPage):
            memory.space(thread="bad").append(user("x"))
        memory.space(thread="good").append(user("more"))
        assert texts(memory.space(thread="good")) == ["good", "more"]


def test_a_long_append_lets_its_loop_go_on():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def run(space):
        await space.aview()
        beside = asyncio.create_task(others())
        await space.aappend(users(1, 1_000))
        beside.cancel()
        return turns

    with pagefault.open(":memory:", embedder=None, budget=WIDE) as memory:
        space = memory.space(thread="long")
        assert asyncio.run(run(space)) >= 1_000 // ACCEPTED_AT_ONCE
        assert texts(space) == [message["content"] for message in users(1, 1_000)]


def test_an_async_verb_without_asyncio_does_nothing_and_says_how():
    """As under Trio, whose tasks are driven by a loop of its own."""
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="t")
        for verb in (space.aremember("diet", "vegan"), space.arecall("diet"), memory.aflush(), memory.aclose()):
            with pytest.raises(RuntimeError, match=r"asyncio's event loop.*to_thread"):
                verb.send(None)
        assert space.recall("vegan").items == ()


def test_what_belongs_to_a_process_is_neither_pickled_nor_copied():
    with pagefault.open(":memory:", embedder=None) as memory:
        space, scheduler = memory.space(thread="t"), pagefault.Scheduler(slots=1)
        for thing in (memory, scheduler, space):
            for take in (pickle.dumps, copy.deepcopy):
                with pytest.raises(TypeError, match=r"belongs to the process that made it.*pagefault\.open"):
                    take(thing)
        for thing in (memory, scheduler):
            with pytest.raises(TypeError, match="belongs to the process that made it"):
                copy.copy(thing)


def test_a_memory_that_nobody_waits_for_any_more_is_given_back(tmp_path, monkeypatch):
    may_go_on, opened, open_it = threading.Event(), [], memories.open

    def slow(target, **options):
        assert may_go_on.wait(20)
        opened.append(open_it(target, **options))
        return opened[0]

    monkeypatch.setattr(memories, "open", slow)

    async def given_up():
        opening = asyncio.create_task(pagefault.aopen(tmp_path / "m", embedder=None))
        await asyncio.sleep(0.01)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        may_go_on.set()
        await asyncio.to_thread(until, lambda: opened and opened[0].core.is_closed, "the memory was not closed")

    asyncio.run(given_up())


def test_aopen_is_open(tmp_path):
    async def both():
        with pagefault.open(tmp_path / "m", embedder=None) as memory:
            async with await pagefault.aopen(tmp_path / "m", embedder=None) as again:
                assert again.space(thread="t").id == memory.space(thread="t").id
                assert again.place == memory.place
            memory.space(thread="t").append(user("still open"))
        for target, error in (("", pagefault.InvalidId), ("ftp://x", pagefault.StoreError)):
            with pytest.raises(error):
                await pagefault.aopen(target)

    asyncio.run(both())


def test_what_reads_or_removes_files_does_so_beside_every_event_loop(monkeypatch):
    """As `langgraph dev` demands, which ends a run that blocks its loop."""
    where = {}

    def noted(module, name):
        original = getattr(module, name)

        def call(*args, **kwargs):
            where.setdefault(name, set()).add(asyncio._get_running_loop() is not None)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    monkeypatch.setattr(tokens, "_loaded", {})
    monkeypatch.setattr(tokens, "_default", [])
    noted(tokens, "_folders")
    noted(shutil, "rmtree")

    async def first_use():
        async with pagefault.open(":memory:", embedder=None) as memory:
            space = memory.space(thread="t")
            await space.aappend(user("My cat is called Turing."))
            await space.aview()

    asyncio.run(first_use())
    assert where == {"_folders": {False}, "rmtree": {False}}
