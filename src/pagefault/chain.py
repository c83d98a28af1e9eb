"""Chains: what makes a path through a conversation the same path.

``chain_i = H(chain_{i-1}, digest_i)`` as in a commit graph, so a page's identity holds its
whole past: a retry writes the same point again, while an edit or another path after time
travel gets other points. Nothing has to be decided when a page is written.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

ROOT: Final = ""
_NAMESPACE: Final = hashlib.sha1(uuid.UUID("6f1e7c0a-9d4b-5c53-8f0e-70616765666c").bytes, usedforsecurity=False)
_VERSION: Final = 0xF000 << 64 | 0xC000 << 48
"""The bits of a UUID that say how it was made, ..."""
_VERSION_5: Final = 0x5000 << 64 | 0x8000 << 48
"""and what they say of one that is made by name."""


def link(parent: str, digest: bytes) -> str:
    """The chain after one more page: 32 hex digits.

    Args:
        parent: The chain before, ``ROOT`` for the first page.
        digest: The page's identity digest, 32 bytes.

    Example:
        >>> link(link(ROOT, b"a" * 32), b"b" * 32) == link(ROOT, b"b" * 32)
        False
    """
    return hashlib.sha256(parent.encode("ascii") + digest).hexdigest()[:32]


def point_id(space_key: str, chain: str) -> uuid.UUID:
    """Where the page with this chain is stored; the same page always has the same point."""
    return _named(f"page/{space_key}/{chain}")


def head_id(space_key: str) -> uuid.UUID:
    """Where the space's head record is stored."""
    return _named(f"head/{space_key}")


def item_id(space_key: str, path: str) -> uuid.UUID:
    """Where the item at this path is stored; ``path`` names namespace and key unambiguously."""
    return _named(f"item/{space_key}/{path}")


def chunk_id(owner: uuid.UUID, index: int) -> uuid.UUID:
    """Where chunk ``index`` (from 0) of a body too large for one point is stored."""
    return uuid.uuid5(owner, f"chunk/{index}")


def _named(name: str) -> uuid.UUID:
    """What ``uuid.uuid5`` makes of a name in our namespace, in half its time: a path's first search names all pages."""
    hashed = _NAMESPACE.copy()
    hashed.update(name.encode())
    return uuid.UUID(int=int.from_bytes(hashed.digest()[:16], "big") & ~_VERSION | _VERSION_5)
