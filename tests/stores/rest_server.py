"""A server's REST interface, in process: what the real client sends is checked, then executed.

Each body must fit the model of the server's own schema exactly (unknown fields are refused),
and must keep the rules that make tenants safe and retries harmless; :attr:`RestServer.broken`
collects what does not. Local mode executes the request. Faults come before or after that.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pydantic_core
from pydantic import BaseModel, TypeAdapter, ValidationError
from qdrant_client import models

from pagefault.ports import Scope
from pagefault.stores.scopes import PIECED, SCOPE_KEY, USER_KEY, scope_value
from pagefault.stores.server_setup import HEADER_ID
from tests.stores.local_server import LocalServer

Fault = Callable[[httpx.Request, Callable[[], Any]], Any]
POINTS = "/collections/{name}/points"
_REACHES = (SCOPE_KEY, USER_KEY)


@dataclass
class Seen:
    """One request: what the client asked, as the server reads it."""

    method: str
    path: str
    query: dict[str, str]
    headers: httpx.Headers
    body: Any = None
    size: int = 0
    raw: str = field(default="", repr=False)


class RestServer:
    """Answers an ``httpx`` client. ``fault`` sees each request first and may answer instead."""

    def __init__(self, *, version: str = "1.19.2", fault: Fault | None = None, name: str = "pagefault") -> None:
        self.local = LocalServer()
        self.version = version
        self.fault = fault
        self.name = name
        self.seen: list[Seen] = []
        self.broken: list[str] = []
        self.filters_work = True
        self.orders_work = True
        self.indexes: dict[str, Any] = {}
        self.shards = 1

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    def sent(self, method: str, path: str) -> list[Seen]:
        return [each for each in self.seen if (each.method, each.path) == (method, path.format(name=self.name))]

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        async def execute() -> httpx.Response:
            await asyncio.sleep(0)  # so that clients side by side really take turns
            return await self._execute(request)

        return await self.fault(request, execute) if self.fault else await execute()

    async def _execute(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        seen = Seen(
            request.method,
            path,
            dict(request.url.params),
            request.headers,
            None,
            len(request.content),
            str(request.url),
        )
        self.seen.append(seen)
        for method, pattern, model, handler in _ROUTES:
            if request.method == method and re.fullmatch(pattern.format(name=re.escape(self.name)), path):
                try:
                    seen.body = TypeAdapter(model).validate_json(request.content) if model else None
                    result = await handler(self, seen)
                except ValidationError as error:
                    self.broken.append(f"{method} {path}: {error}")
                    return said(400, f"Format error in JSON body: {error}")
                except ValueError as error:
                    return said(404 if "not found" in str(error) else 409, str(error))
                if path == "/":
                    return httpx.Response(200, json=result)
                return ok(result)
        self.broken.append(f"unknown route {method} {path}")
        return said(404, "")

    def _indexed(self, flt: models.Filter | None, seen: Seen) -> None:
        """As in strict mode, which Qdrant's cloud begins with."""
        keys = {each.key for each in _conditions(flt)}
        self._rule(keys <= self.indexes.keys(), f"a filter on what has no index: {keys - self.indexes.keys()}", seen)

    def _rule(self, kept: object, what: str, seen: Seen) -> None:
        if not kept:
            self.broken.append(f"{seen.method} {seen.path}: {what}")

    # -- routes ------------------------------------------------------------------------

    async def _root(self, seen: Seen) -> Any:
        return {"title": "qdrant - vector search engine", "version": self.version}

    async def _exists(self, seen: Seen) -> Any:
        return {"exists": await self.local.collection_exists(self.name)}

    async def _info(self, seen: Seen) -> Any:
        info = await self.local.get_collection(self.name)
        info.config.params.shard_number = self.shards
        return info.model_copy(update={"payload_schema": self.indexes})

    async def _create(self, seen: Seen) -> Any:
        body = seen.body
        self.shards = body.shard_number
        return await self.local.create_collection(
            self.name, vectors_config=body.vectors or {}, sparse_vectors_config=body.sparse_vectors
        )

    async def _index(self, seen: Seen) -> Any:
        self._rule(seen.query.get("wait") == "true", "does not wait", seen)
        schema = seen.body.field_schema
        self.indexes[seen.body.field_name] = {"data_type": schema.type.value, "params": schema, "points": 0}
        return done()

    async def _retrieve(self, seen: Seen) -> Any:
        body = seen.body
        return await self.local.retrieve(
            self.name, ids=body.ids, with_payload=body.with_payload, with_vectors=body.with_vector or False
        )

    async def _upsert(self, seen: Seen) -> Any:
        body: models.PointsList = seen.body
        self._writes(seen)
        self._indexed(body.update_filter, seen)
        for point in body.points:
            payload = point.payload or {}
            if str(point.id) == str(HEADER_ID):
                self._rule(seen.query["ordering"] == "strong", "header without strong ordering", seen)
                continue
            kind = payload.get("kind")
            scope = Scope(tenant=str(payload.get("tenant")), space=str(payload.get("space")))
            self._rule(payload.get(SCOPE_KEY) == scope_value(scope, str(kind)), "point without its scope", seen)
            if kind == "head":
                self._rule(scoped(body.update_filter) == payload[SCOPE_KEY], "head without its scope's filter", seen)
                self._rule(seen.query["ordering"] == "strong", "head without strong ordering", seen)
            elif kind == "item":
                is_new = body.update_mode == models.UpdateMode.INSERT_ONLY
                known = body.update_mode == models.UpdateMode.UPDATE_ONLY and versioned(body.update_filter)
                self._rule(is_new or scoped(body.update_filter) == payload[SCOPE_KEY], "item without its scope", seen)
                self._rule(is_new or known, "item written without a look at its version", seen)
                self._rule(payload.get("nonce"), "item without a nonce", seen)
                self._rule(seen.query["ordering"] == "strong", "item without strong ordering", seen)
            else:
                self._rule(kind in {"page", "chunk"}, f"kind {kind}", seen)
                self._rule(body.update_mode == models.UpdateMode.INSERT_ONLY, "page not insert-only", seen)
                self._rule(seen.query["ordering"] == "weak", "page with costly ordering", seen)
        return await self.local.upsert(
            self.name, points=body.points, update_filter=body.update_filter, update_mode=body.update_mode
        )

    async def _vectors(self, seen: Seen) -> Any:
        body: models.UpdateVectors = seen.body
        self._writes(seen)
        place = scoped(body.update_filter)
        self._rule(place, "vectors without a scope's filter", seen)
        self._indexed(body.update_filter, seen)
        held = await self.local.retrieve(self.name, ids=[point.id for point in body.points])
        ours = {point.id for point in held if point.payload[SCOPE_KEY] == place}
        self._rule(ours == {str(point.id) for point in body.points}, "vectors of unknown or foreign points", seen)
        return await self.local.update_vectors(self.name, points=body.points, update_filter=body.update_filter)

    async def _set_payload(self, seen: Seen) -> Any:
        body: models.SetPayload = seen.body
        self._writes(seen)
        self._rule(scoped(body.filter), "fields set without a scope's filter", seen)
        self._indexed(body.filter, seen)
        return await self.local.set_payload(self.name, payload=body.payload, points=body.filter)

    async def _delete(self, seen: Seen) -> Any:
        self._writes(seen)
        is_filter = isinstance(seen.body, models.FilterSelector)
        self._rule(is_filter and scoped(seen.body.filter), "delete without a scope's filter", seen)
        self._indexed(seen.body.filter if is_filter else None, seen)
        return await self.local.delete(self.name, points_selector=seen.body)

    async def _scroll(self, seen: Seen) -> Any:
        body: models.ScrollRequest = seen.body
        shows_nothing = body.with_payload is False and not body.with_vector
        reach = scoped(body.filter) or scoped(body.filter, USER_KEY)
        self._rule(reach or shows_nothing, "scroll without a scope's filter", seen)
        self._indexed(body.filter, seen)
        points, offset = await self.local.scroll(
            self.name,
            scroll_filter=body.filter if self.filters_work else None,
            limit=body.limit,
            order_by=body.order_by if self.orders_work else None,
            offset=body.offset,
            with_payload=body.with_payload,
            with_vectors=body.with_vector,
        )
        return {"points": points, "next_page_offset": offset}

    async def _query(self, seen: Seen) -> Any:
        answers = []
        self._rule(seen.size < 8 * 1024 * 1024, f"{seen.size} bytes in one request", seen)
        for each in seen.body.searches:
            place = scoped(each.filter)
            place = place or scoped(each.filter, USER_KEY)
            self._rule(place, "search without a scope's filter", seen)
            self._indexed(each.filter, seen)
            self._rule(not (each.params and each.params.exact), "an exact search", seen)
            keys = {condition.key for condition in _conditions(each.filter)}
            tenants = {key for key, index in self.indexes.items() if getattr(index["params"], "is_tenant", None)}
            self._rule(keys & tenants, "a search by no tenant, which is an exact one where there is no graph", seen)
            if each.using == "pieces":
                long = pieced(each.filter) in {f"{key}={place}" for key in _REACHES}
                self._rule(long, "a search of pieces among records that have none", seen)
            if each.using == "text":
                idf = each.params and each.params.idf
                only = isinstance(idf, models.IdfCorpusParams) and place in {scoped(idf.corpus, k) for k in _REACHES}
                self._rule(only and len(idf.corpus.must) == 1, "terms weighed over another corpus", seen)
            answers.append(each if self.filters_work else each.model_copy(update={"filter": None}))
        return await self.local.query_batch_points(self.name, requests=answers)

    async def _count(self, seen: Seen) -> Any:
        self._rule(seen.body.exact and seen.body.filter is None, "a count that is no operator's, or inexact", seen)
        return await self.local.count(self.name, exact=True)

    async def _facet(self, seen: Seen) -> Any:
        self._rule(seen.body.exact and seen.body.key == SCOPE_KEY, "an inexact or another facet", seen)
        return await self.local.facet(self.name, key=seen.body.key, limit=seen.body.limit, exact=True)

    def _writes(self, seen: Seen) -> None:
        self._rule(seen.query.get("wait") == "true", "does not wait", seen)
        self._rule(seen.query.get("ordering") in {"weak", "strong"}, "names no ordering", seen)
        self._rule(seen.size < 8 * 1024 * 1024, f"{seen.size} bytes in one request", seen)


_ROUTES: tuple[tuple[str, str, Any, Callable[..., Any]], ...] = (
    ("GET", "/", None, RestServer._root),
    ("GET", "/collections/{name}/exists", None, RestServer._exists),
    ("GET", "/collections/{name}", None, RestServer._info),
    ("PUT", "/collections/{name}", models.CreateCollection, RestServer._create),
    ("PUT", "/collections/{name}/index", models.CreateFieldIndex, RestServer._index),
    ("POST", POINTS, models.PointRequest, RestServer._retrieve),
    ("PUT", POINTS, models.PointsList, RestServer._upsert),
    ("PUT", POINTS + "/vectors", models.UpdateVectors, RestServer._vectors),
    ("POST", POINTS + "/payload", models.SetPayload, RestServer._set_payload),
    ("POST", POINTS + "/delete", models.PointIdsList | models.FilterSelector, RestServer._delete),
    ("POST", POINTS + "/scroll", models.ScrollRequest, RestServer._scroll),
    ("POST", POINTS + "/count", models.CountRequest, RestServer._count),
    ("POST", "/collections/{name}/facet", models.FacetRequest, RestServer._facet),
    ("POST", POINTS + "/query/batch", models.QueryRequestBatch, RestServer._query),
)


def scoped(flt: models.Filter | None, key: str = SCOPE_KEY) -> str:
    """The one scope, or user, that a filter lets through, ``""`` when it lets more through."""
    if flt is None or flt.should or flt.min_should or not isinstance(flt.must, list):
        return ""
    places = [
        condition.match.value
        for condition in flt.must
        if isinstance(condition, models.FieldCondition)
        and condition.key == key
        and isinstance(condition.match, models.MatchValue)
    ]
    return str(places[0]) if len(places) == 1 else ""


def pieced(flt: models.Filter) -> str:
    """The mark of the long records that a filter lets through."""
    matches = [each.match for each in _conditions(flt) if each.key == PIECED]
    marks = [match.value for match in matches if isinstance(match, models.MatchValue)]
    return str(marks[0]) if len(marks) == 1 else ""


def _conditions(flt: models.Filter | None) -> list[models.FieldCondition]:
    must = flt.must if flt is not None and isinstance(flt.must, list) else []
    return [each for each in must if isinstance(each, models.FieldCondition)]


def versioned(flt: models.Filter | None) -> bool:
    """Whether a filter asks for one version."""
    return any(each.key == "seq" for each in _conditions(flt))


def ok(result: Any) -> httpx.Response:
    envelope = {"result": result, "status": "ok", "time": 0.001}
    content = pydantic_core.to_json(envelope, exclude_none=True, inf_nan_mode="constants")
    return httpx.Response(200, content=content, headers={"content-type": "application/json"})


def said(status: int, error: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, json={"status": {"error": error}, "time": 0.0}, headers=headers)


def done(status: models.UpdateStatus = models.UpdateStatus.COMPLETED) -> models.UpdateResult:
    return models.UpdateResult(operation_id=1, status=status)


def is_write(request: httpx.Request) -> bool:
    return request.url.path.endswith(("/points", "/vectors")) and request.method == "PUT"


def bodies(seen: Iterable[Seen]) -> list[BaseModel]:
    return [each.body for each in seen]
