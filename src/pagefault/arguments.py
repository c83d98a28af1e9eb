"""What callers of a space pass to its verbs, checked."""

from __future__ import annotations

import sys
from typing import Any, Final, Literal

from pagefault.errors import BadAddress, InvalidItem, PageNotFound
from pagefault.items import plain, reading
from pagefault.page import Address, check_id, parse_addresses
from pagefault.paths.lineage import Lineage
from pagefault.shelf import Change

MAX_LIMIT: Final = 100
ScopeName = Literal["thread", "user"]
"""How far a recall looks: one's own past, or all conversations of the user."""


def check_scope(scope: object) -> ScopeName:
    """A scope that a recall can have.

    Raises:
        ValueError: There is no such scope.
    """
    if scope == "user":
        return "user"
    if scope == "thread":
        return "thread"
    raise ValueError(f"scope={scope!r:.60}; give 'thread', or 'user' for all conversations of the user")


def check_limit(limit: object) -> int:
    """A number of pages that a recall can be limited to.

    Raises:
        ValueError: Not 1 to 100.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"limit={limit!r:.60}; ask for 1 to {MAX_LIMIT} pages")
    return limit


def check_time(after: float | None, before: float | None) -> None:
    """Refuse what is no time from one moment on and before another; ``None`` is no bound.

    Raises:
        ValueError: Not Unix seconds, or it ends before it begins.
    """
    for name, moment in (("after", after), ("before", before)):
        if moment is not None and not (isinstance(moment, int | float) and abs(moment) <= sys.float_info.max):  # or NaN
            kind = type(moment).__name__
            raise ValueError(f"{name} is {kind} {moment!r:.60}; give Unix seconds, such as time.time()")
    if after is not None and before is not None and after >= before:
        raise ValueError(f"there is no time from after={after} on and before={before}; give a later before, or none")


def noted(key: str, value: Any) -> Change:
    """An item of a user; search sees its key as well."""
    check_key(key)
    kept = plain(value, key)
    return Change(namespace=(), key=key, value=kept, text=f"{key}: {reading(kept)}")


def check_key(key: object) -> None:
    """Refuse what cannot name an item.

    Raises:
        InvalidItem: Not a text that says something.
    """
    if not isinstance(key, str) or not key.strip():
        raise InvalidItem(f"a key is non-empty text, got {key!r:.60}")


def checked_item(key: object, text: object) -> tuple[str, str]:
    """Key and text of a pinned item.

    Raises:
        InvalidId: No usable key.
        ValueError: No text.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"a pinned item is a non-empty text, got {text!r:.60}; unpin_item(...) removes one")
    return check_id("key", key), text


def parsed(addresses: object) -> tuple[Address, ...]:
    """Addresses as they are written, or one page number.

    Raises:
        BadAddress: Neither.
    """
    if isinstance(addresses, int) and not isinstance(addresses, bool):
        return (Address.parse(str(addresses)),)
    return parse_addresses(addresses)


def numbers(addresses: object, lineage: Lineage) -> list[int]:
    """The page numbers of whole pages of a path.

    Raises:
        BadAddress: Not such pages.
        PageNotFound: There are none of that number.
    """
    seqs: list[int] = []
    for address in parsed(addresses):
        if address.part or address.offset:
            raise BadAddress(f"{address} names a part; pin and release take whole pages, write '{address.first}'")
        if address.alias:
            raise BadAddress(f"{address} is in another conversation; pin and release take pages of this one")
        if address.last > lineage.length:
            raise PageNotFound(f"there is no page {address} here; this conversation has pages 1-{lineage.length}")
        seqs += range(address.first, address.last + 1)
    return list(dict.fromkeys(seqs))
