"""From stored to durable: syncing the engine's write-ahead log to the disk.

The engine appends every update to ``wal/open-*`` before it returns, which survives the death
of the process, but it syncs nothing. Its own ``flush()`` does, and stops every thread
meanwhile; syncing the log files from outside costs a millisecond or two and no lock.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path
from typing import Final

from pagefault.errors import StoreError

if sys.platform == "darwin":
    import fcntl

_ATTEMPTS: Final = 100
_UNASKED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM})
"""Errors of opening a file, before the disk was asked: they say nothing about what it holds."""


class WalSync:
    """Syncs one write-ahead log; safe to call from any thread."""

    def __init__(self, wal: Path) -> None:
        self._wal = wal
        self._lock = threading.Lock()
        self._listing: set[str] = set()
        self._closed: set[str] = set()
        self._failure: OSError | None = None

    def sync(self) -> int | None:
        """Make everything the log holds durable.

        Returns:
            How many full log files wait for a flush; ``None`` when there is no log to sync.

        Raises:
            StoreError: The log could not be opened to sync it; call again. Or the disk refused: then every later
                call raises too, since the kernel reports a failed sync once, and a second one would claim a
                success that is none.
        """
        with self._lock:
            if self._failure is None:
                try:
                    return self._sync()
                except OSError as error:
                    if error.errno in _UNASKED:
                        raise StoreError(
                            f"{self._wal} cannot be opened to sync it ({error}), which is tried again; close files, "
                            "raise the limit of open files (ulimit -n) or mend its permissions"
                        ) from error
                    self._failure = error
            raise StoreError(
                f"syncing {self._wal} failed ({self._failure}), so what was written last may not survive power loss; "
                "check the disk, then open the store again"
            ) from self._failure

    def _sync(self) -> int | None:
        for _ in range(_ATTEMPTS):
            names = self._names()
            closed = {name for name in names if name.startswith("closed-")}
            active = {name for name in names if name.startswith("open-")}
            if not closed and not active:
                return None
            try:
                for name in sorted(active | (closed - self._closed)):
                    sync_file(self._wal / name)
            except FileNotFoundError:  # renamed or dropped by the engine since we looked
                continue
            # A rename while a directory is listed may hide the file under both names.
            if self._names() != names:
                continue
            if names != self._listing:
                sync_directory(self._wal)
                self._listing = names
            self._closed = closed
            return len(closed)
        raise OSError(f"{self._wal} did not hold still in {_ATTEMPTS} attempts")

    def _names(self) -> set[str]:
        try:
            return {file.name for file in self._wal.iterdir() if file.name.startswith(("open-", "closed-"))}
        except FileNotFoundError:
            return set()


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable; Windows does so by itself."""
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        if sys.platform == "linux":
            os.fdatasync(descriptor)
        elif sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync alone leaves the data in the drive's cache
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
