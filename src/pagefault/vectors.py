"""Calling an embedder, which is somebody else's code: whatever it does, an ``EmbedderError`` says so."""

from __future__ import annotations

from collections.abc import Sequence

from pagefault.embedders import fingerprint, validate_vectors
from pagefault.errors import EmbedderError, PagefaultError
from pagefault.ports import Embedder, Header


def header_of(embedder: Embedder | None) -> Header:
    """What the store is opened with.

    Raises:
        EmbedderError: The embedder cannot say what it is, or fails on a probe.
    """
    if embedder is None:
        return Header()
    name, dimension = identity_of(embedder)
    try:
        probe = fingerprint(embedder)
    except PagefaultError:
        raise
    except BaseException as error:  # an exit or a panic, too: the worker thread it runs on is ours
        raise EmbedderError(f"embedder {name!r} failed on a probe: {error!r:.200}") from error
    return Header(embedder=name, dimension=dimension, fingerprint=probe)


def identity_of(embedder: Embedder) -> tuple[str, int]:
    """Name and dimension of an embedder.

    Raises:
        EmbedderError: One of them is unusable.
    """
    try:
        name, dimension = embedder.name, embedder.dimension
    except Exception as error:
        kind = type(embedder).__name__
        raise EmbedderError(f"an embedder needs a name and a dimension, {kind}: {error!r:.200}") from error
    if not isinstance(name, str) or not name:
        raise EmbedderError(f"the name of an embedder is non-empty text, {type(embedder).__name__} gives {name!r:.60}")
    if not isinstance(dimension, int) or isinstance(dimension, bool) or dimension < 1:
        raise EmbedderError(f"the dimension of embedder {name!r} is {dimension!r:.60}; it must be a positive integer")
    return name, dimension


def embed(embedder: Embedder | None, texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """Vectors of some texts, checked.

    Raises:
        EmbedderError: The embedder raised, or its vectors are unusable.
    """
    if embedder is None:
        return []
    try:
        vectors = embedder.embed(texts)
        validate_vectors(embedder, texts, vectors)
    except PagefaultError:
        raise
    except BaseException as error:  # as above
        raise EmbedderError(f"embedder {embedder.name!r} failed on {len(texts)} texts: {error!r:.200}") from error
    return vectors
