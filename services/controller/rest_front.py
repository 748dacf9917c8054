"""The controller's HTTP API: JSON in and out of the same operations that gRPC calls; `/api/v1/openapi.json` describes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response

from penstock.contracts.errors import InvalidInput
from penstock.v1 import controller_pb2 as pb
from services.chassis.tls_files import TlsFiles, context_factory
from services.controller import rest_bodies as bodies
from services.controller import rest_views_front as views
from services.controller.grpc_front import Callers
from services.controller.rest_calls_front import REFUSALS, Calls, answered, refuse_typed, write_options
from services.controller.rest_door_front import Door
from services.controller.rest_json_front import StrictRoute
from services.controller.rest_registry_front import model_routes, registration_routes, upload_routes
from services.controller.rest_traffic_front import deployment_changes, deployment_routes, exception_routes, rollback_routes, traffic_routes
from services.controller.rights import Operation

BACKLOG = 512
START_SECONDS = 0.005


def rest_app(operations: Mapping[str, Operation], callers: Callers, version: str) -> FastAPI:
    """Return the ASGI application.

    Args:
        operations: by method name of the service.
        callers: knows who calls.
        version: of the distribution, for the document.
    """
    calls = Calls(operations, callers)
    app = FastAPI(
        title="penstock controller",
        version=version,
        summary="Models, deployments, traffic, tenants, and every change of them.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=REFUSALS,
    )
    refuse_typed(app)
    app.add_middleware(Door, callers=callers)
    for routes in FAMILIES:
        app.include_router(routes(calls), prefix="/api/v1")
    return app


@asynccontextmanager
async def serving_rest(app: FastAPI, host: str, port: int, tls: TlsFiles | None = None) -> AsyncGenerator[int]:
    """Serve while the block lasts, and give out the port.

    Raises:
        OSError: the port cannot be bound, or a certificate cannot be used.
    """
    # No log of URLs: what a caller puts into a query may be a key, although no key is read there.
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        # Who calls is who is connected; what a header says of that, anybody may have written.
        proxy_headers=False,
        backlog=BACKLOG,
        ssl_context_factory=context_factory(tls),
    )
    config.load()
    listening = config.bind_socket() if port else None
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listening] if listening else None))
    try:
        while not server.started:
            if serving.done():
                await serving
                message = f"cannot listen on {host}:{port}"
                raise OSError(message)
            await asyncio.sleep(START_SECONDS)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


def tenant_routes(calls: Calls) -> APIRouter:
    """Return the paths below `/tenants`."""
    paths = APIRouter(tags=["tenants"], route_class=StrictRoute)

    @paths.get("/tenants")
    async def list_tenants(http: Request) -> Response:
        """List tenants with their keys, without anything secret."""
        answer = await calls.call("ListTenants", http, pb.ListTenantsRequest())
        return answered({"tenants": [views.tenant(one) for one in answer.tenants]})

    @paths.put("/tenants/{tenant}")
    async def set_tenant(http: Request, tenant: str, body: bodies.TenantBody, force: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query
        """Make or change a tenant; one without whom nobody could change the mesh only with `force`."""
        settings, options = bodies.as_text(body.settings), write_options(http, body.reason)
        request = pb.SetTenantRequest(tenant=tenant, settings_json=settings, frozen=body.frozen, options=options, force=force)
        answer = await calls.call("SetTenant", http, request)
        return answered({"tenant": views.tenant(answer.tenant), "change": views.change(answer.change)}, revision=answer.tenant.revision)

    @paths.post("/tenants/{tenant}/keys", status_code=201)
    async def create_key(http: Request, tenant: str, body: bodies.KeyBody | None = None) -> Response:
        """Make a key; its secret is in this answer and nowhere else."""
        body = body or bodies.KeyBody()
        request = pb.CreateKeyRequest(tenant=tenant, life_seconds=body.life_seconds, options=write_options(http, body.reason))
        answer = await calls.call("CreateKey", http, request)
        document = {"key": answer.key, "record": views.key(answer.record), "change": views.change(answer.change)}
        return answered(document, status=200 if answer.change.dry_run else 201)

    @paths.delete("/tenants/{tenant}/keys/{key}")
    async def revoke_key(http: Request, tenant: str, key: str, force: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query
        """Refuse a key from now on; an administrator's last only with `force`."""
        request = pb.RevokeKeyRequest(tenant=tenant, key_id=key, options=write_options(http), force=force)
        answer = await calls.call("RevokeKey", http, request)
        return answered({"tenant": views.tenant(answer.tenant), "change": views.change(answer.change)})

    return paths


def ledger_routes(calls: Calls) -> APIRouter:
    """Return the paths that answer for changes, and say who is there."""
    paths = APIRouter(tags=["ledger"], route_class=StrictRoute)

    @paths.get("/audit")
    @paths.get("/changes")
    async def list_changes(http: Request, since: str = "", subject: str = "", most: int = 100, verify: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query
        """List changes, newest first; `verify=true` checks the chain of audit records from its beginning."""
        request = pb.ListChangesRequest(since_time=_time(since), subject=subject, most_changes=max(1, min(most, 10_000)), verify=verify)
        answer = await calls.call("ListChanges", http, request)
        return answered({"changes": [views.change(one) for one in answer.changes], "broken": answer.broken or None})

    @paths.post("/apply")
    async def apply(http: Request, body: bodies.ApplyBody) -> Response:
        """Make the mesh be as a document says."""
        request = pb.ApplyRequest(manifest=body.manifest, options=write_options(http, body.reason))
        answer = await calls.call("Apply", http, request)
        return answered({"changes": [views.change(one) for one in answer.changes], "pending": list(answer.pending)})

    @paths.put("/freeze")
    async def freeze(http: Request, body: bodies.FreezeBody) -> Response:
        """Refuse every change but rollbacks, kill switches, freezes and revocations; or take changes again."""
        request = pb.SetWritesFrozenRequest(frozen=body.frozen, options=write_options(http, body.reason))
        answer = await calls.call("SetWritesFrozen", http, request)
        return answered({"frozen": answer.frozen, "change": views.change(answer.change)}, revision=answer.revision)

    @paths.post("/republish")
    async def republish(http: Request) -> Response:
        """Publish again what is in force and the topics have lost; `dry_run=true` says what that is."""
        answer = await calls.call("Republish", http, pb.RepublishRequest(options=write_options(http)))
        return answered({"records": list(answer.records), "change": views.change(answer.change)})

    @paths.get("/mesh")
    async def mesh(http: Request) -> Response:
        """Show controllers, routers and workers."""
        return answered(views.mesh(await calls.call("GetMesh", http, pb.GetMeshRequest())))

    return paths


def _time(text: str) -> float:
    """Return a time stamp of a query: seconds since the Unix epoch, or RFC 3339."""
    if not text:
        return 0.0
    try:
        return float(text) if text.replace(".", "", 1).isdecimal() else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise InvalidInput(f"since={text[:40]!r} is no time: use RFC 3339 or seconds since the epoch", field="since") from None


FAMILIES = (
    model_routes,
    registration_routes,
    upload_routes,
    deployment_routes,
    deployment_changes,
    traffic_routes,
    exception_routes,
    rollback_routes,
    tenant_routes,
    ledger_routes,
)
"""All paths, in the order of the document."""
