"""Both faces of a controller that lets everybody in whom TLS let in, and answers every call with nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from penstock.v1 import controller_pb2 as pb
from services.chassis.tls_files import TlsFiles
from services.controller.callers import Caller
from services.controller.grpc_front import serving_grpc
from services.controller.rest_front import rest_app, serving_rest
from services.router.controller_link import Addresses

METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["Controller"].methods]
MODELS = pb.ListModelsRequest().SerializeToString()


class Anybody:
    """Lets everybody in who has come so far."""

    async def of(self, key: str | None, *, writes: bool) -> Caller:
        return Caller(name="any", tenant="any", is_operator=writes)


async def answer(_: Caller, request: Any) -> Any:
    return getattr(pb, type(request).__name__.replace("Request", "Response"))()


@asynccontextmanager
async def controller(tls: TlsFiles | None) -> AsyncGenerator[Addresses]:
    """Serve until the block ends, and give out where."""
    served = dict.fromkeys(METHODS, answer)
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(serving_grpc("127.0.0.1:0", served, Anybody(), tls))
        http = await stack.enter_async_context(serving_rest(rest_app(served, Anybody(), "1"), "127.0.0.1", 0, tls))
        yield Addresses(grpc=f"127.0.0.1:{target}", http=f"127.0.0.1:{http}")
