"""Words of full-text search."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import tracemalloc
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pagefault.recall import terms
from pagefault.recall.terms import (
    AVERAGE_TERMS,
    K1,
    MAX_ASKED,
    MAX_CHARS,
    MAX_TERMS,
    MAX_WORD,
    B,
    document_vector,
    query_vector,
    query_words,
    split_terms,
    term_id,
)

any_text = st.text(st.characters(codec=None, categories=None), max_size=200)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paging pages, paged!", ["page", "page", "page"]),
        ("What did the dog eat?", ["dog", "eat"]),
        ("What is it?", ["what", "is", "it"]),
        ("user_id", ["user_id", "user", "id"]),
        ("parseHTTPHeader", ["parsehttphead", "pars", "http", "header"]),
        ("__init__ _ ___", ["init"]),
        ("naïve Straße MÜLLER", ["naiv", "strass", "muller"]),
        ("don't Anna's Anna\u2019s", ["anna", "anna"]),
        ("order AX-2291 at 19.99", ["order", "ax", "2291", "19", "99"]),
        ("2pages ab3ing m\u00f8bels", ["2pages", "ab3ing", "m\u00f8bels"]),
        ("utf8 x86_64", ["utf8", "x86_64", "x86", "64"]),
        ("größe_mmÄnderung", ["grosse_mmanderung", "gross", "mmanderung"]),
        ("昨天我们", ["昨天", "天我", "我们"]),
        ("猫", ["猫"]),
        ("Python3を使う", ["python3", "を使", "使う"]),
        ("안녕하세요 친구", ["안녕", "녕하", "하세", "세요", "친구"]),
        ("नए मकान में है।", ["नए", "मकान", "में", "है"]),
        ("\uff46\uff55\uff4c\uff4c \ufb01ne", ["full", "fine"]),
        ("квартиру", ["квартиру"]),
        ("\ud800 !? 😀", []),
        ("", []),
    ],
)
def test_terms(text, expected):
    assert split_terms(text) == expected


@given(any_text)
def test_vectors_are_well_formed_for_any_text(text):
    for vector in (document_vector(text), query_vector(text)):
        assert len(vector.indices) == len(vector.values) == len(set(vector.indices))
        assert list(vector.indices) == sorted(vector.indices)
        assert all(0 <= index < 2**32 for index in vector.indices)
        assert all(0 < value <= K1 + 1 for value in vector.values)


@given(any_text)
@example("What is it?")
def test_documents_and_queries_agree_on_the_terms(text):
    ids = tuple(sorted({term_id(term) for term in split_terms(text)}))
    assert document_vector(text).indices == ids
    assert query_words(text) == set(ids)
    assert set(query_vector(text).indices) <= set(ids)
    assert set(query_vector(text).values) <= {1.0}


@given(st.lists(st.sampled_from(["apple", "pear", "plum_tree", "the", "x9"]), max_size=40))
def test_weights_are_bm25(words):
    text = " ".join(words)
    found = [term_id(term) for term in split_terms(text)]
    vector = document_vector(text)
    for index, value in zip(vector.indices, vector.values, strict=True):
        tf = found.count(index)
        assert value == pytest.approx(tf * (K1 + 1) / (tf + K1 * (1 - B + B * len(found) / AVERAGE_TERMS)))


def test_ids_are_the_same_in_every_process():
    code = "from pagefault.recall.terms import query_vector; print(query_vector('the lost user_id').indices)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(query_vector("the lost user_id").indices)


def test_a_word_is_told_apart_by_its_first_characters_only():
    assert split_terms("a1" * MAX_WORD) == split_terms("a1" * MAX_WORD + "tail")


def test_long_text_is_read_at_both_ends_and_cut_at_blanks():
    filler = "lorem ipsum " * (MAX_CHARS // 12)
    indices = set(document_vector(f"headword {filler * 3} tailword").indices)
    assert {term_id(split_terms(w)[0]) for w in ("headword", "tailword", "lorem", "ipsum")} <= indices
    assert len(indices) <= 6  # the words at the seam may be cut


def test_of_a_long_text_three_quarters_are_read_from_its_head_and_one_from_its_tail(monkeypatch):
    monkeypatch.setattr(terms, "MAX_CHARS", 40)
    text = " ".join(f"w{n:02}" for n in range(50))
    assert document_vector(text) == document_vector(f"{text[:30]} {text[-10:]}")
    assert document_vector(text[:40]) == document_vector("w00 w01 w02 w03 w04 w05 w06 w07 w08 w09")


def test_work_on_a_huge_body_is_bounded():
    start = time.process_time()
    for text in ("x" * 5_000_000, " ".join(f"w{i}" for i in range(600_000)), "漢字仮名" * 1_200_000):
        assert 0 < len(document_vector(text).indices) <= MAX_TERMS
    assert time.process_time() - start < 10


def test_marks_without_end_are_no_work_without_end():
    marks = "e" + "\u0301\u0316" * (MAX_CHARS // 2)  # putting them in order all at once takes more than a minute
    start = time.process_time()
    assert document_vector(marks).indices
    assert query_vector(marks).indices
    assert time.process_time() - start < 20


@given(st.integers(50, 64), st.text(st.sampled_from("e\u0301\u0316\u0f71\uff76\uff9e\u3300"), max_size=60))
def test_a_run_of_signs_changes_no_word_behind_it(signs, text):
    run = "\U0001f44d" * signs + "\u0301\u0316\u0436"
    assert split_terms(run + text) == split_terms(unicodedata.normalize("NFKC", run + text))


def test_words_are_the_terms_that_are_on_disk():
    # No question finds what was written with other stems. Those of snowballstemmer 3.0 are others for the first five.
    words = (
        "internal international interval interfering skis generously relational flies skies organization Müller straße"
    )
    terms = "internal internat interval interfer ski generous relat fli sky organiz muller strass"
    assert split_terms(words) == terms.split()
    assert [term_id(term) for term in ("internal", "ski", "muller")] == [200482051, 462513291, 2720409493]


def test_of_a_very_long_query_its_head_and_its_tail_are_looked_for():
    """Such as a document with a question below it; with all its words one search would hold up others for a second."""
    words = [f"w{number}x" for number in range(MAX_ASKED)]
    assert len(query_vector(" ".join(words)).indices) == MAX_ASKED
    longer = query_vector(" ".join(["head", *words, "tail"])).indices
    assert len(longer) == MAX_ASKED
    assert {term_id("head"), term_id("tail"), term_id(words[0]), term_id(words[-1])} <= set(longer)
    assert term_id(words[MAX_ASKED // 2]) not in longer
    document = " ".join(f"w{number}x" for number in range(MAX_TERMS + 1_000))
    assert term_id("tail") in query_vector(f"{document} tail").indices, "it has more words than are kept of a page"


def test_threads_stem_alike():
    words = [
        f"{stem}{end}" for stem in ("walk", "jump", "page", "connect", "relat") for end in ("ing", "ed", "ions", "s")
    ]
    expected = split_terms(" ".join(words))
    results = []
    threads = [threading.Thread(target=lambda: results.append(split_terms(" ".join(words)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8


def test_what_hardly_comes_twice_takes_no_memory_for_good():
    """A process that runs for months reads millions of sentences without a blank, and of encoded files."""
    runs = ["".join(chr(0x4E00 + (7 * n + place) % 900) for place in range(300)) for n in range(60)]
    runs += [f"{n:04d}" + "abcdefgh" * 4_000 for n in range(60)]
    for run in runs:  # what is kept of them for good, such as each pair of signs, is there afterwards
        document_vector(run)
        split_terms(run)
    tracemalloc.start()
    try:
        for run in runs:
            changed = run[:4][::-1] + run[4:]
            document_vector(changed)
            split_terms(changed)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < sum(map(len, runs)) // 4
