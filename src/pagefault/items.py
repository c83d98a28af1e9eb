"""Items: what is kept under a key. The rules for names, versions and times; no I/O.

An item is named by a namespace (labels from the outside in) and a key. Its version rises with
every write, so a writer who knows an old one is always found out; over a deletion, of which nothing
is kept, it rises with the clock, unless that of another process or after a restart is behind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from uuid import UUID

from pagefault.chain import item_id
from pagefault.errors import CorruptPage, InvalidItem, UnsupportedMessage
from pagefault.messages import canonical
from pagefault.ports import Record

Namespace = tuple[str, ...]
MAX_NAME_CHARS: Final = 16_384
"""Characters of namespace and key together, as JSON."""
MAX_LABELS: Final = 1_800
"""Labels of a namespace: each has a tag, and a store bounds how much tags and name may take together."""
MAX_EQUALS: Final = 64
"""Values of one item that equality finds without reading it; those of a larger one are looked at."""
WIDE: Final = "wide"
"""The tag of an item with more values than that."""
LISTED: Final = ("expires",)
"""The fields that say whether an item is to be seen."""
TIMED: Final = (*LISTED, "updated")
"""And those that say when it was written."""
_REFRESH_SHARE: Final = 0.01
_REFRESH_SECONDS: Final = 1.0
_MIN_TTL: Final = 0.001
MAX_TTL: Final = 100 * 365 * 86_400.0
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One version of what is kept under a key.

    Attributes:
        namespace: Labels from the outside in; may be empty.
        key: Its name within the namespace.
        value: JSON-like data, a copy of the caller's.
        version: Rises with every write; to be given back in a compare-and-set.
        created_at: When the key was first written since it was last absent, Unix seconds.
        updated_at: When this version was written.
        ttl: Seconds that it lives after it was last written or refreshed, ``None`` for ever.
        expires_at: When it is gone.
        text: What full-text and dense search see; ``None`` for the value's own words, ``""`` for nothing.
    """

    namespace: Namespace
    key: str
    value: Any
    version: int
    created_at: float
    updated_at: float
    ttl: float | None = None
    expires_at: float | None = None
    text: str | None = None

    @property
    def searched(self) -> str:
        """What search sees."""
        return reading(self.value) if self.text is None else self.text


def path_of(namespace: Namespace, key: str) -> str:
    r"""Namespace and key as one text; different ones never give the same.

    Raises:
        InvalidItem: A label or the key is no string, or they are too long or too many.

    Example:
        >>> path_of(("a", "b"), "c") == path_of(("a",), 'b","c')
        False
    """
    labels = [*namespace, key]
    if isinstance(namespace, str) or not all(isinstance(label, str) for label in labels):
        raise InvalidItem(f"an item is named by labels and a key, all strings, got {namespace!r:.60} and {key!r:.60}")
    if len(namespace) > MAX_LABELS:
        raise InvalidItem(f"a namespace has {len(namespace)} labels, the limit is {MAX_LABELS}")
    path = json.dumps(labels)
    if len(path) > MAX_NAME_CHARS:
        raise InvalidItem(f"the name of an item has {len(path)} characters as JSON, the limit is {MAX_NAME_CHARS}")
    return path


def name_of(path: str) -> tuple[Namespace, str]:
    """Namespace and key of a path."""
    *namespace, key = json.loads(path)
    return tuple(namespace), key


def point_of(space_key: str, namespace: Namespace, key: str) -> UUID:
    """Where an item is stored."""
    return item_id(space_key, path_of(namespace, key))


def next_version(previous: int, now: float) -> int:
    """The version of a write at this time: microseconds, or one more where the clock has not moved on."""
    return max(previous + 1, _micros(now))


def moment(now: float) -> float:
    """A time to the microsecond, as it is stored: the engine rounds a float, and never an integer."""
    return _micros(now) / _MICROSECONDS


def check_ttl(ttl: object) -> float | None:
    """A time to live in seconds, or ``None``.

    Raises:
        InvalidItem: Not a positive, finite number.
    """
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not _MIN_TTL <= ttl <= MAX_TTL:
        raise InvalidItem(
            f"a time to live is a number of seconds from {_MIN_TTL} to {MAX_TTL:.0f}, or None for ever, got {ttl!r:.60}"
        )
    return moment(ttl)


def is_expired(expires_at: float | None, now: float) -> bool:
    """Whether an item's time is over."""
    return expires_at is not None and now >= expires_at


def refreshed(item: Item, now: float) -> Item | None:
    """The item with its time to live begun anew; ``None`` when there is none, or hardly any of it is spent."""
    if item.ttl is None or item.expires_at is None:
        return None
    spent = now + item.ttl - item.expires_at
    if spent < min(_REFRESH_SECONDS, _REFRESH_SHARE * item.ttl):
        return None
    return replace(item, expires_at=moment(now + item.ttl))


def expiry_fields(expires_at: float) -> dict[str, int]:
    """The field that says when a record's item expires."""
    return {"expires": _micros(expires_at)}


def plain(value: Any, name: str) -> Any:
    """A copy of a value as JSON has it.

    Raises:
        InvalidItem: JSON cannot hold it.
    """
    return canonical.load(_json(value, name))


def reading(value: Any) -> str:
    r"""The words of a value, a line for each, with the names of what they are.

    Example:
        >>> reading({"diet": "vegan", "since": {"year": 2020}})
        'diet: vegan\nsince year: 2020'
    """
    return "\n".join(f"{name}: {text}" if name else text for name, text in _lines(value, ""))


def record_of(space_key: str, item: Item) -> Record:
    """The record of an item, without vectors.

    Raises:
        InvalidItem: Its name or value cannot be stored.
    """
    path = path_of(item.namespace, item.key)
    fields: dict[str, str | int | float | bool] = {
        "path": path,
        "created": _micros(item.created_at),
        "updated": _micros(item.updated_at),
    }
    if item.ttl is not None and item.expires_at is not None:
        fields |= {"ttl": _micros(item.ttl), **expiry_fields(item.expires_at)}
    own = {} if item.text is None else {"text": item.text}
    body = _json({"value": item.value, **own}, item.key)
    return Record(
        id=item_id(space_key, path),
        kind="item",
        seq=item.version,
        fields=fields,
        body=body,
        sha256=canonical.sha256(body),
        tags=(*prefixes(item.namespace), *_equals(item.value)),
    )


def item_of(record: Record, space_key: str | None = None) -> Item:
    """The item that a record holds.

    Args:
        record: As the store gave it.
        space_key: Of the shelf that it was read from, where that is known: an item's place follows from shelf and name.

    Raises:
        CorruptPage: Its body does not match its hash, is no item's, or it lies where another item does.
    """
    try:
        path = str(record.fields["path"])
        namespace, key = name_of(path)
        if space_key is not None and record.id != item_id(space_key, path):
            raise CorruptPage(
                f"item {record.id} calls itself {key!r:.60}, which lies elsewhere, or it is another shelf's; "
                "write it again or restore a backup"
            )
        if canonical.sha256(record.body) != record.sha256:
            raise CorruptPage(f"item {key!r:.60} does not match its hash any more; write it again or restore a backup")
        body = canonical.load(record.body)
        return Item(
            namespace=namespace,
            key=key,
            value=body["value"],
            version=record.seq,
            created_at=created_of(record),
            updated_at=updated_of(record.fields),
            ttl=_seconds(record.fields.get("ttl")),
            expires_at=expiry_of(record.fields),
            text=body.get("text"),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptPage(f"item {record.id} is damaged ({error!r:.100}); restore a backup") from error


def expiry_of(fields: Mapping[str, str | int | float | bool]) -> float | None:
    """When a record's item expires."""
    return _seconds(fields.get("expires"))


def updated_of(fields: Mapping[str, str | int | float | bool]) -> float:
    """When a record's item was written."""
    return _seconds(fields.get("updated")) or 0.0


def created_of(record: Record) -> float:
    """When a record's item was first written."""
    return _seconds(record.fields.get("created")) or 0.0


def prefixes(namespace: Namespace) -> list[str]:
    """The tags of a namespace, as :func:`prefix_tag` makes them: one for each of its beginnings."""
    tags: list[str] = []
    so_far = _hash(b"[")  # each label is hashed once, however many there are
    for label in namespace:
        so_far.update(f"{', ' if tags else ''}{json.dumps(label)}".encode("ascii"))
        whole = so_far.copy()
        whole.update(b"]")
        tags.append(f"n{whole.hexdigest()}")
    return tags


def prefix_tag(namespace: Namespace) -> str:
    """The tag that all items below a namespace carry, compared label by label."""
    return "n" + _digest(list(namespace))


def equals_tag(key: str, value: str | float | bool | None) -> str:  # noqa: FBT001  # it is the value itself
    """The tag of items whose value has this under a key; 1 and 1.0 are the same, ``True`` is another."""
    same = int(value) if isinstance(value, float) and value.is_integer() else value
    return "v" + _digest([key, same])


def is_under(namespace: Namespace, path: Sequence[str], side: Literal["prefix", "suffix"]) -> bool:
    """Whether a namespace begins or ends with a path, in which ``"*"`` stands for any one label.

    Example:
        >>> is_under(("users", "ada", "prefs"), ("users", "*"), "prefix")
        True
        >>> is_under(("users", "ada"), ("use",), "prefix")
        False
    """
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if side == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in {"*", label} for label, wanted in zip(part, path, strict=True))


def _equals(value: Any) -> list[str]:
    if not isinstance(value, Mapping):
        return []
    scalars = [(key, each) for key, each in value.items() if each is None or isinstance(each, str | int | float)]
    if len(scalars) > MAX_EQUALS:
        return [WIDE]
    return [equals_tag(str(key), each) for key, each in scalars]


def _lines(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _lines(each, f"{name} {key}".strip())
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _lines(each, name)
    elif value is not None:
        yield name, str(value)


def _json(value: Any, name: str) -> str:
    try:
        text, lost = canonical.exact(value)
    except UnsupportedMessage as error:
        raise InvalidItem(f"the value of {name!r:.60} is nested too deeply, or refers to itself") from error
    if lost:
        raise InvalidItem(
            f"the value of {name!r:.60} holds {lost}; store text, numbers, booleans, None, and lists and "
            "dictionaries of them, with text as keys"
        )
    return text


def _digest(value: Any) -> str:
    return _hash(json.dumps(value).encode("ascii")).hexdigest()


def _hash(text: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(text, digest_size=12)


def _micros(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)


def _seconds(micros: object) -> float | None:
    return micros / _MICROSECONDS if isinstance(micros, int) else None
