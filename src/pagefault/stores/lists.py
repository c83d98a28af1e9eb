"""In which of the engine's lists a word lies: each space has its own, and each user has.

An engine keeps a list of records for every number of a sparse vector, and reads it from end to end when it searches.
So the number of a word is mixed with one made of whose records they are: what others hold is in other lists, and costs
nothing. Two spaces may share a list by chance; the filter that every call carries keeps them apart all the same.
What is read across the spaces of a user lies in a vector of its own. No client is imported here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pagefault.ports import Header, Reach, Sparse
from pagefault.stores.scopes import SCOPE_KEY, USER_KEY, Payload, reach_of
from pagefault.stores.vectors import TEXT, USER_TEXT

_APART: Final = 3
"""The format since when lists are apart; older directories and collections go on as they are."""


class Lists(NamedTuple):
    """Where the words of a reach lie.

    Attributes:
        name: The vector.
        salt: What the numbers of words are mixed with; 0 leaves them as they are.
    """

    name: str
    salt: int

    def mixed(self, words: Sequence[int]) -> list[int]:
        """The numbers that an engine knows of some words, or the other way round."""
        salt = self.salt
        return [word ^ salt for word in words]

    def read(self, vectors: Any) -> Sparse | None:
        """The words among the vectors of a point that an engine gave; ``None`` where it has none.

        Raises:
            ValueError: There are not as many weights as words.
        """
        found = (vectors or {}).get(self.name)
        if found is None:
            return None
        words = Sparse(indices=tuple(self.mixed(found.indices)), values=tuple(found.values))
        if len(words.indices) != len(words.values):
            raise ValueError(f"{len(words.values)} weights of {len(words.indices)} words")
        return words


SHARED: Final = Lists(TEXT, 0)
"""The lists of older directories and collections, which all share."""


def are_apart(header: Header) -> bool:
    """Whether what was written with this header has lists of its own for every space."""
    return header.version >= _APART


def names(header: Header) -> tuple[str, ...]:
    """The sparse vectors that a point may have."""
    return (TEXT, USER_TEXT) if are_apart(header) else (TEXT,)


def lists_of(scope: Reach, kind: str, *, apart: bool) -> Lists:
    """Where the words of those records lie that a search in this scope is about."""
    return _lists(*reach_of(scope, kind)) if apart else SHARED


def laid(payload: Payload, words: Sparse | None, *, apart: bool) -> dict[str, Sparse]:
    """The sparse vectors of a point with this payload, by their names: one for its space, one for its user."""
    if words is None:
        return {}
    if not apart:
        return {SHARED.name: words}
    own = [_lists(key, str(payload[key])) for key in (SCOPE_KEY, USER_KEY) if key in payload]
    return {each.name: Sparse(indices=tuple(each.mixed(words.indices)), values=words.values) for each in own}


@lru_cache(maxsize=4096)
def _lists(key: str, value: str) -> Lists:
    digest = hashlib.blake2b(value.encode(), digest_size=4).digest()
    return Lists(USER_TEXT if key == USER_KEY else TEXT, int.from_bytes(digest, "big"))
