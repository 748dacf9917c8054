"""grpc.health.v1.Health: the server (""), its gRPC service, and every model by its name.

Anybody may ask, probes have no keys. The standard wants NOT_FOUND from Check and SERVICE_UNKNOWN from Watch for a name that is none.
Watch compares every WATCH_SECONDS instead of being told, which costs a watcher some microseconds a second and misses nothing that lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from penstock.contracts.errors import NotFound
from penstock.oip.v2 import health_pb2 as pb
from penstock.oip.v2.services import HEALTH_SERVICE, INFERENCE_SERVICE
from services.chassis.clock import Clock
from services.router.directory import Directory
from services.router.grpc_errors import Context, MethodHandler
from services.router.grpc_service import decode, raw_unary_stream, unary

WATCH_SECONDS = 0.1

_SERVER = ("", INFERENCE_SERVICE)


class HealthServicer:
    """Reports who takes requests."""

    name = HEALTH_SERVICE

    def __init__(self, directory: Directory, clock: Clock) -> None:
        """Keep the collaborators."""
        self._directory = directory
        self._clock = clock
        self._draining = asyncio.Event()

    def begin_drain(self) -> None:
        """Tell watchers at once what the directory says, and end their streams."""
        self._draining.set()

    def methods(self) -> Mapping[str, MethodHandler]:
        """Return the methods by name."""
        return {
            "Check": unary(pb.HealthCheckRequest, self._check),
            "List": unary(pb.HealthListRequest, self._list),
            "Watch": raw_unary_stream(self._watch),
        }

    def status(self, service: str) -> pb.HealthCheckResponse:
        """Return the health of a name; SERVICE_UNKNOWN when it is none."""
        if service in _SERVER:
            is_ready = self._directory.server_ready()
        elif self._directory.knows(service):
            is_ready = self._directory.model_ready(service)
        else:
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN)
        return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVING if is_ready else pb.HealthCheckResponse.NOT_SERVING)

    async def _check(self, request: pb.HealthCheckRequest, _context: Context) -> pb.HealthCheckResponse:
        found = self.status(request.service)
        if found.status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            raise NotFound(f"no service or model {request.service[:64]!r}", field="service")
        return found

    async def _list(self, _request: pb.HealthListRequest, _context: Context) -> pb.HealthListResponse:
        return pb.HealthListResponse(statuses={name: self.status(name) for name in (*_SERVER, *self._directory.models())})

    async def _watch(self, payload: bytes, context: Context) -> None:
        service = decode(pb.HealthCheckRequest, payload).service
        told: pb.HealthCheckResponse | None = None
        while True:
            is_last = self._draining.is_set()
            found = self.status(service)
            if found != told:
                await context.write(found.SerializeToString())
                told = found
            if is_last:
                return
            await self._pause()

    async def _pause(self) -> None:
        """Wait for the next look, which comes at once when the router begins to drain."""
        pause = asyncio.ensure_future(self._clock.sleep(WATCH_SECONDS))
        drained = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait((pause, drained), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            drained.cancel()
