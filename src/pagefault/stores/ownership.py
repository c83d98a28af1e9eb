"""What root writes in another user's data directory becomes that user's.

The engine writes as it loads, so without this nobody but root could open a directory that root has only looked at.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path
from typing import Final

_log: Final = logging.getLogger("pagefault")
ROOT: Final = 0


def give_back(directory: Path) -> None:
    """Give what is root's in a directory to its owner, where this process is root and the owner is not."""
    if sys.platform == "win32" or os.geteuid() != ROOT:
        return
    try:
        user, group = _owner(directory)
        if user == ROOT:
            return
        # By descriptors and never through a link: the owner may change names meanwhile, and must gain nothing by it.
        for _, directories, files, place in os.fwalk(directory):
            for name in (*directories, *files):
                there = os.stat(name, dir_fd=place, follow_symlinks=False)
                if there.st_uid == ROOT and (there.st_nlink == 1 or stat.S_ISDIR(there.st_mode)):
                    os.chown(name, user, group, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:  # somebody removes the directory
        return
    except OSError as error:
        _log.warning(
            "files that root wrote in %s could not be given to its owner (%s), who may not be able to open it; do it "
            "with chown -R",
            directory,
            error,
        )


def _owner(directory: Path) -> tuple[int, int]:
    there = directory.stat()
    return there.st_uid, there.st_gid
