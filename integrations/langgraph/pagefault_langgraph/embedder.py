"""LangChain's embedding models for pagefault."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from pagefault.embedders.adapted import AdaptedEmbedder, model_name
from pagefault.errors import EmbedderError


class LangChainEmbedder(AdaptedEmbedder):
    """A LangChain ``Embeddings`` object as pagefault's embedder.

    Its sync methods are called, on a thread of their own: ``embed_documents`` for pages,
    ``embed_query`` for questions. One that can only be awaited needs a subclass whose sync methods
    run it (``asyncio.run`` is safe there).

    Args:
        embeddings: The model.
        name: Model name and version; by default the class and what the object calls its model.
        dimension: Length of the vectors. Without it the model is asked when a memory opens; give it
            so that a memory opens while a hosted model is down.

    Raises:
        EmbedderError: ``embeddings`` is none of LangChain's, or does not say which model it is.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> LangChainEmbedder(DeterministicFakeEmbedding(size=8), name="fake/1").dimension
        8
    """

    def __init__(self, embeddings: Embeddings, *, name: str | None = None, dimension: int | None = None) -> None:
        if not isinstance(embeddings, Embeddings):
            raise EmbedderError(f"LangChainEmbedder takes a LangChain Embeddings object, got {embeddings!r:.60}")
        self.embeddings = embeddings
        named = name or f"langchain/{type(embeddings).__name__}/{model_name(embeddings, 'model', 'model_name')}"
        super().__init__(embeddings.embed_documents, embeddings.embed_query, name=named, dimension=dimension)
