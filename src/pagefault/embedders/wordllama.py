"""The default embedder: static vectors whose weights come inside the ``wordllama`` wheel.

The two files are read where the wheel puts them and checked against pinned hashes; the package
itself is not imported, since its loader would look for them on the network and its import
configures the root logger. Vectors equal those of ``WordLlama.load().embed`` bit for bit.

The tokenizer sees a text as one word of thousands of characters and merges its pairs one by one.
But no token of this vocabulary has a blank or a line end behind another character, so words can
be tokenised one by one, and those met before not again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import threading
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pagefault.breath import Breath
from pagefault.errors import EmbedderError, MissingDependency

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION: Final = "0.4.0.post1"
DIMENSION: Final = 256
MAX_CHARS: Final = 4_000
"""Characters embedded of each text: 1.4 ms of prose, about 3 ms of Chinese. Pages come in shorter pieces."""

_KEPT_WORDS: Final = 8_192
_WORD_CHARS: Final = 32
"""Longer words are not kept; a text without blanks is one word."""
_BLANK: Final = "\u2581"
_WORD: Final = re.compile(rf"\n|[ {_BLANK}]+[^ {_BLANK}\n]*|[^ {_BLANK}\n]+")
_SPECIAL: Final = ("<s>", "</s>", "<unk>")

_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"
_SHA256: Final = {
    _WEIGHTS: "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
    _TOKENIZER: "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
}

_lock = threading.Lock()
_loaded: list[_Model] = []


class WordLlamaEmbedder:
    """Mean of static token vectors (256 components), 0.07 ms for a short text, no network ever.

    The files are loaded at the first text, once per process (0.2 s, 50 MB). A text without
    content gets the vector of a single blank: finite and not zero, so that cosine is defined.
    Lone surrogates read as ``?``. Only the first 4,000 characters count.

    Example:
        >>> len(WordLlamaEmbedder().embed(["What leaves the window comes back exact."])[0])
        256
    """

    requirement: Final = f"wordllama=={VERSION}"

    @property
    def name(self) -> str:
        """Model, version and dimension."""
        return f"wordllama/{VERSION}/{DIMENSION}"

    @property
    def dimension(self) -> int:
        """256."""
        return DIMENSION

    @property
    def is_loaded(self) -> bool:
        """Whether its files have been read, by whichever embedder of this process."""
        return bool(_loaded)

    def is_available(self) -> bool:
        """Whether the wheel with the weights is installed."""
        root = _root()
        return root is not None and all((root / file).is_file() for file in _SHA256)

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector per text, in order.

        Raises:
            MissingDependency: The wheel, or a package it needs, is not installed.
            EmbedderError: Its files are not the ones these vectors are defined by.
        """
        model = _loaded[0] if _loaded else _load()
        breath = Breath()
        vectors: list[list[float]] = []
        for text in texts:
            if vectors:
                breath.draw()
            vectors.append(model.embed(text))
        return vectors


class _Model:
    def __init__(self, tokenizer: Any, weights: NDArray[np.int16]) -> None:
        self._tokenizer = tokenizer
        self._weights = weights
        self._words = _Words(tokenizer.model)

    def embed(self, text: str) -> list[float]:
        plain = text[:MAX_CHARS]
        if not plain.isascii():
            plain = plain.encode("utf-8", "replace").decode("utf-8")
        ids = self.ids(plain if plain.strip() else " ")
        # Half floats to floats, exactly: sign, exponent and fraction moved to their places, the bias of the exponent
        # made good. As a conversion it takes three times as long.
        bits = self._weights.take(ids, axis=0).astype("int32")
        bits <<= 13
        bits &= -0x70002000
        rows = bits.view("float32")
        rows *= 2.0**112
        mean: list[float] = (rows.sum(axis=0) / len(ids)).tolist()
        return mean

    def ids(self, text: str) -> list[int]:
        """The tokens of a text that is not empty."""
        if any(special in text for special in _SPECIAL):
            whole: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
            return whole
        return list(chain.from_iterable(map(self._words.__getitem__, _WORD.findall(_BLANK + text))))


class _Words(dict[str, tuple[int, ...]]):
    """The tokens of words; a dictionary, since the lookup of each word of a text counts."""

    def __init__(self, merges: Any) -> None:
        super().__init__()
        self._merges = merges

    def __missing__(self, word: str) -> tuple[int, ...]:
        ids = tuple([token.id for token in self._merges.tokenize(word.replace(" ", _BLANK))])
        if len(word) <= _WORD_CHARS:
            if len(self) >= _KEPT_WORDS:
                self.clear()
            self[word] = ids
        return ids


def _root() -> Path | None:
    spec = importlib.util.find_spec("wordllama")
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def _load() -> _Model:
    with _lock:
        if not _loaded:
            root = _root()
            if root is None:
                raise MissingDependency(f"the default embedder needs wordllama: pip install {_requirement()}")
            try:
                from tokenizers import Tokenizer  # noqa: PLC0415  # loaded when a text is embedded, not on import
            except ImportError as error:
                raise MissingDependency(
                    f"the default embedder needs tokenizers: pip install {_requirement()}"
                ) from error
            tokenizer = Tokenizer.from_str(_read(root, _TOKENIZER).decode("utf-8"))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            _loaded.append(_Model(tokenizer, _matrix(_read(root, _WEIGHTS))))
        return _loaded[0]


def _requirement() -> str:
    return WordLlamaEmbedder.requirement


def _read(root: Path, file: str) -> bytes:
    """A file of the wheel, if it is the pinned one: other weights would silently mix two vector spaces."""
    try:
        data = (root / file).read_bytes()
    except OSError as error:
        raise EmbedderError(f"wordllama's {file} cannot be read ({error}): pip install {_requirement()}") from error
    if hashlib.sha256(data).hexdigest() != _SHA256[file]:
        raise EmbedderError(f"wordllama's {file} is not that of {VERSION}: pip install {_requirement()}")
    return data


def _matrix(data: bytes) -> NDArray[np.int16]:
    """The one tensor of a safetensors file: an 8-byte header length, a JSON header, half floats, here as their bits."""
    import numpy as np  # noqa: PLC0415  # as above

    size = int.from_bytes(data[:8], "little")
    tensor = json.loads(data[8 : 8 + size])["embedding.weight"]
    first, last = tensor["data_offsets"]
    raw = data[8 + size + first : 8 + size + last]
    return np.frombuffer(raw, dtype="<i2").reshape(tensor["shape"])
