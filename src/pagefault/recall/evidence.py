"""Which pages are evidence at all: a message that only asks as the query does answers nothing."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from pagefault.page import Page, Role
from pagefault.recall.questions import ASKING, INVERTED, MARKS, MAX_CHARS, REQUEST, WH, asks, is_question, sentences_of
from pagefault.recall.terms import split_terms, term_id

_SEEK: Final = (
    r"(?:(?:tell|give|show|send|get|remind) (?:me|us)|find|look|search|check|explain|know|remember|recall|help)\b"
)
_ORDER: Final = re.compile(rf"\b(?:can|could|would|will) you (?!(?:(?:please|just|also) )*{_SEEK})\w", re.IGNORECASE)
_TAG: Final = re.compile(r"[,.;:!\u2013\u2014\uff0c\u3001\u060c]([^,.;:!\u2013\u2014\uff0c\u3001\u060c]{1,24})\Z")
_ASKING_TAG: Final = re.compile(rf"\s*(?:{WH}|any\b|(?:do|can|could|would) you\b|(?:is|was) it\b)", re.IGNORECASE)
_INFORMING: Final = re.compile(
    r"\b(?:(?:did|have)(?:n['\u2019]t)? (?:i|we) (?:not |ever |already )?(?:tell|told|mention|mentioned|say|said)\b"
    rf"(?! (?:to )?(?:you |us )?(?:about |of )?(?:{WH}|(?:whether|if|the name|the number)\b))"
    r"|(?:do|did)(?:n['\u2019]t)? you (?:know|remember) (?:that|i|we)\b)",
    re.IGNORECASE,
)
_MISSING: Final = re.compile(r"\b(?:can(?:['\u2019]t|not)|couldn['\u2019]t) (?:find|remember|recall)\b", re.IGNORECASE)


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
    sentences = list(sentences_of(text))
    return not any(map(asks, sentences)) or any(_tells(sentence, query) for sentence in sentences)


def only_asks(text: str, query: set[int]) -> bool:
    """Whether a message only asks where it has words of a query, whatever else it says around that.

    Args:
        text: What was written.
        query: Term ids of the query.

    Example:
        >>> query = set(map(term_id, split_terms("What is the gate PIN?")))
        >>> only_asks("The train leaves soon and my battery is low. What is the gate PIN?", query)
        True
    """
    sentences = list(sentences_of(text)) if len(text) <= MAX_CHARS else []
    if not any(map(asks, sentences)):
        return False  # most messages: their words need not be looked at
    about = [each for each in sentences if not query.isdisjoint(map(term_id, split_terms(each)))]
    return bool(about) and all(asks(each) and not _tells(each, query) for each in about)


def _tells(sentence: str, query: set[int]) -> bool:
    """Whether a sentence of a message that asks says something all the same."""
    words = {term_id(term): term for term in split_terms(_MISSING.sub(" ", sentence))}
    new = words.keys() - query - ASKING
    if not new or any(letter.isdigit() for term in new for letter in words[term]):
        return bool(new)
    if not is_question(sentence):
        return len(words.keys() & query) > 0
    if _INFORMING.search(sentence) is not None:
        return True
    if REQUEST.match(sentence) is not None:
        return False
    return _ORDER.search(sentence) is not None or _is_confirmed(sentence.rstrip(MARKS), query)


def _is_confirmed(sentence: str, query: set[int]) -> bool:
    """Whether a question is a statement with "right?" behind it, and not a question with "please?"."""
    tag = _TAG.search(sentence)
    if tag is None or INVERTED.match(sentence) is not None or _ASKING_TAG.match(tag[1]) is not None:
        return False
    return not any(term_id(term) in query for term in split_terms(tag[1]))
