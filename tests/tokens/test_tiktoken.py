"""Exact counting from a local file."""

from __future__ import annotations

import logging
import os
import pydoc_data.topics
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault import tokens
from pagefault.errors import MissingDependency
from pagefault.estimate import EstimateCounter, upper_bound
from pagefault.tokens import PIECE_CHARS, TiktokenCounter, default_counter, lines_add_up, load

needs_tokenizer = pytest.mark.skipif(not TiktokenCounter().is_available(), reason="no local tokenizer file")
any_text = st.text(st.characters(codec=None, categories=None), max_size=300)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without any tokenizer file, and a process that has loaded none."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(tokens, "_BUNDLED", ())
    monkeypatch.setattr(tokens, "_loaded", {})
    monkeypatch.setattr(tokens, "_default", [])
    return tmp_path


@needs_tokenizer
@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("hello world", 2), ("<|endoftext|>", 7), ("naïve café", 4), ("漢字", 2)]
)
def test_known_counts(text, count):
    assert TiktokenCounter().count(text) == count


@needs_tokenizer
@given(any_text)
def test_no_text_raises_and_none_passes_the_bound(text):
    assert 0 <= TiktokenCounter().count(text) <= upper_bound(text)
    assert TiktokenCounter("cl100k_base").count(text) <= upper_bound(text)


@needs_tokenizer
def test_a_lone_surrogate_counts_as_a_question_mark():
    assert TiktokenCounter().count("a\ud83d!") == TiktokenCounter().count("a?!")


@needs_tokenizer
def test_long_prose_counts_exactly_in_pieces():
    text = " ".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    assert len(text) > 10 * PIECE_CHARS
    counter = TiktokenCounter()
    whole = len(tokens._loaded[counter.encoding].encode_ordinary(text)) if counter.count("x") else 0
    assert abs(counter.count(text) - whole) <= len(text) // PIECE_CHARS
    prose = "the quick brown fox jumps over the lazy dog " * 2_000
    assert counter.count(prose) == len(tokens._loaded[counter.encoding].encode_ordinary(prose))


@needs_tokenizer
@pytest.mark.parametrize("text", ["a" * 10**6, " " * 2 * 10**6, "\n" * 10**6, "漢" * 300_000, "-" * 10**6])
def test_runs_of_one_character_neither_crash_nor_stall(text):
    TiktokenCounter().count("warm")
    before = time.process_time()
    assert 0 < TiktokenCounter().count(text) <= upper_bound(text)
    assert time.process_time() - before < 10


@given(st.text("ab c\n", min_size=1, max_size=60), st.integers(1, 2_000))
def test_pieces_are_the_text(unit, times):
    text = unit * times
    pieces = list(tokens._pieces(text))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= PIECE_CHARS for piece in pieces)


@given(st.sampled_from(["o200k_base", "cl100k_base"]), st.lists(st.tuples(st.integers(0, 10**6), any_text), max_size=8))
def test_lines_that_begin_with_a_digit_add_up(encoding, lines):
    counter = TiktokenCounter(encoding)
    whole = [f"{number} {text}\n" for number, text in lines]
    assert lines_add_up(counter)
    assert sum(map(counter.count, whole)) == counter.count("".join(whole))


def test_of_an_estimate_nothing_is_known():
    assert not lines_add_up(EstimateCounter())


def test_an_unknown_encoding_is_refused():
    with pytest.raises(ValueError, match="choose one of cl100k_base, o200k_base"):
        TiktokenCounter("p50k")


def test_without_a_file_the_error_and_the_one_warning_name_the_way_out(nowhere, caplog):
    assert not TiktokenCounter().is_available()
    with pytest.raises(MissingDependency, match="TIKTOKEN_CACHE_DIR"):
        TiktokenCounter().count("x")
    with caplog.at_level(logging.WARNING, "pagefault"):
        counters = {id(default_counter()) for _ in range(3)}
    assert len(counters) == 1
    assert isinstance(default_counter(), EstimateCounter)
    assert [r.name for r in caplog.records] == ["pagefault"]
    assert "get_encoding('o200k_base')" in caplog.text


def test_a_file_with_another_hash_is_ignored(nowhere, caplog):
    (nowhere / tokens._ENCODINGS["o200k_base"].file).write_bytes(b"YQ== 0\n")
    assert not TiktokenCounter().is_available()
    assert "sha256" in caplog.text


@needs_tokenizer
def test_a_cache_directory_is_enough(nowhere, monkeypatch):
    monkeypatch.undo()
    data = tokens._find(tokens._ENCODINGS["cl100k_base"])
    assert data is not None
    monkeypatch.setattr(tokens, "_BUNDLED", ())
    monkeypatch.setattr(tokens, "_loaded", {})
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", str(nowhere))
    (nowhere / tokens._ENCODINGS["cl100k_base"].file).write_bytes(data)
    assert TiktokenCounter("cl100k_base").count("hello world") == 2


def test_without_tiktoken_the_error_is_the_pip_command(nowhere, monkeypatch):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(MissingDependency, match="pip install tiktoken"):
        TiktokenCounter().count("x")


def test_a_stand_in_module_does_not_break_the_search(monkeypatch):
    double = types.ModuleType("litellm")
    double.__spec__ = None
    monkeypatch.setitem(sys.modules, "litellm", double)
    assert isinstance(TiktokenCounter().is_available(), bool)


@needs_tokenizer
def test_it_is_loaded_once_whatever_the_threads_do(monkeypatch):
    monkeypatch.setattr(tokens, "_loaded", {})
    finds = []
    find = tokens._find

    def count_finds(known):
        finds.append(known)
        return find(known)

    monkeypatch.setattr(tokens, "_find", count_finds)
    threads = [threading.Thread(target=TiktokenCounter().count, args=("x",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(finds) == 1


@needs_tokenizer
def test_the_default_is_exact_and_shared(monkeypatch):
    monkeypatch.setattr(tokens, "_default", [])
    assert isinstance(default_counter(), TiktokenCounter)
    assert default_counter() is default_counter()
    assert default_counter().reserve == 0


def test_a_forked_child_can_count():
    code = (
        "import os, pagefault.tokens as t\n"
        "t._lock.acquire()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    t.default_counter(); os._exit(7)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=False)
    assert done.returncode == 7


def test_no_socket_is_opened(nowhere, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(MissingDependency):
        TiktokenCounter().count("x")


def test_what_can_be_loaded_is_loaded_at_once(nowhere):
    load(EstimateCounter())
    with pytest.raises(MissingDependency, match="no local copy"):
        load(TiktokenCounter())
