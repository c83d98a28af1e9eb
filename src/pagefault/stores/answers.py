"""What an engine answered, checked once more and in our order.

No client is imported here: a point is whatever has ``id``, ``payload`` and, for a hit, ``score``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from pagefault.errors import CorruptPage, StoreError
from pagefault.ports import Hit, Reach, Record, Scope, Sparse, Where
from pagefault.stores.layout import Row, fields_of, restore, seq_of
from pagefault.stores.lists import Lists, lists_of
from pagefault.stores.scopes import CHUNK, KINDS, Payload, owned

_score: Final = attrgetter("score")
_BARE: Final[Mapping[str, Any]] = MappingProxyType({})
"""The fields of a hit that is looked at by id and score alone: one for all."""


def records(scope: Reach, points: Iterable[Any], where: Where) -> list[Record]:
    """The records of these points, by (seq, id), without bodies; the newest first if asked for.

    Raises:
        StoreError: One of them is of another scope, or its number is not among those asked for: who goes on
            from the last number seen would go round in circles.
    """
    found = [restore(id_of(point), check(scope, point), chosen=where.fields) for point in points]
    found.sort(key=_by_place)
    if found and (found[0].seq < where.first or (where.last is not None and found[-1].seq > where.last)):
        raise StoreError(
            f"the engine returned records with the numbers {found[0].seq} to {found[-1].seq}, beyond those that it was "
            "asked for; if it is a Qdrant server, is its version supported?"
        )
    return sorted(found, key=_by_age) if where.newest else found


def payloads(
    scope: Scope, ids: Iterable[UUID], points: Mapping[UUID, Any], *, words: bool, apart: bool
) -> dict[UUID, tuple[Payload, Sparse | None]]:
    """What those of these points hold that are in scope, in the order of ``ids``, with their words if wanted."""
    found: dict[UUID, tuple[Payload, Sparse | None]] = {}
    for id_ in ids:
        point = points.get(id_)
        payload: Payload | None = None if point is None else point.payload  # once: an engine makes it anew at each look
        if point is not None and payload is not None and owned(scope, payload, *KINDS):
            lists = lists_of(scope, str(payload["kind"]), apart=apart)
            found[id_] = payload, _words(lists, point) if words else None
    return found


def chunk_texts(scope: Scope, ids: Iterable[UUID], held: Mapping[UUID, Payload], *, owner: UUID) -> list[str]:
    """The text of these chunks of a record, in order.

    Raises:
        CorruptPage: One is missing.
    """
    parts: list[str] = []
    for id_ in ids:
        payload = held.get(id_)
        if payload is None or not owned(scope, payload, CHUNK) or "body" not in payload:
            raise CorruptPage(f"{owner} lacks chunk {id_} of its body; restore the store from a backup")
        parts.append(str(payload["body"]))
    return parts


def check_free(scope: Scope, rows: Iterable[Row], held: Mapping[UUID, Payload]) -> None:
    """Before these rows are written: what lies there already may only be of the same scope and kind.

    Raises:
        StoreError: It is another's.
    """
    for row in rows:
        if row.id in held and not owned(scope, held[row.id], row.kind):
            raise StoreError(
                f"{row.id} already names a record of another space or kind; derive ids with pagefault.chain"
            )


def _words(lists: Lists, point: Any) -> Sparse | None:
    try:
        return lists.read(point.vector)
    except (AttributeError, TypeError, ValueError) as error:
        raise StoreError(
            f"the engine gave the words of {point.id} in a form that it never has ({error!r:.60}); if it is a Qdrant "
            "server, is its version supported?"
        ) from error


def hits(scope: Reach, points: Iterable[Any], where: Where, *, limit: int) -> list[Hit]:
    """The best ``limit`` of these points, by (score descending, seq descending, id).

    A point found twice, by several of its vectors, counts with the better score.

    Raises:
        StoreError: One of them is of another scope.
    """
    if where.bare:
        return _bare(points, limit)
    found: dict[int, Hit] = {}
    for point in sorted(points, key=lambda point: -point.score):
        payload, id_ = check(scope, point), id_of(point)
        space, seq = str(payload["space"]), seq_of(id_, payload)
        if id_.int not in found:
            fields = fields_of(payload, where.fields)
            found[id_.int] = Hit(id=id_, space=space, seq=seq, score=point.score, fields=fields)
    return sorted(found.values(), key=by_rank)[:limit]


def _bare(points: Iterable[Any], limit: int) -> list[Hit]:
    """Ids and scores alone, each id once, best first. Whose they are is seen by whoever knows the ids."""
    best: dict[int, Hit] = {}
    for point in sorted(points, key=_score, reverse=True):
        id_ = id_of(point)
        if id_.int not in best:  # a UUID's own hash is a function in Python
            best[id_.int] = Hit(id_, "", 0, point.score, _BARE)
    return list(islice(best.values(), limit))


def cut(window: Sequence[Record], size: int) -> tuple[list[Record], int | None]:
    """What of a scan's window is complete, and the number at which to go on.

    Engines order by seq alone and give no cursor, and different paths through one conversation
    share numbers. So a window that is full ends before the last number it saw; when that is its
    only one, nothing is complete, and the caller reads everything with that number.
    """
    if len(window) < size:
        return list(window), None
    last = window[-1].seq
    return [record for record in window if record.seq != last], last


def are_in_order(points: Iterable[Any], where: Where) -> bool:
    """Whether points that were read with :func:`records` came in the order of their numbers."""
    numbers = [point.payload["seq"] for point in points]
    return numbers == sorted(numbers, reverse=where.newest)


def check(scope: Reach, point: Any) -> Payload:
    """The point's payload, once it is seen to be of this scope.

    The filter named the scope; looking again costs nothing and does not rest on the engine.

    Raises:
        StoreError: It is of another scope.
    """
    payload: Payload = point.payload  # once: an engine makes it anew at each look
    if not owned(scope, payload, *KINDS):
        raise StoreError(f"the engine returned {point.id}, which is not of {scope}; please report this")
    return payload


def id_of(point: Any) -> UUID:
    """The point's id; some clients give it as text.

    Raises:
        StoreError: It is none that pagefault gives.
    """
    id_ = point.id
    try:
        return id_ if id_.__class__ is UUID else UUID(str(id_))
    except ValueError:
        raise StoreError(
            f"the engine returned a point with the id {id_!r:.40}, which pagefault gives to none; does something else "
            "write into its collection?"
        ) from None


def by_rank(hit: Hit) -> tuple[float, int, int]:
    """The order of hits."""
    return -hit.score, -hit.seq, hit.id.int


def _by_age(record: Record) -> int:
    return -record.seq


def _by_place(record: Record) -> tuple[int, UUID]:
    return record.seq, record.id
