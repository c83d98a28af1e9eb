"""What ``open`` is given: a directory, a server, or nowhere that lasts."""

from __future__ import annotations

import os
from pathlib import Path

from pagefault.errors import InvalidId, StoreError
from pagefault.stores.server_settings import SCHEMES, is_server_url, server_settings

Place = Path | str | None
"""A data directory, the URL of a server, or nowhere that lasts."""


def place_of(target: object) -> Place:
    """Where a target leads; asks the file system, since two names of a directory are one place.

    Raises:
        InvalidId: It is empty or no path.
        StoreError: It is the URL of something else.
    """
    if not isinstance(target, str | os.PathLike) or not str(target):
        raise InvalidId(f"open takes a directory or ':memory:', got {type(target).__name__} {target!r:.60}")
    text = os.fspath(target)
    if not isinstance(text, str):
        raise InvalidId(f"open takes a text path, got {text!r:.60}")
    if text == ":memory:":
        return None
    if is_server_url(text):
        return text
    if _is_cut(text):
        raise StoreError(
            f"{text!r} is a URL that has lost a slash, as in a Path; give it as a str, with '://'. The directory of "
            f"that name is {'./' + text!r}"
        )
    if "://" in text:
        raise StoreError(f"{text!r} is no place for pages; give a directory such as './agent-memory' or qdrant://host")
    try:  # not relative and no link any more: what a name means must not change with the working directory
        return Path(os.path.realpath(Path(text).expanduser()))
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidId(f"{text!r:.60} is no path ({error}); give a directory such as './agent-memory'") from error


def _is_cut(text: str) -> bool:
    """Whether it is a server's URL as ``Path`` makes it, which would become a directory with the server's name."""
    scheme, cut, rest = text.partition(":/")
    return bool(cut) and scheme.lower() in SCHEMES and not rest.startswith("/")


def key_of(place: Place) -> str:
    """What tells two places apart; a server's URL is checked here."""
    if place is None:
        return ""
    return server_settings(place).place if isinstance(place, str) else str(place)
