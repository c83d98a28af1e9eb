"""Statements that are made again later: what the older ones say may have changed since."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final

from pagefault.page import Role
from pagefault.recall.found import RecalledPage
from pagefault.recall.terms import term_id

ALIKE: Final = 0.5
"""Share of a statement's words that a later one must have to be about the same."""
_USER: Final = [Role.USER]
_NUMBER: Final = re.compile(r"\d+")
MAX_TERMS: Final = 64
"""A statement has no more distinct words: longer texts have some of everything."""
MAX_CHARS: Final = 20_000
"""Characters of a message in which numbers are looked for: few words over and over may be megabytes."""


def latest_of(words: Mapping[int, float]) -> int:
    """The newest candidate with at least half of the best one's score by words; 0 without any.

    A fact that changes often is said many times in much the same words, of which a search finds any: what holds now is
    to be among those that are read.

    Args:
        words: BM25 score by page number.

    Example:
        >>> latest_of({3: 8.0, 40: 7.5, 90: 2.0})
        40
    """
    least = ALIKE * max(words.values(), default=0.0)
    return max((number for number, score in words.items() if score >= least), default=0)


def newest_first(
    pages: Sequence[RecalledPage],
    terms: Mapping[str, frozenset[int]],
    query_terms: Collection[int],
    is_evidence: Callable[[RecalledPage], bool],
) -> list[RecalledPage]:
    """The pages, each behind the newest one that says anew what it says, and naming that one (``superseded_by``).

    A page says anew what an older one of the same conversation says if the same roles speak in it, or the
    user alone does, whom others may only repeat, it has every word of the query that the older one has, at least one,
    and half of all its words but for numbers, which are what changes: "My phone number is 0171 555." and later "The
    phone number is now 0160 777.". Whether it replaces that is for the reader to judge: both may hold. The newer page
    counts as much as the older one.

    Args:
        pages: Best first.
        terms: Term ids of each page, by address.
        query_terms: Term ids of the query, as it was searched for.
        is_evidence: Whether a page alone would not be abstained from; asked only where it matters.
    """
    asked = frozenset(query_terms)
    short = [page for page in pages if len(terms[page.address]) <= MAX_TERMS]
    held = {page.address: own for page in short if (own := terms[page.address] & asked)}
    stated = [page for page in short if page.address in held]
    stated.sort(key=lambda page: -page.page.seq)  # the newest first, so that the first that does will do
    weighty: dict[str, bool] = {}
    wordings: dict[str, frozenset[int]] = {}

    def is_weighty(page: RecalledPage) -> bool:
        if (known := weighty.get(page.address)) is None:
            known = weighty[page.address] = is_evidence(page)
        return known

    def says_anew(other: RecalledPage, page: RecalledPage) -> bool:
        if other.space != page.space or not held[other.address] >= held[page.address]:
            return False
        if _roles(other) not in (_roles(page), _USER) or not (is_weighty(other) and is_weighty(page)):
            return False
        if (said := wordings.get(page.address)) is None:  # last, since a whole text is searched for its numbers
            said = wordings[page.address] = terms[page.address] - _numbers(page)
        return len(terms[other.address] & said) >= ALIKE * len(said)

    def newest(page: RecalledPage) -> RecalledPage | None:
        later = takewhile(lambda other: other.page.seq > page.page.seq, stated)
        return next((other for other in later if says_anew(other, page)), None)

    newer = {page.address: other for page in stated if (other := newest(page)) is not None}
    return _behind(pages, newer)


def _behind(pages: Sequence[RecalledPage], newer: Mapping[str, RecalledPage]) -> list[RecalledPage]:
    """The pages, each behind the one that says it anew."""
    placed: dict[str, RecalledPage] = {}
    for page in pages if newer else ():
        chain = [page]
        while (after := newer.get(chain[-1].address)) is not None:
            chain.append(after)  # each is newer than the one before, so this ends
        for one in reversed(chain):
            if one.address not in placed:
                by = newer.get(one.address)
                score, name = max(one.score, page.score), None if by is None else by.address
                is_same = (score, name) == (one.score, one.superseded_by)  # as most are
                placed[one.address] = one if is_same else replace(one, score=score, superseded_by=name)
    return list(placed.values()) if newer else list(pages)


def _numbers(found: RecalledPage) -> set[int]:
    texts = (message.text[:MAX_CHARS] for message in found.page.messages)
    return set(map(term_id, {number for text in texts for number in _NUMBER.findall(text)}))


def _roles(found: RecalledPage) -> list[Role]:
    return [message.role for message in found.page.messages]
