"""Long pages are found by what stands in one place of them, and come back whole."""

from __future__ import annotations

import asyncio
import random
import re
from functools import partial

import pytest

import pagefault
from pagefault.errors import StoreMismatch
from pagefault.ports import FORMAT, Header, Where
from pagefault.recall.pieces import MAX_PIECES, WHOLE_CHARS, pieces_of
from pagefault.stores import EdgeStore
from pagefault.stores.edge_rebuild import rebuild
from pagefault.testing import ThreadRunner
from pagefault.testing.embedders import HashingEmbedder
from pagefault.upkeep import reindex
from tests.kernel.support import scope_of, texts, user

WORDS = "river stone lamp cloud paper garden winter copper silent meadow".split()
NEEDLE = "The ferry to Tromso leaves at dawn from the northern quay."


class Recording(HashingEmbedder):
    """The fake embedder, which remembers what it was given."""

    def __init__(self, asked):
        super().__init__(dimension=32)
        self.asked = asked

    def embed(self, texts):
        self.asked.append(list(texts))
        return super().embed(texts)


def prose(chars, needle, seed=1):
    """A long text with one sentence of its own in the middle."""
    rng = random.Random(seed)
    words = [rng.choice(WORDS) for _ in range(chars // 7)]
    return " ".join([*words[: len(words) // 2], needle, *words[len(words) // 2 :]])


OLD = HashingEmbedder(dimension=32)
LONG = prose(20_000, NEEDLE)


def cosine(memory, space, text):
    """Similarity of the best page to a text, by the store alone."""
    (hits,) = memory.core.kernel.call(
        memory.core.store.search(scope_of(space), [OLD.embed([text])[0]], Where(), limit=9)
    )
    return hits[0].seq, hits[0].score


@pytest.mark.parametrize("slow", [False, True], ids=["stored with its vectors", "indexed later"])
def test_a_place_in_the_middle_is_found_and_the_page_stays_whole(tmp_path, monkeypatch, slow):
    if slow:
        monkeypatch.setattr("pagefault.writing.indexing.QUICK_SECONDS", 0.0)
    asked = []
    with pagefault.open(tmp_path, embedder=Recording(asked)) as memory:
        space = memory.space(thread="t")
        space.append([user(prose(700, "", seed=seed)) for seed in range(2, 12)])
        space.append([user(LONG)])
        memory.flush()
        pieces = [text for batch in asked for text in batch if text in LONG and len(text) > 700]
        (middle,) = (piece for piece in pieces if NEEDLE in piece)
        assert all(len(piece) <= WHOLE_CHARS for piece in pieces)
        assert len(pieces) > 15
        assert cosine(memory, space, middle) == (11, pytest.approx(1.0, abs=1e-5))
    with pagefault.open(tmp_path, embedder=Recording([])) as memory:
        space = memory.space(thread="t")
        assert space.fault("11").pages[0].page.text == LONG
        assert cosine(memory, space, middle) == (11, pytest.approx(1.0, abs=1e-5))
        found = space.recall("when does the ferry to Tromso leave")
        assert found.pages[0].address == "11"
        assert NEEDLE in found.text


def test_a_very_long_page_has_a_bounded_number_of_vectors(tmp_path):
    asked = []
    huge = prose(1_000_000, NEEDLE)
    with pagefault.open(tmp_path, embedder=Recording(asked)) as memory:
        space = memory.space(thread="t")
        space.append([user(huge)])
        memory.flush()
        pieces = [text for batch in asked for text in batch if len(text) > 700]
        assert len(pieces) == MAX_PIECES
        assert max(len(batch) for batch in asked) <= 16
        assert texts(space) == [huge]
        for piece in (pieces[0], pieces[17], pieces[-1]):
            assert cosine(memory, space, piece) == (1, pytest.approx(1.0, abs=1e-5))


def test_items_have_pieces_too(tmp_path):
    asked = []
    with pagefault.open(tmp_path, embedder=Recording(asked)) as memory:
        space = memory.space(user="ada", thread="t")
        space.remember("timetable", {"text": prose(9_000, NEEDLE)})
        assert len([text for batch in asked for text in batch if len(text) > 700]) > 5


@pytest.fixture
def first(tmp_path, monkeypatch):
    """A directory of the first format: one vector a page, and no room for more."""
    with monkeypatch.context() as then:
        then.setattr("pagefault.embedders.calls.Header", partial(Header, version=1))
        then.setattr("pagefault.embedders.calls.pieces_of", lambda text: [text[:4_000]])
        with pagefault.open(tmp_path / "first", embedder=OLD) as memory:
            memory.space(thread="t").append([user("short"), user(LONG)])
    return tmp_path / "first"


def test_a_directory_of_the_first_format_is_refused_and_reindexed(first):
    """Nothing is guessed, and one command brings it up to date."""
    memory = pagefault.open(first, embedder=OLD)
    with pytest.raises(StoreMismatch, match=r"format version 1.*pagefault reindex"):
        memory.space(thread="t").recall("anything")
    memory.close()
    assert reindex(first, OLD).header.version == FORMAT
    with pagefault.open(first, embedder=OLD) as memory:
        space = memory.space(thread="t")
        assert [page.page.text for page in space.fault("1-2").pages] == ["short", LONG]
        middle = next(piece for piece in pieces_of(LONG) if NEEDLE in piece)
        assert cosine(memory, space, middle) == (2, pytest.approx(1.0, abs=1e-5))


def test_a_directory_of_the_first_format_is_looked_at_and_copied_as_it_is(first):
    assert survey_of(first).version == 1
    assert rebuild(first).records == 3
    assert survey_of(first).version == 1
    reindex(first, OLD)
    assert survey_of(first).version == FORMAT


def survey_of(directory):
    async def main():
        with ThreadRunner() as run:
            store = EdgeStore(directory, run=run)
            header = await store.open(None)
            assert sum(tally.count for tally in await store.census()) == 3
            await store.close()
            return header

    return asyncio.run(main())


def test_a_recall_opens_a_long_page_at_what_matched_and_says_where_it_cut(tmp_path):
    with pagefault.open(tmp_path, embedder=OLD) as memory:
        space = memory.space(thread="t")
        space.append([user(prose(700, "", seed=seed)) for seed in range(2, 6)])
        space.append([user(LONG)])
        text = space.recall("when does the ferry to Tromso leave", budget=600).text
        shown = r"page (5@\d+) \|[^\n]*\| begins earlier, at 5\n<(\w{8})\n(.*?)\n\2>\n\[\2\] continues at (5@\d+)"
        ((at, _, quoted, rest),) = re.findall(shown, text, re.DOTALL)
        begin, end = (int(address.removeprefix("5@")) for address in (at, rest))
        assert quoted == f"user: {LONG}"[begin:end]
        assert NEEDLE in quoted
        assert not quoted.startswith(NEEDLE), "what stands before it is read, too"
        assert space.fault("5").pages[0].page.text == LONG
        assert f"\n{LONG[end - 6 : end + 50]}" in space.fault(rest).text
