"""The admin services of routers, as an operator calls them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from penstock.contracts.errors import Unavailable
from penstock.contracts.route_records import RouteRecord
from penstock.v1 import router_pb2 as pb
from penstock.v1 import routes_pb2
from penstock.v1.router_pb2_grpc import RouterAdminStub

CALL_SECONDS = 5.0


class RouterLink:
    """One router."""

    def __init__(self, target: str, stub: Any) -> None:
        """Keep the connection."""
        self.target = target
        self._stub = stub

    async def records(self, model: str) -> tuple[str, tuple[RouteRecord, ...]]:
        """Return the router's name and what it has in force of a model.

        Raises:
            Unavailable: it does not answer.
        """
        try:
            answer = await self._stub.GetRoutes(pb.GetRoutesRequest(model=model), timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise _away(self.target, error) from error
        return answer.status.router_id, tuple(RouteRecord.from_bytes(one.SerializeToString()) for one in answer.routes)

    async def apply(self, record: RouteRecord) -> bool:
        """Apply a signed record; return whether it was newer than what was in force.

        Raises:
            Unavailable: the router does not answer, or refuses it.
        """
        try:
            request = pb.ApplyRouteRequest(record=routes_pb2.RouteRecord.FromString(record.to_bytes()))
            return (await self._stub.ApplyRoute(request, timeout=CALL_SECONDS)).applied
        except grpc.aio.AioRpcError as error:
            raise _away(self.target, error) from error


@asynccontextmanager
async def connected(target: str) -> AsyncGenerator[RouterLink]:
    """Open a connection to `unix:/path/to.sock` or `host:port` lazily."""
    async with grpc.aio.insecure_channel(target) as channel:
        yield RouterLink(target, RouterAdminStub(channel))


def _away(target: str, error: grpc.aio.AioRpcError) -> Unavailable:
    return Unavailable(f"the router at {target} did not do it: {error.code().name}: {(error.details() or '')[:200]}", reason="ROUTER_AWAY")
