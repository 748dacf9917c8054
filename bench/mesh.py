"""The mesh as processes on real servers: controllers, routers and workers, each of which can be killed and brought back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper

from bench.killable import Killable, RealServer, free_ports, service
from bench.trees import CannotServe
from penstock.client.answers import status_word
from penstock.client.control import Control
from penstock.client.options import ClientOptions
from penstock.client.retry import RetryPolicy
from penstock.client.uploads import files_of, send
from penstock.contracts.errors import InvalidInput, Unavailable
from penstock.contracts.topics import TOPICS
from services.stack.kafka_broker import Kafka
from services.stack.postgres_database import DATABASE, USER, Postgres
from services.stack.redis_store import Redis
from services.stack.topic_catalogue import make_topics

MODEL = "scaled"
VERSIONS = {"v1": 2.0, "v2": 3.0}
"""By what each version multiplies: an answer names the version that gave it."""
WAIT_SECONDS = 120.0
PATIENT = ClientOptions(retries=RetryPolicy(attempts=8), timeout_seconds=30)
ONCE = ClientOptions(retries=RetryPolicy(attempts=1), timeout_seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large a mesh is."""

    routers: int = 4
    workers: int = 2
    controllers: int = 1
    has_postgres: bool = False
    """Keep the catalogue in PostgreSQL instead of the controllers' SQLite file."""
    lease_seconds: float = 2.0
    has_redis: bool = False
    """Let routers keep quotas together."""
    redis_seconds: float = 0.5
    """Longest wait for Redis: a machine that is overrun is not taken for a Redis that is away."""
    break_glass_keys: Path | None = None
    """File of operators' public keys, for controllers and routers."""


@dataclass(slots=True, kw_only=True)
class Mesh:
    """A mesh that runs."""

    folder: Path
    kafka: RealServer
    database: RealServer | None
    redis: RealServer | None = None
    controllers: list[Killable] = field(default_factory=list[Killable])
    controller_addresses: list[str] = field(default_factory=list[str])
    """gRPC addresses, in the order of `controllers`; the same is true of routers."""
    routers: list[Killable] = field(default_factory=list[Killable])
    router_addresses: list[str] = field(default_factory=list[str])
    workers: list[Killable] = field(default_factory=list[Killable])
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where the mesh reaches servers, by their names."""
    ports: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of every face, by `<process>-<face>`: one that comes back has the address that it had."""

    @contextmanager
    def control(self, options: ClientOptions = PATIENT, *, address: str = "") -> Generator[Control]:
        """Open a client of the controllers through the last router, or at an address."""
        with Control(address or self.router_addresses[-1], options) as control:
            yield control

    def address(self, name: str, face: str = "grpc") -> str:
        """Return where a process listens."""
        return f"127.0.0.1:{self.ports[f'{name}-{face}']}"

    def register(self, control: Control, version: str, factor: float, model: str = MODEL) -> None:
        """Send and register a version that multiplies by `factor`."""
        self.send(control, version, scaled(factor), model)

    def send(self, control: Control, version: str, content: bytes, model: str = MODEL) -> None:
        """Send and register a version, a file of ONNX."""
        place = self.folder / f"{model}-{version}"
        place.mkdir()
        (place / "model.onnx").write_bytes(content)
        files = files_of(place)

        def is_registered() -> bool:
            try:
                for file in files:
                    send(control, file)
                control.register(model, version, [file.sent for file in files])
            except InvalidInput as refusal:
                # Another controller has taken over since the upload, which the one before keeps: it is sent again.
                if refusal.reason != "BAD_UPLOAD":
                    raise
                return False
            except Unavailable:
                return False
            return True

        until(is_registered, pause_seconds=0.1)

    def deploy(self, control: Control, version: str, model: str = MODEL) -> str:
        """Deploy a version; return the deployment's id when it is active."""
        wanted = control.deploy(model, version).deployment.deployment_id
        until(lambda: any(one.deployment_id == wanted and status_word(one) == "active" for one in control.deployments(model)))
        return wanted


def where_it_is(server: RealServer) -> str:
    """Return a server's own address."""
    return server.address


@contextmanager
def mesh(folder: Path, shape: Shape, place: Callable[[RealServer], str] = where_it_is) -> Generator[Mesh]:
    """Run a mesh with both versions deployed, the first of which has the traffic, until the block ends.

    `place` says where the mesh reaches a server, and is called before that starts.

    Raises:
        CannotStart: a server cannot be had.
        CannotServe: a process does not start.
    """
    with ExitStack() as stack:
        places: dict[str, str] = {}

        def entered(server: RealServer) -> RealServer:
            places[server.name] = place(server)
            return _entered(stack, server)

        kafka = entered(RealServer(Kafka(), folder))
        database = entered(RealServer(Postgres(), folder)) if shape.has_postgres else None
        redis = entered(RealServer(Redis(), folder)) if shape.has_redis else None
        for server in (kafka, database, redis):
            if server is not None:
                server.wait()
        asyncio.run(make_topics(kafka.address, TOPICS))
        names = [*(f"controller-{n}" for n in range(shape.controllers)), *(f"router-{n}" for n in range(shape.routers))]
        ports = free_ports(folder, *(f"{name}-{face}" for name in names for face in ("grpc", "http")))
        made = Mesh(folder=folder, kafka=kafka, database=database, redis=redis, places=places, ports=ports)
        _add_controllers(made, shape)
        _add_workers(made, shape)
        _add_routers(made, shape)
        stack.callback(_end, made)
        _start(made)
        with made.control() as control:
            for version, factor in VERSIONS.items():
                made.register(control, version, factor)
                made.deploy(control, version)
            confirmed(lambda: control.set_traffic(MODEL, {"v1": 10_000, "v2": 0}), shape.routers)
        yield made


def _entered(stack: ExitStack, server: RealServer) -> RealServer:
    server.start()
    # What Kafka holds ends with the mesh: it need not be put in order first, which takes seconds.
    stack.callback(server.kill if server.name == Kafka.name else server.close)
    return server


def _add_controllers(made: Mesh, shape: Shape) -> None:
    for number in range(shape.controllers):
        name = f"controller-{number}"
        settings = {
            "controller_id": name,
            "grpc_port": made.ports[f"{name}-grpc"],
            "http_port": made.ports[f"{name}-http"],
            "bus": _bus(made),
            "lease_seconds": shape.lease_seconds,
            **_keys(shape),
            "database": f"postgresql+asyncpg://{USER}@{made.places['postgres']}/{DATABASE}" if made.database else "",
        }
        made.controllers.append(service(made.folder, "controller", name, settings))
        made.controller_addresses.append(made.address(name))


def _add_workers(made: Mesh, shape: Shape) -> None:
    store = {"store": (made.folder / "s" / "artefacts").as_uri()}
    for number in range(shape.workers):
        settings = {"worker_id": f"worker-{number}", "bus": _bus(made), "artefacts": store}
        made.workers.append(service(made.folder, "worker", f"worker-{number}", settings))


def _add_routers(made: Mesh, shape: Shape) -> None:
    names = [one.name for one in made.controllers]
    redis = {"url": f"redis://{made.places['redis']}", "timeout_seconds": shape.redis_seconds} if made.redis else {}
    controllers = [{face: made.address(name, face) for face in ("grpc", "http")} for name in names]
    for number in range(shape.routers):
        name = f"router-{number}"
        ports = {f"{face}_port": made.ports[f"{name}-{face}"] for face in ("grpc", "http")}
        settings = {"router_id": name, **ports, "bus": _bus(made), "controllers": controllers, "redis": redis, **_keys(shape)}
        made.routers.append(service(made.folder, "router", name, settings))
        made.router_addresses.append(made.address(name))


def _start(made: Mesh) -> None:
    """Start all at once, but controllers one after another: the first is the writer."""
    first, *standbys = made.controllers
    for one in (first, *made.workers, *made.routers):
        one.start()
    first.wait()
    for standby in standbys:
        standby.start()
        standby.wait()
    for router in made.routers:
        router.wait()


def _end(made: Mesh) -> None:
    everybody = [*made.routers, *made.workers, *made.controllers]
    with ThreadPoolExecutor(len(everybody)) as threads:
        for ending in [threads.submit(one.end) for one in everybody]:
            ending.result()


def _keys(shape: Shape) -> dict[str, str]:
    return {"break_glass_keys": str(shape.break_glass_keys)} if shape.break_glass_keys is not None else {}


def _bus(made: Mesh) -> dict[str, str]:
    return {"bootstrap_servers": made.places["kafka"]}


def scaled(factor: float) -> bytes:
    """Return a model that multiplies by `factor`."""
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("rows", 1)) for name in ("x", "y")]
    constant = helper.make_tensor("k", TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "k"], ["y"])], "scaled", sides[:1], sides[1:], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def confirmed(change: Callable[[], Any], routers: int) -> Any:
    """Return the answer of a change of traffic that so many routers confirmed; one that fewer did, or that nobody made, is made again."""
    answers: list[Any] = []

    def is_confirmed() -> bool:
        try:
            answers.append(change())
        except Unavailable:
            return False
        return sum(one.seconds >= 0 for one in answers[-1].confirmations) >= routers

    until(is_confirmed, pause_seconds=0.1)
    return answers[-1]


def until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS, pause_seconds: float = 0.01) -> float:
    """Wait for something to become true; return how long it took.

    Raises:
        CannotServe: it did not in time.
    """
    began_at = time.monotonic()
    while not condition():
        if time.monotonic() - began_at > seconds:
            raise CannotServe(f"what was waited for did not happen within {seconds:g} s")
        time.sleep(pause_seconds)
    return time.monotonic() - began_at


def restart(processes: Sequence[Killable]) -> None:
    """Start killed processes all at once and return when every one can be used; a controller may need its servers first."""
    for one in processes:
        one.start()
        one.wait()
