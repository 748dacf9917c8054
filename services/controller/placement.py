"""One round of reconciliation: look, plan, write what changed.

    deployments + routes + what workers report → plan → assignments (one change) and steps of deployments (one change each)

A round that finds nothing to do writes nothing. What is written is decided again inside its transaction, from what stands there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from penstock.contracts.assignments import Assignment
from penstock.contracts.topics import ASSIGNMENTS
from services.controller.changes import Changes, Command, Intent, Made, Writing
from services.controller.deployment_progress import Step, next_steps
from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.deployments import Fleet
from services.controller.placement_picture import Picture, used_versions, views_of, wanted_of
from services.controller.placement_plan import plan_placement
from services.controller.placement_values import Plan
from services.controller.ports import Unit
from services.controller.registry import known_version
from services.controller.rollback import SEARCHED_REVISIONS
from services.controller.route_values import AssignmentRevision, RouteRevision
from services.controller.route_writing import begun_route
from services.controller.traffic import next_revision
from services.controller.traffic_plan import first_route, with_share
from services.controller.write_freeze import is_frozen

WATCHED = (DeploymentStatus.DEPLOYING, DeploymentStatus.ACTIVE, DeploymentStatus.DRAINING)
HISTORY_REVISIONS = 20
"""Revisions of a route that are looked at for what a rollback would need."""

SHARE_WAITS = "it is ready; it becomes active and gets its share of the traffic when writes are no longer frozen"

SYSTEM = Intent(actor="controller", why="placement")


class PlacementRounds:
    """Makes the mesh be as the catalogue says, a round at a time."""

    def __init__(self, changes: Changes, fleet: Fleet, asked: Callable[[], Mapping[tuple[str, str], float]] = dict) -> None:
        """Keep the way to write, the workers, and what was last asked for when, by model and version."""
        self._changes = changes
        self._fleet = fleet
        self._asked = asked
        self._memory: dict[tuple[str, str], int] = {}

    async def plan(self) -> Plan:
        """Return what would be done now, and do nothing."""
        async with self._changes.reading() as unit:
            return await _planned(await self._picture(unit))

    async def round(self) -> Plan:
        """Do what is to be done now, and return the plan.

        Raises:
            Unavailable: this process is not the writer, or the database is away.
        """
        async with self._changes.reading() as unit:
            picture = await self._picture(unit)
        plan = await _planned(picture)
        if _moved(picture, plan):
            await self._changes.make(SYSTEM, _ASSIGN, self._assign)
        for step in next_steps(picture.deployments, plan, picture.workers):
            await self._take(step)
        return plan

    async def _assign(self, writing: Writing) -> Made[str]:
        picture = await self._picture(writing.unit)
        plan = await _planned(picture)
        moved = _moved(picture, plan)
        for worker_id in moved:
            await _write_assignment(writing, picture.assignments.get(worker_id), worker_id, plan)
        before = {worker_id: picture.assignments[worker_id].assignment.replicas for worker_id in moved if worker_id in picture.assignments}
        return Made(value="", before=before, after={worker_id: plan.assigned[worker_id] for worker_id in moved})

    async def _take(self, step: Step) -> None:
        async def work(writing: Writing) -> Made[Deployment]:
            return await _stepped(writing, step)

        held = step.deployment
        command = Command(
            action=f"deployment.{step.status.value}",
            answer=Deployment,
            subject=f"model/{held.model}",
            request=[held.id, step.status],
            is_emergency=True,
        )
        await self._changes.make(replace(SYSTEM, why=step.reason or SYSTEM.why), command, work)

    async def _picture(self, unit: Unit) -> Picture:
        deployments = await unit.deployments.in_status(WATCHED)
        return Picture(
            deployments=deployments,
            memory={each.id: await self._measured(unit, each) for each in deployments},
            histories=await _histories(unit, deployments),
            assignments={held.worker_id: held for held in await unit.assignments.all_latest()},
            workers=self._fleet.workers(),
            asked=self._asked(),
            time=unit.time,
        )

    async def _measured(self, unit: Unit, deployment: Deployment) -> int:
        # A version never changes, and there may be thousands.
        name = (deployment.model, deployment.version)
        if name not in self._memory:
            self._memory[name] = (await known_version(unit, *name)).memory_bytes
        return self._memory[name]


_ASSIGN = Command(action="placement.assign", answer=str, subject="mesh", is_emergency=True)


async def _histories(unit: Unit, deployments: Sequence[Deployment]) -> Mapping[str, tuple[RouteRevision, ...]]:
    """Return the newest revision of every route, and more where it does not say what a deployment is for."""
    histories = {held.model: (held,) for held in await unit.routes.all_latest()}
    unused = {
        each.model
        for each in deployments
        if each.model in histories and (route := histories[each.model][0].route) is not None and each.version not in used_versions(route)
    }
    return histories | {model: await unit.routes.history(model, HISTORY_REVISIONS) for model in sorted(unused)}


async def _planned(picture: Picture) -> Plan:
    # In a thread: with a thousand models it takes longer than a write may.
    return await asyncio.to_thread(lambda: plan_placement(wanted_of(picture), views_of(picture), now=picture.time))


def _moved(picture: Picture, plan: Plan) -> Sequence[str]:
    held = {worker_id: revision.assignment.replicas for worker_id, revision in picture.assignments.items()}
    return [worker_id for worker_id, replicas in plan.assigned.items() if replicas != held.get(worker_id, ())]


async def _write_assignment(writing: Writing, held: AssignmentRevision | None, worker_id: str, plan: Plan) -> None:
    assignment = Assignment(
        worker_id=worker_id,
        revision=(held.revision if held else 0) + 1,
        writer_epoch=writing.epoch,
        replicas=plan.assigned[worker_id],
    )
    sequence = await writing.publish(ASSIGNMENTS, worker_id, lambda number: replace(assignment, sequence=number).to_bytes())
    reasons = {each.deployment_id: each.reason for each in plan.placements if each.worker_id == worker_id}
    await writing.unit.assignments.add(
        AssignmentRevision(
            worker_id=worker_id,
            revision=assignment.revision,
            assignment=replace(assignment, sequence=sequence),
            reasons=tuple(reasons.get(each.deployment_id, "") for each in assignment.replicas),
            changed_time=writing.time,
            sequence=sequence,
        )
    )


async def _stepped(writing: Writing, step: Step) -> Made[Deployment]:
    held = await writing.unit.deployments.get(step.deployment.id)
    if held is None or held.revision != step.deployment.revision:
        # Somebody has changed it since the look: the next round looks again.
        return Made(value=step.deployment, before=None, after=None)
    if step.status is DeploymentStatus.ACTIVE and await is_frozen(writing.unit) and await _new_share(writing.unit, held):
        step = replace(step, status=DeploymentStatus.DEPLOYING, reason=SHARE_WAITS)
        if held.reason == SHARE_WAITS:
            return Made(value=held, before=held, after=held)
    becomes_active = step.status is DeploymentStatus.ACTIVE
    new = replace(
        held,
        status=step.status,
        reason=step.reason,
        revision=held.revision + 1,
        changed_time=writing.time,
        placed_time=held.placed_time or (writing.time if step.is_placed else None),
        ready_time=None if step.status is DeploymentStatus.FAILED else held.ready_time or (writing.time if becomes_active else None),
    )
    await writing.unit.deployments.replace(new)
    if step.is_healthy:
        await writing.unit.versions.set_healthy(held.model, held.version, writing.time)
    if becomes_active:
        await _give_traffic(writing, held)
    return Made(value=new, before=held, after=new, revision=new.revision)


async def _give_traffic(writing: Writing, deployment: Deployment) -> None:
    """Give a model's first version all the traffic, and a later one the share that was asked for, the first time that it is ready."""
    held = await writing.unit.routes.latest(deployment.model)
    if held is None or held.route is None:
        await next_revision(writing, held, await begun_route(writing.unit, first_route(deployment.model, deployment.version)))
    elif share := await _new_share(writing.unit, deployment):
        backends = with_share(held.route.backends, deployment.version, share)
        await next_revision(writing, held, replace(held.route, backends=backends))


async def _new_share(unit: Unit, deployment: Deployment) -> int:
    """Return the basis points that a deployment is to take from the others of its model when it becomes active; 0 for none."""
    held = await unit.routes.latest(deployment.model)
    if held is None or held.route is None or deployment.ready_time is not None or held.route.weight(deployment.version):
        return 0
    return 0 if await _had_traffic(unit, deployment) else deployment.traffic_basis_points


async def _had_traffic(unit: Unit, deployment: Deployment) -> bool:
    """Whether its version had a share since it was deployed: what somebody took away is not given again."""
    history = await unit.routes.history(deployment.model, SEARCHED_REVISIONS)
    since = [held.route for held in history if held.route is not None and held.changed_time >= deployment.created_time]
    return any(route.weight(deployment.version) for route in since)
