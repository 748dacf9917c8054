"""`penstock up`: constructors in opening order; leaving closes in the mirror of it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from penstock.contracts.topics import TOPICS
from services.chassis.aggregate import Aggregate
from services.chassis.clock import SystemClock
from services.chassis.entry import Start
from services.chassis.metrics import registry
from services.chassis.metrics_server import Gathered, MetricsServer
from services.chassis.private_folder import check_socket_paths, locked, make_private
from services.chassis.process import Hooks
from services.chassis.serve_record import ServeRecord, published
from services.stack.board import Board, State
from services.stack.free_ports import Ports
from services.stack.mesh_services import Service, Surrounded, mesh_services
from services.stack.recipe import HOST, Sources
from services.stack.recipes import RECIPES
from services.stack.server_cache import ServerCache
from services.stack.servers import Servers, Surroundings
from services.stack.settings import FACES, StackSettings
from services.stack.topic_catalogue import make_topics

LONGEST_SOCKET = "mesh/metrics/controller-0.sock"
"""Of those that the processes of the mesh open in the folder of state."""


@asynccontextmanager
async def up(start: Start[StackSettings]) -> AsyncGenerator[Hooks]:
    """Run the stack while the block lasts."""
    settings = start.config.current
    async with AsyncExitStack() as stack:
        if settings.mesh:
            check_socket_paths(settings.state_dir, LONGEST_SOCKET)
        make_private(settings.state_dir)
        stack.enter_context(locked(settings.state_dir, "up"))
        board = Board(settings.state_dir, settings.name)
        recipes = [recipe for recipe in RECIPES if recipe.name in settings.servers]
        around = surroundings(settings, board)
        board.expect(*(recipe.name for recipe in recipes))
        servers = Servers(around)
        found = await servers.find_all(recipes)
        stack.callback(board.become, State.STOPPED)
        addresses: dict[str, str] = {}
        for recipe, where in zip(recipes, found, strict=True):
            address = addresses[recipe.name] = await stack.enter_async_context(servers.running(recipe, where))
            if recipe.name == "kafka" and (made := await make_topics(address, TOPICS)):
                board.say(f"{made} topics made")
        if settings.mesh and "kafka" in addresses:
            await stack.enter_async_context(_mesh(settings, servers, around, addresses))
        stack.callback(board.become, State.STOPPING)
        board.become(State.READY)
        yield Hooks(abandon=servers.abandon)


@asynccontextmanager
async def _mesh(settings: StackSettings, servers: Servers, around: Surroundings, addresses: Mapping[str, str]) -> AsyncGenerator[None]:
    """Run controller, workers and routers while the block lasts, and let commands find them."""
    folder = settings.state_dir / "mesh"
    make_private(folder)
    (folder / "cache").mkdir(exist_ok=True)
    ports = around.ports.take(FACES)
    told = Surrounded(
        folder=folder, kafka=addresses["kafka"], postgres=addresses.get("postgres", ""), redis=addresses.get("redis", ""), ports=ports
    )
    services = mesh_services(settings, told)
    around.board.expect(*(service.name for service in services))
    record = ServeRecord(
        http=f"{HOST}:{ports['http']}",
        grpc=f"{HOST}:{ports['grpc']}",
        metrics=f"{HOST}:{ports['metrics']}",
        repository=f"the mesh {settings.name!r}",
        mesh=settings.name,
        state_dir=folder,
        started_time=time.time(),
    )
    async with AsyncExitStack() as stack:
        for service in services:
            found = await service.find(around.sources)
            around.board.show(service.name, origin=found.origin.value, version=found.version)
            await stack.enter_async_context(servers.running(service, found))
        sockets = {service.name: folder / "metrics" / f"{_socket_of(service)}.sock" for service in services}
        await stack.enter_async_context(_metrics(sockets).on_port(HOST, ports["metrics"]))
        stack.enter_context(published(record, settings.runtime_dir))
        around.board.tell_mesh({"http": record.http, "grpc": record.grpc, "metrics": record.metrics})
        yield


def _socket_of(service: Service) -> str:
    return str(service.settings.get("controller_id", service.name))


def _metrics(sockets: Mapping[str, Path]) -> MetricsServer:
    aggregate = Aggregate(sockets)

    async def source() -> CollectorRegistry:
        return registry(Gathered(await aggregate.collect({})))

    return MetricsServer(source)


def surroundings(settings: StackSettings, board: Board) -> Surroundings:
    """Return what the servers of a stack share."""
    logs = settings.state_dir / "logs"
    logs.mkdir(exist_ok=True, mode=0o700)
    return Surroundings(
        folder=settings.state_dir,
        board=board,
        ports=Ports(settings.state_dir / "ports.json", settings.ports, board.say),
        sources=Sources(cache=ServerCache(settings.cache_dir, board.say), logs=logs, say=board.say),
        clock=SystemClock(),
        addresses=settings.addresses,
        start_seconds=settings.start_seconds,
    )
