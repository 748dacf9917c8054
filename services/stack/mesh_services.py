"""Our own services as the stack runs them: a controller, workers and routers that share a folder and the bus."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from services.chassis.atomic_file import write_atomically
from services.chassis.child import ChildSpec
from services.chassis.parentage import python_path
from services.stack.probes import NotReady
from services.stack.recipe import HOST, Found, Origin, Site, Sources
from services.stack.settings import StackSettings

ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrounded:
    """What the services of a mesh are told of the servers and of each other."""

    folder: Path
    """Of sockets, statuses, catalogue and artefacts."""
    kafka: str
    postgres: str = ""
    """Empty: the catalogue is a SQLite file."""
    redis: str = ""
    """Empty: each router is on its own."""
    ports: Mapping[str, int]
    """By the names of `settings.FACES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process of the mesh, as a recipe; `settings` is its settings file."""

    name: str
    service: str
    address: str
    settings: Mapping[str, Any]
    ready: Path
    """File that is there when the process has opened what it opens."""
    path: str = ""
    """What is asked for over HTTP at `address`; empty asks nobody."""
    stop_seconds: float = 15.0
    ports: tuple[str, ...] = field(default=(), init=False)

    async def find(self, sources: Sources) -> Found:
        """Return ourselves."""
        return Found(origin=Origin.OURS, version=version("penstock"))

    async def prepare(self, found: Found, site: Site) -> None:
        """Write the settings; what a former life said of itself is gone."""
        self.ready.unlink(missing_ok=True)
        write_atomically(site.folder / "settings.json", json.dumps(self.settings, indent=2).encode() + b"\n")

    def spec(self, found: Found, site: Site) -> ChildSpec:
        """Return the command; it dies with this process."""
        command = (sys.executable, "-P", "-m", f"services.{self.service}", "--config", str(site.folder / "settings.json"))
        return ChildSpec(name=self.name, command=command, environment={"PYTHONPATH": python_path()}, log=site.log)

    async def answers(self, host: str, port: int) -> None:
        """Return when it has said that it is ready, and answers.

        Raises:
            NotReady: what is missing.
        """
        if not await asyncio.to_thread(self.ready.exists):
            raise NotReady("it has not said that it is ready")
        if self.path:
            await _http_answers(host, port, self.path)


def mesh_services(settings: StackSettings, around: Surrounded) -> tuple[Service, ...]:
    """Return the services in the order of their start."""
    workers = [_worker(f"worker-{number}", around) for number in range(settings.workers)]
    routers = [_router(f"router-{number}", around, settings) for number in range(settings.routers)]
    return (_controller(around), *workers, *routers)


def _controller(around: Surrounded) -> Service:
    database = f"postgresql+asyncpg://penstock@{around.postgres}/penstock" if around.postgres else ""
    settings = {
        **_shared(around),
        "controller_id": "controller-0",
        "grpc_port": around.ports["controller"],
        "http_port": around.ports["controller-http"],
        "database": database,
        "artefacts": _store(around),
    }
    return Service(
        name="controller",
        service="controller",
        address=f"{HOST}:{around.ports['controller-http']}",
        settings=settings,
        ready=around.folder / "ready" / "controller-0",
        path="/api/v1/openapi.json",
    )


def _worker(name: str, around: Surrounded) -> Service:
    settings = {**_shared(around), "worker_id": name, "artefacts": {"store": _store(around), "cache": str(around.folder / "cache" / name)}}
    address = f"unix:{around.folder / 'links' / name}.sock"
    return Service(name=name, service="worker", address=address, settings=settings, ready=around.folder / "workers" / f"{name}.pb")


def _router(name: str, around: Surrounded, stack: StackSettings) -> Service:
    ports = around.ports
    settings = {
        **_shared(around),
        "router_id": name,
        "host": HOST,
        "http_port": ports["http"],
        "grpc_port": ports["grpc"],
        "metrics_port": ports["metrics"],
        "reuse_port": True,
        "redis": {"url": f"redis://{around.redis}"} if around.redis else {},
        "quota_routers": stack.routers,
        "controllers": [{"grpc": f"{HOST}:{ports['controller']}", "http": f"{HOST}:{ports['controller-http']}"}],
    }
    return Service(
        name=name,
        service="router",
        address=f"{HOST}:{ports['http']}",
        settings=settings,
        ready=around.folder / "ready" / name,
        path="/livez",
        stop_seconds=35.0,
    )


def _shared(around: Surrounded) -> dict[str, Any]:
    return {"state_dir": str(around.folder), "bus": {"bootstrap_servers": around.kafka}}


def _store(around: Surrounded) -> str:
    return (around.folder / "artefacts").as_uri()


async def _http_answers(host: str, port: int, path: str) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
                status = (await reader.readline()).split(b" ")
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise NotReady(f"no answer: {error or 'time-out'}") from None
    if status[1:2] != [b"200"]:
        raise NotReady(f"{path} is answered by {b' '.join(status[1:]).decode(errors='replace').strip() or 'nothing'}")
