"""FastEmbed: small ONNX models on this machine's processor, from a hub or from a local folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from pagefault.embedders.adapted import AdaptedEmbedder, encodable, plain
from pagefault.errors import EmbedderError, MissingDependency

DEFAULT_MODEL: Final = "sentence-transformers/all-MiniLM-L6-v2"


class FastEmbedEmbedder(AdaptedEmbedder):
    """A model that FastEmbed runs.

    The model is loaded at the first text. FastEmbed downloads it then, unless ``folder`` has it:
    with a folder nothing is ever asked of the network.

    Args:
        model: A name that FastEmbed knows (``TextEmbedding.list_supported_models()``).
        folder: Holds the model's ONNX file and tokenizer files, named as in its repository.
        threads: Processor threads; two are plenty for pages.
        batch_size: Texts per run of the model; large ones take memory, not time.
        **options: More for ``TextEmbedding``: ``cache_dir``, ``providers`` and so on.

    Raises:
        MissingDependency: FastEmbed is not installed.
        EmbedderError: It does not know the model, or there is no such folder.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        folder: str | os.PathLike[str] | None = None,
        threads: int = 2,
        batch_size: int = 16,
        **options: Any,
    ) -> None:
        text_embedding = _text_embedding()
        try:
            dimension = int(text_embedding.get_embedding_size(model))
        except ValueError as error:
            raise EmbedderError(
                f"FastEmbed knows no model {model!r}; TextEmbedding.list_supported_models() names them, "
                "TextEmbedding.add_custom_model(...) adds one"
            ) from error
        if folder is not None and not Path(folder).expanduser().is_dir():
            raise EmbedderError(f"{os.fspath(folder)} is no folder; give one that holds the files of {model}")
        place = {"specific_model_path": str(Path(folder).expanduser())} if folder is not None else {}
        loaded: list[Any] = []
        lock = threading.Lock()

        def running() -> Any:
            with lock:
                if not loaded:
                    loaded.append(text_embedding(model, threads=threads, **place, **options))
                return loaded[0]

        def documents(texts: list[str]) -> Iterable[Any]:
            return list(running().passage_embed(texts, batch_size=batch_size)) if texts else []

        def queries(texts: list[str]) -> Iterable[Any]:
            return list(running().query_embed(texts)) if texts else []

        self._queries = queries
        name = f"fastembed/{model}"
        super().__init__(documents, lambda text: next(iter(queries([text]))), name=name, dimension=dimension)

    def embed_queries(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """The vectors of questions, in order, from one run of the model."""
        return [plain(vector) for vector in self._queries([encodable(text) for text in texts])]


def _text_embedding() -> Any:
    try:
        from fastembed import TextEmbedding  # noqa: PLC0415  # an extra, and a second to load
    except ImportError as error:
        raise MissingDependency("FastEmbedEmbedder needs FastEmbed: pip install 'pagefault[fastembed]'") from error
    return TextEmbedding
