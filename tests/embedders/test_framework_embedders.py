"""LangChain's and LlamaIndex's embedding models behind pagefault's port."""

from __future__ import annotations

from typing import ClassVar

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from llama_index.core import MockEmbedding
from llama_index.core.base.embeddings.base import BaseEmbedding

import pagefault
from pagefault.errors import EmbedderError, StoreMismatch
from pagefault.testing.embedders import HashingEmbedder
from pagefault_langgraph import LangChainEmbedder
from pagefault_llamaindex import LlamaIndexEmbedder

INNER = HashingEmbedder()


class OfLangChain(Embeddings):
    """A fake: hashes words, and tells questions from pages."""

    model = "words-1"

    def __init__(self):
        self.questions = []

    def embed_documents(self, texts):
        return [list(vector) for vector in INNER.embed(texts)]

    def embed_query(self, text):
        self.questions.append(text)
        return list(INNER.embed([text])[0])


class OfLlamaIndex(BaseEmbedding):
    """A fake: hashes words, and tells questions from pages."""

    model_name: str = "words-1"
    questions: ClassVar[list[str]] = []

    def _get_text_embedding(self, text):
        return list(INNER.embed([text])[0])

    def _get_query_embedding(self, query):
        self.questions.append(query)
        return list(INNER.embed([query])[0])

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


@pytest.mark.parametrize(
    ("model", "wrapper", "name"),
    [
        (OfLangChain(), LangChainEmbedder, "langchain/OfLangChain/words-1"),
        (OfLlamaIndex(), LlamaIndexEmbedder, "llamaindex/OfLlamaIndex/words-1"),
    ],
    ids=["langchain", "llamaindex"],
)
def test_pages_are_found_through_it(model, wrapper, name, tmp_path):
    assert (wrapper(model).name, wrapper(model).dimension) == (name, 64)
    for text in ("the cat is called Turing", "a lone \ud800 surrogate"):  # again: the same model is recognised
        with pagefault.open(tmp_path, embedder=wrapper(model)) as memory:
            space = memory.space(thread="t")
            space.append({"role": "user", "content": text})
            memory.flush()
            assert space.recall("what is the cat called").pages[0].page.text == "the cat is called Turing"
    assert "what is the cat called" in model.questions
    with pytest.raises(StoreMismatch, match="pagefault reindex"), pagefault.open(tmp_path, embedder=INNER) as memory:
        memory.ready()


@pytest.mark.parametrize("wrapper", [LangChainEmbedder, LlamaIndexEmbedder])
def test_anything_else_is_refused(wrapper):
    with pytest.raises(EmbedderError, match=wrapper.__name__):
        wrapper(INNER)


def test_a_model_without_a_name_has_to_be_given_one():
    with pytest.raises(EmbedderError, match="give name="):
        LangChainEmbedder(DeterministicFakeEmbedding(size=8))
    assert LangChainEmbedder(DeterministicFakeEmbedding(size=8), name="fake/1").name == "fake/1"


def test_a_given_dimension_asks_nobody():
    class Down(OfLangChain):
        def embed_query(self, text):
            raise OSError("the model is down")

        def embed_documents(self, texts):
            raise OSError("the model is down")

    with pagefault.open(":memory:", embedder=LangChainEmbedder(Down(), dimension=64)) as memory:
        space = memory.space(thread="t")
        space.append({"role": "user", "content": "the cat is called Turing"})
        assert space.recall("cat").pages
        with pytest.raises(EmbedderError, match="the model is down"):
            memory.flush()
        with pytest.raises(EmbedderError):
            memory.close()


def test_the_same_model_twice_is_the_same_choice(tmp_path):
    one, two = (LlamaIndexEmbedder(MockEmbedding(embed_dim=8), name="mock/1") for _ in range(2))
    with pagefault.open(tmp_path, embedder=one) as memory:
        with pagefault.open(tmp_path, embedder=two) as again:
            assert again.space(thread="t").paging is memory.space(thread="t").paging
        with pytest.raises(pagefault.StoreError, match="other options"):
            pagefault.open(tmp_path, embedder=LangChainEmbedder(OfLangChain()))
