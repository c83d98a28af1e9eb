"""Token counting: exact with a local tokenizer file, else estimated. Nothing is ever downloaded."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pagefault.errors import MissingDependency
from pagefault.estimate import CALL_TOKENS, MEDIA_TOKENS, MESSAGE_TOKENS, EstimateCounter, message_tokens, upper_bound
from pagefault.ports import TokenCounter

if TYPE_CHECKING:
    import tiktoken

__all__ = [
    "CALL_TOKENS",
    "MEDIA_TOKENS",
    "MESSAGE_TOKENS",
    "EstimateCounter",
    "TiktokenCounter",
    "default_counter",
    "message_tokens",
    "upper_bound",
]

PIECE_CHARS: Final = 20_000
"""Longest text handed to the tokenizer at once: a run of about a million blanks overflows its stack."""

_log = logging.getLogger("pagefault")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoding:
    """What identifies an encoding: tiktoken's cache file name, the file's sha256, how text is split."""

    file: str
    sha256: str
    pattern: str


_LOWER: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_UPPER: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_SUFFIX: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

# Names, hashes and patterns as tiktoken publishes them (tiktoken_ext.openai_public).
_ENCODINGS: Final = {
    "o200k_base": _Encoding(
        file="fb374d419588a4632f3f557e76b4b70aebbca790",
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        pattern=rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    "cl100k_base": _Encoding(
        file="9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        pattern=r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    ),
}
_BUNDLED: Final = (  # packages that ship the files, and where
    ("llama_index", "core/_static/tiktoken_cache"),
    ("litellm", "litellm_core_utils/tokenizers"),
    ("litellm", "llms/tokenizers"),
)

_lock = threading.Lock()
_loaded: dict[str, tiktoken.Encoding] = {}
_default: list[TokenCounter] = []


class TiktokenCounter:
    """Exact counts with one of OpenAI's encodings, from a file that is already on this machine.

    The file is looked for in tiktoken's own cache (``TIKTOKEN_CACHE_DIR``, ``DATA_GYM_CACHE_DIR``,
    the temporary directory) and in installed packages that ship it (llama-index-core, litellm);
    its sha256 must be the published one. It is loaded at the first count, once per process
    (half a second, 70 MB); later counts take about 25 us for 100 tokens.

    Args:
        encoding: ``"o200k_base"`` or ``"cl100k_base"``.

    Raises:
        ValueError: Another encoding was asked for.
    """

    def __init__(self, encoding: str = "o200k_base") -> None:
        if encoding not in _ENCODINGS:
            raise ValueError(f"no encoding {encoding!r:.60}; choose one of {', '.join(sorted(_ENCODINGS))}")
        self.encoding: Final = encoding

    @property
    def reserve(self) -> float:
        """Nothing is added: the count is exact for this encoding."""
        return 0.0

    def is_available(self) -> bool:
        """Whether tiktoken is installed and a file with the right hash is on this machine."""
        return importlib.util.find_spec("tiktoken") is not None and _find(_ENCODINGS[self.encoding]) is not None

    def count(self, text: str) -> int:
        """Tokens of ``text``; special tokens in it count as the plain text they are.

        A lone surrogate counts as ``?``. Text beyond 20,000 characters is counted in pieces, cut
        before a word; where there are no words the sum may differ by a token for each piece.

        Raises:
            MissingDependency: tiktoken or the encoding's file is not there.
        """
        encoding = _loaded.get(self.encoding) or _load(self.encoding)
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")
        if len(text) <= PIECE_CHARS:
            return len(encoding.encode_ordinary(text))
        return sum(len(encoding.encode_ordinary(piece)) for piece in _pieces(text))


def default_counter() -> TokenCounter:
    """The best counter available here, the same one at every call.

    Exact for ``o200k_base`` where its file is found; else an estimate, and one warning on the
    logger ``pagefault`` that names the way out.
    """
    with _lock:
        if not _default:
            exact = TiktokenCounter()
            if exact.is_available():
                _default.append(exact)
            else:
                _log.warning("tokens are estimated (10%% is kept in reserve): %s", _way_out(exact.encoding))
                _default.append(EstimateCounter())
        return _default[0]


def load(counter: TokenCounter) -> None:
    """Have a counter of ours read now what it needs to count, which may take half a second.

    Raises:
        MissingDependency: As for :meth:`TiktokenCounter.count`.
    """
    if isinstance(counter, TiktokenCounter):
        counter.count("")


def check_counter(counter: object) -> None:
    """Refuse what cannot count, before anything waits for it; ``None`` leaves the choice to pagefault.

    Raises:
        TypeError: It has no ``count(text)``, or no ``reserve`` from 0 to 1.
    """
    reserve = getattr(counter, "reserve", None)
    if counter is None or (
        callable(getattr(counter, "count", None)) and isinstance(reserve, int | float) and 0 <= reserve <= 1
    ):
        return
    raise TypeError(
        f"counter is {counter!r:.60}; it must be None, or an object with count(text), which gives tokens, and a "
        "reserve from 0 to 1 (0 when it is exact), such as pagefault.tokens.TiktokenCounter()"
    )


def lines_add_up(counter: TokenCounter) -> bool:
    """Whether the counts of lines, each with its end, add up to the count of their text.

    True of exact counts where every line begins with an ASCII digit: both encodings split a text there before
    they look for tokens. Of other counters nothing is known.
    """
    return isinstance(counter, TiktokenCounter)


def _way_out(encoding: str) -> str:
    return (
        f"no local copy of the {encoding} tokenizer; run "
        f"`python -c \"import tiktoken; tiktoken.get_encoding('{encoding}')\"` once with network access, point "
        "TIKTOKEN_CACHE_DIR at a copy, `pip install llama-index-core` (which ships it), or pass counter=... "
        "to pagefault.open"
    )


def _load(name: str) -> tiktoken.Encoding:
    with _lock:
        if name not in _loaded:
            try:
                import tiktoken  # noqa: PLC0415  # half a second of imports that an own counter never needs
            except ImportError as error:
                raise MissingDependency("counting exactly needs tiktoken: pip install tiktoken") from error
            known = _ENCODINGS[name]
            data = _find(known)
            if data is None:
                raise MissingDependency(_way_out(name))
            lines = (line.split() for line in data.splitlines() if line)
            ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
            _loaded[name] = tiktoken.Encoding(name, pat_str=known.pattern, mergeable_ranks=ranks, special_tokens={})
        return _loaded[name]


def _find(known: _Encoding) -> bytes | None:
    """The content of the first local file that has the published hash."""
    for folder in _folders():
        path = folder / known.file
        try:
            data = path.read_bytes()
        except OSError:  # not there, or not ours to read: the next place may have it
            continue
        if hashlib.sha256(data).hexdigest() == known.sha256:
            return data
        _log.warning("ignoring tokenizer file %s: its sha256 is not the published one", path)
    return None


def _folders() -> Iterator[Path]:
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if os.environ.get(variable):
            yield Path(os.environ[variable])
    yield Path(tempfile.gettempdir()) / "data-gym-cache"
    for package, folder in _BUNDLED:
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:  # imported under that name without a spec, as test doubles are
            continue
        for root in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(root) / folder


def _pieces(text: str) -> Iterator[str]:
    """The text in bounded pieces, cut where no token can span: between a letter and a following word."""
    start = 0
    while len(text) - start > PIECE_CHARS:
        end = start + PIECE_CHARS
        for cut in range(end, end - 400, -1):
            if text[cut] == " " and _is_letter(text[cut - 1]) and _is_letter(text[cut + 1 : cut + 2]):
                end = cut
                break
        yield text[start:end]
        start = end
    yield text[start:]


def _is_letter(char: str) -> bool:
    return char.isascii() and char.isalpha()


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603  # a child forked while another thread held the lock would wait for ever
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
