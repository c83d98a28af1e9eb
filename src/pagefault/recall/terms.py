"""Words of full-text search: from text to sparse vectors.

A text becomes terms (words, the parts of identifiers, pairs of CJK characters), a term becomes a
32-bit id. Documents carry the term-frequency part of BM25 (k1 1.2, b 0.75); the store multiplies
the inverse document frequency when it searches.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import snowballstemmer

from pagefault.ports import Sparse
from pagefault.recall.languages import function_words

K1: Final = 1.2
B: Final = 0.75
AVERAGE_TERMS: Final = 128
"""The document length that BM25 takes for average. Fixed, since a stored vector is never rewritten."""

MAX_CHARS: Final = 1_000_000
"""Characters read of each text: three quarters from its head, one quarter from its tail."""

MAX_TERMS: Final = 16_384
"""Distinct words kept of one text, those that come first."""

MAX_ASKED: Final = 512
"""Distinct words of a query that are looked for, half of them from its head and half from its tail: each takes time."""

MAX_WORD: Final = 128
"""Characters of a word that tell it from others."""

_CHUNK: Final = 65_536

_KEPT: Final = 65_536
_KEPT_CHARS: Final = 32
_UNSPACED_FROM: Final = "\u0e00"
"""Longer words, and runs of a script without spaces, are not kept: hardly one comes twice, and each has many terms."""

_COMMON: Final = """
    a about after all also am an and any are as at be been before being but by can could did do does doing don't
    for from had has have having he her here hers him his how i i'm if in into is it it's its itself just me more
    most my myself no nor not of off on once only or other our ours out over own same she should so some such than
    that that's the their theirs them then there these they this those through to too under until up very was we
    were what when where which while who whom why will with would you your yours
"""
STOP_WORDS: Final = frozenset(_COMMON.split())

# Scripts written without spaces, and Hangul, whose words carry their particles: pairs of characters.
_UNSPACED: Final = (
    r"\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and other marks belong to a word although they are no letters.
_MARKS: Final = r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff\u200c\u200d"
_ASCII_WORD: Final = re.compile(r"[A-Za-z0-9_]+(?:'[A-Za-z]+)?")
_WORD: Final = re.compile(
    rf"[{_UNSPACED}]+|(?:[^\W{_UNSPACED}]|[{_MARKS}])+(?:['\u2019](?:[^\W\d_{_UNSPACED}]|[{_MARKS}])+)?"
)
_UNSPACED_RUN: Final = re.compile(rf"[{_UNSPACED}]+")
_NO_LETTERS: Final = re.compile(r"(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f]){64}")
"""A run in which all may be combining marks; putting so many in order takes time as their square."""
_CAMEL: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_IS_CAMEL: Final = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")


def split_terms(text: str) -> list[str]:
    """The terms of ``text``, in order, with repetitions.

    Words are folded (NFKC, case, accents on Latin letters) and stemmed as English; the parts of
    ``snake_case`` and ``camelCase`` names are terms beside the whole. English stop words are left
    out unless nothing else is there.

    Example:
        >>> split_terms("Where did user_id get lost?")
        ['user_id', 'user', 'id', 'get', 'lost']
    """
    words = [term for word in _words(text) for term in _terms_of(word)]
    kept = [word for word in words if word not in STOP_WORDS]
    return [_stem(word) for word in kept or words]


@lru_cache(maxsize=_KEPT)
def term_id(term: str) -> int:
    """The index of a term in sparse vectors: its CRC-32, the same in every process and version."""
    return zlib.crc32(term.encode("utf-8", "replace"))


def document_vector(text: str) -> Sparse:
    """The term-frequency part of BM25 for each term of a text.

    ``tf (k1 + 1) / (tf + k1 (1 - b + b length / average))`` with a fixed average of 128 terms, after
    Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009). About 0.3 ms for 1,500
    tokens; of a very long text, a million characters and 16,384 distinct words are read.

    Example:
        >>> document_vector("paging, paging").indices == (term_id("page"),)
        True
    """
    counts = _counts(text)
    norm = K1 * (1 - B + B * sum(counts.values()) / AVERAGE_TERMS)
    pairs = sorted(counts.items())
    return Sparse(
        indices=tuple([index for index, _ in pairs]),
        values=tuple([tf * (K1 + 1) / (tf + norm) for _, tf in pairs]),
    )


def query_vector(text: str) -> Sparse:
    """Weight 1 for each distinct term of a query; empty when it holds no word.

    Function words of a language besides English are left out where a query is in it, unless nothing else is there. Of
    a text with more than 512 different words, such as a document with a question below it, its head and tail count.

    Example:
        >>> query_vector("Wo liegt der Garten?").indices == tuple(sorted(map(term_id, ["liegt", "garten"])))
        True
    """
    words = _count_words(text if len(text) <= _CHUNK else f"{text[: _CHUNK // 2]} {text[-_CHUNK // 2 :]}")
    indices = tuple(sorted(_sums(_ends(_said(words)), stops=False) or _indices(_ends(words))))
    return Sparse(indices=indices, values=(1.0,) * len(indices))


def query_words(text: str) -> frozenset[int]:
    """Term ids of all words of a query, as a page would have them."""
    return frozenset(_counts(text))


def _said(words: Counter[str]) -> Counter[str]:
    """The words without those that say nothing in their language."""
    folded = {word: _fold(word[:MAX_WORD]) for word in words}
    idle = function_words(folded.values(), STOP_WORDS)
    return Counter({word: times for word, times in words.items() if folded[word] not in idle}) if idle else words


def _ends(words: Counter[str]) -> Counter[str]:
    """The words that come first and those that come last."""
    if len(words) <= MAX_ASKED:
        return words
    told = list(words.items())
    return Counter(dict(told[: MAX_ASKED // 2] + told[-MAX_ASKED // 2 :]))


def _counts(text: str) -> dict[int, int]:
    """How often each term id occurs; words are looked up once each, however often they occur."""
    return _indices(_count_words(text))


def _count_words(text: str) -> Counter[str]:
    words: Counter[str] = Counter()
    for chunk in _chunks(text):
        words.update(_find(chunk))
        if len(words) > MAX_TERMS:
            words = Counter(dict(list(words.items())[:MAX_TERMS]))
    return words


def _indices(words: Counter[str]) -> dict[int, int]:
    return _sums(words, stops=False) or _sums(words, stops=True)


def _sums(words: Counter[str], *, stops: bool) -> dict[int, int]:
    counts: dict[int, int] = {}
    for word, times in words.items():
        for index in _kept_ids(word, stops) if _is_kept(word) else _ids(word, stops):
            counts[index] = counts.get(index, 0) + times
    return counts


def _ids(word: str, stops: bool) -> tuple[int, ...]:  # noqa: FBT001  # part of the cache key
    return tuple(term_id(_stem(term)) for term in _terms_of(word) if stops or term not in STOP_WORDS)


_kept_ids: Final = lru_cache(maxsize=_KEPT)(_ids)


def _words(text: str) -> Iterator[str]:
    for chunk in _chunks(text):
        yield from _find(chunk)


def _chunks(text: str) -> Iterator[str]:
    """The text in pieces, so that no single step holds the interpreter for long; cut at a blank if one is near."""
    if len(text) > MAX_CHARS:
        text = f"{text[: MAX_CHARS * 3 // 4]} {text[-MAX_CHARS // 4 :]}"
    start = 0
    while len(text) - start > _CHUNK:
        blank = text.rfind(" ", start + _CHUNK - MAX_WORD, start + _CHUNK)
        end = blank if blank > 0 else start + _CHUNK
        yield text[start:end]
        start = end
    yield text[start:]


def _find(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text)
    return _WORD.findall("".join([unicodedata.normalize("NFKC", piece) for piece in _sortable(text)]))


def _sortable(text: str) -> Iterator[str]:
    """The text in pieces that are normalised in no time: cut within runs of marks that no language has."""
    start = 0
    for run in _NO_LETTERS.finditer(text):
        if all(map(unicodedata.combining, unicodedata.normalize("NFKD", run.group()))):
            yield text[start : run.end()]
            start = run.end()
    yield text[start:]


def _terms_of(word: str) -> tuple[str, ...]:
    """The folded term or terms of one word as it is written."""
    return _kept_terms(word) if _is_kept(word) else _made_terms(word)


def _is_kept(word: str) -> bool:
    return len(word) <= _KEPT_CHARS and word < _UNSPACED_FROM


def _made_terms(word: str) -> tuple[str, ...]:
    if _UNSPACED_RUN.match(word):
        return tuple(word[i : i + 2] for i in range(max(1, len(word) - 1)))
    word = word[:MAX_WORD].replace("\u2019", "'")
    whole = _fold(word).strip("_")
    if "_" not in word and not _IS_CAMEL.search(word):
        return (whole,) if whole else ()
    names = [
        (name, _CAMEL.findall(name) if name.isascii() and _IS_CAMEL.search(name) else []) for name in word.split("_")
    ]
    parts = [_fold(piece) for name, pieces in names for piece in (pieces or [name]) if piece]
    return tuple(dict.fromkeys([whole, *parts])) if whole else ()


_kept_terms: Final = lru_cache(maxsize=_KEPT)(_made_terms)


def _fold(word: str) -> str:
    folded = word.casefold()
    if folded.isascii():
        return folded
    bare = "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    return bare if bare.isascii() else folded


_idle: Final[list[snowballstemmer.EnglishStemmer]] = []
"""Stemmers that nobody uses: each keeps state while it works, and to make one takes half as long as to stem a word."""


@lru_cache(maxsize=_KEPT)
def _stem(word: str) -> str:
    """The English stem; words with digits or other letters stay as they are."""
    if not word.replace("'", "").isalpha() or not word.isascii():
        return word
    try:
        stemmer = _idle.pop()
    except IndexError:
        stemmer = snowballstemmer.EnglishStemmer()
    stem: str = stemmer.stemWord(word)
    _idle.append(stemmer)
    return stem
