"""The engine's list of which point lies where, looked at before the engine does.

It makes room for the highest place that the list names. One flipped bit there, and it takes gigabytes: the process is
aborted, or killed with others of the machine, and nobody is told why. Which list that is, the pinned release says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pagefault.errors import StoreError

_SIZES: Final = {1: 13, 2: 21, 3: 9, 4: 17}
"""Bytes of an entry by its first one: a number or a UUID that is placed, or that has gone."""
_PLACED: Final = 2
"""The last kind that ends with a place."""
_PLACE_BYTES: Final = 4
_SPARE: Final = 2**20
"""Places that cost 32 MB: so much is let through, whatever the entries."""


def check_mappings(shard: Path) -> None:
    """Before a shard is loaded.

    Raises:
        StoreError: A point is said to lie where none can.
    """
    for file in sorted(shard.glob("segments/*/mutable_id_tracker.mappings")):
        entries, highest = _read(file.read_bytes())
        if highest > _SPARE + 4 * entries:
            raise StoreError(
                f"{shard.parent} is damaged: {file.relative_to(shard.parent)} has {entries:,} entries and says that a "
                f"point lies in place {highest:,}; restore the directory from a backup"
            )


def _read(data: bytes) -> tuple[int, int]:
    """How many entries there are, and the highest place that they name. Other damage the engine tells itself."""
    at = entries = highest = 0
    while at < len(data) and (size := _SIZES.get(data[at])):
        place = int.from_bytes(data[at + size - _PLACE_BYTES : at + size], "little") if data[at] <= _PLACED else 0
        highest = max(highest, place)
        at += size
        entries += 1
    return entries, highest
