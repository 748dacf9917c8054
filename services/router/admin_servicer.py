"""The router's own gRPC service, for operators of its machine: routes past the bus. Parse, call, answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio
import structlog

from penstock.contracts.errors import Internal, InvalidInput, ServingError
from penstock.contracts.route_records import RouteRecord
from penstock.v1 import observations_pb2, routes_pb2
from penstock.v1 import router_pb2 as pb
from penstock.v1 import router_pb2_grpc as stubs
from services.router.routes_in_force import RoutesInForce

STOP_SECONDS = 0.5

Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger(__name__)
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class Offering(Protocol):
    """Takes a route's record past the bus."""

    async def offer(self, key: str, raw: bytes) -> bool:
        """Apply a record if it supersedes the one held, and keep it on disk; return whether it was applied."""
        ...


class AdminServicer(stubs.RouterAdminServicer):
    """Applies signed routes and shows what is in force."""

    def __init__(self, routes: RoutesInForce, offering: Offering) -> None:
        """Store the collaborators."""
        self._routes = routes
        self._offering = offering

    async def ApplyRoute(self, request: pb.ApplyRouteRequest, context: Context) -> pb.ApplyRouteResponse:
        """Apply a signed route."""
        try:
            raw = request.record.SerializeToString()
            record = RouteRecord.from_bytes(raw)
            if not record.break_glass or record.route is None:
                raise InvalidInput("only a break-glass record with a route can be applied here", field="record")
            self._routes.check_offer(record)
            applied = await self._offering.offer(record.route.model, raw)
        except ServingError as error:
            await _refuse(context, error)
        except Exception:
            request_id = uuid.uuid4().hex[:12]
            log.exception("admin_call_failed", request_id=request_id)
            await _refuse(context, Internal(f"internal error (request id {request_id})"))
        else:
            return pb.ApplyRouteResponse(applied=applied, status=self._status())
        raise AssertionError  # abort has raised

    async def GetRoutes(self, request: pb.GetRoutesRequest, context: Context) -> pb.GetRoutesResponse:
        """Return what is in force."""
        records = self._routes.records
        wanted = [request.model] if request.model else sorted(records)
        return pb.GetRoutesResponse(
            routes=[routes_pb2.RouteRecord.FromString(records[model].to_bytes()) for model in wanted if model in records],
            status=self._status(),
        )

    def _status(self) -> observations_pb2.RouterStatus:
        return observations_pb2.RouterStatus.FromString(self._routes.status().to_bytes())


@asynccontextmanager
async def serving_admin(servicer: AdminServicer, socket: Path) -> AsyncGenerator[str]:
    """Serve on a Unix socket that only this user can reach, and give out its gRPC target."""
    _cleared(socket)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    stubs.add_RouterAdminServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    _restrict(socket)
    try:
        yield f"unix:{socket}"
    finally:
        await server.stop(STOP_SECONDS)
        _cleared(socket)


def _cleared(socket: Path) -> None:
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    socket.unlink(missing_ok=True)


def _restrict(socket: Path) -> None:
    socket.chmod(0o600)


async def _refuse(context: Context, error: ServingError) -> None:
    await context.abort(_CODES[int(error.status.grpc)], error.message, (("penstock-reason", error.reason),))
