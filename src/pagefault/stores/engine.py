"""The life of one embedded engine: created, loaded, guarded, closed.

Everything here blocks and runs on the thread that owns the engine.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import shutil
import uuid
import weakref
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Final, TypeVar

from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    IntegerIndexParams,
    KeywordIndexParams,
    Modifier,
    MultiVectorComparator,
    MultiVectorConfig,
    TurboQuantBitSize,
    TurboQuantQuantizationConfig,
    UpdateOperation,
)

from pagefault.errors import (
    MemoryClosed,
    PagefaultError,
    StoreError,
    StoreLocked,
    StoreMismatch,
    StoreMissing,
    StoreUnwritable,
)
from pagefault.ports import Header
from pagefault.stores import header as headers
from pagefault.stores.durability import WalSync, sync_directory
from pagefault.stores.lists import names
from pagefault.stores.lock import FILE as LOCK
from pagefault.stores.lock import DirectoryLock
from pagefault.stores.mappings import check_mappings
from pagefault.stores.ownership import give_back
from pagefault.stores.room import TO_FLUSH, TO_WRITE, check_room, check_room_to_create, check_room_to_load, has_room
from pagefault.stores.scopes import PIECED, SCOPE_KEY, TAGS, USER_KEY
from pagefault.stores.vectors import DENSE, PIECES

T = TypeVar("T")

_log: Final = logging.getLogger("pagefault")
REBUILT: Final = f"{headers.SHARD}-"
"""How the names of rebuilt shards begin."""
_DRAFT: Final = f"{headers.SHARD}.new-"
"""How those begin that are not made yet."""
_UNWRITABLE: Final = ("Permission denied", "Read-only file system", "No space left on device", "File too large")


class Engine:
    """One shard in one data directory; all tenants live in it."""

    def __init__(self, directory: Path) -> None:
        # Fixed now: a relative path, or a link on its way, may mean another directory by the next call.
        self._directory = Path(os.path.realpath(directory))
        self._lock = DirectoryLock(self._directory)
        self._shard: EdgeShard | None = None
        self._header: Header | None = None
        self._name = headers.SHARD

    @property
    def directory(self) -> Path:
        """The real path of the data directory."""
        return self._directory

    @property
    def wal(self) -> Path:
        """Where the engine keeps its write-ahead log, once it is open."""
        return self._directory / self._name / "wal"

    def open(self, header: Header | None) -> Header:
        """Create or load the shard; nothing to do when it is open. Gives the header as it is stored.

        Raises:
            StoreMissing: There is none, and no header to make one with.
            StoreLocked: Another process, or another store in this one, has it open.
            StoreUnwritable: The directory cannot be created or written.
            StoreMismatch: It was written with another header.
        """
        place = str(self._directory)
        if self._header is not None:
            return self._header if header is None else headers.reconcile(place, self._header, header)
        try:
            with engine_errors(place):
                return self._open(place, header)
        except OSError as error:
            raise StoreUnwritable(
                f"{place} cannot be used as a data directory ({error}); give a path that this process can write"
            ) from error

    def call(self, fn: Callable[[EdgeShard], T]) -> T:
        """Run ``fn`` on the shard, with the engine's errors turned into ours."""
        if self._shard is None:
            raise MemoryClosed(f"the store at {self._directory} is closed; open it again")
        with engine_errors(str(self._directory)):
            return fn(self._shard)

    def write(self, fn: Callable[[EdgeShard], T]) -> T:
        """As ``call``, for what writes one unit.

        Raises:
            StoreUnwritable: The disk is nearly full.
            StoreError: As for :meth:`check_place`.
        """
        self.check_place()
        check_room(self._directory, TO_WRITE)
        return self.call(fn)

    @property
    def is_gone(self) -> bool:
        """Whether the directory was deleted, moved or replaced while it was open."""
        try:
            return not self._lock.is_there
        except (FileNotFoundError, NotADirectoryError):  # or the lock alone was cleared away, as an old file of /tmp
            return not self.wal.is_dir()
        except OSError:  # who may not look hears of it from the engine
            return False

    def check_place(self) -> None:
        """Refuse to go on by its name in a directory that is another one by now.

        The engine writes on into files that have no name any more, which are lost with it, and it makes and renames
        others by their names, which are then those of whoever has made the directory anew.

        Raises:
            StoreError: It was deleted, moved or replaced.
        """
        if self.is_gone:
            raise _gone(str(self._directory))

    def flush(self, *, needed: bool) -> None:
        """Have the segments written, so that the log can be cut.

        Raises:
            StoreUnwritable: The disk is nearly full, and the flush is ``needed``: there is no log that has it all.
            StoreError: As for :meth:`check_place`.
        """
        self.check_place()
        if needed:
            check_room(self._directory, TO_FLUSH)
        if has_room(self._directory, TO_FLUSH):
            self.call(EdgeShard.flush)

    def close(self) -> None:
        """Flush and release; nothing to do when it is closed.

        Raises:
            StoreUnwritable: The disk is nearly full, and closing writes. What is stored is in the log, and durable; the
                directory stays ours until this process ends, or opens it again when there is room.
            StoreError: As for :meth:`check_place`; it is closed all the same.
        """
        is_there = not self.is_gone
        if self._shard is not None and is_there and not has_room(self._directory, TO_FLUSH):
            self._keep()
        try:
            self._close_shard()
        finally:
            if self._lock.is_held and is_there:
                give_back(self._directory)
            self._lock.release()
            _OPEN.discard(self)

    def _close_shard(self) -> None:
        shard, self._shard = self._shard, None
        if shard is None:
            return
        with engine_errors(str(self._directory)):
            try:
                self.check_place()
                shard.flush()
            finally:
                shard.close()

    def _keep(self) -> None:
        _KEPT[self._directory] = self
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._shard))  # its destructor writes, too
        WalSync(self.wal).sync()
        raise StoreUnwritable(
            f"the disk of {self._directory} is nearly full, so it is not closed: what is stored lies in its log, for "
            "the next who opens it. It stays locked until this process ends, or opens it again; free some space first"
        )

    def leak(self) -> None:
        """In a forked child: never let the inherited shard be destroyed.

        Its destructor flushes into the files that the parent goes on writing.
        """
        self._lock.forget()
        if self._shard is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._shard))

    def replace(self, header: Header, name: str) -> None:
        """Another shard, complete and durable, takes the place of this one, which is deleted.

        The header file names the shard that counts, so the change is one rename: after a crash
        the one or the other counts, and the next to open the directory clears away the rest.
        """
        self.check_place()
        headers.write(self._directory, header, name)
        try:
            self._close_shard()
            _delete(self._directory / self._name)
        finally:
            self.close()

    def _open(self, place: str, header: Header | None) -> Header:
        stored = headers.read(self._directory)
        if stored is None and header is None:
            raise StoreMissing(f"there is no memory at {place}; give the directory that pagefault.open(...) was given")
        if stored is not None and header is not None:  # before the lock, so that the message is about the cause
            headers.reconcile(place, stored, header)
        if (kept := _KEPT.pop(self._directory, None)) is not None:
            kept.close()
        _make_directory(self._directory)
        if not self._lock.take():
            raise _locked(place)
        _OPEN.add(self)
        try:
            return self._open_ours(place, header)
        except BaseException:
            self.close()
            raise

    def _open_ours(self, place: str, header: Header | None) -> Header:
        """With the lock held."""
        shard = self._load(place, header)
        try:
            settled = _settle_header(self._directory, shard, header)
            known = shard.info().payload_schema
            _check_whole(place, known)
            for name in {TAGS, USER_KEY} - set(known):  # written before there were items, or reads by user
                shard.update(UpdateOperation.create_field_index(name, KeywordIndexParams()))
            _clear_away(self._directory, self._name)
        except BaseException:
            shard.close()
            raise
        self._shard, self._header = shard, settled
        return settled

    def _load(self, place: str, header: Header | None) -> EdgeShard:
        """The shard that counts, made where there is none yet."""
        stored, self._name = headers.read_both(self._directory)
        shard_dir = self._directory / self._name
        known = stored or header
        if known is None or (stored is not None and not shard_dir.exists()):
            raise StoreError(
                f"{place} has {headers.FILE} but its {self._name!r} directory is gone; restore it from a backup, "
                f"or remove {headers.FILE} to start empty"
            )
        if not shard_dir.exists():
            create(shard_dir, known)
        return load(shard_dir, known)


@contextlib.contextmanager
def engine_errors(place: str) -> Iterator[None]:
    """The one place where the engine's errors, all bare ``Exception``, become ours."""
    try:
        yield
    except (PagefaultError, OSError):
        raise
    except Exception as error:
        raise _translated(place, error) from error
    except BaseException as error:
        # A panic inside the engine derives from BaseException and has no importable class.
        if type(error).__name__ != "PanicException":
            raise
        raise StoreError(f"the engine panicked at {place} ({error}); close the store and open it again") from error


def _locked(place: str) -> StoreLocked:
    return StoreLocked(
        f"{place} is open in another process or by another store in this one; close it there first, "
        "or let several processes share a Qdrant server (qdrant://host:6333)"
    )


def _gone(place: str) -> StoreError:
    return StoreError(
        f"{place} is gone: the data directory was deleted or moved while it was open (its {LOCK} is not the one "
        "that is held), and nothing is written to what may be there now. Move it back, or close this memory and open "
        "the place where it is now"
    )


def _translated(place: str, error: Exception) -> StoreError:
    text = str(error)
    if "Can't init WAL" in text and "WouldBlock" in text:
        return _locked(place)
    if "No such file or directory" in text and not Path(place).exists():
        return _gone(place)
    if any(sign in text for sign in _UNWRITABLE):
        return StoreUnwritable(
            f"{place} cannot be written ({text}); free space, mend its permissions, or raise the limit of file sizes "
            "(ulimit -f; the engine makes files of 32 MiB)"
        )
    return StoreError(f"the engine failed at {place}: {text}")


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True)
        sync_directory(directory.parent)


def _clear_away(directory: Path, name: str) -> None:
    """What a rebuild that died left behind; whoever holds the shard that counts may."""
    for each in directory.glob(f"{headers.SHARD}*"):
        if each.name != name and (each.name == headers.SHARD or each.name.startswith((REBUILT, _DRAFT))):
            _delete(each)


def _delete(directory: Path) -> None:
    """Delete what no longer counts. It may hold what was to be erased, so what stays is named."""
    shutil.rmtree(directory, ignore_errors=True)
    if os.path.lexists(directory):
        _log.warning("%s does not count any more but cannot be deleted (a link is not followed); delete it", directory)


def create(shard_dir: Path, header: Header) -> None:
    """Make an empty shard in one step, so that a crash never leaves half of one.

    Raises:
        StoreUnwritable: The disk is nearly full.
    """
    check_room_to_create(shard_dir.parent)
    draft = shard_dir.with_name(f"{_DRAFT}{uuid.uuid4().hex}")
    draft.mkdir(mode=0o700)
    try:
        shard = EdgeShard.create(str(draft), _config(header))
        for name, params in (
            (SCOPE_KEY, KeywordIndexParams()),
            (USER_KEY, KeywordIndexParams()),
            (TAGS, KeywordIndexParams()),
            (PIECED, KeywordIndexParams()),
            ("seq", IntegerIndexParams(lookup=True, range=True)),
        ):
            shard.update(UpdateOperation.create_field_index(name, params))
        shard.flush()
        shard.close()
        draft.rename(shard_dir)
        sync_directory(shard_dir.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load(shard_dir: Path, header: Header) -> EdgeShard:
    """The shard in a directory, locked.

    Raises:
        StoreUnwritable: The disk is nearly full.
        StoreError: Its files are damaged.
    """
    check_room_to_load(shard_dir)
    check_mappings(shard_dir)
    return EdgeShard.load(str(shard_dir), _config(header))


def _config(header: Header) -> EdgeConfig:
    dense: dict[str, EdgeVectorParams] = {}
    size, cosine = header.dimension, Distance.Cosine
    if size:
        # Without an index a search reads every vector: codes of 4 bits an axis first, the best of them in full.
        codes = TurboQuantQuantizationConfig(bits=TurboQuantBitSize.Bits4)
        dense[DENSE] = EdgeVectorParams(size=size, distance=cosine, quantization_config=codes)
    if size and header.version > 1:
        nearest = MultiVectorConfig(MultiVectorComparator.MaxSim)
        dense[PIECES] = EdgeVectorParams(size=size, distance=cosine, multivector_config=nearest)
    return EdgeConfig(
        vectors=dense or None,
        sparse_vectors={name: EdgeSparseVectorParams(modifier=Modifier.Idf) for name in names(header)},
        max_search_threads=1,
        wal_enabled=True,
    )


def _check_whole(place: str, indexed: Container[str]) -> None:
    """Where all segments are gone the engine makes an empty one, and says nothing."""
    if SCOPE_KEY not in indexed:
        raise StoreError(f"{place} is damaged: files of its shard are gone; restore it from a backup")


def _settle_header(directory: Path, shard: EdgeShard, header: Header | None) -> Header:
    """Read or write the header file; only whoever holds the shard gets here."""
    stored, name = headers.read_both(directory)
    if header is None and stored is not None:
        return stored
    if stored is None or header is None:
        if shard.count(CountRequest(exact=True)):
            raise StoreMismatch(
                f"{directory} holds records but no {headers.FILE}, so what its vectors are is unknown; "
                "restore that file from a backup"
            )
        headers.write(directory, header or Header())
        return header or Header()
    settled = headers.reconcile(str(directory), stored, header)
    if settled != stored:
        headers.write(directory, settled, name)
    return settled


_OPEN: weakref.WeakSet[Engine] = weakref.WeakSet()
_KEPT: Final[dict[Path, Engine]] = {}
"""Those that could not be closed for want of room."""


def _leak_inherited() -> None:
    _KEPT.clear()
    for engine in list(_OPEN):
        engine.leak()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leak_inherited)
