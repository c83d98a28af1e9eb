"""FastEmbed from a local folder: its real code and onnxruntime, over a toy model that was built here."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

import pagefault
from pagefault.embedders import FastEmbedEmbedder, fingerprint, validate_vectors
from pagefault.errors import EmbedderError, MissingDependency
from tests.embedders.tiny_onnx import build

# Packages over the border that warn about themselves when they are imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("model"))


def test_a_model_in_a_folder_needs_no_network(folder, tmp_path):
    embedder = FastEmbedEmbedder(folder=folder)
    assert (embedder.name, embedder.dimension) == ("fastembed/sentence-transformers/all-MiniLM-L6-v2", 384)
    vectors = embedder.embed(["page fault", "\ud800 cat"])
    validate_vectors(embedder, ["a", "b"], vectors)
    assert math.dist(embedder.embed_query("page fault"), vectors[0]) < 1e-5
    assert embedder.embed([]) == [] == embedder.embed_queries([])
    together = embedder.embed_queries(["page fault", "\ud800 cat, and a longer one"])
    assert math.dist(together[0], vectors[0]) < 1e-5
    assert math.dist(together[1], embedder.embed_query("\ud800 cat, and a longer one")) < 1e-5
    assert fingerprint(embedder) == fingerprint(FastEmbedEmbedder(folder=folder))
    with pagefault.open(tmp_path / "memory", embedder=embedder) as memory:
        space = memory.space(thread="t")
        space.append([{"role": "user", "content": text} for text in ("the cat is Turing", "tax return", "page fault")])
        memory.flush()
        assert space.recall("turing cat").pages[0].page.text == "the cat is Turing"


def test_nothing_is_loaded_before_the_first_text(tmp_path):
    FastEmbedEmbedder(folder=tmp_path)  # an empty folder: only a text shows it


def test_a_folder_without_a_model_is_said_and_pages_are_found_by_text(tmp_path, caplog):
    with pagefault.open(tmp_path / "memory", embedder=FastEmbedEmbedder(folder=tmp_path)) as memory:
        space = memory.space(thread="t")
        space.append({"role": "user", "content": "the cat is called Turing"})
        assert space.recall("cat").pages
        with pytest.raises(EmbedderError, match=r"fastembed/.*model"):
            memory.flush()
        with pytest.raises(EmbedderError):
            memory.close()
    assert "full text alone" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [({"model": "nobody/nothing"}, "knows no model"), ({"folder": "no/such/folder"}, "no folder")],
)
def test_what_cannot_work_is_refused_at_once(options, message):
    with pytest.raises(EmbedderError, match=message):
        FastEmbedEmbedder(**options)


def test_without_fastembed_the_message_is_the_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(MissingDependency, match=r"pip install 'pagefault\[fastembed\]'"):
        FastEmbedEmbedder()


def test_importing_pagefault_loads_no_model_runtime():
    code = "import sys, pagefault, pagefault.embedders; print({'fastembed', 'onnxruntime'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
