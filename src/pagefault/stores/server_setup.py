"""A server's collection: whether the server will do, how the collection is made, what it is for."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models

from pagefault.errors import StoreError, StoreMismatch, StoreMissing
from pagefault.ports import Header
from pagefault.stores import header as headers
from pagefault.stores.lists import names
from pagefault.stores.scopes import PIECED, SCOPE_KEY, TAGS, USER_KEY
from pagefault.stores.server_link import Link
from pagefault.stores.server_settings import ServerSettings
from pagefault.stores.vectors import DENSE, PIECES

_LOG: Final = logging.getLogger(__name__)

OLDEST: Final = (1, 17)  # insert-only writes and writes on a condition
SCOPED_IDF: Final = (1, 19)  # term statistics over one scope alone
HEADER_ID: Final = UUID("7b0e4c52-1d36-5f9a-8a41-706167656661")
HEADER_KIND: Final = "header"
_INCOMPLETE: Final = 0  # the header's ``seq`` while nobody has named a fingerprint
_WORDS: Final = models.KeywordIndexType.KEYWORD
# No graph over all points: nobody ever searches all tenants. Large scopes get one of their own, and so do large users.
HNSW: Final = models.HnswConfigDiff(m=0, payload_m=16)
INDEXES: Final[Mapping[str, Any]] = {
    # What every search names is what a server calls a tenant: it keeps such points together, and where exact searches
    # are forbidden it refuses those that name none. What else has an index needs no graph.
    **dict.fromkeys((SCOPE_KEY, USER_KEY), models.KeywordIndexParams(type=_WORDS, is_tenant=True)),
    # By "tenant" an operator deletes one.
    **dict.fromkeys(("tenant", TAGS, PIECED), models.KeywordIndexParams(type=_WORDS, enable_hnsw=False)),
    "seq": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=True, enable_hnsw=False),
}


async def check_version(link: Link) -> bool:
    """Whether the server takes term statistics over one scope.

    Raises:
        StoreError: It is too old, and in which way, or no Qdrant server.
    """
    info = await link.call("asking for the version", lambda client: client.info())
    place, numbers = link.settings.url, re.match(r"v?(\d+)\.(\d+)", info.version)
    if numbers is None:
        raise StoreError(f"{place} answers with version {info.version!r:.40}, which is none of a Qdrant server")
    version = (int(numbers[1]), int(numbers[2]))
    if version < OLDEST:
        raise StoreError(
            f"{place} runs Qdrant {info.version}, which lacks insert-only writes; pagefault needs 1.17, and 1.19 to "
            "keep one tenant's text out of another's scores: upgrade the server, one minor version at a time"
        )
    if version < SCOPED_IDF and not link.settings.allow_shared_idf:
        raise StoreError(
            f"{place} runs Qdrant {info.version}, which takes term statistics over all tenants together, so that one "
            "tenant's text changes another's full-text scores; upgrade it to 1.19, or accept that with "
            "?allow_shared_idf=true in the URL (safe where there is one tenant)"
        )
    return version >= SCOPED_IDF


async def prepare(link: Link, header: Header | None) -> Header:
    """Make the collection ready: created if absent, never recreated; indexes and header in place.

    Without a header it is only looked at.

    Returns:
        The header to go on with.

    Raises:
        StoreMissing: There is none, and no header to make one with.
        StoreMismatch: It was written with another header, or is not ours.
    """
    info = await _info(link)
    if header is None:
        known = None if info is None else await read_header(link)
        if known is None:
            raise StoreMissing(
                f"there is no memory at {link.settings.place}; give the URL that pagefault.open(...) was given"
            )
        return known
    info = info or await _create(link, header)
    if (info.config.params.shard_number or 1) > 1:
        _LOG.warning(
            "%s has several shards and takes term statistics in each by itself: full-text scores are approximate",
            link.settings.place,
        )
    stored = await read_header(link)
    if stored is None:
        await _check_ours(link, info, header)
    else:
        headers.reconcile(link.settings.place, stored, header)
    for name in INDEXES:
        if name not in info.payload_schema:
            await link.update(f"indexing {name!r}", partial(_create_index, settings=link.settings, name=name))
    return await _settle(link, stored, header)


async def read_header(link: Link) -> Header | None:
    """The header that the collection was written with, ``None`` when there is none yet.

    Raises:
        StoreMismatch: The header point is not one that pagefault writes.
    """
    settings = link.settings
    points = await link.call(
        "reading the header",
        lambda client: client.retrieve(
            settings.collection, ids=[str(HEADER_ID)], with_payload=True, with_vectors=False
        ),
    )
    if not points:
        return None
    payload = points[0].payload or {}
    try:
        return Header(
            embedder=str(payload["embedder"]),
            dimension=int(payload["dimension"]),
            fingerprint=str(payload["fingerprint"]),
            version=int(payload["version"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StoreMismatch(
            f"{settings.place}: point {HEADER_ID} is not a pagefault header ({type(error).__name__} {error}); "
            "restore the collection from a snapshot, or name another with ?collection=..."
        ) from error


async def _info(link: Link) -> models.CollectionInfo | None:
    name = link.settings.collection
    if not await link.call("looking for the collection", lambda client: client.collection_exists(name)):
        return None
    return await link.call("reading the collection's settings", lambda client: client.get_collection(name))


async def _create(link: Link, header: Header) -> models.CollectionInfo:
    settings = link.settings
    nearest = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    how: dict[str, Any] = {"size": header.dimension, "distance": models.Distance.COSINE}
    dense = {DENSE: models.VectorParams(**how), PIECES: models.VectorParams(**how, multivector_config=nearest)}
    failure: StoreError | None = None
    try:
        await link.call(
            "creating the collection",
            lambda client: client.create_collection(
                settings.collection,
                vectors_config=dense if header.dimension else {},
                sparse_vectors_config={
                    name: models.SparseVectorParams(modifier=models.Modifier.IDF) for name in names(header)
                },
                hnsw_config=HNSW,
                on_disk_payload=True,
                shard_number=settings.shard_number,
                replication_factor=settings.replication_factor,
                write_consistency_factor=settings.majority,
            ),
        )
    except StoreError as error:  # another process, or an attempt whose answer was lost, was faster
        failure = error
    info = await _info(link)
    if info is None:
        raise failure or StoreError(f"{settings.place} was created, but the server does not know it; try again")
    return info


def _create_index(client: AsyncQdrantClient, *, settings: ServerSettings, name: str) -> Any:
    return client.create_payload_index(settings.collection, field_name=name, field_schema=INDEXES[name], wait=True)


async def _check_ours(link: Link, info: models.CollectionInfo, header: Header) -> None:
    """A collection without a header must be empty and laid out as ours: made a moment ago, or half."""
    place, params = link.settings.place, info.config.params
    way_out = "name another collection with ?collection=..., which pagefault creates"
    points, _ = await link.call(
        "looking for records",
        lambda client: client.scroll(link.settings.collection, limit=1, with_payload=False, with_vectors=False),
    )
    if points and await read_header(link) is None:  # else another process made all this a moment ago
        raise StoreMismatch(f"{place} holds points but no pagefault header, so it is something else's; {way_out}")
    named = params.vectors if isinstance(params.vectors, dict) else {}
    sizes = {name: vector.size for name, vector in named.items()}
    wanted = dict.fromkeys((DENSE, PIECES), header.dimension) if header.dimension else {}
    text = params.sparse_vectors or {}
    if (
        sizes != wanted
        or any(vector.distance != models.Distance.COSINE for vector in named.values())
        or any(name not in text or text[name].modifier != models.Modifier.IDF for name in names(header))
    ):
        found = [f"{name} ({vector.size}, {vector.distance.value})" for name, vector in named.items()]
        needed = [f"{name} ({size}, Cosine)" for name, size in wanted.items()]
        raise StoreMismatch(
            f"{place} exists with other vectors than pagefault needs: found {_listed([*found, *text])}, needed "
            f"{_listed([*needed, *names(header)])} with IDF; {way_out}"
        )


def _listed(vectors: Sequence[str]) -> str:
    return ", ".join(vectors) or "none by name"


async def _settle(link: Link, stored: Header | None, header: Header) -> Header:
    """Write the header where it is missing or was incomplete; who comes first decides."""
    place = link.settings.place
    settled = header if stored is None else headers.reconcile(place, stored, header)
    if settled == stored:
        return settled
    # By an indexed field, as servers can be told to refuse filters on others.
    incomplete = models.Filter(must=[models.FieldCondition(key="seq", match=models.MatchValue(value=_INCOMPLETE))])
    point = models.PointStruct(id=str(HEADER_ID), vector={}, payload=_payload(settled))
    await link.update(
        "writing the header",
        lambda client: client.upsert(
            link.settings.collection,
            points=[point],
            wait=True,
            ordering=models.WriteOrdering.STRONG,
            update_mode=models.UpdateMode.INSERT_ONLY if stored is None else models.UpdateMode.UPDATE_ONLY,
            update_filter=None if stored is None else incomplete,
        ),
    )
    written = await read_header(link)
    if written is None:
        raise StoreError(f"{place}: the header was written, but the server does not find it; open the store again")
    return headers.reconcile(place, written, header)


def _payload(header: Header) -> dict[str, Any]:
    return {
        "kind": HEADER_KIND,
        "seq": _INCOMPLETE + bool(header.fingerprint),
        "embedder": header.embedder,
        "dimension": header.dimension,
        "fingerprint": header.fingerprint,
        "version": header.version,
    }
