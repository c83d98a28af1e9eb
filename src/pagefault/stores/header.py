"""The header file of a data directory: what it was written with."""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from pagefault.errors import StoreMismatch
from pagefault.ports import NEAR, Header
from pagefault.stores.durability import sync_directory
from pagefault.stores.lock import NO_LINK

FILE: Final = "pagefault.json"
SHARD: Final = "shard"
_COSINE: Final = 0.99
_MOST: Final = 2**20
"""Bytes of a header that are read: it has some hundred."""
_AS_IT_IS: Final = frozenset({(2, 3)})
"""Formats that a later one reads, and goes on to write, as they are."""


def read(directory: Path) -> Header | None:
    """The header, ``None`` when there is none yet.

    Raises:
        StoreMismatch: The file is not a header.
    """
    return read_both(directory)[0]


def read_both(directory: Path) -> tuple[Header | None, str]:
    """The header, and the name of the shard that it is about: one file, so that both change in one step.

    Raises:
        StoreMismatch: The file is not a header.
    """
    file = directory / FILE
    try:
        with open(file, "rb", opener=_at_once) as stream:  # a Path opens without an opener
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise StoreMismatch(f"{file} is no file but a pipe or device; restore it from a backup")
            written = stream.read(_MOST)
    except FileNotFoundError:
        return None, SHARD
    try:
        data = json.loads(written)
        shard = str(data.get("shard", SHARD))
        if Path(shard).name != shard or not shard.startswith(SHARD):
            raise ValueError(f"{shard!r} names no shard")  # noqa: TRY301  # told like every other damage
        header = Header(
            embedder=str(data["embedder"]),
            dimension=int(data["dimension"]),
            fingerprint=str(data["fingerprint"]),
            version=int(data["version"]),
        )
    except (AttributeError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise StoreMismatch(f"{file} is not a pagefault header ({error}); restore it from a backup") from error
    return header, shard


def _at_once(file: str, flags: int) -> int:
    """Open a file without waiting for anybody, as one would who opens a pipe."""
    return os.open(file, flags | getattr(os, "O_NONBLOCK", 0))


def write(directory: Path, header: Header, shard: str = SHARD) -> None:
    """Write the header in one step: after a crash there is the old one, the new one or none."""
    named = {} if shard == SHARD else {"shard": shard}
    file = directory / FILE
    draft = directory / f"{FILE}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_LINK, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(asdict(header) | named, stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    sync_directory(directory)


def reconcile(place: str, stored: Header, given: Header) -> Header:
    """The header to go on with.

    Fingerprints are of one embedder when they are near: a hosted model, or another processor,
    does not give the same bits twice. One of ``""`` says nothing: name and dimension decide then, and a fingerprint
    that only one side has is kept, so that from then on it is checked.

    Raises:
        StoreMismatch: The store was written with something else.
    """
    if stored.version > given.version:
        raise StoreMismatch(
            f"{place} has format version {stored.version}, this pagefault reads {given.version}; "
            "open it with the release that wrote it, or use another directory"
        )
    if stored.version < given.version and (stored.version, given.version) not in _AS_IT_IS:
        raise StoreMismatch(
            f"{place} has format version {stored.version}, this pagefault writes {given.version}; run "
            f"{_reindex(given)}, which brings a directory up to date, or use another directory or collection"
        )
    differ = stored.embedder != given.embedder or stored.dimension != given.dimension
    if not differ and stored.fingerprint and given.fingerprint:
        differ = not _is_near(stored.fingerprint, given.fingerprint)
    if differ:
        raise StoreMismatch(
            f"{place} was written with {_describe(stored)}, but is opened with {_describe(given)}; vectors of the two "
            f"cannot be compared. Open it with the same embedder, or run {_reindex(given)}, which rebuilds vectors "
            "from bodies; on a server use another collection"
        )
    return replace(stored, fingerprint=stored.fingerprint or given.fingerprint)


def _reindex(given: Header) -> str:
    """The command that rebuilds for the embedder that was given, not for the default one."""
    if not given.embedder and not given.dimension:
        return "`pagefault reindex DIRECTORY --embedder none`"
    return (
        "`pagefault reindex DIRECTORY --embedder E` (E is that embedder: default, fastembed:MODEL or "
        "package.module:attribute)"
    )


def _is_near(one: str, other: str) -> bool:
    """Whether two fingerprints are of vectors that can be compared: a cosine of 0.99."""
    if one == other or not (one.startswith(NEAR) and other.startswith(NEAR)):
        return one == other
    try:
        first, second = ([byte - 128 for byte in bytes.fromhex(each[len(NEAR) :])] for each in (one, other))
    except ValueError:
        return False
    product = math.hypot(*first) * math.hypot(*second)
    return len(first) == len(second) and sum(x * y for x, y in zip(first, second, strict=True)) >= _COSINE * product > 0


def _describe(header: Header) -> str:
    if not header.embedder and not header.dimension:
        return "no embedder (full-text search alone)"
    fingerprint = f", fingerprint {header.fingerprint[:16]}" if header.fingerprint else ""
    return f"embedder {header.embedder!r} ({header.dimension} dimensions{fingerprint})"


def files_below(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What lies in a data directory, folders as well, without what goes away meanwhile: its owner may be at work."""
    for place, folders, files in os.walk(directory):  # unlike ``rglob`` it passes by folders that are gone
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                file = Path(place, name)
                yield file, file.lstat()
