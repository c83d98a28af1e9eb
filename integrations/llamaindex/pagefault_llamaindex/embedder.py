"""LlamaIndex's embedding models for pagefault."""

from __future__ import annotations

from llama_index.core.base.embeddings.base import BaseEmbedding

from pagefault.embedders.adapted import AdaptedEmbedder
from pagefault.errors import EmbedderError


class LlamaIndexEmbedder(AdaptedEmbedder):
    """A LlamaIndex ``BaseEmbedding`` as pagefault's embedder.

    Its sync methods are called, on a thread of their own: ``get_text_embedding_batch`` for pages,
    ``get_query_embedding`` for questions. One that can only be awaited needs a subclass whose sync
    methods run it (``asyncio.run`` is safe there).

    Args:
        embedding: The model.
        name: Model name and version; by default the class and the object's ``model_name``.
        dimension: Length of the vectors. Without it the model is asked when a memory opens; give it
            so that a memory opens while a hosted model is down.

    Raises:
        EmbedderError: ``embedding`` is none of LlamaIndex's.

    Example:
        >>> from llama_index.core import MockEmbedding
        >>> LlamaIndexEmbedder(MockEmbedding(embed_dim=8), name="mock/1").dimension
        8
    """

    def __init__(self, embedding: BaseEmbedding, *, name: str | None = None, dimension: int | None = None) -> None:
        if not isinstance(embedding, BaseEmbedding):
            raise EmbedderError(f"LlamaIndexEmbedder takes a LlamaIndex BaseEmbedding, got {embedding!r:.60}")
        self.embedding = embedding
        named = name or f"llamaindex/{type(embedding).__name__}/{embedding.model_name}"
        super().__init__(
            embedding.get_text_embedding_batch, embedding.get_query_embedding, name=named, dimension=dimension
        )
