"""Finding and opening what a command is about."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from pagefault.commands.output import StoreDamaged
from pagefault.embedders import FastEmbedEmbedder, WordLlamaEmbedder, default_embedder
from pagefault.errors import EmbedderError, InvalidId, StoreError, StoreMismatch, StoreMissing, StoreUnwritable
from pagefault.ports import Embedder, Header, PageStore
from pagefault.stores import EdgeStore
from pagefault.stores import header as headers
from pagefault.stores.engine import REBUILT
from pagefault.stores.server_settings import is_server_url

T = TypeVar("T")
_OUT_OF: Final = ("os error 12)", "os error 23)", "os error 24)")
"""Memory or open files: what the machine lacks is no damage."""


def directory_of(place: str) -> Path | None:
    """The data directory, ``None`` for a server.

    Raises:
        InvalidId: It is empty, or no path.
        StoreMissing: There is no memory there.
        StoreDamaged: Its header file is gone or broken.
        StoreUnwritable: It is no directory, or may not be read.
    """
    if not place:
        raise InvalidId("PLACE is empty; give a data directory ('.' is the current one) or qdrant://host:6333")
    if is_server_url(place):
        return None
    if "://" in place or place == ":memory:":
        raise StoreMissing(f"{place!r} is no place to look at; give a data directory or qdrant://host:6333")
    try:
        directory = Path(place).expanduser()
    except RuntimeError as error:  # of a user that there is not
        raise InvalidId(
            f"{place!r:.60} is no path ({error}); give the directory that pagefault.open(...) was given"
        ) from error
    try:
        header = headers.read(directory)
    except StoreMismatch as error:
        raise StoreDamaged(str(error)) from error
    except OSError as error:  # a file in its place, or one that is not ours to read
        raise StoreUnwritable(
            f"{directory} cannot be read ({error}); give the directory that pagefault.open(...) was given, "
            "as a user who may read it"
        ) from error
    if header is None and ((directory / headers.SHARD).exists() or any(directory.glob(f"{REBUILT}*"))):
        raise StoreDamaged(
            f"{directory} holds a shard but no {headers.FILE}, so what its vectors are is unknown; restore that file "
            "from a backup (where nothing was stored yet, pagefault.open(...) makes it anew)"
        )
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
        StoreDamaged: Files of it are gone or cannot be read.
        StoreError: It cannot be used.
    """
    directory = directory_of(place)
    if directory is not None:
        with damage_told(directory):
            async with _closing(EdgeStore(directory, run=_run, lock_timeout=wait)) as found:
                yield found
    else:
        from pagefault.stores.server import ServerStore  # noqa: PLC0415  # its client takes a second to load

        async with _closing(ServerStore(place)) as found:
            yield found


@asynccontextmanager
async def _closing(store: PageStore) -> AsyncIterator[tuple[PageStore, Header]]:
    try:
        yield store, await store.open(None)
    finally:
        await store.close()


@contextmanager
def damage_told(directory: Path) -> Iterator[None]:
    """What the engine fails at in a directory that nobody else has is damage, told in our words.

    Raises:
        StoreDamaged: Files of it are gone or cannot be read.
    """
    try:
        yield
    except StoreError as error:
        if type(error) is not StoreError or any(sign in str(error) for sign in _OUT_OF):
            raise  # a subclass says what it is
        said = error.__cause__
        why = f"{directory} is damaged; restore it from a backup (the engine says: {said})" if said else str(error)
        raise StoreDamaged(why) from error


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
        except (Exception, SystemExit) as error:  # a module may do anything as it is imported
            raise EmbedderError(
                f"{module}:{attribute} cannot be imported ({error!r:.200}); run the command in the "
                "directory of that module, or in an environment where it is installed"
            ) from error
        try:
            made = found if callable(getattr(found, "embed", None)) and not isinstance(found, type) else found()
        except (Exception, SystemExit) as error:
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
