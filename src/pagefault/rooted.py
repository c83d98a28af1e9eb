"""What holds threads, locks and open files belongs to the process that made it."""

from __future__ import annotations

from typing import NoReturn


class Rooted:
    """Neither pickled nor copied: the other process or copy would have none of what it holds."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        """For ``pickle``, ``copy`` and ``multiprocessing``.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            f"{self!r:.200} belongs to the process that made it, and is neither pickled nor copied. Open or make one "
            "where it is used, with pagefault.open(...) or pagefault.Scheduler(...): several processes share "
            "qdrant://host:6333, a data directory belongs to one at a time"
        )
