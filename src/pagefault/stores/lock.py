"""One owner at a time for a data directory.

The engine locks its write-ahead log, but only after it has read its segments, and it gives that lock back before it has
written them all. Who waits for the log so reads, and then works on, files that the owner is still writing. Hence a
lock of our own, taken before the engine looks at any file and given back when it is done with all of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FILE: Final = "pagefault.lock"
"""Stays where it is: to delete a lock that another process is opening would give it two owners."""
NO_LINK: Final[int] = getattr(os, "O_NOFOLLOW", 0)
"""Whoever may write in the directory must not have a file made or emptied elsewhere, by a link of that name."""


class DirectoryLock:
    """Held by the kernel on behalf of a process: a kill gives it back, too."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether the directory is ours."""
        return self._descriptor is not None

    @property
    def is_there(self) -> bool:
        """Whether the file of this name is the one that is held.

        Raises:
            OSError: There is none, or it may not be looked at.
        """
        if self._descriptor is None or sys.platform == "win32":  # where nobody can delete or move what is open
            return True
        return os.path.samestat(os.fstat(self._descriptor), self._file.lstat())

    def take(self) -> bool:
        """Whether the directory is now ours; does not wait.

        Raises:
            OSError: The file cannot be made or locked.
        """
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | NO_LINK, 0o600)
        try:
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(descriptor)
            # Windows says EACCES of a byte that somebody else has locked.
            if isinstance(error, BlockingIOError) or (sys.platform == "win32" and isinstance(error, PermissionError)):
                return False
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let others have it; nothing to do where it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if sys.platform != "win32":
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child may still have the descriptor
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """In a forked child: the lock is the parent's, and must end with it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
