"""Started by a test, which kills it: rebuilds a directory and stops at a named moment.

``python rebuild_script.py DIRECTORY reindex|vacuum copying|written|swapped``
"""

from __future__ import annotations

import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from pagefault.stores import header as headers
from pagefault.stores.edge_rebuild import rebuild
from pagefault.testing.embedders import HashingEmbedder
from pagefault.upkeep import reindex


def stop(*_: Any, **__: Any) -> None:
    print("here", flush=True)
    time.sleep(600)


def keep_the_old(remove: Any, path: Path, **how: Any) -> None:
    if path.name == "shard":
        stop()
    remove(path, **how)


def main() -> None:
    directory, what, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    progress = stop if moment == "copying" else None
    if moment == "written":  # the new shard is complete, nothing names it yet
        headers.write = stop
    if moment == "swapped":  # the header names the new shard, the old one is still there
        fakes: Any = shutil
        fakes.rmtree = partial(keep_the_old, shutil.rmtree)
    if what == "reindex":
        reindex(directory, HashingEmbedder(), progress=progress)
    else:
        rebuild(directory, progress=progress)


main()
