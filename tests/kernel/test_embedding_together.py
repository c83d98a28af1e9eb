"""Agents that embed at the same time share a call of the embedder."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import pagefault
from pagefault.errors import EmbedderError, MemoryClosed
from pagefault.testing.embedders import HashingEmbedder
from tests.kernel.support import PATIENCE, until, user

AGENTS = 8


class Gated(HashingEmbedder):
    """A fake that notes the texts of each call, and holds up those that contain ``gate`` until it is let go."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate
        self.calls = []
        self.holds = threading.Event()
        self.free = threading.Event()

    def embed(self, texts):
        self.calls.append(list(texts))
        if any(self.gate in text for text in texts):
            self.holds.set()
            assert self.free.wait(PATIENCE)
        return super().embed(texts)


def spaces_of(memory, tenant="t"):
    return [memory.space(tenant=tenant, thread="t", agent=f"agent {number}") for number in range(AGENTS)]


def waiting(memory):
    return len(memory.core.vectors._questions)


def asked_together(memory, spaces, embedder, gate):
    """One agent's question holds up the embedder; meanwhile the others ask theirs."""
    with ThreadPoolExecutor(len(spaces)) as pool:
        jobs = [pool.submit(spaces[0].recall, f"{gate} zebra0")]
        assert embedder.holds.wait(PATIENCE)
        jobs += [pool.submit(each.recall, f"where is zebra{n}") for n, each in enumerate(spaces) if n]
        until(lambda: waiting(memory) == len(spaces) - 1, "the others wait")
        embedder.free.set()
        return [job.result(PATIENCE) for job in jobs]


def asked_for_houses(memory, embedder):
    """Each agent asks for the one zebra that it knows of."""
    spaces = spaces_of(memory)
    for number, space in enumerate(spaces):
        space.append([user(f"zebra{number} lives in house {number}")])
    memory.flush()
    embedder.calls.clear()
    return asked_together(memory, spaces, embedder, "held question")


def test_questions_of_many_agents_are_one_batch():
    embedder = Gated("held question")
    with pagefault.open(":memory:", embedder=embedder) as memory:
        found = asked_for_houses(memory, embedder)
    assert [page.pages[0].page.text for page in found[1:]] == [f"zebra{n} lives in house {n}" for n in range(1, AGENTS)]
    questions = [call for call in embedder.calls if "zebra" in call[0]]
    assert [len(call) for call in questions] == [1, AGENTS - 1]


def test_tenants_do_not_share_a_batch():
    embedder = Gated("held question")
    with pagefault.open(":memory:", embedder=embedder) as memory:
        spaces = [*spaces_of(memory, "one")[:4], *spaces_of(memory, "two")[:4]]
        for space in spaces:
            space.append([user("zebra")])
        memory.flush()
        embedder.calls.clear()
        asked_together(memory, spaces, embedder, "held question")
    assert sorted(len(call) for call in embedder.calls) == [1, 3, 4]


class Choosy(Gated):
    """Refuses a text."""

    def embed(self, texts):
        if any("zebra3" in text and "house" not in text for text in texts):
            raise ValueError("no zebra3")
        return super().embed(texts)


def test_a_question_that_cannot_be_embedded_spoils_no_other(caplog):
    embedder = Choosy("held question")
    with pagefault.open(":memory:", embedder=embedder) as memory:
        found = asked_for_houses(memory, embedder)
    assert [page.pages[0].page.text for n, page in enumerate(found) if n not in {0, 3}] == [
        f"zebra{n} lives in house {n}" for n in range(AGENTS) if n not in {0, 3}
    ]
    assert "no zebra3" in caplog.text, "that one goes by full text alone, and says so"


class AsksInItsOwnWay(Gated):
    """Reads a question differently from a page, one at a time."""

    def embed_query(self, text):
        return self.embed([f"question: {text}"])[0]


def test_an_embedder_with_questions_of_its_own_takes_them_one_by_one():
    embedder = AsksInItsOwnWay("held question")
    with pagefault.open(":memory:", embedder=embedder) as memory:
        spaces = spaces_of(memory)[:3]
        for space in spaces:
            space.append([user("zebra")])
        memory.flush()
        embedder.calls.clear()
        asked_together(memory, spaces, embedder, "held question")
    assert [len(call) for call in embedder.calls] == [1, 1, 1]
    assert all(call[0].startswith("question: ") for call in embedder.calls)


class AsksTogether(AsksInItsOwnWay):
    """The same, several at a time."""

    def embed_queries(self, texts):
        return self.embed([f"question: {text}" for text in texts])


def test_an_embedder_that_takes_several_questions_gets_those_of_many_agents_at_once():
    embedder = AsksTogether("held question")
    with pagefault.open(":memory:", embedder=embedder) as memory:
        spaces = spaces_of(memory)
        for space in spaces:
            space.append([user("zebra")])
        memory.flush()
        embedder.calls.clear()
        asked_together(memory, spaces, embedder, "held question")
    assert [len(call) for call in embedder.calls] == [1, AGENTS - 1]
    assert all(text.startswith("question: ") for call in embedder.calls for text in call)


def test_new_pages_of_many_agents_are_one_batch():
    embedder = Gated("held page")
    with pagefault.open(":memory:", embedder=embedder) as memory:
        spaces, other = spaces_of(memory), memory.space(tenant="other", thread="t")
        spaces[0].append([user("held page")])
        assert embedder.holds.wait(PATIENCE)
        for number, space in enumerate(spaces[1:]):
            space.append([user(f"page of agent {number}")])
        other.append([user("page of another tenant")])
        embedder.calls.clear()
        embedder.free.set()
        memory.flush()
        found = [space.recall(f"page of agent {number}") for number, space in enumerate(spaces[1:])]
        assert all(each.pages for each in found)
    pages = [call for call in embedder.calls if call[0].startswith("page of")]
    assert [len(call) for call in pages[:2]] == [AGENTS - 1, 1], "those of one tenant together"


def test_a_flush_names_what_no_vector_could_be_made_of_and_indexes_the_others():
    class Refuses(HashingEmbedder):
        def embed(self, texts):
            if any("bad" in text for text in texts):
                raise ValueError("bad")
            return super().embed(texts)

    with pagefault.open(":memory:", embedder=Refuses()) as memory:
        spaces = spaces_of(memory)
        for number, space in enumerate(spaces):
            space.append([user("bad" if number == 3 else f"good {number}")])
        with pytest.raises(EmbedderError, match="pages 1;"):
            memory.flush()
        assert not memory.core.writeback._indexer._waiting


def test_an_error_that_is_not_the_embedders_reaches_who_asked(monkeypatch):
    with pagefault.open(":memory:", embedder=HashingEmbedder()) as memory:
        space = memory.space(thread="t")
        space.append([user("zebra")])
        memory.flush()
        with monkeypatch.context() as patched:

            async def closed(*_, **__):
                raise MemoryClosed("on its way out")

            patched.setattr(memory.core.kernel, "consult", closed)
            with ThreadPoolExecutor(1) as pool, pytest.raises(MemoryClosed, match="on its way out"):
                pool.submit(space.recall, "where is zebra").result(PATIENCE)
        assert space.recall("where is zebra").pages
