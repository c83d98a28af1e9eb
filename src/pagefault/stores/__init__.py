"""Page stores: where pages live once they have left the window."""

from __future__ import annotations

from pagefault.stores.edge import EdgeStore

__all__ = ["EdgeStore"]
