"""Where a Qdrant server is and how its collection is laid out: URLs and settings, no client."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pagefault.errors import StoreError

REST_PORT: Final = 6333
GRPC_PORT: Final = 6334
SCHEMES: Final = {  # whether it is encrypted, whether it is gRPC
    "qdrant": (False, False),
    "http": (False, False),
    "qdrant+https": (True, False),
    "https": (True, False),
    "qdrant+grpc": (False, True),
    "qdrant+grpcs": (True, True),
}
_COLLECTION: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_COUNTS: Final = ("replication_factor", "write_consistency_factor", "shard_number", "timeout")
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_CONSISTENCY: Final = ("majority", "quorum", "all")
_IN_URL: Final = ("collection", "allow_shared_idf", "read_consistency", *_COUNTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """One collection on one server.

    Attributes:
        host: Name or address, IPv6 in brackets.
        port: Of REST, or of gRPC when that is preferred.
        tls: Whether the connection is encrypted.
        path: Prefix of every request's path, for a server behind a proxy.
        prefer_grpc: Speak gRPC instead of REST.
        api_key: Sent with every request; never shown.
        collection: Name of the collection that holds all tenants.
        replication_factor: Copies of each shard, when the collection is created.
        write_consistency_factor: How many copies confirm a write, when the collection is created;
            by default more than half, so that no single machine holds the only copy of a page.
        read_consistency: How many copies a read by id or number asks: a number, ``"majority"``,
            ``"quorum"`` or ``"all"``. By default any one, as the server keeps copies that missed a
            write out of reads; asking several returns only what they agree on.
        shard_number: How many shards the collection gets when it is created. The server takes term
            statistics in each shard by itself, so with more than one, full-text scores are approximate.
        timeout: Seconds without a word of an answer after which a request is given up. A whole answer may take
            three times as many.
        allow_shared_idf: Accept a server older than 1.19, where text of other tenants changes
            full-text scores.
    """

    host: str
    port: int = REST_PORT
    tls: bool = False
    path: str = ""
    prefer_grpc: bool = False
    api_key: str | None = field(default=None, repr=False)
    collection: str = "pagefault"
    replication_factor: int | None = None
    write_consistency_factor: int | None = None
    read_consistency: int | str | None = None
    shard_number: int = 1
    timeout: int = 10
    allow_shared_idf: bool = False

    @property
    def url(self) -> str:
        """Where requests go, without any secret."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{self.path}"

    @property
    def place(self) -> str:
        """The collection at its server, as messages name it."""
        return f"{self.url} (collection {self.collection!r}{', gRPC' if self.prefer_grpc else ''})"

    @property
    def exposes_key(self) -> bool:
        """Whether the API key would cross a network unencrypted."""
        return bool(self.api_key) and not self.tls and not _is_loopback(self.host)

    @property
    def majority(self) -> int | None:
        """How many copies confirm a write: what was asked for, else more than half."""
        if self.write_consistency_factor is not None or (self.replication_factor or 1) == 1:
            return self.write_consistency_factor
        return (self.replication_factor or 1) // 2 + 1


def is_server_url(text: str) -> bool:
    """Whether ``text`` names a server rather than a directory.

    Example:
        >>> is_server_url("qdrant://localhost"), is_server_url("./agent-memory")
        (True, False)
    """
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def server_settings(url: str, **given: Any) -> ServerSettings:
    """Read a server's URL.

    ``qdrant://host:6333`` and ``http://`` are plain REST, ``qdrant+https://`` and ``https://``
    encrypted REST, ``qdrant+grpc://host:6334`` and ``qdrant+grpcs://`` the same over gRPC. The
    port defaults to Qdrant's own, also for https. After ``?`` come settings:
    ``collection``, ``replication_factor``, ``write_consistency_factor``, ``read_consistency``,
    ``shard_number``, ``timeout`` and ``allow_shared_idf``.

    Args:
        url: The URL. An API key does not belong into it, since URLs end up in logs.
        **given: Settings by name; ``None`` leaves one to the URL, anything else overrides it.

    Raises:
        StoreError: The URL or a setting cannot be used.

    Example:
        >>> server_settings("qdrant://db/?collection=memories").place
        "http://db:6333 (collection 'memories')"
    """
    parts = _split(url)
    tls, grpc = SCHEMES[parts.scheme]
    shown = f"{parts.scheme}://{parts.hostname}"
    options = _from_query(shown, parts.query) | {name: value for name, value in given.items() if value is not None}
    grpc = bool(options.pop("prefer_grpc", grpc)) or grpc
    settings = ServerSettings(
        host=f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname),
        port=_port(shown, parts, grpc=grpc),
        tls=tls,
        path=parts.path.rstrip("/"),
        prefer_grpc=grpc,
    )
    return _checked(replace(settings, **options))


def _split(url: str) -> SplitResult:
    known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    if not isinstance(url, str):
        raise StoreError(f"a server is named by a URL such as 'qdrant://localhost:6333', got {type(url).__name__}")
    try:
        parts = urlsplit(url)
        secret = parts.username is not None or parts.password is not None
    except ValueError as error:  # its text can hold part of the URL, which can hold a secret
        raise StoreError(f"not a URL ({type(error).__name__}); write it as 'qdrant://localhost:6333'") from None
    if secret:
        raise StoreError(
            "a server's URL must not hold a user name, password or key, since URLs end up in logs; "
            "set the environment variable QDRANT_API_KEY (or give a ServerStore of your own api_key=...)"
        )
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise StoreError(f"a server is named by a URL that starts with one of {known} and a host")
    if parts.fragment:
        raise StoreError(f"{parts.scheme}://{parts.hostname}: a server's URL has no '#' part")
    return parts


def _port(shown: str, parts: SplitResult, *, grpc: bool) -> int:
    try:
        port = parts.port
    except ValueError as error:
        raise StoreError(f"{shown}: the port must be a number from 1 to 65535") from error
    if grpc and parts.path.strip("/"):
        raise StoreError(f"{shown}: gRPC knows no path; leave it out, or use REST")
    return port or (GRPC_PORT if grpc else REST_PORT)


def _from_query(shown: str, query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if "key" in name.lower() or "token" in name.lower():
            raise StoreError(
                f"{shown}: an API key does not belong into a URL; set the environment variable QDRANT_API_KEY instead"
            )
        if name not in _IN_URL or name in found:
            again = " again" if name in found else ""
            raise StoreError(f"{shown}: {name!r:.40}{again} in the URL; it takes, once each, {', '.join(_IN_URL)}")
        found[name] = value
        if name == "allow_shared_idf":
            found[name] = _FLAGS.get(value.lower(), value)
        elif name != "collection" and value.isascii() and value.isdecimal():
            found[name] = int(value)
    return found


def _checked(settings: ServerSettings) -> ServerSettings:
    if not isinstance(settings.collection, str) or not _COLLECTION.fullmatch(settings.collection):
        raise StoreError(
            f"{settings.url}: collection is {settings.collection!r:.60}; a name has up to 200 letters, digits, '_', "
            "'-' or '.' and does not start with '.'"
        )
    for name in (*_COUNTS, "read_consistency"):
        value = getattr(settings, name)
        if name == "read_consistency" and value in _CONSISTENCY:
            continue
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise StoreError(f"{settings.url}: {name} is {value!r:.40}; it must be a whole number from 1 on")
    if not isinstance(settings.allow_shared_idf, bool):
        raise StoreError(f"{settings.url}: allow_shared_idf is {settings.allow_shared_idf!r:.40}, not true or false")
    if settings.api_key is not None and not (settings.api_key.isascii() and settings.api_key.isprintable()):
        raise StoreError(f"{settings.url}: the API key holds characters that no header can carry (a line break?)")
    copies, confirm = settings.replication_factor or 1, settings.write_consistency_factor or 1
    if confirm > copies:
        raise StoreError(
            f"{settings.url}: write_consistency_factor is {confirm}, more than there are copies ({copies}); "
            "raise replication_factor as well"
        )
    return settings


def _is_loopback(host: str) -> bool:
    bare = host.strip("[]")
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:  # a name
        return False


def key_from(environ: Mapping[str, str]) -> str | None:
    """The API key that the environment gives, if it does."""
    return environ.get("QDRANT_API_KEY") or None
