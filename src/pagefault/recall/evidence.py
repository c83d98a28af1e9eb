"""Which pages are evidence at all: a message that only asks as the query does answers nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from pagefault.page import Page, Role
from pagefault.recall import languages
from pagefault.recall.terms import split_terms, term_id

MAX_CHARS: Final = 20_000
"""Characters up to which a message is looked at sentence by sentence; who writes more says something."""

_MARKS: Final = "?\uff1f\u061f\u037e"
_SENTENCE: Final = re.compile(r"(?<=[.!?\u061f\u037e])[\"'*_)\]\u201d\u2019\u00bb]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_NUMBER: Final = re.compile(r"^[ \t>#*-]*\d{1,3}[.)][ \t]+", re.MULTILINE)
"""The number of a list's entry: it is no value."""
_DECORATION: Final = " \t*_`\"'\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb()[]{}~!\uff01"
_GREEK: Final = re.compile(r"[\u0370-\u037d\u0386-\u03ff]")

_WH: Final = r"(?:wh(?:at|o|om|ose|ich|en|ere|y)|how(?! about\b.*\d))\b"
_SEEK: Final = (
    r"(?:(?:tell|give|show|send|get|remind) (?:me|us)|find|look|search|check|explain|know|remember|recall|help)\b"
)
_WISH: Final = (
    r"(?:i|we)(?: (?:just|really|still|also|urgently))? (?:need|want|forgot|lost)\b"
    r"|(?:i|we) (?:would|have|am|are) (?:like|forgotten|lost|looking for)\b|(?:i['\u2019]m|we['\u2019]re) looking for\b"
)
_REQUEST: Final = re.compile(
    rf"(?:please,? )?(?:(?:tell|give|show) (?:me|us)\b|(?:find|look up)\b|{_WH}|{_WISH})", re.IGNORECASE
)
_INVERTED: Final = re.compile(
    r"(?:do|does|did|is|are|was|were|can|could|would|will|have|has) "
    r"(?:i|you|he|she|it|we|they|the|this|that|there|any|my|your|our)\b",
    re.IGNORECASE,
)
"""How requests and questions begin, by which they are known where their mark was left out."""
_ORDER: Final = re.compile(rf"\b(?:can|could|would|will) you (?!(?:(?:please|just|also) )*{_SEEK})\w", re.IGNORECASE)
_TAG: Final = re.compile(r"[,.;:!\u2013\u2014\uff0c\u3001\u060c]([^,.;:!\u2013\u2014\uff0c\u3001\u060c]{1,24})\Z")
_ASKING_TAG: Final = re.compile(rf"\s*(?:{_WH}|any\b|(?:do|can|could|would) you\b|(?:is|was) it\b)", re.IGNORECASE)
_INFORMING: Final = re.compile(
    r"\b(?:(?:did|have)(?:n['\u2019]t)? (?:i|we) (?:not |ever |already )?(?:tell|told|mention|mentioned|say|said)\b"
    rf"(?! (?:to )?(?:you |us )?(?:about |of )?(?:{_WH}|(?:whether|if|the name|the number)\b))"
    r"|(?:do|did)(?:n['\u2019]t)? you (?:know|remember) (?:that|i|we)\b)",
    re.IGNORECASE,
)
_MISSING: Final = re.compile(r"\b(?:can(?:['\u2019]t|not)|couldn['\u2019]t) (?:find|remember|recall)\b", re.IGNORECASE)
_ASKING_WORDS: Final = """
    please tell told give show say said mention mentioned know known remember recall remind need want find look search
    check help forgot forget forgotten lost again idea moment quick quickly thanks thank hello hi hey sorry
"""
ASKING: Final = frozenset(map(term_id, split_terms(_ASKING_WORDS)))
"""Words of a request that say nothing of what is asked for."""


def is_evidence(page: Page, query_terms: Collection[int], page_terms: Collection[int]) -> bool:
    """Whether a page can answer, or only asks as the query does.

    In an agent the question itself is a page, and so are its earlier copies; they hold every word of the query
    and answer nothing. Only a user's message can be one: where at least half of its words are the query's, it has to
    say something (``says``). Whatever has more words of its own is evidence.

    Args:
        page: The page.
        query_terms: Term ids of the query.
        page_terms: Term ids of the page.
    """
    spoken = page.messages[0]
    if spoken.role is not Role.USER:
        return True
    query, own = set(query_terms), set(page_terms) - ASKING
    return 2 * len(own & query) < len(own) or says(spoken.text, query)


def says(text: str, query: set[int]) -> bool:
    """Whether a user's message says something about a query, or only asks.

    A message in which no sentence asks says something. Of any other one sentence has to, by a word that neither the
    query has nor any request ("please", "again", "forgot"):

    - such a word with a digit is a value, in a question, too: "Can you deploy it to port 4712?";
    - a sentence without a question mark has a word of the query beside it;
    - a question orders ("Could you ...", but not "Could you tell me ..."), informs ("Did I tell you that ...?"),
      or is a statement with a mere "right?" behind it.

    In doubt a message says something: to show the user's own words is better than to deny what they said.

    Args:
        text: What the user wrote.
        query: Term ids of the query.

    Example:
        >>> query = set(map(term_id, split_terms("What is the gate PIN?")))
        >>> says("I forgot the gate PIN. What is it?", query)
        False
        >>> says("The gate PIN is 4712. Is it a good PIN?", query)
        True
    """
    if len(text) > MAX_CHARS:
        return True
    sentences = list(_sentences(text))
    return not any(map(_asks, sentences)) or any(_tells(sentence, query) for sentence in sentences)


def _sentences(text: str) -> Iterator[str]:
    """The sentences without what stands around them: emphasis, quotes, brackets, numbers of a list."""
    for sentence in _SENTENCE.split(_NUMBER.sub("", text)):
        if bare := sentence.strip(_DECORATION):
            yield bare


def _is_question(sentence: str) -> bool:
    return sentence[-1] in _MARKS or (sentence[-1] == ";" and _GREEK.search(sentence) is not None)


def _asks(sentence: str) -> bool:
    if _is_question(sentence) or _REQUEST.match(sentence) is not None or _INVERTED.match(sentence) is not None:
        return True
    return languages.asks(sentence)


def _tells(sentence: str, query: set[int]) -> bool:
    """Whether a sentence of a message that asks says something all the same."""
    words = {term_id(term): term for term in split_terms(_MISSING.sub(" ", sentence))}
    new = words.keys() - query - ASKING
    if not new or any(letter.isdigit() for term in new for letter in words[term]):
        return bool(new)
    if not _is_question(sentence):
        return len(words.keys() & query) > 0
    if _INFORMING.search(sentence) is not None:
        return True
    if _REQUEST.match(sentence) is not None:
        return False
    return _ORDER.search(sentence) is not None or _is_confirmed(sentence.rstrip(_MARKS), query)


def _is_confirmed(sentence: str, query: set[int]) -> bool:
    """Whether a question is a statement with "right?" behind it, and not a question with "please?"."""
    tag = _TAG.search(sentence)
    if tag is None or _INVERTED.match(sentence) is not None or _ASKING_TAG.match(tag[1]) is not None:
        return False
    return not any(term_id(term) in query for term in split_terms(tag[1]))
