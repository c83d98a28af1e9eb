"""The default embedder, and what is checked about any."""

from __future__ import annotations

import importlib.util
import logging
import math
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pagefault import embedders
from pagefault.embedders import WordLlamaEmbedder, default_embedder, fingerprint, validate_vectors, wordllama
from pagefault.errors import EmbedderError, MissingDependency, StoreMismatch
from pagefault.ports import Header
from pagefault.stores import header as headers
from pagefault.testing.embedders import HashingEmbedder

needs_wordllama = pytest.mark.skipif(not WordLlamaEmbedder().is_available(), reason="wordllama is not installed")
any_text = st.text(st.characters(codec=None, categories=None), max_size=200)


def cosine(one, two):
    return sum(x * y for x, y in zip(one, two, strict=True)) / (math.hypot(*one) * math.hypot(*two))


class Fixed:
    """Returns what it was told to."""

    name = "fixed"
    dimension = 2

    def __init__(self, *vectors):
        self.vectors = vectors

    def embed(self, texts):
        return self.vectors


@pytest.fixture(scope="module")
def whole_text():
    """The definition of the default vectors: one pass of the tokenizer, the mean of the tokens' weights."""
    root = wordllama._root()
    assert root is not None
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_str(wordllama._read(root, wordllama._TOKENIZER).decode("utf-8"))
    weights = wordllama._matrix(wordllama._read(root, wordllama._WEIGHTS)).view("<f2")

    def embed(text):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return weights[ids].astype("float32").mean(axis=0).tolist()

    return embed


@needs_wordllama
class TestWordLlama:
    def test_it_says_what_it_is(self):
        embedder = WordLlamaEmbedder()
        assert (embedder.name, embedder.dimension) == ("wordllama/0.4.0.post1/256", 256)
        assert fingerprint(embedder).startswith("near:a59b88ca475fb97e8d73ff8f62cc90a2")

    def test_similar_texts_are_near(self):
        dog, puppy, tax = WordLlamaEmbedder().embed(["my dog barks", "the puppy is loud", "tax return deadline"])
        assert cosine(dog, puppy) > cosine(dog, tax) + 0.1

    @given(st.lists(any_text, max_size=4))
    def test_any_text_has_a_usable_vector(self, texts):
        embedder = WordLlamaEmbedder()
        validate_vectors(embedder, texts, embedder.embed(texts))

    @given(st.lists(any_text | st.sampled_from([" ", "  ", "\u2581", "\n", "\r\n", "<s>", "</s>", "word"])))
    @example(["a", "<unk>", " b"])
    @example(["the ", "\u6f22\u5b57" * 40, "  indented\n\n    more "])
    def test_vectors_are_bit_for_bit_those_of_the_whole_text(self, whole_text, parts):
        text = "".join(parts).encode("utf-8", "replace").decode("utf-8")
        assert WordLlamaEmbedder().embed([text])[0] == whole_text(text if text.strip() else " ")

    def test_text_without_content_has_one_finite_direction(self):
        vectors = WordLlamaEmbedder().embed(["", " ", "\n\t "])
        assert vectors[0] == vectors[1] == vectors[2]
        assert 0 < math.hypot(*vectors[0]) < math.inf

    def test_a_surrogate_reads_as_a_question_mark(self):
        one, two = WordLlamaEmbedder().embed(["a\ud83d b", "a? b"])
        assert one == two

    def test_only_the_head_of_a_long_text_counts_and_it_is_quick(self):
        embedder = WordLlamaEmbedder()
        head = "word " * (wordllama.MAX_CHARS // 5)
        start = time.process_time()
        long, short = embedder.embed([head + "other " * 10**6, head])
        assert time.process_time() - start < 1
        assert long == short

    def test_it_equals_the_packages_own_vectors(self):
        code = (
            "import pathlib, numpy, wordllama as w\n"
            "from pagefault.embedders import WordLlamaEmbedder\n"
            "texts = ['hello world', 'naïve 漢字 😀', 'What leaves comes back.']\n"
            "root = pathlib.Path(w.__file__).parent\n"
            "theirs = w.WordLlama.load(cache_dir=root, disable_download=True)\n"
            "ours = WordLlamaEmbedder().embed(texts)\n"
            "print(max(float(abs(numpy.array(o) - theirs.embed([t])[0]).max()) for t, o in zip(texts, ours)))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert float(done.stdout) < 1e-6

    def test_neither_the_package_nor_the_network_nor_the_root_logger_is_touched(self):
        code = (
            "import sys, logging, socket\n"
            "from pagefault.embedders import default_embedder\n"
            "assert 'numpy' not in sys.modules and 'tokenizers' not in sys.modules\n"
            "socket.socket.connect = None\n"
            "default_embedder().embed(['x'])\n"
            "print(sorted({'wordllama', 'requests', 'huggingface_hub'} & set(sys.modules)), logging.root.handlers)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.strip() == "[] []"

    def test_it_is_loaded_once(self, monkeypatch):
        monkeypatch.setattr(wordllama, "_loaded", [])
        threads = [threading.Thread(target=WordLlamaEmbedder().embed, args=(["x"],)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wordllama._loaded) == 1

    def test_other_weights_are_refused(self, monkeypatch):
        monkeypatch.setattr(wordllama, "_loaded", [])
        monkeypatch.setitem(wordllama._SHA256, wordllama._WEIGHTS, "0" * 64)
        with pytest.raises(EmbedderError, match=r"not that of 0\.4\.0\.post1: pip install wordllama=="):
            WordLlamaEmbedder().embed(["x"])

    def test_a_missing_tokenizers_package_is_named(self, monkeypatch):
        monkeypatch.setattr(wordllama, "_loaded", [])
        monkeypatch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(MissingDependency, match="needs tokenizers: pip install"):
            WordLlamaEmbedder().embed(["x"])


def test_missing_files_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(wordllama, "_loaded", [])
    monkeypatch.setattr(wordllama, "_root", lambda: tmp_path)
    assert not WordLlamaEmbedder().is_available()
    with pytest.raises(EmbedderError, match="cannot be read"):
        WordLlamaEmbedder().embed(["x"])


def test_without_the_wheel_there_is_one_warning_and_the_pip_command(monkeypatch, caplog):
    monkeypatch.setattr(wordllama, "_loaded", [])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(embedders, "_warned", [])
    with caplog.at_level(logging.WARNING, "pagefault"):
        assert [default_embedder(), default_embedder()] == [None, None]
    assert len(caplog.records) == 1
    assert "pip install wordllama==" in caplog.text
    with pytest.raises(MissingDependency, match="pip install wordllama=="):
        WordLlamaEmbedder().embed(["x"])


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([], "0 vectors, 1 wanted"),
        ([[1.0, 0.0]] * 2, "2 vectors, 1 wanted"),
        ([[1.0]], "vector of length 1 for text 0, its dimension is 2"),
        ([[math.nan, 1.0]], "NaN or infinity for text 0"),
        ([[math.inf, 1.0]], "NaN or infinity for text 0"),
        ([[math.inf, -math.inf]], "NaN or infinity for text 0"),
        ([[1e18, 1.0]], r"values beyond 1e\+18 for text 0; scale"),
        ([[1.0, -1e30]], r"values beyond 1e\+18 for text 0; scale"),
        ([[0.0, 0.0]], "zero vector"),
        ([["a", "b"]], "no numbers"),
        ([[None, 1.0]], "no numbers"),
    ],
)
def test_unusable_vectors_are_refused(vectors, message):
    embedder = Fixed(*vectors)
    with pytest.raises(EmbedderError, match=message):
        validate_vectors(embedder, ["x"], vectors)
    with pytest.raises(EmbedderError, match=message):
        fingerprint(embedder)


def test_usable_vectors_pass():
    validate_vectors(Fixed(), [], [])
    validate_vectors(Fixed(), ["x", "y"], [[1.0, 0.0], (0.0, -2.0)])
    validate_vectors(Fixed(), ["x"], [[9e17, 1e-3]])


def fits(one, other):
    stored, given = (Header(embedder="e", dimension=2, fingerprint=each) for each in (one, other))
    try:
        headers.reconcile("here", stored, given)
    except StoreMismatch:
        return False
    return True


def test_a_fingerprint_forgives_rounding_scale_and_noise_but_not_another_model():
    first = fingerprint(Fixed([0.25, 1.0]))
    assert fingerprint(Fixed([0.25 + 1e-7, 1.0])) == first
    assert fingerprint(Fixed([0.5, 2.0])) == first
    assert fits(first, fingerprint(Fixed([0.26, 1.0])))  # as a hosted model or another processor gives it
    assert not fits(first, fingerprint(Fixed([0.5, 1.0])))
    assert not fits(first, fingerprint(Fixed([-0.25, -1.0])))
    assert not fits(first, "near:" + "not hex")
    assert not fits(first, first.removeprefix("near:"))


def test_a_fingerprint_of_a_long_vector_is_short():
    fake = HashingEmbedder(dimension=3072)
    assert len(fingerprint(fake)) == len("near:") + 128
    assert not fits(fingerprint(fake), fingerprint(HashingEmbedder(dimension=1536)))


def test_the_fake_is_deterministic_and_shares_directions():
    fake = HashingEmbedder(dimension=64)
    one, two, three, empty = fake.embed(["red apple", "green apple", "quick brown fox", ""])
    validate_vectors(fake, ["a"] * 4, [one, two, three, empty])
    assert fake.embed(["red apple"])[0] == one
    assert cosine(one, two) > cosine(one, three)
    assert "fake" in fake.name
    assert len(HashingEmbedder(dimension=200).embed(["x"])[0]) == 200
