"""New words and vectors for everything in a data directory, made from the bodies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from pagefault.embedders import PROBE
from pagefault.embedders.calls import embed, embed_pieces, header_of
from pagefault.errors import CorruptPage, EmbedderError
from pagefault.items import item_of
from pagefault.paths.restore import page_from
from pagefault.ports import Dense, Embedder, Header, Record
from pagefault.stores.edge_rebuild import Progress, Rebuilt, Searched, rebuild
from pagefault.writing.indexing import vector_text, words_of


class Reindexed(NamedTuple):
    """What a reindexing did.

    Attributes:
        header: What the directory is written with now.
        vectors: Records that have a vector now.
        without: Records that the embedder refused or whose body is damaged; full text finds those that are intact.
        rebuilt: What was copied.
    """

    header: Header
    vectors: int
    without: tuple[UUID, ...]
    rebuilt: Rebuilt


def reindex(directory: Path, embedder: Embedder | None, *, progress: Progress | None = None) -> Reindexed:
    """Make all that a search reads anew: words, and vectors with another embedder, or none with ``None``.

    It happens in a copy that takes the place of the old shard at the end: interrupted at any
    moment, the old vectors and their embedder count as before, and it can be run again.

    Raises:
        EmbedderError: The embedder is down; nothing changed.
        StoreMissing: There is no memory in this directory.
        StoreLocked: Another process has it open.
    """
    header = header_of(embedder)
    refused: list[UUID] = []
    made = 0

    def revise(records: Sequence[Record]) -> dict[UUID, Searched]:
        nonlocal made
        texts: dict[UUID, str] = {}
        for record in records:
            try:
                text = searched_text(record)
            except CorruptPage:
                refused.append(record.id)
                continue
            texts[record.id] = text
        vectors = _vectors(embedder, {id_: text for id_, text in texts.items() if text.strip()}, refused)
        made += len(vectors)
        return {id_: Searched(words_of(text), vectors.get(id_)) for id_, text in texts.items()}

    rebuilt = rebuild(directory, header=header, revise=revise, progress=progress)
    return Reindexed(header, made, (*refused, *rebuilt.damaged), rebuilt)


def searched_text(record: Record) -> str:
    """What a record's words and vector are made of; nothing for one that is not searched for.

    Raises:
        CorruptPage: Its body is not what was written.
    """
    if record.kind == "page":
        return vector_text(page_from(record))
    if record.kind == "item":
        return item_of(record).searched.encode("utf-8", "replace").decode("utf-8")
    return ""


def _vectors(embedder: Embedder | None, texts: dict[UUID, str], refused: list[UUID]) -> dict[UUID, Dense]:
    """Vectors of these texts; a text that the embedder cannot take does not hold up the others."""
    if embedder is None or not texts:
        return {}
    try:
        return dict(zip(texts, embed_pieces(embedder, list(texts.values())), strict=True))
    except EmbedderError:
        embed(embedder, [PROBE])  # raises when the embedder is down; else it is about these texts
    found: dict[UUID, Dense] = {}
    for id_, text in texts.items():
        try:
            found[id_] = embed_pieces(embedder, [text])[0]
        except EmbedderError:
            refused.append(id_)
    return found
