"""Somebody else's embedding model as an :class:`~pagefault.ports.Embedder`: the part that all adapters share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from pagefault.errors import EmbedderError


class AdaptedEmbedder:
    """An embedder made of two functions: one for pages, one for questions.

    Many models read a question differently from what answers it, so the two are kept apart.
    Lone surrogates, which most models cannot take, read as ``?``.

    Args:
        documents: Gives one vector per text.
        query: Gives the vector of a question.
        name: Model name and version; part of what a store remembers.
        dimension: Length of the vectors; by default that of a first vector, made when it is needed.

    Example:
        >>> def lengths(texts: Sequence[str]) -> list[list[float]]:
        ...     return [[1.0, len(text)] for text in texts]
        >>> embedder = AdaptedEmbedder(lengths, lambda text: lengths([text])[0], name="lengths/1")
        >>> embedder.dimension, embedder.embed(["page"])
        (2, [[1.0, 4.0]])
    """

    def __init__(
        self,
        documents: Callable[[list[str]], Any],
        query: Callable[[str], Any],
        *,
        name: str,
        dimension: int | None = None,
    ) -> None:
        self._documents = documents
        self._query = query
        self._name = name
        self._dimension = dimension
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Model name and version."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of every vector; asks the model once where it was not given."""
        with self._lock:
            if self._dimension is None:
                self._dimension = len(self.embed_query("dimension"))
            return self._dimension

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector per text, in order."""
        return [plain(vector) for vector in self._documents([encodable(text) for text in texts])]

    def embed_query(self, text: str) -> Sequence[float]:
        """The vector of a question."""
        return plain(self._query(encodable(text)))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._name == getattr(other, "_name", None)

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}>"


def model_name(model: object, *attributes: str) -> str:
    """What a model object calls itself.

    Raises:
        EmbedderError: It does not say; a name has to be given.
    """
    for attribute in attributes:
        value = getattr(model, attribute, None)
        if isinstance(value, str) and value:
            return value
    kind = type(model).__name__
    raise EmbedderError(f"{kind} does not say which model it is ({', '.join(attributes)}); give name='...'")


def encodable(text: str) -> str:
    """The text without lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def plain(vector: Any) -> list[float]:
    """Numbers of any array type as floats."""
    return [float(value) for value in vector]
