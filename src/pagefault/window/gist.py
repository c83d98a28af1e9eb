"""Extractive gists: one short line that says what a page or a range of pages holds.

Nothing here calls a model. A gist quotes the page's own words (what was called with which
arguments, how the result or the message opens), so it can be made while the page is written
back and never claims what the page does not say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
from typing import Any, Final, NamedTuple, TypeVar, cast

from pagefault.page import Call, Kind, Projection, Role

_T = TypeVar("_T")
MAX_CHARS: Final = 96
_ARGUMENTS: Final = 48
"""Characters of a page's arguments where a result follows: its title is worth more."""
_VALUE: Final = 24
_NAMES: Final = 8
_CALLS: Final = 4
_QUOTES: Final = 6
_SCANNED_GISTS: Final = 8
"""A merged gist reads so many gists and quotes so many pages of them at most, from all along the range."""
_WORDS: Final = 28
"""Characters that a quote is worth, before the opening of a result gets any."""
_SCANNED: Final = 2_000
_SPLIT: Final = 4 * MAX_CHARS
"""Where a first sentence is not over by then, a gist has no room for its end."""
_PARSED: Final = 100_000
_RESULT: Final = 40
_STUMP: Final = 12
"""Characters of a result that a merged gist quotes at most, and below which it leaves it out."""
_SEPARATOR: Final = " | "
_BAR: Final = re.compile(r"(?<= )\|(?= )")
_SENTENCE: Final = re.compile(r"(?<=[.!?。！？])\s")
_MARKS: Final = " \t#=~->`|"
_RULES: Final = re.compile(r"[|=~_*+-](?:(?<=\|)|[=~_*+-]{3,})")
_NUMBERING: Final = re.compile(r"\W*\w{1,3}\W*")
_CALL: Final = re.compile(r"([^\s()]*)\((.*?)\)(?: -> (.*))?")
_KEY: Final = re.compile(r"(?:^|(?<=[,;] ))[\w.-]+=")
_RUN: Final = re.compile(r"(\d{1,9})(?:\.\.(\d{1,9}))?\Z")
_LABELS: Final = {Role.USER: "user", Role.ASSISTANT: "assistant", Role.TOOL: "tool", Role.SYSTEM: "system"}


def gist_of(messages: Sequence[Projection], kind: Kind = Kind.MESSAGE) -> str:
    """One line of at most 96 characters for a page.

    Example:
        >>> from pagefault.page import Projection
        >>> gist_of([Projection(role=Role.USER, text="Find the cheapest flight. Then book it.")])
        'user: Find the cheapest flight.'
    """
    calls = [call for message in messages for call in message.calls]
    if kind is Kind.RECALLED:
        return _cut("recalled " + ", ".join(_arguments(c.arguments) for c in calls), MAX_CHARS)
    if calls:
        result = next((m.text for m in messages if m.role is Role.TOOL and m.text), "")
        opening = _opening(result)
        names = _named(calls[:_CALLS], _ARGUMENTS if opening else MAX_CHARS)
        return _cut(f"{names} -> {opening}" if opening else names, MAX_CHARS)
    spoken = next((m for m in messages if m.text), messages[0])
    label = _LABELS[spoken.role]
    who = f"{label} {_quoted(spoken.name)}" if spoken.name else label
    return _cut(f"{who}: {_opening(spoken.text)}" if spoken.text else f"{who}: (no text)", MAX_CHARS)


def merge(*gists: str) -> str:
    """One gist for neighbouring ranges: quotes from all along, without what they repeat.

    Example:
        >>> merge("read(name=with, part=1) -> The with statement", "read(name=with, part=2) -> It guarantees")
        'read(name=with, part=1..2) -> The with statement'
        >>> merge("read(name=with) -> The with statement", "read(name=yield) -> Yield expressions")
        'read(with) -> The with statement | (yield) -> Yield expressions'
    """
    pieces: dict[_Piece, None] = {}
    last = None
    for gist in _spread(gists, _SCANNED_GISTS):
        for piece in _pieces(gist):
            if last is not None and (run := _joined(last, piece)) is not None:
                del pieces[last]
                last = run
            elif piece not in pieces:
                last = piece
            else:
                continue
            pieces[last] = None
    return _SEPARATOR.join(_fitted(list(pieces)))


def one_line(text: str) -> str:
    r"""The beginning of a text as one line of printable characters, with single spaces.

    Example:
        >>> one_line(" two\nlines  ")
        'two lines'
    """
    text = text[:_SCANNED]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


class _Piece(NamedTuple):
    """What a gist quotes of one page, or of some that follow each other: a call, or just text."""

    tool: str
    arguments: str | None
    opening: str


def _fitted(pieces: Sequence[_Piece]) -> Iterator[str]:
    """Quotes of as many pieces as can say something in one line."""
    most = min(_QUOTES, len(pieces))
    while True:
        quoted = _spread(pieces, most)
        words = _words(quoted)
        lengths = list(map(len, words))
        room = MAX_CHARS - len(_SEPARATOR) * (most - 1)
        if sum([min(_WORDS, length) for length in lengths]) <= room:  # each can say something
            break
        most -= 1
    shares = _shares(lengths, room)
    room -= sum(shares)
    results = [f" -> {p.opening}" if p.opening and p.arguments is not None else "" for p in quoted]
    rest = _shares([min(len(result), _RESULT) for result in results], room) if room else [0] * most
    return map(_clipped, quoted, words, shares, results, rest)


def _clipped(piece: _Piece, words: str, share: int, result: str, rest: int) -> str:
    """What a piece quotes in at most so many characters; a stump of a result is left out."""
    if len(words) > share:
        words = _cut(words, share) if piece.arguments is None else _cut(words[:-1], share - 1) + ")"
    return words + _cut(result, rest) if result and (rest == len(result) or rest > _STUMP) else words


def _pieces(gist: str) -> Iterator[_Piece]:
    """What a gist quotes; a call without a name is one of the tool before."""
    tool = ""
    for text in one_line(gist).split(_SEPARATOR):
        if "(" in text and (match := _CALL.fullmatch(text)):
            named, arguments, opening = match.groups()
            tool = named or tool
            yield _Piece(tool, arguments, opening or "")
        elif text:
            yield _Piece("", None, text)


def _joined(first: _Piece, second: _Piece) -> _Piece | None:
    """One piece for two calls that differ in a last number that rises."""
    if first.arguments is None or second.arguments is None or first.tool != second.tool:
        return None
    one, two = _last_number(first.arguments), _last_number(second.arguments)
    if one is None or two is None:
        return None
    before = first.arguments[: one.start()]
    if _keyless(before) != _keyless(second.arguments[: two.start()]) or int(one[2] or one[1]) >= int(two[1]):
        return None
    return _Piece(first.tool, f"{before}{one[1]}..{two[2] or two[1]}", first.opening)


def _last_number(arguments: str) -> re.Match[str] | None:
    return _RUN.search(arguments) if arguments[-1:].isdecimal() else None  # a search from all places takes a while


def _words(pieces: Sequence[_Piece]) -> list[str]:
    """What was called or said; if there are several, without keys and the tool that the one before already names."""
    is_one = len(pieces) == 1
    words: list[str] = []
    last = None
    for tool, arguments, opening in pieces:
        if arguments is None:
            words.append(opening)
            last = None
        else:
            named = "" if tool == last else tool
            words.append(f"{named}({arguments if is_one else _keyless(arguments)})")
            last = tool
    return words


def _keyless(arguments: str) -> str:
    return _KEY.sub("", arguments) if "=" in arguments else arguments


def _shares(lengths: Sequence[int], room: int) -> list[int]:
    """Characters for each; what a short one leaves is shared by the others."""
    if sum(lengths) <= room:
        return list(lengths)
    shares = [0] * len(lengths)
    for done, index in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        shares[index] = min(lengths[index], room // (len(lengths) - done))
        room -= shares[index]
    return shares


def _spread(items: Sequence[_T], most: int) -> Sequence[_T]:
    """At most so many of the items: the first, the last and some all along between."""
    if len(items) <= most:
        return items
    return [items[i * (len(items) - 1) // max(1, most - 1)] for i in range(most)]


def _named(calls: Sequence[Call], limit: int) -> str:
    """Calls as a reader would write them; those of one tool in one pair of parentheses."""
    told: list[str] = []
    for name, same in groupby(calls, key=lambda c: _quoted(c.name)):
        pieces: list[_Piece] = []
        for call in same:
            piece = _Piece(name, _arguments(call.arguments), "")
            run = _joined(pieces[-1], piece) if pieces else None
            pieces[len(pieces) - (run is not None) :] = [run or piece]
        told.append(f"{name}({_cut('; '.join(p.arguments or '' for p in pieces), limit)})")
    return ", ".join(told)


def _arguments(text: str) -> str:
    """``name=typesseq, part=3`` for a JSON object; anything else as it stands."""
    try:
        data: Any = json.loads(text) if len(text) <= _PARSED else None
        if isinstance(data, dict):
            named = cast("dict[str, Any]", data)
            return ", ".join([f"{_cut(_quoted(key), _VALUE)}={_value(named[key])}" for key in list(named)[:_NAMES]])
    except (ValueError, RecursionError):  # no JSON, or nested so deep that it cannot be read, or not be written again
        pass
    return _cut(_quoted(text), 2 * _VALUE)


def _value(value: Any) -> str:
    return _cut(_quoted(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)), _VALUE)


def _opening(text: str) -> str:
    """The title that a text opens with, else its first sentence; not what only numbers or draws it."""
    lines = (_RULES.sub(" ", line).strip(_MARKS) for line in text[:_SCANNED].splitlines())
    start = next((line for line in lines if any(map(str.isalnum, line))), None)
    if start is None:
        return one_line(text)
    first, *rest = _SENTENCE.split(one_line(" ".join([start, *takewhile(bool, lines)]))[:_SPLIT], maxsplit=2)
    return f"{first} {rest[0]}" if rest and _NUMBERING.fullmatch(first) else first


def _quoted(text: str) -> str:
    """A name or an argument on one line. It cannot begin what reads, and is merged, as a quote of another page."""
    line = one_line(text)
    return _BAR.sub("/", line) if " | " in line else line


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
