"""Reading what ``recall`` returned, and finding the sentence in it that answers a question.

This is all the understanding the stand-in model has: words of the question, looked for in the
sentences it was sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_QUOTED: Final = re.compile(
    r"^\[(\w{8})\] page (\d+)(\S*) \|[^\n]*trust: (\w+)[^\n]*\n<\1\n(.*?)\n\1>(\n\[\1\] continues at)?",
    re.DOTALL | re.MULTILINE,
)
_FRAME: Final = re.compile(r"^(?:(?:assistant|tool)(?: \w+)?: ?|-> .*$|\[.*\]$|[*=~^-]{3,}$)", re.MULTILINE)
_BREAK: Final = re.compile(r"(?<=[.!?])[\"”)*]*\s+(?=[\"“(*A-Z])|\n[ \t]*\n")
_BULLET: Final = re.compile(r"^(?:\*\*|\*\s+|\d+\.\s+)")
_WORD: Final = re.compile(r"![a-z]\b|__\w+__|\w+")
_CODE: Final = re.compile(r"\"[^\"\s](?:[^\"\n]{0,20}[^\"\s])?\"")
_ENDING: Final = re.compile(r"(?:ations?|ating|ates?|ing|ed|es|s|ly|e)$")
_COMMON: Final = frozenset(
    "a an and are as at be by can do does for from happens how i in into is it its not of on or than that the to "
    "used was what when where which who with".split()
)


@dataclass(frozen=True, slots=True)
class Passage:
    """One quoted stretch of a page, and the least trusted one who speaks in it."""

    page: str
    trust: str
    text: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence exactly as it stands in a page, and how much of the question it covers."""

    page: str
    text: str
    score: float


def passages(result: str) -> list[Passage]:
    """The pages quoted in a result of the recall tool."""
    found = _QUOTED.finditer(result)
    return [Passage(match[2], match[4], match[5], bool(match[3]) or match[6] is not None) for match in found]


def words(text: str) -> set[str]:
    """The words that say what a text is about, without endings."""
    found = [word.lower() for word in _WORD.findall(text)]
    return {_stem(word) for word in found if word not in _COMMON} | set(_CODE.findall(text))


def names(question: str) -> set[str]:
    """Words of a question that can only be meant literally: names, numbers and code."""
    inner = question.split(" ", 1)[-1]
    named = {_stem(w.lower()) for w in _WORD.findall(inner) if re.search(r"[A-Z0-9_!]", w) and len(w) > 1}
    return named | set(_CODE.findall(question))


def best_sentence(question: str, found: Sequence[Passage]) -> Sentence | None:
    """The sentence that covers most of the question, rare words counting more; ``None`` without any."""
    wanted, literal = words(question), names(question)
    candidates = [(p, s, words(s)) for p in found if literal <= words(p.text) for s in _sentences(p)]
    rarity = {w: math.log(1 + len(candidates) / (1 + sum(w in has for *_, has in candidates))) for w in wanted}
    total = sum(rarity.values())
    scored = [
        Sentence(p.page, s, sum(rarity[w] for w in wanted & has) / total - len(s) / 10_000) for p, s, has in candidates
    ]
    return max(scored, key=lambda sentence: sentence.score, default=None)


def _stem(word: str) -> str:
    return _ENDING.sub("", word) if len(word) > 3 else word


def _sentences(passage: Passage) -> Iterator[str]:
    for stretch in _FRAME.split(passage.text):
        for sentence in _BREAK.split(stretch):
            text = _BULLET.sub("", sentence.strip())
            if len(text) > 20 and text[-1] in '.!?)"':
                yield text
