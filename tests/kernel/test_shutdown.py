"""The end: closing, leaving without closing, forking."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pagefault
from pagefault.errors import EmbedderError, MemoryClosed, StoreError
from pagefault.paths.lineage import Lineage
from pagefault.testing.embedders import HashingEmbedder
from pagefault.testing.faults import BrokenEmbedder, FlakyStore, SlowStore
from tests.cut_short import cut_short
from tests.kernel.exit_script import COUNT
from tests.kernel.support import texts, threads_since, until, user, users, wrapped

ROOT = Path(__file__).parents[2]


def run(*command: object) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    arguments = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(arguments, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("how", ["plain", "async", "thread", "error", "twice", "closing", "cancelled"])
def test_a_script_that_never_closes_loses_nothing(tmp_path, how):
    if how == "thread" and (3, 12) <= sys.version_info < (3, 12, 3):
        pytest.skip("Python gh-115533, up to 3.12.2: once its main thread has ended, no other may start a thread")
    left = run("tests.kernel.exit_script", tmp_path / "data", how)
    assert left.returncode == (3 if how == "error" else 0)
    assert left.stderr == ""  # nothing was logged, no thread died on the way out
    with pagefault.open(tmp_path / "data", embedder=None) as memory:
        space = memory.space(thread="t")
        assert [message["content"] for message in space.view()] == [f"message {n}" for n in range(1, COUNT + 1)]
        assert texts(space) == [f"message {n}" for n in range(1, COUNT + 1)]


def test_closing_flushes(tmp_path):
    memory = pagefault.open(tmp_path, embedder=None)
    memory.space(thread="t").append(users(1, 300))
    memory.close()
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert len(memory.space(thread="t").view()) == 300


def test_what_a_last_flush_could_not_do_is_not_tried_with_a_store_that_is_closed(monkeypatch, caplog):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        close = store.close

        async def close_slowly():
            store.heal()
            await close()
            await asyncio.sleep(0.5)

        monkeypatch.setattr(store, "close", close_slowly)
        memory.space(thread="t").append(user("one"))
        memory.flush()
        store.fail("sync")
        memory.space(thread="t").append(user("two"))
        with pytest.raises(StoreError, match="outage"):
            memory.close()
    assert "is closed" not in caplog.text


def test_context_managers_close(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        memory.space(thread="t").append(user("one"))
    with pytest.raises(MemoryClosed):
        memory.space(thread="t")

    async def main():
        async with pagefault.open(tmp_path, embedder=None) as memory:
            space = memory.space(thread="t")
            await space.aappend(user("two"))
            assert [m["content"] for m in await space.aview()] == ["one", "two"]
        with pytest.raises(MemoryClosed):
            memory.space(thread="t")
        await memory.aclose()

    asyncio.run(main())


def test_closing_twice_is_closing_once(tmp_path):
    memory = pagefault.open(tmp_path, embedder=None)
    memory.space(thread="t").append(user("one"))
    memory.close()
    memory.close()
    asyncio.run(memory.aclose())


def test_a_memory_that_was_never_used_leaves_no_trace(tmp_path):
    before = set(threading.enumerate())
    with pagefault.open(tmp_path / "data", embedder=None) as memory:
        memory.space(thread="t")
    assert threads_since(before) == []
    assert not (tmp_path / "data").exists()


def test_threads_end_and_throw_away_files_go(monkeypatch):
    before = set(threading.enumerate())
    with pagefault.open(":memory:", embedder=None) as memory:
        memory.space(thread="t").append(user("one"))
        memory.flush()
        place = memory.core._temporary
        assert place is not None
        assert place.exists()
    assert not place.exists()
    assert threads_since(before) == []


def test_verbs_after_closing_say_so(tmp_path):
    memory = pagefault.open(tmp_path, embedder=None)
    space = memory.space(thread="t")
    space.append(users(1, 3))
    memory.close()
    verbs = [
        lambda: space.append(user("x")),
        space.view,
        lambda: space.recall("x"),
        lambda: space.fault("1"),
        lambda: space.pin("1"),
        lambda: space.release("1"),
        memory.flush,
        memory.ready,
        lambda: memory.space(thread="t"),
    ]
    for verb in verbs:
        with pytest.raises(MemoryClosed, match=r"open it again with pagefault\.open"):
            verb()

    async def main():
        twins: list[Any] = [
            space.aappend(user("x")),
            space.aview(),
            space.arecall("x"),
            space.afault("1"),
            space.apin("1"),
            space.arelease("1"),
            memory.aflush(),
        ]
        for twin in twins:
            with pytest.raises(MemoryClosed):
                await twin

    asyncio.run(main())
    with pagefault.open(tmp_path, embedder=None) as again:  # and none of them had an effect
        assert len(again.space(thread="t").view()) == 3


def test_opening_twice_gives_one_memory_that_closes_with_the_second_close(tmp_path):
    one = pagefault.open(tmp_path, embedder=None)
    two = pagefault.open(str(tmp_path) + "/.", embedder=None)
    assert one.space(thread="t").paging is two.space(thread="t").paging
    one.close()
    one.close()
    asyncio.run(one.aclose())
    two.space(thread="t").append(user("still open"))
    two.close()
    with pytest.raises(MemoryClosed):
        two.space(thread="t")
    with pagefault.open(tmp_path, embedder=None) as three:
        assert three is not one
        assert len(three.space(thread="t").view()) == 1


def test_a_with_block_and_a_close_of_its_own_close_nobody_elses_memory(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as mine:
        with pagefault.open(tmp_path, embedder=None) as other:
            other.space(thread="t").append(user("one"))
            other.close()
        mine.space(thread="t").append(user("two"))
    with pytest.raises(MemoryClosed):
        mine.space(thread="t")
    with pagefault.open(tmp_path, embedder=None) as again:
        assert len(again.space(thread="t").view()) == 2


def test_closing_waits_for_a_recall_that_runs(monkeypatch):
    with wrapped(monkeypatch, SlowStore) as (memory, store):
        space = memory.space(thread="t")
        space.append([user("the cat is called Turing"), user("something else")])
        memory.flush()
        store.hold("search")
        found = []
        recalling = threading.Thread(target=lambda: found.append(space.recall("cat")))
        recalling.start()
        until(lambda: store.waiting, "the recall")
        closing = threading.Thread(target=memory.close)
        closing.start()
        until(lambda: memory.core.is_closed, "the closing")
        store.let_go()
        recalling.join()
        closing.join()
        assert found[0].pages[0].page.text == "the cat is called Turing"


class OrderedStore(SlowStore):
    """Says in which order syncs ended and it was closed."""

    def __init__(self, inner):
        super().__init__(inner)
        self.order = []

    async def sync(self):
        await super().sync()
        self.order.append("synced")

    async def close(self):
        self.order.append("closed")
        await super().close()


@pytest.mark.parametrize("adds", [False, True])
def test_closing_waits_for_a_sync_that_runs_and_nothing_comes_after_it(monkeypatch, caplog, adds):
    with wrapped(monkeypatch, OrderedStore) as (memory, store):
        store.hold("sync")
        space, writer = memory.space(thread="t"), memory.core.writeback._writer
        space.append(users(1, 2))
        until(lambda: store.waiting, "the sync behind the agent")
        if adds:
            space.append(users(3, 4))
            memory.core.kernel.call(memory.core.writeback.drain(space.paging, space.paging.lineages[0]))
            assert writer.unsynced is not None
        closing = threading.Thread(target=memory.close)
        closing.start()
        until(lambda: memory.core.is_closed, "the closing")
        assert "closed" not in store.order
        store.let_go()
        closing.join()
        assert (store.order[0], store.order[-1]) == ("synced", "closed")
    assert caplog.text == ""


def test_what_is_added_while_it_closes_is_stored_or_refused(tmp_path):
    for attempt in range(5):
        memory = pagefault.open(tmp_path / str(attempt), embedder=None)
        space = memory.space(thread="t")
        space.append(user("0"))
        accepted = [0]

        def work(space=space, accepted=accepted):
            try:
                while True:
                    space.append(user(str(accepted[-1] + 1)))
                    accepted.append(accepted[-1] + 1)
            except MemoryClosed:
                pass

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda accepted=accepted: len(accepted) > 20, "some messages")
        memory.close()
        thread.join()
        with pagefault.open(tmp_path / str(attempt), embedder=None) as memory:
            view = memory.space(thread="t").view(budget=pagefault.Budget(window=10**9, target=5 * 10**8))
            assert [m["content"] for m in view] == [str(n) for n in accepted]


def test_closing_waits_for_an_append_that_was_let_in(monkeypatch, tmp_path):
    memory = pagefault.open(tmp_path, embedder=None)
    space = memory.space(thread="t")
    space.append(user("one"))
    memory.flush()
    until(lambda: not memory.core.writeback.has_work, "the writer, which would wait for the append that waits below")
    entered, gate, extend = threading.Event(), threading.Event(), Lineage.extend

    def slow(*args, **kwargs):
        entered.set()
        gate.wait()
        extend(*args, **kwargs)

    monkeypatch.setattr(Lineage, "extend", slow)
    appending = threading.Thread(target=space.append, args=(user("two"),))
    appending.start()
    entered.wait()
    closing = threading.Thread(target=memory.close)
    closing.start()
    until(lambda: memory.core.is_closed, "the closing")
    gate.set()
    appending.join()
    closing.join()
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert [m["content"] for m in memory.space(thread="t").view()] == ["one", "two"]


def test_a_cancelled_close_closes_all_the_same(monkeypatch, tmp_path):
    async def main():
        with wrapped(monkeypatch, SlowStore, tmp_path) as (memory, store):
            space = memory.space(thread="t")
            await space.aappend(users(1, 5))
            store.hold("put")
            closing = asyncio.create_task(memory.aclose())
            await asyncio.to_thread(until, lambda: store.waiting, "the last flush")
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            store.let_go()
            await memory.aclose()
            assert store.calls["close"] == 1
            await asyncio.to_thread(memory.core.kernel.join)

    asyncio.run(main())
    monkeypatch.undo()
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert len(memory.space(thread="t").view()) == 5


def test_closing_with_a_failing_store_says_so_and_closes(monkeypatch):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        space.append(user("one"))
        memory.flush()
        store.fail("put")
        space.append(user("two"))
        with pytest.raises(StoreError, match="outage has hit put"):
            memory.close()
        assert store.calls["close"] == 1
        with pytest.raises(MemoryClosed):
            space.append(user("three"))


def test_closing_with_a_failing_embedder_says_so_and_what_is_stored_gets_its_vectors_next_time(tmp_path):
    broken = BrokenEmbedder(HashingEmbedder())
    memory = pagefault.open(tmp_path, embedder=broken)
    space = memory.space(thread="t")
    space.append(users(1, 20))
    memory.flush()
    broken.fault = "raises"
    space.append([user("apples and pears"), user("planes and trains")])
    with pytest.raises(EmbedderError, match="is down"):
        memory.close()
    healthy = BrokenEmbedder(HashingEmbedder())
    with pagefault.open(tmp_path, embedder=healthy) as memory:
        assert len(memory.space(thread="t").view()) == 22
        memory.flush()
        assert [text for call in healthy.calls for text in call if "and" in text] == [
            "apples and pears",
            "planes and trains",
        ]
        assert not any("message" in text for call in healthy.calls for text in call)  # those had theirs
    again = BrokenEmbedder(HashingEmbedder())
    with pagefault.open(tmp_path, embedder=again) as memory:
        assert len(memory.space(thread="t").view()) == 22
        memory.flush()
        assert not any("and" in text for call in again.calls for text in call if "fox" not in text)


def test_a_directory_can_be_opened_again_while_it_closes(tmp_path):
    first = pagefault.open(tmp_path, embedder=None)
    first.space(thread="t").append(users(1, 200))
    closing = threading.Thread(target=first.close)
    closing.start()
    with pagefault.open(tmp_path, embedder=None) as second:
        closing.join()
        assert len(second.space(thread="t").view()) == 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_afresh_and_the_parent_goes_on(tmp_path):
    left = run("tests.kernel.fork_script", tmp_path / "data")
    assert left.stderr == ""
    assert left.stdout.splitlines() == [
        "child, the parent's directory: StoreLocked",
        "child, a new memory: ['new one']",
        "child, a recall in the parent's throw-away memory: ['the cat is called Turing']",
        "child, the parent's throw-away memory: ['the cat is called Turing', 'old two', 'old three']",
        "child ends: 0",
        "parent: ['one', 'two', 'three']",
        "parent, throw-away: ['the cat is called Turing', 'old two']",
    ]


def test_an_exception_from_outside_at_any_line_of_an_append_keeps_no_memory_from_closing(tmp_path):
    memory = pagefault.open(tmp_path, embedder=None)
    space = memory.space(thread="t")
    space.append(user("0"))
    said = ["0"]

    def append(step):
        space.append(user(f"cut at {step}"))

    step = 1
    while cut_short(partial(append, step), step):
        space.append(user(str(step)))
        said.append(str(step))
        step += 1
    closing = threading.Thread(target=memory.close, daemon=True)
    closing.start()
    until(lambda: not closing.is_alive(), "the closing")
    with pagefault.open(tmp_path, embedder=None) as memory:
        view = memory.space(thread="t").view(budget=pagefault.Budget(window=10**9, target=5 * 10**8))
        assert step > 20
        assert set(said) <= {m["content"] for m in view}


def test_closing_or_flushing_in_a_signal_handler_that_broke_into_an_append_says_so(monkeypatch, tmp_path):
    memory = pagefault.open(tmp_path, embedder=None)
    space = memory.space(thread="t")
    space.append(user("one"))
    extend, verbs = Lineage.extend, [memory.flush, memory.close]

    def interrupted(*args, **kwargs):  # as by a handler: on the same thread, in the middle
        for verb in verbs:
            with pytest.raises(RuntimeError, match=r"sys\.exit"):
                verb()
        extend(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Lineage, "extend", interrupted)
        space.append(user("two"))
    memory.flush()
    memory.close()
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert [m["content"] for m in memory.space(thread="t").view()] == ["one", "two"]
