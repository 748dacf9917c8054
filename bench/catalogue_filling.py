"""A catalogue of many models, each with two ready versions and a route, and the workers that hold them."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.contracts.routes import WHOLE, Backend, Route
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.model_values import Model, Version
from services.controller.ports import Unit
from services.controller.route_values import RouteRevision
from services.controller.sql_catalogue import SqlCatalogue

WORKERS = 20
TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 30]}
SIGNATURE = {"inputs": [TENSOR], "outputs": [TENSOR]}
MANIFEST = {"files": [{"path": "version/model.onnx", "sha256": "a" * 64, "size": 12345}], "kind": "onnx", "schema": 1}


class Fleet:
    """Workers without a limit that hold what they are to hold."""

    def __init__(self, models: int) -> None:
        """Share both versions of so many models among the workers."""
        held = [(f"model-{number:05}", version) for number in range(models) for version in ("1", "2")]
        self._known = tuple(_worker(number, held[number::WORKERS]) for number in range(WORKERS))

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Return all of them."""
        return self._known


async def filled(catalogue: SqlCatalogue, models: int) -> None:
    """Write models past the use cases, a hundred a transaction."""
    for start in range(0, models, 100):
        async with catalogue.writing() as unit:
            for number in range(start, min(start + 100, models)):
                await _add_model(unit, f"model-{number:05}")


async def _add_model(unit: Unit, name: str) -> None:
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


def _worker(number: int, held: Sequence[tuple[str, str]]) -> WorkerStatus:
    replicas = tuple(
        ReplicaStatus(replica_id=index, model=model, version=version, state=ReplicaState.READY, memory_bytes=1 << 20)
        for index, (model, version) in enumerate(held)
    )
    return WorkerStatus(worker_id=f"worker-{number:03}", instance_id=f"{number}", link_address="", replicas=replicas)
