"""Whether the disk has room for what the engine is about to write.

The engine maps its files into memory, and they have holes. Writing into a hole for which the disk has no block left
is a SIGBUS: it ends the process, and no code can catch it. So the disk is asked first. It may fill up between the
question and the write; what is wanted is therefore several times what was seen to be taken.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from shutil import disk_usage
from typing import Final

from pagefault.errors import StoreUnwritable

_MIB: Final = 1024 * 1024
TO_WRITE: Final = 32 * _MIB
"""For one unit, of which none took more than 4 MB; less than this is left for flushing."""
TO_FLUSH: Final = 16 * _MIB
"""What lies in the logs goes into the segments: some 70 bytes a record, and that of eight full logs at most."""
_EMPTY_SHARD: Final = 48 * _MIB
"""The indexes of an empty shard, where their holes take room."""
_UNREAD: Final = {"wal", "store", "payload_storage"}
"""Directories of files that loading a shard does not read from end to end."""


def check_room(directory: Path, wanted: int) -> None:
    """Ask the disk, which costs a microsecond or two.

    Raises:
        StoreUnwritable: It has fewer bytes free than are wanted.
    """
    free = _free(directory)
    if free is not None and free < wanted:
        raise StoreUnwritable(
            f"the disk of {directory} has {free / 1e6:.1f} MB free, and {wanted / 1e6:.1f} MB are wanted to go on "
            "writing there safely; free some space on it, or give a directory on another disk. What is stored stays"
        )


def has_room(directory: Path, wanted: int) -> bool:
    """Whether so many bytes are free, or nobody knows."""
    free = _free(directory)
    return free is None or free >= wanted


def check_room_to_create(directory: Path) -> None:
    """Before an empty shard is made.

    Raises:
        StoreUnwritable: There is too little room.
    """
    check_room(directory, TO_WRITE)
    if _reading_takes_room(directory):
        check_room(directory, TO_WRITE + _EMPTY_SHARD)


def check_room_to_load(shard: Path) -> None:
    """Before a shard is loaded: what its log has and its segments have not is written into these once more.

    Raises:
        StoreUnwritable: There is too little room.
    """
    wanted = TO_FLUSH + sum(_taken(file.lstat()) for file in (shard / "wal").glob("*"))
    check_room(shard, wanted)
    if _reading_takes_room(shard):
        check_room(shard, wanted + _holes(shard))


def _free(directory: Path) -> int | None:
    """Bytes free for this user; ``None`` where the disk does not say, as some network file systems do not."""
    try:
        usage = disk_usage(directory)
    except OSError:
        return None
    return usage.free if usage.total > 0 else None


def _reading_takes_room(directory: Path) -> bool:
    """Whether a hole that is read through a map gets a block, as on tmpfs. Wants room for one."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), mmap.PAGESIZE, access=mmap.ACCESS_READ) as view:
            view[:1]
        return bool(getattr(os.fstat(file.fileno()), "st_blocks", 0))


def _holes(shard: Path) -> int:
    read = [file.lstat() for file in shard.rglob("*") if file.is_file() and file.parent.name not in _UNREAD]
    return sum(max(0, stat.st_size - _taken(stat)) for stat in read)


def _taken(stat: os.stat_result) -> int:
    """Bytes on the disk; Windows does not say."""
    blocks = getattr(stat, "st_blocks", None)
    return stat.st_size if blocks is None else int(blocks) * 512
