"""Where processes meet that share a backend: ``valkey://host:6379/0?name=gpt-4``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pagefault.errors import BadTurn

SCHEMES: Final = {"valkey": "redis", "redis": "redis", "valkeys": "rediss", "rediss": "rediss"}
DEFAULT_NAME: Final = "default"
DEFAULT_LEASE: Final = 10.0
_NAME: Final = re.compile(r"[\w.:@/-]{1,200}")
_EXAMPLE: Final = "valkey://localhost:6379/0?name=gpt-4"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingPlace:
    """A server, and what one backend's keys on it are called.

    Attributes:
        server: The server's URL as the client library reads it, with its password.
        shown: The same for messages, without the password.
        name: The backend's name; all that share it use the same.
        lease: Seconds after which a process that is not heard loses its slots.
    """

    server: str
    shown: str
    name: str
    lease: float

    def __repr__(self) -> str:
        return f"<MeetingPlace {self.shown}>"

    @property
    def keys(self) -> tuple[str, str, str]:
        """The server's keys; in a cluster all on one node."""
        head = f"pagefault:{{{self.name}}}"
        return head, f"{head}:log", f"{head}:leases"


def meeting_place(url: str) -> MeetingPlace:
    """Read a URL: ``name`` and ``lease`` are ours, what else is in the query goes to the client library.

    Raises:
        BadTurn: It cannot be used.

    Example:
        >>> place = meeting_place("valkeys://:secret@db.local:6380/2?name=gpt-4")
        >>> place.server, place.shown
        ('rediss://:secret@db.local:6380/2', 'valkeys://***@db.local:6380/2?name=gpt-4')
    """
    if not isinstance(url, str):
        raise BadTurn(f"shared is a URL such as {_EXAMPLE!r}, got {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its message may quote the password
        raise BadTurn(f"shared is no URL; write it as {_EXAMPLE!r}") from None
    if parts.scheme not in SCHEMES or not host:
        raise BadTurn(f"shared is a URL such as {_EXAMPLE!r}; got scheme {parts.scheme!r} and host {host or ''!r}")
    if parts.path.strip("/") and not parts.path.strip("/").isdigit():
        raise BadTurn(f"{parts.path!r} is no database number; a backend's name goes into the query: {_EXAMPLE!r}")
    query = parse_qsl(parts.query, keep_blank_values=True)
    own = {key: value for key, value in query if key in {"name", "lease"}}
    rest = urlencode([(key, value) for key, value in query if key not in own])
    where = f"[{host}]" if ":" in host else host
    where = f"{where}:{port}" if port else where
    hidden = "***@" if "@" in parts.netloc else ""
    return MeetingPlace(
        server=urlunsplit((SCHEMES[parts.scheme], parts.netloc, parts.path, rest, "")),
        shown=f"{parts.scheme}://{hidden}{where}{parts.path}?name={_name(own.get('name', DEFAULT_NAME))}",
        name=_name(own.get("name", DEFAULT_NAME)),
        lease=_lease(own.get("lease", str(DEFAULT_LEASE))),
    )


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise BadTurn(f"a backend's name is up to 200 letters, digits and any of . : @ / - _, got {text!r:.40}")
    return text


def _lease(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.3 <= seconds <= 3_600:
        raise BadTurn(f"lease={text!r:.20}; it is a number of seconds from 0.3 to 3600")
    return seconds
