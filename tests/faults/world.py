"""A real serve with everything around it that a fault needs: proxies on its connections, its processes, its log and its counters."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from penstock.v1 import worker_pb2
from tests.faults.invariants import Counted, Held, Readiness
from tests.faults.proxy import Proxy
from tests.flows.serving import Served, serving

REPO = Path(__file__).parents[2]
MUTANTS = Path(__file__).parent / "mutants"
SETTLE_SECONDS = 45.0


@dataclass
class World:
    """A running serve and its surroundings."""

    served: Served
    repository: Path
    links: dict[str, Proxy]
    client: Proxy
    models: frozenset[str] = frozenset()
    """What every worker is expected to serve."""
    routers: tuple[str, ...] = ("router-0",)
    started_wall: float = field(default_factory=time.time)
    started_at: float = field(default_factory=time.monotonic)

    @property
    def target(self) -> str:
        """Where clients call: the proxy in front of the router."""
        return f"127.0.0.1:{self.client.port}"

    @property
    def workers(self) -> tuple[str, ...]:
        """The workers' names."""
        return tuple(self.links)

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to the present life of a child; return its process id."""
        process_id = self.served.child(name)
        os.kill(process_id, number)
        return process_id

    def metrics(self) -> dict[str, float]:
        """Return all series of the serve."""
        with urllib.request.urlopen(f"http://{self.served.record['metrics']}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        split = (line.partition(" # ")[0].rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in split}

    def metric(self, prefix: str) -> float:
        """Return the sum of the series whose names begin so."""
        return sum(value for name, value in self.metrics().items() if name.startswith(prefix))

    def links_up(self) -> int:
        """Return how many links are in rotation."""
        return int(self.metric("penstock_link_up{"))

    def counted(self) -> Counted:
        """Return the router's counters now."""
        found = self.metrics()
        return Counted(
            at=time.monotonic(),
            sent=found.get("penstock_requests_sent_total", 0.0),
            retried=found.get("penstock_requests_retried_total", 0.0),
        )

    def unhealthy(self, model: str) -> int:
        """Return how many workers say that a model breaks its signature."""
        statuses = filter(None, map(self._status, self.links))
        return sum(one.unhealthy for status in statuses for one in status.replicas if one.model == model)

    def is_settled(self, models: Mapping[str, str] | None = None) -> bool:
        """Whether every worker is reachable and holds every expected model ready, version `models[name]` where that is given."""
        try:
            if self.links_up() != len(self.links) * len(self.routers):
                return False
        except OSError:
            return False
        wanted = set((models or {}).items())
        for name in self.links:
            status = self._status(name)
            if status is None or status.draining:
                return False
            ready = {(one.model, one.version) for one in status.replicas if one.state == worker_pb2.REPLICA_STATE_READY}
            moving = {worker_pb2.REPLICA_STATE_LOADING, worker_pb2.REPLICA_STATE_WARMING, worker_pb2.REPLICA_STATE_DRAINING}
            if (
                any(one.state in moving for one in status.replicas)
                or not wanted <= ready
                or not self.models <= {model for model, _ in ready}
            ):
                return False
        return True

    def settle(self, models: Mapping[str, str] | None = None) -> None:
        """Wait until everything that should run does."""
        self.served.until(lambda: self.is_settled(models), seconds=SETTLE_SECONDS)

    def heal(self) -> None:
        """Lift everything that proxies do."""
        for proxy in (*self.links.values(), self.client):
            proxy.heal()

    def held(self) -> dict[str, Held]:
        """Return what every process of the serve holds now."""
        return {name: held_by(self.served.child(name)) for name in (*self.workers, *self.routers)} | {
            "supervisor": held_by(self.served.process.pid)
        }

    def readiness(self) -> list[Readiness]:
        """Return when versions were ready on workers, as the workers' log says."""
        lines = (*self.served.events("replica_ready"), *self.served.events("replica_draining"), *self.served.events("child_died"))
        drained = {(line["process_id"], line["replica_id"]): self._at(line) for line in lines if line["event"] == "replica_draining"}
        return [
            Readiness(
                model=line["model"],
                version=line["version"],
                ready_at=self._at(line),
                draining_at=drained.get((line["process_id"], line["replica_id"]), float("inf")),
            )
            for line in lines
            if line["event"] == "replica_ready"
        ]

    def _at(self, line: Mapping[str, str]) -> float:
        wall = datetime.fromisoformat(line["time"]).timestamp()
        return self.started_at + (wall - self.started_wall)

    def _status(self, name: str) -> worker_pb2.WorkerStatus | None:
        return status_of(self.served.state_dir, name)


def status_of(state_dir: Path, name: str) -> worker_pb2.WorkerStatus | None:
    """Read what a worker says about itself; None when it says nothing."""
    try:
        return worker_pb2.WorkerStatus.FromString((state_dir / "workers" / f"{name}.pb").read_bytes())
    except FileNotFoundError:
        return None


def held_by(process_id: int) -> Held:
    """Return what a process holds now."""
    folder = Path(f"/proc/{process_id}")
    fields = dict(line.partition(":")[::2] for line in (folder / "status").read_text().splitlines())
    return Held(
        resident_bytes=int(fields["VmRSS"].split()[0]) * 1024,
        descriptors=len(os.listdir(folder / "fd")),  # noqa: PTH208 - names are enough
        threads=int(fields["Threads"]),
    )


@contextmanager
def world(
    folder: Path, repository: Path, *options: str, workers: int = 2, routers: int = 1, plants: tuple[str, ...] = ()
) -> Iterator[World]:
    """Serve `repository` until the block ends, with links over TCP by way of proxies; `folder` is for sockets and must be short."""
    names = tuple(f"worker-{number}" for number in range(workers))
    state = folder / "s"
    with ExitStack() as stack:
        links = {name: stack.enter_context(Proxy(name, lambda name=name: _link_of(state, name))) for name in names}
        taps = ",".join(f"{name}={proxy.port}" for name, proxy in links.items())
        with environment(PENSTOCK_PLANTS=",".join(("link-tap", *plants)), PENSTOCK_LINK_TAPS=taps, PYTHONPATH=_python_path()):
            served = stack.enter_context(
                serving(
                    folder,
                    repository,
                    "--workers",
                    str(workers),
                    "--routers",
                    str(routers),
                    "--set",
                    'worker.link_host="127.0.0.1"',
                    *options,
                )
            )
        client = stack.enter_context(Proxy("client", lambda: _address(served.grpc)))
        models = frozenset(folder.name for folder in repository.iterdir() if folder.is_dir() and not folder.name.startswith("."))
        routed = tuple(f"router-{number}" for number in range(routers))
        yield World(served=served, repository=repository, links=links, client=client, models=models, routers=routed)


@contextmanager
def environment(**variables: str) -> Generator[None]:
    """Set variables for the children that are started inside of the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _python_path() -> str:
    given = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return os.pathsep.join([str(MUTANTS), str(REPO), *given])


def _link_of(state_dir: Path, name: str) -> tuple[str, int] | None:
    status = status_of(state_dir, name)
    return _address(status.link_address.removeprefix("tcp:")) if status is not None else None


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
