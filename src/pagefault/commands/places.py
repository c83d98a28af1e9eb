"""Finding and opening what a command is about."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from pagefault.embedders import FastEmbedEmbedder, WordLlamaEmbedder, default_embedder
from pagefault.errors import EmbedderError, StoreError, StoreMissing, StoreUnwritable
from pagefault.ports import Embedder, Header, PageStore
from pagefault.stores import EdgeStore
from pagefault.stores import header as headers
from pagefault.stores.server_settings import is_server_url

T = TypeVar("T")


def directory_of(place: str) -> Path | None:
    """The data directory, ``None`` for a server.

    Raises:
        StoreMissing: There is no memory there.
        StoreUnwritable: It is no directory, or may not be read.
    """
    if is_server_url(place):
        return None
    if "://" in place or place == ":memory:":
        raise StoreMissing(f"{place!r} is no place to look at; give a data directory or qdrant://host:6333")
    directory = Path(place).expanduser()
    try:
        header = headers.read(directory)
    except OSError as error:  # a file in its place, or one that is not ours to read
        raise StoreUnwritable(
            f"{directory} cannot be read ({error}); give the directory that pagefault.open(...) was given, "
            "as a user who may read it"
        ) from error
    if header is None:
        raise StoreMissing(f"there is no memory at {directory}; give the directory that pagefault.open(...) was given")
    return directory


def own_directory(place: str, command: str) -> Path:
    """The data directory of a command that needs one.

    Raises:
        StoreError: It is a server.
        StoreMissing: There is no memory there.
    """
    directory = directory_of(place)
    if directory is None:
        raise StoreError(
            f"{command} is for data directories; a Qdrant server reclaims space by itself, and another embedder "
            "takes another collection there (?collection=...)"
        )
    return directory


@asynccontextmanager
async def opened(place: str, *, wait: float = 2.0) -> AsyncIterator[tuple[PageStore, Header]]:
    """The store of a place as it is, with its header; nothing is created.

    Raises:
        StoreMissing: There is no memory there.
        StoreLocked: Another process has it open.
        StoreError: It cannot be used.
    """
    directory = directory_of(place)
    store: PageStore
    if directory is None:
        from pagefault.stores.server import ServerStore  # noqa: PLC0415  # its client takes a second to load

        store = ServerStore(place)
    else:
        store = EdgeStore(directory, run=_run, lock_timeout=wait)
    try:
        yield store, await store.open(None)
    finally:
        await store.close()


async def _run(fn: Callable[[], T], /, *, urgent: bool) -> T:  # noqa: ARG001  # nobody else is here to go first
    return fn()


def embedder_named(name: str) -> Embedder | None:
    """The embedder that a command line names.

    Args:
        name: ``default``, ``none``, ``fastembed:MODEL`` or ``package.module:attribute``, where the
            attribute is an embedder or makes one.

    Raises:
        EmbedderError: There is none of this name.
    """
    if name == "default":
        default = default_embedder()
        if default is None:
            raise EmbedderError(f"the default embedder is not installed: pip install {WordLlamaEmbedder.requirement}")
        return default
    if name == "none":
        return None
    kind, _, rest = name.partition(":")
    if not rest:
        raise EmbedderError(
            f"--embedder is {name!r}; it must be default, none, fastembed:MODEL or package.module:attribute"
        )
    return FastEmbedEmbedder(rest) if kind == "fastembed" else _imported(kind, rest)


def _imported(module: str, attribute: str) -> Embedder:
    with _current_directory_on_path():
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise EmbedderError(
                f"{module}:{attribute} cannot be imported ({error}); run the command in the directory of that module, "
                "or in an environment where it is installed"
            ) from error
        try:
            made = found if callable(getattr(found, "embed", None)) and not isinstance(found, type) else found()
        except Exception as error:
            raise EmbedderError(f"{module}:{attribute} makes no embedder: {error!r:.200}") from error
    if not callable(getattr(made, "embed", None)):
        raise EmbedderError(f"{module}:{attribute} gives {made!r:.60}, which is no embedder: it has no embed(texts)")
    embedder: Embedder = made
    return embedder


@contextmanager
def _current_directory_on_path() -> Iterator[None]:
    """As `python -m` has it, and a script that was installed has not."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
