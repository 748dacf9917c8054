"""How long a write of the controller takes: `python -m bench.catalogue_writes [MODELS] [WRITES] [URL]`.

A catalogue of so many models, each with two ready versions and a route; then changes of weights and rollbacks, one after the other and
eight at a time, and what placement and a list of everything cost. Without a URL the catalogue is an SQLite file in a folder that goes away.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from penstock.contracts.routes import WHOLE, Backend, Route
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.controller.changes import Changes, Intent
from services.controller.deployment_values import Deployment, DeploymentSpec, DeploymentStatus
from services.controller.deployments import Deployments
from services.controller.lease import LeaseKeeping
from services.controller.live import Live
from services.controller.model_values import Model, Version
from services.controller.placement import PlacementRounds
from services.controller.rollback import Rollback
from services.controller.route_values import RouteRevision
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine
from services.controller.sql_migrations import migrate
from services.controller.traffic import Traffic

BENCH = Intent(actor="bench")
WORKERS = 20
TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 30]}
SIGNATURE = {"inputs": [TENSOR], "outputs": [TENSOR]}
MANIFEST = {"files": [{"path": "version/model.onnx", "sha256": "a" * 64, "size": 12345}], "kind": "onnx", "schema": 1}


class Fleet:
    """Workers without a limit that hold what they are to hold."""

    def __init__(self, models: int) -> None:
        held = [(f"model-{number:05}", version) for number in range(models) for version in ("1", "2")]
        self._known = tuple(_worker(number, held[number::WORKERS]) for number in range(WORKERS))

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Return all of them."""
        return self._known


def _worker(number: int, held: Sequence[tuple[str, str]]) -> WorkerStatus:
    replicas = tuple(
        ReplicaStatus(replica_id=index, model=model, version=version, state=ReplicaState.READY, memory_bytes=1 << 20)
        for index, (model, version) in enumerate(held)
    )
    return WorkerStatus(worker_id=f"worker-{number:03}", instance_id=f"{number}", link_address="", replicas=replicas)


async def main(models: int, writes: int, url: str) -> None:
    """Fill a catalogue, measure, and print."""
    engine = open_engine(url)
    await migrate(engine)
    catalogue = SqlCatalogue(engine)
    lease = await LeaseKeeping(catalogue, holder="bench", life_seconds=3600).claim(None)
    if lease is None:
        sys.exit("another controller holds the lease of this catalogue")
    changes = Changes(catalogue, epoch=lambda: lease.epoch, committed=lambda: None)
    await _filled(catalogue, models)
    traffic, rollback, fleet = Traffic(changes), Rollback(changes), Fleet(models)
    rounds = PlacementRounds(changes, fleet)

    async def weights(number: int) -> None:
        candidate = 100 + number // models % 5_000
        await traffic.set_weights(f"model-{number % models:05}", {"1": WHOLE - candidate, "2": candidate}, BENCH)

    async def roll_back(number: int) -> None:
        await rollback.roll_back(f"model-{number % models:05}", "", BENCH)

    async def deploy(number: int) -> None:
        spec = DeploymentSpec(model=f"model-{number % models:05}", version="3")
        await Deployments(changes, fleet).create(spec, replace(BENCH, dry_run=True))

    print(f"{engine.dialect.name}, {models} models, {writes} writes of each kind; milliseconds")
    print(f"{'':34}{'p50':>9}{'p99':>9}{'worst':>9}{'CPU':>9}{'a second':>10}")
    await _measured("weights, one after the other", writes, 1, weights)
    await _measured("rollback, one after the other", writes, 1, roll_back)
    await _measured("weights, eight at a time", writes, 8, lambda number: weights(number + 7 * models))
    await _measured("deployment, dry run", min(writes, models), 1, deploy)
    await _measured("placement, first round", 1, 1, lambda _: rounds.round())
    await _measured("placement, round without change", 5, 1, lambda _: rounds.round())
    await _measured("newest route of every model", 5, 1, lambda _: Live(catalogue).routes())
    await engine.dispose()


async def _filled(catalogue: SqlCatalogue, models: int) -> None:
    """Write models past the use cases, a hundred a transaction."""
    for start in range(0, models, 100):
        async with catalogue.writing() as unit:
            for number in range(start, min(start + 100, models)):
                name = f"model-{number:05}"
                await unit.models.add(Model(name=name, created_time=unit.time, changed_time=unit.time))
                for version in ("1", "2", "3"):
                    await unit.versions.add(_version(name, version, unit.time))
                for version in ("1", "2"):
                    held = Deployment(id=f"{name}-{version}", model=name, version=version, status=DeploymentStatus.ACTIVE)
                    await unit.deployments.add(held)
                for revision, share in ((1, 0), (2, 50)):
                    await unit.routes.add(_route(name, revision, share))


def _version(model: str, version: str, now: float) -> Version:
    return Version(model=model, version=version, digest=version * 64, manifest=MANIFEST, signature=SIGNATURE, healthy_time=now)


def _route(model: str, revision: int, share: int) -> RouteRevision:
    backends = (Backend(version="1", weight_basis_points=WHOLE - share), Backend(version="2", weight_basis_points=share))
    route = Route(model=model, backends=backends, revision=revision)
    return RouteRevision(model=model, revision=revision, route=route, action="bench", actor="bench")


async def _measured(what: str, count: int, together: int, work: Callable[[int], Awaitable[object]]) -> None:
    times: list[float] = []

    async def lane(first: int) -> None:
        for number in range(first, count, together):
            begun = time.perf_counter()
            await work(number)
            times.append((time.perf_counter() - begun) * 1000)

    begun, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(lane(first) for first in range(together)))
    rate, each = count / (time.perf_counter() - begun), (time.process_time() - worked) * 1000 / count
    times.sort()
    middle, high = times[len(times) // 2], times[min(len(times) - 1, int(len(times) * 0.99))]
    print(f"{what:34}{middle:9.2f}{high:9.2f}{times[-1]:9.2f}{each:9.2f}{rate:10.0f}", flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        given = arguments[2] if len(arguments) > 2 else f"sqlite+aiosqlite:///{folder}/catalogue.db"
        asyncio.run(main(int(arguments[0]) if arguments else 1_000, int(arguments[1]) if len(arguments) > 1 else 1_000, given))
