"""What was said right after a page: a correction, or the reply to a question, need not share a word with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pagefault.page import Page, Role
from pagefault.recall.found import RecalledPage
from pagefault.recall.questions import ASKING
from pagefault.recall.terms import split_terms, term_id

FOLLOWED: Final = 2
"""So many of the best pages, and of those that only ask, are shown with what came after them."""
ASKED: Final = 4
"""So many that only ask are looked at for a reply: the last ones may have had none."""
NEXT: Final = 2
"""Pages behind each among which the first remark counts: "Noted." may stand before "No, it is 4712."."""
MAX_CHARS: Final = 400
"""A remark is no longer than this."""
_TALK: Final = (Role.USER, Role.ASSISTANT)
_IDLE_WORDS: Final = """
    ok okay yep noted sure fine alright understood great done hm hmm well let see wait think course will unfortunately
    unknown information certain nothing reliable found earlier conversation happy glad one just second minute
"""
_IDLE: Final = frozenset(map(term_id, split_terms(_IDLE_WORDS)))
"""Words that say nothing of what was asked or told; "yes" and "no" are none."""


def is_said(page: Page) -> bool:
    """Whether a page is one message of the user or the assistant, without calls."""
    message = page.messages[0]
    return len(page.messages) == 1 and message.role in _TALK and not message.calls


def leading(best: Iterable[tuple[int, Page]], asking: Collection[int]) -> list[int]:
    """The numbers of those pages behind which a remark is looked for: the best messages, and the best that only ask.

    Args:
        best: Candidates with their numbers, best first.
        asking: Numbers of those that only ask.
    """
    said = [number for number, page in best if is_said(page)]
    evident, asks = [n for n in said if n not in asking], [n for n in said if n in asking]
    return [*evident[:FOLLOWED], *asks[:ASKED]]


def is_remark(page: Page, terms: Collection[int], query_terms: Collection[int], *, before: Page, asks: bool) -> bool:
    """Whether a page may answer or correct what stands before it.

    That is a short message: of the assistant behind a user's question, of the user behind anything else the user said,
    of either behind what the assistant said. It has a word that neither the query has nor what only keeps a talk going
    ("Noted.", "Let me look.", "I do not know."). In other languages that is not known, and the remark is shown.

    Args:
        page: The page.
        terms: Its term ids.
        query_terms: Term ids of the query.
        before: The message that it may be about.
        asks: Whether that asks what the query asks.
    """
    message = page.messages[0]
    speakers = _TALK if before.messages[0].role is Role.ASSISTANT else (Role.ASSISTANT if asks else Role.USER,)
    if not is_said(page) or message.role not in speakers:
        return False
    return len(message.text) <= MAX_CHARS and bool(set(terms) - set(query_terms) - ASKING - _IDLE)


def follow(pages: Sequence[RecalledPage], behind: Mapping[str, RecalledPage]) -> list[RecalledPage]:
    """The pages, each with what was said after it, if that is not shown anyway.

    A remark in the asker's window is shown, too: what it corrects must not be read without it.

    Args:
        pages: The pages to show.
        behind: The remark behind some of them, by address.
    """
    shown = {page.address for page in pages}
    done: list[RecalledPage] = []
    for page in pages:
        then = behind.get(page.address)
        if then is None or then.address in shown:
            done.append(page)
            continue
        shown.add(then.address)
        done.append(replace(page, then=replace(then, score=page.score)))  # it counts as much as what it is about
    return done
