"""How many records there are and hold a word, by who may reach them: counted once, then kept up with every write.

To weigh a word an engine counts the records in scope that hold it, at every search anew. Among 100,000 pages that takes
four times as long as the search itself. No client is imported here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pagefault.stores.layout import Row
from pagefault.stores.scopes import SCOPE_KEY, USER_KEY

MAX_WORDS: Final = 65_536
"""So many are remembered, of all spaces together; about 100 bytes each."""
Reached = tuple[str, str]
"""Whose records of which kind, as :func:`~pagefault.stores.scopes.reach_of` names them."""


@dataclass(slots=True, kw_only=True)
class _Known:
    size: int | None = None
    records: int | None = None
    holding: dict[int, int] = field(default_factory=dict)


class Frequencies:
    """Used where the engine is written, between its calls: so nothing is written that is not seen here."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Reached, _Known]] = {}
        self._words = 0

    def size(self, reach: Reached) -> int | None:
        """How many records there are, with words or without, ``None`` if not known. May be asked from any thread."""
        known = self._of(reach)
        return known.size if known else None

    def learn_size(self, reach: Reached, size: int) -> None:
        """How many records the engine says that there are."""
        if self._words >= MAX_WORDS:
            self._clear()
        known = self._made(reach)
        self._words += known.size is None
        known.size = size

    def records(self, reach: Reached) -> int | None:
        """How many records with words there are, ``None`` if not known."""
        known = self._of(reach)
        return known.records if known else None

    def unknown(self, reach: Reached, terms: Sequence[int]) -> list[int]:
        """Those terms that have to be counted; where all that is remembered would be too much, it begins anew."""
        if self._words + len(terms) > MAX_WORDS:
            self._clear()
        known = self._of(reach)
        return [term for term in terms if known is None or term not in known.holding]

    def learn(self, reach: Reached, records: int, weights: Mapping[int, float], terms: Sequence[int]) -> None:
        """What the engine says of some terms that were unknown.

        Args:
            reach: Among whose records.
            records: How many with words there are.
            weights: The engine's IDF, ``ln((records + 1) / (holding + 0.5))``, of the terms that occur.
            terms: All terms it was asked for.
        """
        self._words += len(terms)
        known = self._made(reach)
        known.records = records
        for term in terms:
            known.holding[term] = round((records + 1) / math.exp(weights[term]) - 0.5) if term in weights else 0

    def weights(self, reach: Reached, terms: Iterable[int]) -> dict[int, float]:
        """The IDF of those of these terms that occur. May be asked from any thread.

        Raises:
            KeyError: One of them has not been counted yet.
        """
        known = self._known[_kind_of(reach)][reach]
        counts = {term: known.holding[term] for term in terms}
        records = known.records or 0
        return {term: math.log((records + 1) / (count + 0.5)) for term, count in counts.items() if count}

    @contextlib.contextmanager
    def adding(self, rows: Iterable[Row]) -> Iterator[None]:
        """While new records are written. Where that fails, nobody knows which of them are there."""
        try:
            yield
        except BaseException:
            self._clear()
            raise
        for row in rows:
            for key in (SCOPE_KEY, USER_KEY):
                known = self._of((key, str(row.payload.get(key, ""))))
                if known is not None:
                    _add(known, row)

    def forget(self, kind: str) -> None:
        """Records of a kind are replaced or deleted: what they hold is to be counted anew."""
        gone = self._known.pop(kind, {}).values()
        self._words -= sum(len(known.holding) + (known.size is not None) for known in gone)

    def _of(self, reach: Reached) -> _Known | None:
        return self._known.get(_kind_of(reach), {}).get(reach)

    def _made(self, reach: Reached) -> _Known:
        return self._known.setdefault(_kind_of(reach), {}).setdefault(reach, _Known())

    def _clear(self) -> None:
        self._known.clear()
        self._words = 0


def _add(known: _Known, row: Row) -> None:
    if known.size is not None:
        known.size += 1
    if known.records is not None and row.sparse is not None:
        known.records += 1
        for term in known.holding.keys() & set(row.sparse.indices):
            known.holding[term] += 1


def _kind_of(reach: Reached) -> str:
    return reach[1].partition("/")[0]
