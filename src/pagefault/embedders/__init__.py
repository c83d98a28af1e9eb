"""Embedders: the default one, and what is checked about any of them."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from typing import Final

from pagefault.embedders.adapted import AdaptedEmbedder
from pagefault.embedders.fastembed import FastEmbedEmbedder
from pagefault.embedders.wordllama import WordLlamaEmbedder
from pagefault.errors import EmbedderError
from pagefault.ports import LARGEST, NEAR, Embedder

__all__ = [
    "AdaptedEmbedder",
    "FastEmbedEmbedder",
    "WordLlamaEmbedder",
    "check_embedder",
    "default_embedder",
    "fingerprint",
    "validate_vectors",
]

PROBE: Final = "The quick brown fox pages through 42 memories: naïve, 記憶, память."
_SAMPLED: Final = 64
_STEPS: Final = 127
_ZERO: Final = 128

_log = logging.getLogger("pagefault")
_lock = threading.Lock()
_warned: list[bool] = []


def default_embedder() -> Embedder | None:
    """The embedder that comes along, or ``None`` (full-text search alone) and one warning without it.

    Nothing is loaded before the first text is embedded.
    """
    embedder = WordLlamaEmbedder()
    if embedder.is_available():
        return embedder
    with _lock:
        if not _warned:
            _warned.append(True)
            _log.warning("pages are searched by full text alone: pip install %s for similarity", embedder.requirement)
    return None


def check_embedder(embedder: object) -> None:
    """Refuse what cannot embed, before anything waits for it; ``"default"`` and ``None`` can be given, too.

    Raises:
        EmbedderError: It has no ``embed(texts)``.
    """
    if embedder is None or embedder == "default" or callable(getattr(embedder, "embed", None)):
        return
    raise EmbedderError(
        f"embedder is {embedder!r:.60}; it must be 'default', None, or an object with a name, a dimension and "
        "embed(texts). Wrap LangChain's in pagefault_langgraph.LangChainEmbedder(...), LlamaIndex's in "
        "pagefault_llamaindex.LlamaIndexEmbedder(...)"
    )


def fingerprint(embedder: Embedder) -> str:
    """Text that tells one embedder's vectors from another's.

    Up to 64 components of a probe text's vector, a byte each, scaled to the largest. It is
    compared by nearness (:func:`pagefault.stores.header.reconcile`): hosted models and processors
    do not give the same bits twice.

    Raises:
        EmbedderError: The embedder returned something that is not one usable vector.
    """
    vectors = embedder.embed([PROBE])
    validate_vectors(embedder, [PROBE], vectors)
    vector = [float(x) for x in vectors[0]]
    some = vector[:: max(1, len(vector) // _SAMPLED)][:_SAMPLED]
    largest = max(map(abs, some)) or 1.0
    return NEAR + bytes(round(x / largest * _STEPS) + _ZERO for x in some).hex()


def validate_vectors(embedder: Embedder, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
    """Check what an embedder returned before any of it is stored or searched with.

    Raises:
        EmbedderError: The count or a length is wrong, or a component is NaN, infinite, no number or beyond 1e18.
    """
    name = embedder.name
    if len(vectors) != len(texts):
        raise EmbedderError(f"embedder {name!r} returned {len(vectors)} vectors, {len(texts)} wanted")
    for position, vector in enumerate(vectors):
        if len(vector) != embedder.dimension:
            raise EmbedderError(
                f"embedder {name!r} returned a vector of length {len(vector)} for text {position}, "
                f"its dimension is {embedder.dimension}"
            )
        try:
            length = math.hypot(*vector)  # one NaN or infinity makes it one
        except (TypeError, ValueError, OverflowError) as error:
            raise EmbedderError(f"embedder {name!r} returned components that are no numbers: {error}") from error
        if not math.isfinite(length):
            raise EmbedderError(f"embedder {name!r} returned NaN or infinity for text {position}")
        if not length < LARGEST:
            raise EmbedderError(
                f"embedder {name!r} returned values beyond {LARGEST:g} for text {position}; scale its vectors, "
                "cosine needs their direction alone"
            )
        if length == 0:
            raise EmbedderError(
                f"embedder {name!r} returned a zero vector for text {position}; cosine needs a direction"
            )
