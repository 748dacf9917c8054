"""Workers that do what a controller assigns, for tests of placement."""

from __future__ import annotations

from dataclasses import replace

from penstock.contracts.assignments import Assignment, Holding
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.controller.deployment_values import DeploymentSpec
from services.controller.placement import PlacementRounds
from tests.controller.stand import ANN, Stand

SPEC = DeploymentSpec(model="fraud", version="1")


class World:
    """Workers that do what they are assigned, when they are told to."""

    def __init__(self, stand: Stand, *names: str) -> None:
        self.stand = stand
        self.asked: dict[tuple[str, str], float] = {}
        self.rounds = PlacementRounds(stand.changes, stand.fleet, lambda: self.asked)
        stand.fleet.known = tuple(WorkerStatus(worker_id=name, instance_id=name, link_address="") for name in names)

    async def assigned(self) -> dict[str, Assignment]:
        async with self.stand.catalogue.reading() as unit:
            return {held.worker_id: held.assignment for held in await unit.assignments.all_latest()}

    async def obey(self, state: ReplicaState = ReplicaState.READY, reason: str = "") -> None:
        """Have every worker hold what it is assigned."""
        assigned = await self.assigned()
        self.stand.fleet.known = tuple(
            replace(
                status,
                replicas=tuple(
                    ReplicaStatus(
                        replica_id=number,
                        model=one.model,
                        version=one.version,
                        state=state,
                        digest=one.loaded_digest,
                        reason=reason,
                        memory_bytes=7,
                    )
                    for number, one in enumerate(assigned[status.worker_id].replicas if status.worker_id in assigned else ())
                ),
            )
            for status in self.stand.fleet.known
        )

    async def holdings(self, holding: Holding) -> dict[str, list[str]]:
        return {
            worker_id: [f"{one.model}@{one.version}" for one in assignment.replicas if one.holding is holding]
            for worker_id, assignment in (await self.assigned()).items()
        }


async def deploy(world: World, version: str, **changes: object) -> None:
    """Deploy a version and have it become active."""
    await world.stand.deployments.create(replace(SPEC, version=version, **changes), ANN)  # type: ignore[arg-type]
    await world.rounds.round()
    await world.obey()
    await world.rounds.round()
