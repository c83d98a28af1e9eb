"""The life of one embedded engine: created, loaded, guarded, closed.

Everything here blocks and runs on the thread that owns the engine.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    IntegerIndexParams,
    KeywordIndexParams,
    Modifier,
    UpdateOperation,
)

from pagefault.errors import MemoryClosed, PagefaultError, StoreError, StoreLocked, StoreMismatch, StoreUnwritable
from pagefault.ports import Header
from pagefault.stores import header as headers
from pagefault.stores.durability import sync_directory
from pagefault.stores.layout import DENSE, SCOPE_KEY, TAGS, TEXT

T = TypeVar("T")

SHARD: Final = "shard"


class Engine:
    """One shard in one data directory; all tenants live in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._shard: EdgeShard | None = None
        self._header: Header | None = None

    @property
    def wal(self) -> Path:
        """Where the engine keeps its write-ahead log."""
        return self._directory / SHARD / "wal"

    def open(self, header: Header) -> None:
        """Create or load the shard; nothing to do when it is open.

        Raises:
            StoreLocked: Another process, or another store in this one, has it open.
            StoreUnwritable: The directory cannot be created or written.
            StoreMismatch: It was written with another header.
        """
        place = str(self._directory)
        if self._header is not None:
            headers.reconcile(place, self._header, header)
            return
        try:
            with engine_errors(place):
                self._open(place, header)
        except OSError as error:
            raise StoreUnwritable(
                f"{place} cannot be used as a data directory ({error}); give a path that this process can write"
            ) from error

    def call(self, fn: Callable[[EdgeShard], T]) -> T:
        """Run ``fn`` on the shard, with the engine's errors turned into ours."""
        if self._shard is None:
            raise MemoryClosed(f"the store at {self._directory} is closed; open it again")
        with engine_errors(str(self._directory)):
            return fn(self._shard)

    def close(self) -> None:
        """Flush and release; nothing to do when it is closed."""
        shard, self._shard = self._shard, None
        _OPEN.discard(self)
        if shard is None:
            return
        with engine_errors(str(self._directory)):
            try:
                shard.flush()
            finally:
                shard.close()

    def leak(self) -> None:
        """In a forked child: never let the inherited shard be destroyed.

        Its destructor flushes into the files that the parent goes on writing.
        """
        if self._shard is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._shard))

    def _open(self, place: str, header: Header) -> None:
        _make_directory(self._directory)
        stored = headers.read(self._directory)
        if stored is not None:  # said before the lock, so that the message is about the cause
            headers.reconcile(place, stored, header)
        shard_dir = self._directory / SHARD
        if not shard_dir.exists():
            if stored is not None:
                raise StoreError(
                    f"{place} has {headers.FILE} but its {SHARD!r} directory is gone; restore it from a backup, "
                    f"or remove {headers.FILE} to start empty"
                )
            _create(shard_dir, header)
        shard = EdgeShard.load(str(shard_dir), _config(header))
        try:
            self._header = _settle_header(self._directory, shard, header)
            if TAGS not in shard.info().payload_schema:  # written before there were items
                shard.update(UpdateOperation.create_field_index(TAGS, KeywordIndexParams()))
        except BaseException:
            shard.close()
            raise
        self._shard = shard
        _OPEN.add(self)


@contextlib.contextmanager
def engine_errors(place: str) -> Iterator[None]:
    """The one place where the engine's errors, all bare ``Exception``, become ours."""
    try:
        yield
    except (PagefaultError, OSError):
        raise
    except Exception as error:
        raise _translated(place, error) from error
    except BaseException as error:
        # A panic inside the engine derives from BaseException and has no importable class.
        if type(error).__name__ != "PanicException":
            raise
        raise StoreError(f"the engine panicked at {place} ({error}); close the store and open it again") from error


def _translated(place: str, error: Exception) -> StoreError:
    text = str(error)
    if "Can't init WAL" in text and "WouldBlock" in text:
        return StoreLocked(
            f"{place} is open in another process or by another store in this one; close it there first, "
            "or let several processes share a Qdrant server (qdrant://host:6333)"
        )
    if any(sign in text for sign in ("Permission denied", "Read-only file system", "No space left on device")):
        return StoreUnwritable(f"{place} cannot be written ({text}); free space or fix its permissions")
    return StoreError(f"the engine failed at {place}: {text}")


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True)
        sync_directory(directory.parent)


def _create(shard_dir: Path, header: Header) -> None:
    """Make an empty shard in one step, so that a crash or a rival never leaves half of one."""
    draft = shard_dir.with_name(f"{SHARD}.new-{uuid.uuid4().hex}")
    draft.mkdir(mode=0o700)
    try:
        shard = EdgeShard.create(str(draft), _config(header))
        for name, params in (
            ("tenant", KeywordIndexParams(is_tenant=True)),
            (SCOPE_KEY, KeywordIndexParams()),
            (TAGS, KeywordIndexParams()),
            ("seq", IntegerIndexParams(lookup=True, range=True)),
        ):
            shard.update(UpdateOperation.create_field_index(name, params))
        shard.flush()
        shard.close()
        draft.rename(shard_dir)
        sync_directory(shard_dir.parent)
    except OSError:
        if not shard_dir.is_dir():
            raise  # else another process was faster: its shard is as good as ours
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _config(header: Header) -> EdgeConfig:
    dense = {DENSE: EdgeVectorParams(size=header.dimension, distance=Distance.Cosine)} if header.dimension else None
    return EdgeConfig(
        vectors=dense,
        sparse_vectors={TEXT: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        max_search_threads=1,
        wal_enabled=True,
    )


def _settle_header(directory: Path, shard: EdgeShard, header: Header) -> Header:
    """Read or write the header file; only whoever holds the shard gets here."""
    stored = headers.read(directory)
    if stored is None:
        if shard.count(CountRequest(exact=True)):
            raise StoreMismatch(
                f"{directory} holds records but no {headers.FILE}, so what its vectors are is unknown; "
                "restore that file from a backup"
            )
        headers.write(directory, header)
        return header
    settled = headers.reconcile(str(directory), stored, header)
    if settled != stored:
        headers.write(directory, settled)
    return settled


_OPEN: weakref.WeakSet[Engine] = weakref.WeakSet()


def _leak_inherited() -> None:
    for engine in list(_OPEN):
        engine.leak()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leak_inherited)
