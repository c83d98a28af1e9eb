"""What asks, in a message or a query, and which words an answer should have."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from pagefault.ports import Sparse
from pagefault.recall import languages
from pagefault.recall.terms import STOP_WORDS, split_terms, term_id

MAX_CHARS: Final = 20_000
"""Characters up to which a text is looked at sentence by sentence."""

MARKS: Final = "?\uff1f\u061f\u037e"
_SENTENCE: Final = re.compile(r"(?<=[.!?\u061f\u037e])[\"'*_)\]\u201d\u2019\u00bb]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_CLAUSE: Final = re.compile(r"(?<=[:;])\s+")
_NUMBER: Final = re.compile(r"^[ \t>#*-]*\d{1,3}[.)][ \t]+", re.MULTILINE)
"""The number of a list's entry: it is no value."""
_DECORATION: Final = " \t*_`\"'\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb()[]{}~!\uff01"
_GREEK: Final = re.compile(r"[\u0370-\u037d\u0386-\u03ff]")

WH: Final = r"(?:wh(?:at|o|om|ose|ich|en|ere|y)|how(?! about\b.*\d))\b"
_WISH: Final = (
    r"(?:i|we)(?: (?:just|really|still|also|urgently))? (?:need|want|forgot|lost)\b"
    r"|(?:i|we) (?:would|have|am|are) (?:like|forgotten|lost|looking for)\b|(?:i['\u2019]m|we['\u2019]re) looking for\b"
)
REQUEST: Final = re.compile(
    rf"(?:please,? )?(?:(?:tell|give|show) (?:me|us)\b|(?:find|look up)\b|{WH}|{_WISH})", re.IGNORECASE
)
INVERTED: Final = re.compile(
    r"(?:do|does|did|is|are|was|were|can|could|would|will|have|has) "
    r"(?:i|you|he|she|it|we|they|the|this|that|there|any|my|your|our)\b",
    re.IGNORECASE,
)
"""How requests and questions begin, by which they are known where their mark was left out."""
_ASKING_WORDS: Final = """
    please tell told give show say said mention mentioned know known remember recall remind need want find look search
    check help forgot forget forgotten lost again idea moment quick quickly thanks thank hello hi hey sorry
"""
ASKING: Final = frozenset(map(term_id, split_terms(_ASKING_WORDS)))
"""Words of a request that say nothing of what is asked for."""
_MEMORY_WORDS: Final = """
    user users us conversation conversations chat discussion discussed talked message messages earlier previous
    previously details information info regarding concerning anything something everything exactly much many often
"""
_IDLE: Final = ASKING | frozenset(map(term_id, split_terms(_MEMORY_WORDS)))
"""Those, words by which a model asks a memory ("user's dentist", "anything regarding a dentist"), and "how much"."""
_QUESTIONS: Final = 16
"""So many sentences of a query are judged for themselves."""
_WORDS: Final = 2
"""So many words of a sentence have to tell what it asks for: "Any ideas?" would be answered by any page with ideas."""
_WORD: Final = re.compile(r"\w+(?:['\u2019]\w+)?")
_CAPITAL: Final = re.compile(r"[A-Z][a-z]")
_IDENTIFIER: Final = re.compile(r"(?=\w*\d)(?!(?:19|20)\d\d\Z|\d+(?:st|nd|rd|th|am|pm|h)\Z)\w{3,}")
_DATE_WORDS: Final = """
    January February March April May June July August September October November December
    Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mon Tue Wed Thu Fri Sat Sun
"""
_DATES: Final = frozenset(map(term_id, split_terms(_DATE_WORDS)))
AROUND: Final = 0.5
"""What a word counts in a search that stands in none of the sentences that ask, where some do."""


def sought(query: str, terms: Sequence[int]) -> list[list[int]]:
    """The words that an answer should have: all of a query's, or those of one of several sentences that ask.

    Words of a request do not count where there are others, nor those by which a model asks a memory. So what stands
    around a question does not hide what is known: "Hi, sorry to bother you again. Please remind me: what is the gate
    PIN?" asks for the gate PIN, as "Did the user mention a gate PIN earlier?" does.

    Args:
        query: The query.
        terms: Its term ids, as it is searched for.

    Example:
        >>> terms = [term_id(term) for term in ("hi", "weather", "nice", "gate", "pin")]
        >>> [len(words) for words in sought("Hi! The weather is nice. What is the gate PIN?", terms)]
        [4, 2]
    """
    telling = [term for term in terms if term not in _IDLE] or list(terms)
    sentences = list(sentences_of(_CLAUSE.sub("\n", query))) if len(query) <= MAX_CHARS else []
    asking = islice(filter(asks, sentences), _QUESTIONS) if len(sentences) > 1 else ()
    each = ({term_id(term) for term in split_terms(sentence)}.intersection(telling) for sentence in asking)
    return [telling, *(sorted(words) for words in each if len(words) >= _WORDS)]


def names_in(query: str, sought: Sequence[Collection[int]]) -> list[frozenset[int]]:
    """Of each name or identifier that a query asks about, its terms: "Munich", "E1043", "A-48213-X".

    Those are words with a capital within a sentence, and with a digit; a date is none, since a page may have it as its
    time only. Where every word has a capital, and in languages that are known not to be English, capitals say nothing.

    Args:
        query: The query.
        sought: What :func:`sought` makes of it.

    Example:
        >>> terms = [term_id(term) for term in ("deadlin", "munich", "tender")]
        >>> names_in("When is the deadline for the Munich tender?", [terms]) == [{term_id("munich")}]
        True
    """
    asked = set().union(*(sought[1:] or sought))
    sentences = [_WORD.findall(sentence) for sentence in sentences_of(query[:MAX_CHARS])]
    words = {word: None for sentence in sentences for word in sentence}
    inner = {word: None for sentence in sentences for word in sentence[1:] if _CAPITAL.match(word)}
    plain = {word for word in words if word.islower()} if inner else set()
    if not plain - STOP_WORDS or languages.function_words(plain, STOP_WORDS):
        inner = {}
    groups = [frozenset(map(term_id, split_terms(word))) for word in [*inner, *filter(_IDENTIFIER.fullmatch, words)]]
    return [group for group in groups if group <= asked and not group & _DATES]


def stressed(words: Sparse, sought: Sequence[Collection[int]]) -> Sparse:
    """A query's words for a search: those around the sentences that ask count half, since they may say what is meant.

    Args:
        words: All of them.
        sought: What :func:`sought` makes of them.

    Example:
        >>> stressed(Sparse(indices=(3, 7, 9), values=(1.0, 1.0, 1.0)), [[3, 7, 9], [7, 9]]).values
        (0.5, 1.0, 1.0)
    """
    asking = set().union(*sought[1:])
    if not asking:
        return words
    return replace(words, values=tuple(1.0 if term in asking else AROUND for term in words.indices))


def sentences_of(text: str) -> Iterator[str]:
    """The sentences without what stands around them: emphasis, quotes, brackets, numbers of a list."""
    for sentence in _SENTENCE.split(_NUMBER.sub("", text)):
        if bare := sentence.strip(_DECORATION):
            yield bare


def is_question(sentence: str) -> bool:
    """Whether a sentence ends in a question mark, of whatever script."""
    return sentence[-1] in MARKS or (sentence[-1] == ";" and _GREEK.search(sentence) is not None)


def asks(sentence: str) -> bool:
    """Whether a sentence asks, by its mark or by how it begins."""
    if is_question(sentence) or REQUEST.match(sentence) is not None or INVERTED.match(sentence) is not None:
        return True
    return languages.asks(sentence)
