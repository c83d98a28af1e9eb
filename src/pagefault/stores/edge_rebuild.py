"""Rebuilding a data directory's shard: the living are copied to a fresh one, which then takes its place.

This is how deleted bytes leave the disk and how all vectors change at once. It wants the directory
for itself, blocks, and belongs into a process of its own.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

from qdrant_edge import CountRequest, EdgeShard, PayloadSelector, Point, ScrollRequest, UpdateOperation

from pagefault.errors import CorruptPage
from pagefault.ports import Dense, Header, Record, Scope, Sparse
from pagefault.stores import edge_calls, engine
from pagefault.stores import header as headers
from pagefault.stores.durability import sync_directory, sync_file
from pagefault.stores.layout import CHUNK_BYTES, chunk_ids, restore
from pagefault.stores.lists import SHARED, are_apart
from pagefault.stores.room import TO_WRITE, check_room
from pagefault.stores.scopes import CHUNK, KINDS, PIECED, Payload, mark_of
from pagefault.stores.vectors import DENSE, PIECES, named_vectors


class Searched(NamedTuple):
    """What a search reads of a record.

    Attributes:
        words: Its sparse vector, where it has words.
        dense: The vectors of its pieces, where it has any.
    """

    words: Sparse | None
    dense: Dense | None


Revise = Callable[[Sequence[Record]], Mapping[UUID, Searched]]
"""Says what a search reads of some records; one that it leaves out keeps its words and has no vectors."""
Progress = Callable[[int, int], object]
"""Is told how many points of how many are done."""
_UNIT: Final = 64
_BYTES: Final = 8 * CHUNK_BYTES
_NAMES: Final = 1_024


class Rebuilt(NamedTuple):
    """What a rebuild did.

    Attributes:
        records: Records carried over: pages, heads, items.
        dropped: Chunks left behind that no record names any more.
        bytes_before: Size on disk before.
        bytes_after: Size on disk now.
        damaged: Records whose body could not be read for a new vector; they were carried over as they are.
    """

    records: int
    dropped: int
    bytes_before: int
    bytes_after: int
    damaged: tuple[UUID, ...]


def rebuild(
    directory: Path, *, header: Header | None = None, revise: Revise | None = None, progress: Progress | None = None
) -> Rebuilt:
    """Copy what lives into a fresh shard and put it in the place of the old one.

    Interrupted at any moment, by a kill or by an error, the old shard stays as it was.

    Args:
        directory: The data directory.
        header: What the new shard is written with; by default what the old one was.
        revise: Makes words and vectors anew; by default the old ones are carried over.
        progress: Is told of the progress.

    Raises:
        StoreMissing: There is no memory in this directory.
        StoreLocked: Another process has it open.
        StoreError: Files of it are gone, or the engine failed.
    """
    old = engine.Engine(directory)
    directory = old.directory
    stored = old.open(None)
    name = f"{engine.REBUILT}{uuid.uuid4().hex}"
    try:
        before = size_of(directory)
        with engine.engine_errors(str(directory)):
            copy = _Copy(old, revise, progress, was_apart=are_apart(stored), apart=are_apart(header or stored))
            engine.create(directory / name, header or stored)
            shard = engine.load(directory / name, header or stored)
            try:
                copy.run(shard)
                shard.flush()
            finally:
                shard.close()
            _sync_tree(directory / name)
        old.replace(header or stored, name)
    except BaseException:
        if headers.read_both(directory)[1] != name:
            shutil.rmtree(directory / name, ignore_errors=True)
        raise
    finally:
        old.close()
    return Rebuilt(copy.records, copy.dropped, before, size_of(directory), tuple(copy.damaged))


def size_of(directory: Path) -> int:
    """Bytes that a directory takes on the disk; its files have holes, so their lengths say little."""
    return sum(stat.st_blocks * 512 for _, stat in headers.files_below(directory))


class _Copy:
    def __init__(
        self, old: engine.Engine, revise: Revise | None, progress: Progress | None, *, was_apart: bool, apart: bool
    ) -> None:
        self._old = old
        self._was_apart = was_apart
        self._apart = apart
        self._revise = revise
        self._progress = progress
        self.records = 0
        self.dropped = 0
        self.damaged: list[UUID] = []

    def run(self, new: EdgeShard) -> None:
        named = self._old.call(_named_chunks)
        total = self._old.call(lambda shard: int(shard.count(CountRequest(exact=True))))
        done = 0
        for batch in self._old.call(_points):
            living = [point for point in batch if point.payload.get("kind") != CHUNK or point.id in named]
            self.dropped += len(batch) - len(living)
            revised = self._revised(living)
            for unit in _units(living):
                check_room(self._old.directory, TO_WRITE)
                points = [self._point(p, revised) for p in unit]
                new.update(UpdateOperation.upsert_points(points))
            self.records += sum(point.payload.get("kind") in KINDS for point in living)
            done += len(batch)
            if self._progress is not None:
                self._progress(done, total)

    def _point(self, point: Any, revised: Mapping[UUID, Searched]) -> Point:
        payload, kept = dict(point.payload), dict(point.vector or {})
        made = revised.get(point.id)
        if self._revise is not None:
            kept = {name: vector for name, vector in kept.items() if name not in {DENSE, PIECES}}
            payload.pop(PIECED, None)
        if made is not None:
            kept = edge_calls.words_of(payload, made.words, apart=self._apart)
            if made.dense:
                kept |= named_vectors(made.dense)
                payload |= mark_of(payload, made.dense)
        elif self._apart and not self._was_apart:
            kept |= edge_calls.words_of(payload, SHARED.read(kept), apart=True)
        return Point(id=point.id, vector=kept, payload=payload)

    def _revised(self, points: Sequence[Any]) -> Mapping[UUID, Searched]:
        if self._revise is None:
            return {}
        records: list[Record] = []
        for point in points:
            if point.payload.get("kind") in KINDS:
                try:
                    records.append(restore(point.id, point.payload, self._body(point.id, point.payload)))
                except CorruptPage:
                    self.damaged.append(point.id)
        return self._revise(records)

    def _body(self, id_: UUID, payload: Payload) -> str:
        if "chunks" not in payload:
            return str(payload["body"])
        scope = Scope(tenant=str(payload["tenant"]), space=str(payload["space"]))
        ids = chunk_ids(id_, str(payload["chunks"]))
        return "".join(self._old.call(lambda shard: edge_calls.chunk_texts(shard, scope, ids, owner=id_)))


def _named_chunks(shard: EdgeShard) -> set[UUID]:
    """The chunks that some record names."""
    named: set[UUID] = set()
    for batch in _scroll(shard, _NAMES, ["kind", "chunks"], vectors=False):
        for point in batch:
            if "chunks" in point.payload and point.payload.get("kind") in KINDS:
                try:
                    named.update(chunk_ids(point.id, str(point.payload["chunks"])))
                except CorruptPage:  # carried over with what is wrong with it, for `verify` to say
                    continue
    return named


def _points(shard: EdgeShard) -> Iterator[list[Any]]:
    return _scroll(shard, _UNIT, PayloadSelector.Exclude([]), vectors=True)


def _scroll(shard: EdgeShard, size: int, select: Any, *, vectors: bool) -> Iterator[list[Any]]:
    offset: Any = None
    while True:
        points, offset = shard.scroll(
            ScrollRequest(offset=offset, limit=size, with_payload=select, with_vector=vectors)
        )
        yield points
        if offset is None:
            return


def _units(points: Sequence[Any]) -> Iterator[list[Any]]:
    unit: list[Any] = []
    size = 0
    for point in points:
        weight = len(str(point.payload.get("body", "")))
        if unit and size + weight > _BYTES:
            yield unit
            unit, size = [], 0
        unit.append(point)
        size += weight
    if unit:
        yield unit


def _sync_tree(root: Path) -> None:
    """Make a finished shard durable before anything names it."""
    for place, _, files in os.walk(root):
        for file in files:
            sync_file(Path(place) / file)
        sync_directory(Path(place))
    sync_directory(root.parent)
