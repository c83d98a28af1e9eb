"""How a record lies in the store: flat payloads, and large bodies split into chunks.

No client is imported here: every adapter writes the same rows. A failed batch of the
engine is not atomic, and it takes NaN, duplicate indices and nested values without a word,
so whatever could fail or change on the way is refused before anything is written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeVar
from uuid import UUID

from pagefault.chain import chunk_id
from pagefault.errors import CorruptPage, StoreError
from pagefault.ports import Record, Scope, Sparse, Swap, UserScope, Where
from pagefault.stores.scopes import (
    CHUNK,
    KINDS,
    PIECED,
    SCOPE_KEY,
    TAGS,
    USER_KEY,
    Payload,
    Scalar,
    is_text,
    mark_of,
    scope_value,
    tag_value,
    user_value,
)
from pagefault.stores.vectors import dense_vectors, stored_sparse

T = TypeVar("T")
NONCE: Final = "nonce"
_WRITES: Final = 8
"""So many writes of an item can be told from its payload."""
_OWNER: Final = ("tenant", "space", USER_KEY, "kind", "seq", "sha256")
_PLAIN: Final = {"id", "kind", "seq", "tenant", "space", "body", "sha256", "chunks"}
FIELDS: Final = "_fields"
"""The caller's fields, in one value: to read one key of a record, an engine parses them all."""
LOOSE: Final = frozenset({"chain"})
"""Those of them that every search asks for are keys of their own."""
RESERVED: Final = frozenset({*_PLAIN, TAGS, NONCE, SCOPE_KEY, USER_KEY, PIECED, FIELDS})
UNSEEN: Final = ("body", TAGS, PIECED)  # keys that an answer need not carry
MAX_INT: Final = 2**53 - 1  # beyond it a range filter, which is float64, misses records
MAX_FIELDS_BYTES: Final = 64 * 1024
# The engine parses a record's whole payload even when the body is left out of the answer
# (10 ms for 4 MiB, with the interpreter lock held), so only small bodies lie beside the
# fields. The other two bound how long one engine call keeps every other thread waiting.
INLINE_BYTES: Final = 64 * 1024
CHUNK_BYTES: Final = 1024 * 1024
UNIT_BYTES: Final = 1024 * 1024
UNIT_RECORDS: Final = 16
_pack: Final = json.JSONEncoder(separators=(",", ":")).encode
_unpack: Final = json.JSONDecoder().decode
_log: Final = logging.getLogger("pagefault")
_SHA256_CHARS: Final = 64
_DIGEST_CHARS: Final = 32
_COUNT_DIGITS: Final = 5
"""A body has fewer chunks than 100,000: 100 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One point to write: a page, a head, an item, or a chunk of a body."""

    id: UUID
    kind: str
    payload: dict[str, Scalar]
    size: int
    sparse: Sparse | None = None
    dense: list[list[float]] | None = None
    tags: tuple[str, ...] = ()

    @property
    def replaces(self) -> bool:
        """Whether an existing point gives way; pages and chunks never do."""
        return self.kind in {"head", "item"}

    @property
    def values(self) -> dict[str, Any]:
        """The whole payload; tags and the mark of several pieces are the lists in it."""
        tags = {TAGS: list(self.tags)} if self.tags else {}
        return {**self.payload, **tags, **mark_of(self.payload, self.dense or ())}


def selected(where: Where) -> list[str] | None:
    """The payload keys of an answer, ``None`` for all but the body."""
    if where.fields is None:
        return None
    return [*_OWNER, *where.fields] if LOOSE.issuperset(where.fields) else [*_OWNER, FIELDS, *where.fields]


def distinct(records: Iterable[Record]) -> list[Record]:
    """Each id once, as if written one by one: the first page stays, the last head wins."""
    kept: dict[UUID, Record] = {}
    for record in records:
        if record.kind == "item":
            raise StoreError(f"{record.id} is an item; items are written with swap(), which keeps their versions")
        before = kept.get(record.id)
        if before is not None and before.kind != record.kind:
            raise StoreError(f"{record.id} is both a page and a head in one batch; derive ids with pagefault.chain")
        if before is None or record.kind == "head":
            kept.pop(record.id, None)
            kept[record.id] = record
    return list(kept.values())


def swapped(scope: Scope, swaps: Sequence[Swap], *, dimension: int) -> list[tuple[Row, int]]:
    """The rows of items, chunks before their item, each with the version it replaces.

    Raises:
        StoreError: A part of a record cannot be stored exactly, or an item comes twice.
    """
    if len({swap.record.id for swap in swaps}) != len(swaps):
        raise StoreError("an item is written twice in one swap, and which comes first is undefined; write one of them")
    laid: list[tuple[Row, int]] = []
    for swap in swaps:
        if swap.record.kind != "item" or swap.record.seq == 0 or not _is_seq(swap.version):
            raise StoreError(
                f"record {swap.record.id}: swap() takes items with a version of at least 1 and a version to replace "
                f"from 0 on, got {swap.record.kind!r:.20}, {swap.record.seq!r:.20} and {swap.version!r:.20}"
            )
        laid += [(row, swap.version) for row in rows(scope, swap.record, dimension=dimension)]
    return laid


def plain_fields(fields: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Fields to set on records that are stored.

    Raises:
        StoreError: One of them cannot be stored exactly.
    """
    return _fields("the fields to set", fields, ())


def from_on(where: Where, at: int) -> Where:
    """What is left of a scan that goes on at ``at``."""
    return replace(where, last=at) if where.newest else replace(where, first=at)


def start_of(where: Where) -> int | None:
    """Where a scan starts, ``None`` when nothing can match."""
    if is_empty(where):
        return None
    if not where.newest:
        return max(where.first, 0)
    return MAX_INT if where.last is None else min(where.last, MAX_INT)


def rows(scope: Scope, record: Record, *, dimension: int) -> list[Row]:
    """The points that hold ``record``, chunks first.

    Chunks go first, so that a page that can be seen is whole. Their ids depend on the
    content: a crash between chunk and page, then a retry with another body, cannot mix them.

    Raises:
        StoreError: A part of the record cannot be stored exactly.
    """
    _check_record(record)
    of = str(record.id)
    fields = _fields(f"record {of}", record.fields, record.tags)
    payload: dict[str, Scalar] = {**_base(scope, record.kind, record.seq), "sha256": record.sha256}
    payload |= {key: value for key, value in fields.items() if key in LOOSE}
    if packed := {key: value for key, value in fields.items() if key not in LOOSE}:
        payload[FIELDS] = _pack(packed)
    if record.user:
        payload[USER_KEY] = user_value(UserScope(tenant=scope.tenant, user=record.user), record.kind)
    chunks: list[Row] = []
    if len(record.body) <= INLINE_BYTES:
        payload["body"] = record.body
    else:
        parts = [record.body[i : i + CHUNK_BYTES] for i in range(0, len(record.body), CHUNK_BYTES)]
        # A version's chunks are its own: who deletes those of another never takes them along.
        owner = f"{record.seq}/" if record.kind == "item" else ""
        digest = hashlib.sha256(f"{owner}{record.body}".encode("ascii")).hexdigest()[:_DIGEST_CHARS]
        payload |= {"body": "", "chunks": f"{len(parts)}/{digest}"}
        chunks = [
            Row(id=id_, kind=CHUNK, payload={**_base(scope, CHUNK, record.seq), "body": part}, size=len(part))
            for id_, part in zip(chunk_ids(record.id, str(payload["chunks"])), parts, strict=True)
        ]
    sparse = None if record.sparse is None else stored_sparse(record.id, record.sparse)
    dense = None if record.dense is None else dense_vectors(record.dense, dimension=dimension, of=of)
    size = (
        len(str(payload["body"]))
        + 8 * len(sparse.indices if sparse else ())
        + sum(4 * len(each) for each in dense or ())
    )
    row = Row(
        id=record.id,
        kind=record.kind,
        payload=payload,
        size=size,
        sparse=sparse,
        dense=dense,
        tags=tuple(tag_value(scope, record.kind, tag) for tag in dict.fromkeys(record.tags)),
    )
    return [*chunks, row]


def units(
    all_rows: Iterable[Row],
    *,
    records: int = UNIT_RECORDS,
    size: int = UNIT_BYTES,
    weigh: Callable[[Row], int] = lambda row: row.size,
) -> Iterator[list[Row]]:
    """Cut rows, in order, into what one engine call may write."""
    unit: list[Row] = []
    filled = 0
    for row in all_rows:
        weight = weigh(row)
        full = len(unit) == records or filled + weight > size
        if unit and (full or unit[0].replaces != row.replaces):
            yield unit
            unit, filled = [], 0
        unit.append(row)
        filled += weight
    if unit:
        yield unit


def chunk_ids(owner: UUID, chunks: str) -> list[UUID]:
    """Where the chunks named by a payload's ``chunks`` value lie.

    Raises:
        CorruptPage: The value is not one that :func:`rows` writes.
    """
    count, _, digest = chunks.partition("/")
    if not count.isdecimal() or len(count) > _COUNT_DIGITS or len(digest) != _DIGEST_CHARS:
        raise CorruptPage(f"{owner} names its chunks as {chunks!r:.60}; restore the store from a backup")
    salt = uuid.uuid5(owner, digest)
    return [chunk_id(salt, index) for index in range(int(count))]


def lost_chunks(owner: UUID, before: Payload, now: Payload) -> list[UUID]:
    """The chunks named by one payload of a record and not by another."""
    chunks = before.get("chunks")
    if chunks is None or chunks == now.get("chunks"):
        return []
    return chunk_ids(owner, str(chunks))


def nonces_of(payload: Payload) -> list[str]:
    """What those who wrote an item called their writes, the last one first."""
    return str(payload.get(NONCE, "")).split()


def chained(nonce: str, before: Payload) -> str:
    """The nonces of an item that is written over another one: its own, and those of the last few before."""
    return " ".join([nonce, *nonces_of(before)][:_WRITES])


def descends(now: Payload, before: Payload) -> bool:
    """Whether an item was written over another one, or over what was; not if that one was removed in between."""
    writes, known = nonces_of(now), nonces_of(before)[:1]
    return bool(now) and (not known or known[0] in writes or len(writes) == _WRITES)


def windows(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in order, at most ``size`` at a time."""
    return (items[i : i + size] for i in range(0, len(items), size))


def is_empty(where: Where) -> bool:
    """Whether nothing can match, so that nobody need be asked."""
    nowhere = where.last is not None and where.last < max(where.first, 0)
    return nowhere or (where.ids is not None and not where.ids)


def restore(
    id_: UUID, payload: Payload, body: str = "", chosen: Sequence[str] | None = None, sparse: Sparse | None = None
) -> Record:
    """The record that :func:`rows` laid out, without dense vectors.

    Raises:
        CorruptPage: It is none.
    """
    try:
        return Record(
            id=id_,
            kind=KINDS[KINDS.index(payload["kind"])],
            seq=seq_of(id_, payload),
            fields=fields_of(payload, chosen),
            body=body,
            sha256=str(payload["sha256"]),
            sparse=sparse,
            user=_user_of(payload),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptPage(f"record {id_} is damaged ({error!r:.100}); restore the store from a backup") from error


def seq_of(id_: UUID, payload: Payload) -> int:
    """The number of a record; one without is damaged (``CorruptPage``)."""
    seq = payload.get("seq")
    if not isinstance(seq, int) or not _is_seq(seq):
        raise CorruptPage(f"record {id_} has the number {seq!r:.40}, which none has; restore the store from a backup")
    return seq


def _user_of(payload: Payload) -> str:
    size, _, names = str(payload.get(USER_KEY, "")).partition("/")[2].partition("/")
    return names[: int(size)] if size else ""


def fields_of(payload: Payload, chosen: Sequence[str] | None = None) -> dict[str, Scalar]:
    """The caller's own fields, or those chosen: as they were written, under those that were set since.

    Where they cannot be read, none: who reads a record says what of it is missing.
    """
    packed = str(payload.get(FIELDS, "{}"))
    if chosen is not None and not any(json.dumps(key) in packed for key in chosen if key not in LOOSE):
        return {key: payload[key] for key in chosen if key in payload}
    fields: dict[str, Scalar] = {}
    try:
        fields.update(_unpack(packed))
    except (ValueError, TypeError, RecursionError):
        _log.warning("the fields of a record are damaged: %r", str(payload[FIELDS])[:60])
    fields |= {key: payload[key] for key in payload.keys() - RESERVED}
    return fields if chosen is None else {key: fields[key] for key in chosen if key in fields}


def _base(scope: Scope, kind: str, seq: int) -> dict[str, Scalar]:
    named: dict[str, Scalar] = {"tenant": scope.tenant, "space": scope.space, "kind": kind, "seq": seq}
    return {**named, SCOPE_KEY: scope_value(scope, kind)}


def _check_record(record: Record) -> None:
    if not isinstance(record.id, UUID):
        raise StoreError(f"record {record.id}: the id must be a UUID; derive it with pagefault.chain")
    if record.kind not in KINDS:
        raise StoreError(f"record {record.id}: kind is {record.kind!r}, not one of {', '.join(KINDS)}")
    if not all(is_text(tag) and tag for tag in record.tags):
        raise StoreError(f"record {record.id}: a tag is non-empty text, got {list(record.tags)!r:.60}")
    if not _is_seq(record.seq):
        raise StoreError(f"record {record.id}: seq is {record.seq!r}, it must be an integer from 0 to 2^53 - 1")
    if not is_text(record.user):
        raise StoreError(f"record {record.id}: user is {record.user!r:.60}; it must be text, as SpaceId checks it")
    if not is_text(record.body) or not record.body.isascii():
        raise StoreError(
            f"record {record.id}: the body must be ASCII text; write it with pagefault.messages.canonical.dump"
        )
    if not record.sha256.isascii() or len(record.sha256) > _SHA256_CHARS:
        raise StoreError(f"record {record.id}: sha256 must be 64 hex digits")


def _fields(of: str, fields: Mapping[str, Scalar], tags: Sequence[str]) -> dict[str, Scalar]:
    plain: dict[str, Scalar] = {}
    size = sum(map(len, tags))
    for key, value in fields.items():
        if not _is_name(key):
            raise StoreError(f"{of}: {key!r:.60} cannot name a field (reserved: {sorted(RESERVED)})")
        plain[key] = value if type(value) is str and value.isascii() else _scalar(of, key, value)
        size += len(key) + len(str(value))
    if size > MAX_FIELDS_BYTES:
        raise StoreError(f"{of}: fields and tags take {size} characters, the limit is {MAX_FIELDS_BYTES}")
    return plain


@lru_cache(maxsize=1024)
def _is_name(key: object) -> bool:
    """Whether a field can be named so; records of a kind have the same names."""
    return is_text(key) and key not in {"", *RESERVED}


def _scalar(of: str, key: str, value: object) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and is_text(value):
        return str.__str__(value)  # an enum member as its plain text
    if isinstance(value, int) and abs(value) <= MAX_INT:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    raise StoreError(
        f"{of}: field {key!r} is {type(value).__name__} {value!r:.60}; a field is text, a finite float, "
        "a bool or an integer below 2^53; put anything else into the body"
    )


def _is_seq(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INT
