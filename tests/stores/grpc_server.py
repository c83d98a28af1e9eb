"""A server's gRPC interface on a local port, executed by qdrant-client's local mode.

What the client sends is turned back with the client's own converters, so this checks that
every call of ours has a gRPC form and survives it, not how a server answers.
"""

from __future__ import annotations

from typing import Any, Self

import grpc  # type: ignore[import-untyped]  # its types are in another package
from qdrant_client import grpc as rpc
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2_grpc

from tests.stores.local_server import LocalServer

NAME = "pagefault"
STRONG = rpc.WriteOrderingType.Strong
WEAK = rpc.WriteOrderingType.Weak


class GrpcServer:
    """Serves while it is entered; ``refuse`` is a status that every call then ends with."""

    def __init__(self, compression: grpc.Compression = grpc.Compression.NoCompression) -> None:
        self.compression = compression
        self.local = LocalServer()
        self.refuse: list[grpc.StatusCode] = []
        self.metadata: list[dict[str, str]] = []
        self.orderings: set[tuple[bool, int]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._server = grpc.aio.server(options=options, compression=self.compression)
        qdrant_pb2_grpc.add_QdrantServicer_to_server(_Root(self), self._server)
        collections_service_pb2_grpc.add_CollectionsServicer_to_server(_Collections(self), self._server)
        points_service_pb2_grpc.add_PointsServicer_to_server(_Points(self), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(grace=None)

    async def admit(self, context: Any) -> None:
        self.metadata.append(dict(context.invocation_metadata()))
        if self.refuse:
            await context.abort(self.refuse.pop(0), "as told")


class _Root(qdrant_pb2_grpc.QdrantServicer):
    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    async def HealthCheck(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        await self._server.admit(context)
        return rpc.HealthCheckReply(title="qdrant - vector search engine", version="1.19.2")


class _Collections(collections_service_pb2_grpc.CollectionsServicer):
    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        self._local = server.local

    async def CollectionExists(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        await self._server.admit(context)
        exists = await self._local.collection_exists(request.collection_name)
        return rpc.CollectionExistsResponse(result=rpc.CollectionExists(exists=exists))

    async def Get(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        info = await self._local.get_collection(request.collection_name)
        return rpc.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))

    async def Create(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        vectors: Any = {}
        if request.HasField("vectors_config"):
            vectors = GrpcToRest.convert_vectors_config(request.vectors_config)
        sparse = GrpcToRest.convert_sparse_vector_config(request.sparse_vectors_config)
        try:
            await self._local.create_collection(NAME, vectors_config=vectors, sparse_vectors_config=sparse)
        except ValueError as error:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, str(error))
        return rpc.CollectionOperationResponse(result=True)


class _Points(points_service_pb2_grpc.PointsServicer):
    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        self._local = server.local

    async def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        return _done()

    async def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        await self._server.admit(context)
        assert request.wait
        self._server.orderings.add((request.HasField("update_filter"), request.ordering.type))
        flt = GrpcToRest.convert_filter(request.update_filter) if request.HasField("update_filter") else None
        points = [GrpcToRest.convert_point_struct(point) for point in request.points]
        mode = GrpcToRest.convert_update_mode(request.update_mode)
        await self._local.upsert(NAME, points=points, update_filter=flt, update_mode=mode)
        return _done()

    async def UpdateVectors(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        assert request.wait
        points = [GrpcToRest.convert_point_vectors(point) for point in request.points]
        await self._local.update_vectors(
            NAME, points=points, update_filter=GrpcToRest.convert_filter(request.update_filter)
        )
        return _done()

    async def SetPayload(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        assert request.wait
        await self._local.set_payload(
            NAME,
            payload=GrpcToRest.convert_payload(request.payload),
            points=GrpcToRest.convert_filter(request.points_selector.filter),
        )
        return _done()

    async def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        assert request.wait
        await self._local.delete(NAME, points_selector=GrpcToRest.convert_points_selector(request.points))
        return _done()

    async def Get(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        await self._server.admit(context)
        found = await self._local.retrieve(
            NAME,
            ids=[GrpcToRest.convert_point_id(id_) for id_ in request.ids],
            with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
            with_vectors=GrpcToRest.convert_with_vectors_selector(request.with_vectors)
            if request.HasField("with_vectors")
            else False,
        )
        return rpc.GetResponse(result=[RestToGrpc.convert_retrieved_point(point) for point in found])

    async def Scroll(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        found, offset = await self._local.scroll(
            NAME,
            scroll_filter=GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None,
            limit=request.limit,
            order_by=GrpcToRest.convert_order_by(request.order_by) if request.HasField("order_by") else None,
            offset=GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None,
            with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
        )
        for point in found:
            point.payload = point.payload or {}  # a server sends an empty one
        points = [RestToGrpc.convert_retrieved_point(point) for point in found]
        after = None if offset is None else RestToGrpc.convert_extended_point_id(offset)
        return rpc.ScrollResponse(result=points, next_page_offset=after)

    async def Count(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        await self._server.admit(context)
        flt = GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None
        found = await self._local.count(NAME, count_filter=flt, exact=request.exact)
        return rpc.CountResponse(result=rpc.CountResult(count=found.count))

    async def Facet(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        await self._server.admit(context)
        found = await self._server.local.facet(
            request.collection_name, key=request.key, limit=request.limit, exact=True
        )
        hits = [rpc.FacetHit(value=rpc.FacetValue(string_value=str(hit.value)), count=hit.count) for hit in found.hits]
        return rpc.FacetResponse(hits=hits)

    async def QueryBatch(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name
        asked = [GrpcToRest.convert_query_points(each) for each in request.query_points]
        found: list[models.QueryResponse] = await self._local.query_batch_points(NAME, requests=asked)
        return rpc.QueryBatchResponse(
            result=[
                rpc.BatchResult(result=[RestToGrpc.convert_scored_point(point) for point in each.points])
                for each in found
            ]
        )


def _done() -> Any:
    return rpc.PointsOperationResponse(result=rpc.UpdateResult(operation_id=1, status=rpc.UpdateStatus.Completed))
