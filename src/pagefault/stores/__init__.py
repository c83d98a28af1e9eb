"""Page stores: where pages live once they have left the window.

The server store is in :mod:`pagefault.stores.server`, which loads a client of its own and is
therefore imported only where a server is used.
"""

from __future__ import annotations

from pagefault.stores.edge import EdgeStore

__all__ = ["EdgeStore"]
