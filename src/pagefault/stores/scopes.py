"""Whose a record is, and what finds it, in one value each: every filter begins with such a value.

No client is imported here: every adapter writes the same values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from pagefault.errors import StoreError
from pagefault.ports import Reach, RecordKind, Scope, Tally, UserScope, Where

Scalar = str | int | float | bool
Payload = Mapping[str, Scalar]

SCOPE_KEY: Final = "_scope"
USER_KEY: Final = "_user"
PIECED: Final = "_pieced"
"""Marks records that have several pieces, by scope: where none has, nobody looks further."""
TAGS: Final = "tags"
CHUNK: Final = "chunk"
KINDS: Final[tuple[RecordKind, ...]] = ("page", "head", "item")


def scope_value(scope: Scope, kind: str) -> str:
    """Tenant, space and kind in one value, to be matched by every call.

    One condition instead of three halves the time of a search. Lengths keep the parts apart.
    """
    return f"{kind}/{len(scope.space)}/{scope.space}/{scope.tenant}"


def user_value(scope: UserScope, kind: str) -> str:
    """Tenant, user and kind in one value, likewise."""
    return f"{kind}/{len(scope.user)}/{scope.user}/{scope.tenant}"


def reach_of(scope: Reach, kind: str) -> tuple[str, str]:
    """The key and value that every call's filter begins with."""
    if isinstance(scope, UserScope):
        return USER_KEY, user_value(scope, kind)
    return SCOPE_KEY, scope_value(scope, kind)


def owned(scope: Reach, payload: Payload | None, *kinds: str) -> bool:
    """Whether a point belongs to the scope and is of one of these kinds."""
    if payload is None or payload.get("tenant") != scope.tenant or payload.get("kind") not in kinds:
        return False
    if isinstance(scope, UserScope):
        return payload.get(USER_KEY) == user_value(scope, str(payload["kind"]))
    return payload.get("space") == scope.space


def mark_of(payload: Payload, dense: Sequence[Sequence[float]]) -> dict[str, list[str]]:
    """The mark of a record that has several pieces: it names all that may reach it."""
    if len(dense) < 2:
        return {}
    return {PIECED: [f"{key}={payload[key]}" for key in (SCOPE_KEY, USER_KEY) if key in payload]}


def pieced_value(scope: Reach, kind: str) -> str:
    """What :func:`mark_of` writes for those who reach so far."""
    return "=".join(reach_of(scope, kind))


def newly_pieced(
    held: Mapping[UUID, Payload], vectors: Mapping[UUID, list[list[float]]]
) -> dict[tuple[str, ...], list[UUID]]:
    """The marks that records lack once they have these vectors."""
    new: dict[tuple[str, ...], list[UUID]] = {}
    for id_, payload in held.items():
        for values in mark_of(payload, vectors[id_]).values() if PIECED not in payload else ():
            new.setdefault(tuple(values), []).append(id_)
    return new


def tag_groups(scope: Reach, where: Where) -> list[list[str]]:
    """The tags of ``where`` as they are stored.

    Raises:
        StoreError: Tags name their space, so those of several cannot be asked for.
    """
    if isinstance(scope, UserScope):
        if where.tags:
            raise StoreError(f"{scope} spans several spaces, and tags are found within one; leave out Where.tags")
        return []
    return [[tag_value(scope, where.kind, tag) for tag in group] for group in where.tags]


def tag_value(scope: Scope, kind: str, tag: str) -> str:
    """A tag as it is stored: it holds its scope, so that one condition matches both.

    A second condition, where both match many, makes a search of 10,000 records three times as slow.
    """
    named = f"{scope_value(scope, kind)}\x00{tag}".encode()
    return hashlib.blake2b(named, digest_size=16).hexdigest()


def tallies(counts: Iterable[tuple[Any, int]]) -> list[Tally]:
    """What :func:`scope_value` says of the values found, and how often; chunks are not counted.

    Raises:
        StoreError: A value is not one that is written here.
    """
    found: list[Tally] = []
    for value, count in counts:
        kind, _, rest = str(value).partition("/")
        size, _, names = rest.partition("/")
        length = int(size) if size.isdecimal() else 0
        space, tenant = names[:length], names[length + 1 :]
        known = KINDS[KINDS.index(kind)] if kind in KINDS else None
        if known is not None and value == scope_value(Scope(tenant=tenant, space=space), kind):
            found.append(Tally(scope=Scope(tenant=tenant, space=space), kind=known, count=count))
        elif kind != CHUNK:
            raise StoreError(f"a record has the scope {value!r:.120}, which pagefault does not write")
    return sorted(found, key=lambda tally: (tally.scope.tenant, tally.scope.space, KINDS.index(tally.kind)))


def check_scope(scope: Reach) -> None:
    """Refuse a scope that cannot be matched exactly.

    Raises:
        StoreError: The tenant, space or user is empty or not encodable text.
    """
    inner = ("user", scope.user) if isinstance(scope, UserScope) else ("space", scope.space)
    for name, value in (("tenant", scope.tenant), inner):
        if not is_text(value) or not value:
            raise StoreError(f"scope.{name} is {value!r:.60}; it must be non-empty text, as SpaceId checks it")


def is_text(value: object) -> bool:
    """Whether an engine can hold it as text."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which the engine cannot hold
        return False
    return True
