"""An embedder that fails: pages are stored and found by text meanwhile, and get their vectors later."""

from __future__ import annotations

import gc
import logging
import threading
from typing import ClassVar

import pytest

import pagefault
from pagefault.chain import head_id
from pagefault.embedders import calls
from pagefault.errors import EmbedderError, StoreMismatch
from pagefault.ports import Where
from pagefault.testing.embedders import HashingEmbedder
from pagefault.testing.faults import BrokenEmbedder, FlakyStore
from pagefault.writing.records import indexed_of
from tests.kernel.support import scope_of, texts, threads_since, until, user, users, wrapped

FAULTS = ["raises", "exits", "count", "nothing", "nan", "dimension"]


@pytest.fixture
def embedder():
    return BrokenEmbedder(HashingEmbedder())


def has_vectors(memory, space):
    """The pages that a search by similarity alone finds."""
    query = [HashingEmbedder().embed(["anything"])[0]]
    (hits,) = memory.core.kernel.call(memory.core.store.search(scope_of(space), query, Where(), limit=1000))
    return sorted(hit.seq for hit in hits)


@pytest.mark.parametrize("fault", FAULTS)
def test_pages_are_stored_and_found_by_text_and_get_their_vectors_later(embedder, fault, caplog):
    with pagefault.open(":memory:", embedder=embedder) as memory:
        space = memory.space(thread="t")
        space.append(users(1, 3))
        memory.flush()
        embedder.fault = fault
        space.append([user("the cat is called Turing"), user("the dog is called Ada")])
        with pytest.raises(EmbedderError, match="fake-hashing"):
            memory.flush()
        assert texts(space)[3:] == ["the cat is called Turing", "the dog is called Ada"]
        found = space.recall("what is the cat called")
        assert found.pages[0].page.text == "the cat is called Turing"
        space.recall("and the dog")
        assert caplog.text.count("recall goes by full text alone") == 1  # said once, not at every recall
        assert has_vectors(memory, space) == [1, 2, 3]
        embedder.fault = ""
        memory.flush()
        assert has_vectors(memory, space) == [1, 2, 3, 4, 5]
        assert memory.core.writeback.trouble is None


def test_while_it_fails_conversations_that_nobody_uses_leave_the_process(tmp_path, embedder, monkeypatch):
    monkeypatch.setattr("pagefault.writing.writer.MOST_BEHIND", 3)
    monkeypatch.setattr("pagefault.core.MAX_LIVE_SPACES", 1)
    with pagefault.open(tmp_path, embedder=embedder) as memory:
        memory.space(thread="first").append(user("begin"))
        memory.flush()
        embedder.fault = "raises"
        for n in range(12):
            memory.space(thread=f"{n}").append(user(f"number {n}"))
        until(lambda: not memory.core.writeback._queue, "all pages to be stored")
        gc.collect()
        assert len(memory.core._pagings) <= 5
        embedder.fault = ""
        memory.flush()
        assert all(has_vectors(memory, memory.space(thread=f"{n}")) == [1] for n in range(12))
    with pagefault.open(tmp_path, embedder=embedder) as memory:
        for n in range(12):
            assert memory.space(thread=f"{n}").view() == [user(f"number {n}")]
        memory.flush()
        assert all(has_vectors(memory, memory.space(thread=f"{n}")) == [1] for n in range(12))


@pytest.mark.parametrize("fault", FAULTS)
def test_an_embedder_that_fails_from_the_start_keeps_nothing_from_being_stored(tmp_path, embedder, fault):
    embedder.fault = fault
    with pagefault.open(tmp_path, embedder=embedder) as memory:
        space = memory.space(thread="t")
        space.append(user("the cat is called Turing"))
        assert space.recall("cat").pages[0].page.text == "the cat is called Turing"
        with pytest.raises(EmbedderError):
            memory.flush()
        embedder.fault = ""
        memory.flush()
        assert has_vectors(memory, space) == [1]
    with pagefault.open(tmp_path, embedder=embedder) as memory:
        assert memory.space(thread="t").recall("cat").pages


def test_an_embedder_that_was_down_is_not_trusted_before_it_proves_to_be_the_one(tmp_path):
    class Other(HashingEmbedder):
        def embed(self, texts):
            return [[-x for x in vector] for vector in super().embed(texts)]

    with pagefault.open(tmp_path, embedder=HashingEmbedder()) as memory:
        memory.space(thread="t").append(users(1, 2))
    impostor = BrokenEmbedder(Other(), "raises")
    memory = pagefault.open(tmp_path, embedder=impostor)
    space = memory.space(thread="t")
    space.append(user("three"))
    impostor.fault = ""
    with pytest.raises(StoreMismatch, match="reindex"):
        memory.flush()
    assert has_vectors(memory, space) == [1, 2]
    with pytest.raises(StoreMismatch):
        memory.close()
    with pagefault.open(tmp_path, embedder=HashingEmbedder()) as memory:
        space = memory.space(thread="t")
        assert len(space.view()) == 3
        memory.flush()
        assert has_vectors(memory, space) == [1, 2, 3]


def test_a_text_that_no_embedder_takes_holds_up_no_other(embedder, caplog):
    embedder.refuses = "poison"
    with pagefault.open(":memory:", embedder=embedder) as memory:
        one, two = memory.space(thread="one"), memory.space(thread="two")
        one.append([*users(1, 5), user("poison in the well"), *users(6, 30)])
        two.append(users(1, 5))
        with pytest.raises(EmbedderError, match=r"no usable vector for pages 6; .*found by full text"):
            memory.flush()
        assert has_vectors(memory, one) == [n for n in range(1, 32) if n != 6]
        assert has_vectors(memory, two) == [1, 2, 3, 4, 5]
        assert one.recall("the well").pages[0].address == "6"
        assert caplog.text.count("page 6 is found by full text alone") == 1
        embedder.refuses = ""
        memory.flush()
        assert has_vectors(memory, one) == list(range(1, 32))


def test_the_pump_does_not_ask_again_and_again_for_what_was_refused(embedder):
    embedder.refuses = "poison"
    with pagefault.open(":memory:", embedder=embedder) as memory:
        space = memory.space(thread="t")
        space.append(user("poison"))
        until(lambda: memory.core.writeback._indexer._refused, "the refusal")
        asked = len(embedder.calls)
        space.append(user("fine"))
        until(lambda: has_vectors(memory, space) == [2], "the other's vector")
        assert not any("poison" in text for call in embedder.calls[asked:] for text in call)
        space.append(user("last"))  # so that there is something to do at the end, which says nothing anew


def test_a_hang_holds_up_and_loses_nothing(embedder):
    with pagefault.open(":memory:", embedder=embedder) as memory:
        space = memory.space(thread="t")
        space.append(users(1, 3))
        memory.flush()
        embedder.fault = "hangs"
        space.append(users(4, 5))
        flushing = threading.Thread(target=memory.flush)
        flushing.start()
        embedder.hanging.wait()
        space.append(users(6, 8))  # appending waits for nobody
        assert len(space.view()) == 8
        embedder.fault = ""
        embedder.release.set()
        flushing.join()
        memory.flush()
        assert has_vectors(memory, space) == list(range(1, 9))


def test_a_hang_without_end_is_left_alone_and_full_text_answers(embedder, monkeypatch, caplog):
    before = set(threading.enumerate())
    memory = pagefault.open(":memory:", embedder=embedder)
    space = memory.space(thread="t")
    space.append(users(1, 3))
    memory.flush()
    monkeypatch.setattr(
        "pagefault.embedders.calls.UNIT_SECONDS", 0.2
    )  # what answers may take as long as the machine does
    monkeypatch.setattr("pagefault.embedders.calls.QUERY_SECONDS", 0.2)
    embedder.fault = "hangs"
    space.append([user("the cat is called Turing"), *users(4, 80)])
    with pytest.raises(EmbedderError, match=r"fake-hashing.* did not answer within 0\.2 s"):
        memory.flush()
    asked = len(embedder.calls)
    assert space.recall("what is the cat called").pages[0].page.text == "the cat is called Turing"
    assert len(texts(space)) == 81  # the engine's thread is free
    with pytest.raises(EmbedderError):
        memory.flush()
    assert len(embedder.calls) == asked  # nobody asks it again while it hangs
    assert "full text alone" in caplog.text
    with pytest.raises(EmbedderError):
        memory.close()
    left = threads_since(before)
    assert [name.endswith("guest") for name in left] == [True], "the one that hangs, and no more"
    embedder.release.set()


def test_a_hang_that_ends_is_made_up_for(embedder, monkeypatch):
    with pagefault.open(":memory:", embedder=embedder) as memory:
        space = memory.space(thread="t")
        memory.ready()
        monkeypatch.setattr("pagefault.embedders.calls.UNIT_SECONDS", 0.2)
        embedder.fault = "hangs"
        space.append(users(1, 40))
        with pytest.raises(EmbedderError, match="did not answer"):
            memory.flush()
        monkeypatch.undo()
        embedder.fault = ""
        embedder.release.set()
        until(lambda: has_vectors(memory, space) == list(range(1, 41)), "the vectors, without anybody asking")


def test_an_embedder_that_hangs_from_the_start_keeps_nothing_from_being_stored(tmp_path, embedder, monkeypatch):
    monkeypatch.setattr("pagefault.embedders.calls.UNIT_SECONDS", 0.2)
    monkeypatch.setattr("pagefault.embedders.calls.QUERY_SECONDS", 0.2)
    embedder.fault = "hangs"
    with pagefault.open(tmp_path, embedder=embedder) as memory:
        space = memory.space(thread="t")
        space.append(user("the cat is called Turing"))
        assert space.recall("cat").pages[0].page.text == "the cat is called Turing"
        with pytest.raises(EmbedderError, match="did not answer"):
            memory.flush()
        monkeypatch.undo()
        embedder.fault = ""
        embedder.release.set()
        until(lambda: has_vectors(memory, space) == [1], "the vector")


def test_questions_are_embedded_as_questions(embedder):
    class TwoSided(HashingEmbedder):
        asked: ClassVar[list[str]] = []

        def embed_query(self, text):
            self.asked.append(text)
            return self.embed([text])[0]

    with pagefault.open(":memory:", embedder=TwoSided()) as memory:
        space = memory.space(thread="t")
        space.append(users(1, 3))
        space.recall("which message")
    assert TwoSided.asked == ["which message"]


@pytest.mark.parametrize("wrong", ["openai", object(), 7])
def test_what_cannot_be_an_embedder_is_refused_at_once(wrong):
    with pytest.raises(EmbedderError, match="LangChainEmbedder"):
        pagefault.open(":memory:", embedder=wrong)


def test_a_failing_embedder_is_reported_once_and_tried_again_by_itself(embedder, caplog):
    caplog.set_level(logging.INFO, "pagefault")
    with pagefault.open(":memory:", embedder=embedder) as memory:
        space = memory.space(thread="t")
        memory.ready()
        embedder.fault = "raises"
        space.append(users(1, 3))
        asked = len(embedder.calls)
        until(lambda: len(embedder.calls) >= asked + 4, "two attempts, each with a probe")
        assert isinstance(memory.core.writeback.trouble, EmbedderError)
        embedder.fault = ""
        until(lambda: has_vectors(memory, space) == [1, 2, 3], "recovery without anybody asking")
        until(lambda: memory.core.writeback.trouble is None, "the end of the trouble")
    assert caplog.text.count("write-back waits") == 1
    assert caplog.text.count("write-back works again") == 1


def test_vectors_missing_since_a_crash_are_made_at_the_next_start(tmp_path, monkeypatch):
    """What a process that died between storing and indexing leaves behind."""
    monkeypatch.setattr("pagefault.writing.indexing.QUICK_SECONDS", 0.0)  # vectors come after the page
    with wrapped(monkeypatch, FlakyStore, tmp_path, embedder=HashingEmbedder()) as (memory, store):
        space = memory.space(thread="t")
        space.append(users(1, 40))
        memory.flush()
        store.fail("index")
        space.append(users(41, 60))
        with pytest.raises(pagefault.StoreError, match="hit index"):
            memory.flush()
        monkeypatch.setattr(type(memory.core.writeback), "_finish", lambda self: store.inner.sync())  # as a kill
        store.fail("index", "put")
        memory.close()
    monkeypatch.undo()
    with pagefault.open(tmp_path, embedder=HashingEmbedder()) as memory:
        space = memory.space(thread="t")
        memory.ready()
        assert has_vectors(memory, space) == list(range(1, 41))
        assert len(space.view()) == 60
        until(lambda: has_vectors(memory, space) == list(range(1, 61)), "the vectors")


def test_a_quick_embedder_costs_no_second_write(monkeypatch, caplog):
    embedder = BrokenEmbedder(HashingEmbedder())
    monkeypatch.setattr("pagefault.writing.indexing.QUICK_SECONDS", 60.0)
    with wrapped(monkeypatch, FlakyStore, embedder=embedder) as (memory, store):
        space = memory.space(thread="t")
        space.append(user("the first one shows how quick it is"))
        memory.flush()
        indexed = store.calls["index"]
        space.append([*users(2, 40), user(""), user("x" * 2_000_000)])
        memory.flush()
        assert store.calls["index"] == indexed + 1  # the large text is not made to wait for
        assert has_vectors(memory, space) == [*range(1, 41), 42]
        head = memory.core.kernel.call(store.get(scope_of(space), [head_id(space.id.key)]))
        assert indexed_of(head[head_id(space.id.key)]) == 42


def test_texts_that_wait_take_bounded_memory(embedder, monkeypatch):
    monkeypatch.setattr("pagefault.writing.indexing.KEPT_CHARS", 1_000)
    with pagefault.open(":memory:", embedder=embedder) as memory:
        space = memory.space(thread="t")
        memory.ready()
        embedder.fault = "raises"
        space.append([user(f"{n} " * 100) for n in range(50)])
        with pytest.raises(EmbedderError):
            memory.flush()
        waiting = memory.core.writeback._indexer._waiting.values()
        assert len(waiting) == 50
        assert sum(len(w.text or "") for w in waiting) <= 1_000
        embedder.fault = ""
        memory.flush()
        assert has_vectors(memory, space) == list(range(1, 51))


def test_the_default_embedder_takes_any_text(caplog):
    odd = ["\x00", "\ud800", "\u200b", " ", "\n", "\U0001d573", "", "\x7f", "a" * 100_000, "🧑‍🚀" * 1000, "\u202e", "ﷺ"]
    with pagefault.open(":memory:") as memory:
        space = memory.space(thread="t")
        space.append([user(text) for text in odd])
        memory.flush()
        assert texts(space) == odd
        assert not [record for record in caplog.records if record.name.startswith("pagefault")]


def test_a_question_does_not_wait_for_what_the_default_embedder_does_for_pages(monkeypatch, caplog):
    monkeypatch.setattr(calls, "QUERY_SECONDS", 0.1)
    busy = threading.Event()
    with pagefault.open(":memory:") as memory:
        space = memory.space(thread="t")
        space.append([user("the cat is called Turing"), user("we flew to Lisbon")])
        memory.flush()
        memory.core.kernel.signal(lambda: memory.core.kernel._live().guest.submit(busy.wait, urgent=True))
        try:
            found = space.recall("What is the cat called?", limit=1)
        finally:
            busy.set()
    assert [page.page.text for page in found.pages] == ["the cat is called Turing"]
    assert "full text alone" not in caplog.text
