"""A router that only passes on to controllers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from services.chassis.clock import SystemClock
from services.router.controller_link import Addresses, ControllerLink
from services.router.grpc_front import GrpcOptions, open_grpc
from services.router.http_front import HttpOptions, open_http
from tests.router.control_stand import control_stand


@asynccontextmanager
async def router(addresses: Sequence[Addresses]) -> AsyncIterator[tuple[str, str]]:
    """Open both faces of a router before these controllers; gives gRPC's and HTTP's address."""
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(ControllerLink(addresses))
        control = replace(control_stand().control, controllers=link)
        grpc_face = await stack.enter_async_context(open_grpc(GrpcOptions(port=0), control, SystemClock()))
        http_face = await stack.enter_async_context(open_http(HttpOptions(port=0), control))
        yield f"127.0.0.1:{grpc_face.port}", f"http://127.0.0.1:{http_face.port}"
