"""Both faces of a controller with its real operations on a real catalogue; only the bus is not there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx2

from penstock.v1 import controller_pb2 as pb
from services.chassis.clock import SystemClock
from services.chassis.wrong_keys import WrongKeys
from services.controller.applying import Applying
from services.controller.config import ControllerSettings
from services.controller.deployments import Deployments
from services.controller.deployments_servicer import DeploymentsServicer
from services.controller.grpc_front import serving_grpc
from services.controller.known_callers import KnownCallers
from services.controller.ledger_servicer import LedgerServicer
from services.controller.models_servicer import ModelsServicer, Uploads
from services.controller.operations_servicer import Servicers, operations
from services.controller.placement import PlacementRounds
from services.controller.platform_servicer import PlatformServicer
from services.controller.platform_settings import PlatformSettings
from services.controller.registering import registering
from services.controller.registry import Registry
from services.controller.rest_front import rest_app, serving_rest
from services.controller.rights import Operation
from services.controller.rollback import Rollback
from services.controller.routers import Routers
from services.controller.tenancy import Tenancy, TenantUpdate
from services.controller.tenants_servicer import TenantsServicer
from services.controller.traffic import Traffic
from services.controller.traffic_servicer import TrafficServicer
from services.controller.verification import Unpaced, Verification
from services.controller.verification_servicer import VerificationServicer
from services.controller.workers import Workers
from tests.controller.stand import ANN, Stand, standing

METHODS: Mapping[str, Any] = {method.name: method for method in pb.DESCRIPTOR.services_by_name["Controller"].methods}

CALLERS: Mapping[str, dict[str, object]] = {
    "tenant": {"models": ["own-*"]},
    "other": {"models": ["foreign-*"]},
    "viewer": {"roles": ["viewer"], "models": []},
    "registrar": {"roles": ["registrar"], "model_prefixes": ["team-a-", "shared"], "models": ["team-a-*"]},
    "operator": {"admin": True},
}
"""Settings of the tenants that call."""

SIGNED = "penstock-operator-ed25519:" + "ab" * 32
"""What a person with a break-glass key might send as if it were an API key."""


class NoTopics:
    """Topics that hold nothing."""

    async def held(self, _: object) -> dict[str, bytes]:
        return {}


@dataclass(kw_only=True)
class Faces:
    """Where the faces listen, and the keys of who calls."""

    stand: Stand
    grpc: str
    http: str
    keys: dict[str, str | None] = field(default_factory=lambda: {"nobody": None, "break-glass": SIGNED})
    _channels: dict[str, Any] = field(default_factory=dict[str, Any])
    _client: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=60, trust_env=False))

    def refusal(self, target: str, method: str, caller: str, *requests: Any) -> tuple[str, str]:
        """Call a method; return the status and the message, OK and nothing when it is answered."""
        key = self.keys[caller]
        metadata = [] if key is None else [("x-api-key", key)]
        payloads = [one.SerializeToString() for one in requests or [getattr(pb, f"{method}Request")()]]
        channel, path = self._channel(target), f"/penstock.v1.Controller/{method}"
        try:
            if METHODS[method].client_streaming:
                channel.stream_unary(path)(iter(payloads), metadata=metadata, timeout=60)
            else:
                channel.unary_unary(path)(payloads[0], metadata=metadata, timeout=60)
        except grpc.RpcError as error:
            told: Any = error
            return told.code().name, told.details()
        return "OK", ""

    def answer(self, method: str, caller: str, request: Any) -> Any:
        """Call a method that is answered."""
        read = getattr(pb, f"{method}Response").FromString
        call = self._channel(self.grpc).unary_unary(f"/penstock.v1.Controller/{method}", response_deserializer=read)
        return call(request.SerializeToString(), metadata=[("x-api-key", self.keys[caller] or "")], timeout=60)

    def send(self, base: str, method: str, path: str, caller: str, **more: Any) -> httpx2.Response:
        """Send an HTTP request."""
        key = self.keys[caller]
        headers = {**({} if key is None else {"x-api-key": key}), **more.pop("headers", {})}
        return self._client.request(method, base + path, headers=headers, **more)

    def close(self) -> None:
        """Close what was opened to call."""
        self._client.close()
        for channel in self._channels.values():
            channel.close()

    def _channel(self, target: str) -> Any:
        if target not in self._channels:
            self._channels[target] = grpc.insecure_channel(target)
        return self._channels[target]


def served(stand: Stand, intake: Any) -> Mapping[str, Operation]:
    """Return the operations as the controller composes them."""
    changes, workers, routers = stand.changes, Workers(time.monotonic), Routers(time.monotonic)
    rounds = PlacementRounds(changes, workers)
    return operations(
        Servicers(
            uploads=Uploads(intake.uploads, intake.threads),
            models=ModelsServicer(Registry(changes), intake.registration, stand.catalogue, workers),
            verification=VerificationServicer(Verification(changes, intake.touchstones, Unpaced()), stand.catalogue),
            deployments=DeploymentsServicer(Deployments(changes, workers), stand.catalogue, workers, rounds),
            traffic=TrafficServicer(Traffic(changes), Rollback(changes), routers),
            tenants=TenantsServicer(Tenancy(changes), stand.catalogue),
            ledger=LedgerServicer(stand.catalogue, routers, workers, time.monotonic),
            platform=PlatformServicer(Applying(changes, workers), PlatformSettings(changes), stand.republishing(NoTopics())),
        )
    )


@asynccontextmanager
async def faces(url: str, folder: Path, *, wrong_keys: int = 0, **settings: Any) -> AsyncIterator[Faces]:
    """Open both faces, with a key for every caller and a model for each of two tenants."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stand = await enter(standing(url))
        intake = await enter(registering(ControllerSettings(state_dir=folder, **settings), SystemClock()))
        callers, table = KnownCallers(stand.catalogue, wrong_keys=WrongKeys(wrong_keys)), served(stand, intake)
        target = await enter(serving_grpc("127.0.0.1:0", table, callers))
        http = await enter(serving_rest(rest_app(table, callers, "1"), "127.0.0.1", 0))
        made = Faces(stand=stand, grpc=f"127.0.0.1:{target}", http=f"http://127.0.0.1:{http}")
        tenancy = Tenancy(stand.changes)
        for name, rights in CALLERS.items():
            await tenancy.set_tenant(name, TenantUpdate(settings=rights), ANN)
            made.keys[name], _ = await tenancy.create_key(name, None, ANN)
        await stand.active("own-model", "v1")
        await stand.active("foreign-model", "v1")
        yield made
        made.close()


@contextmanager
def in_a_thread(opening: Callable[[], Any]) -> Iterator[Any]:
    """Keep an asynchronous block open in a loop of its own, so that a whole module of tests can call what it serves."""
    opened: list[Any] = []
    ready, over = threading.Event(), threading.Event()

    async def keep() -> None:
        async with opening() as made:
            opened.append(made)
            ready.set()
            await asyncio.to_thread(over.wait)

    def run() -> None:
        try:
            asyncio.run(keep())
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        ready.wait(60)
        yield opened[0]
    finally:
        over.set()
        thread.join(60)
