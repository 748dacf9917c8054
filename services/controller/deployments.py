"""Deployments: what is to run, from the wish to the end.

    create → deploying ⇄ active → draining → retired
                  └───────┴──→ failed → deploying (tried again) or retired

An active one is deploying again when its configuration changes, and serves on while that is rolled through the fleet.
A person creates, scales and deletes; how far a deployment has come, `deployment_progress` reads from what workers report.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from penstock.contracts.errors import AlreadyExists, Conflict, InvalidSpec, NotFound
from penstock.contracts.names import check_model_name, check_version_name
from penstock.contracts.worker_status import WorkerStatus
from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing, check_revision
from services.controller.deployment_checks import Problem, batch_problems, scaling_problems, spec_problems
from services.controller.deployment_values import Deployment, DeploymentSpec, DeploymentStatus, Scaling
from services.controller.fleet import unschedulable
from services.controller.graph_steps import check_steps
from services.controller.model_values import Version
from services.controller.ports import Unit
from services.controller.registry import check_deployable, known_version
from services.controller.traffic import next_revision
from services.controller.traffic_plan import route_versions, without


class Fleet(Protocol):
    """The workers that were heard of lately."""

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Return what they reported last."""
        ...


class Deployments:
    """Creates, scales and deletes deployments."""

    def __init__(self, changes: Changes, fleet: Fleet) -> None:
        """Keep the way to write, and who could hold what is deployed."""
        self._changes = changes
        self._fleet = fleet

    async def create(self, spec: DeploymentSpec, intent: Intent) -> Outcome[Deployment]:
        """Ask for a version to run.

        Raises:
            InvalidSpec: all that is wrong with the specification itself.
            ModelNotFound, VersionNotFound: the version is not registered.
            AlreadyExists: a deployment of the version is there.
            Conflict: the version failed, has other files or other features, no worker could ever hold it, or it is a graph of versions that
                are not registered.
        """
        check_model_name(spec.model)
        check_version_name(spec.version)
        _refuse(spec_problems(spec), f"deployment of {spec.model}@{spec.version}")

        async def work(writing: Writing) -> Made[Deployment]:
            version = await known_version(writing.unit, spec.model, spec.version)
            await self._check(writing.unit, spec, version)
            deployment = _deployment(spec, version, writing)
            await writing.unit.deployments.add(deployment)
            return Made(value=deployment, before=None, after=deployment, revision=1)

        command = Command(action="deployment.create", answer=Deployment, subject=f"model/{spec.model}", request=spec)
        return await self._changes.make(intent, command, work)

    async def scale(self, deployment_id: str, scaling: Scaling, intent: Intent) -> Outcome[Deployment]:
        """Change how a deployment runs; a failed one is tried again.

        Raises:
            InvalidSpec: all that is wrong with the change.
            NotFound: there is no such deployment.
            Conflict: it is on its way out, or failed and another one followed it; the revision is stale.
        """
        _refuse(scaling_problems(scaling), f"deployment {deployment_id}")

        subject = await self._subject(deployment_id)

        async def work(writing: Writing) -> Made[Deployment]:
            held = await known_deployment(writing.unit, deployment_id)
            check_revision(intent, held.revision, held)
            if held.status in {DeploymentStatus.DRAINING, DeploymentStatus.RETIRED}:
                raise Conflict(f"deployment {deployment_id} is {held.status.value}: create another one", reason="INVALID_TRANSITION")
            if held.is_over and (other := await _running(writing.unit, held)):
                raise Conflict(
                    f"deployment {deployment_id} is {held.status.value}, and {held.model}@{held.version} has another deployment: "
                    f"{other.id} is {other.status.value}",
                    reason="INVALID_TRANSITION",
                )
            if scaling.config:
                version = await known_version(writing.unit, held.model, held.version)
                _refuse(batch_problems(scaling.config, version.signature), f"deployment {deployment_id}")
            return await _replaced(writing, held, _scaled(held, scaling))

        command = Command(action="deployment.scale", answer=Deployment, subject=subject, request=[deployment_id, scaling])
        return await self._changes.make(intent, command, work)

    async def delete(self, deployment_id: str, intent: Intent, *, force: bool = False) -> Outcome[Deployment]:
        """Let a deployment drain; with `force` also when the route names it, whose other backends then share its traffic.

        Raises:
            NotFound: there is no such deployment.
            Conflict: the route names it; the revision is stale.
        """
        subject = await self._subject(deployment_id)

        async def work(writing: Writing) -> Made[Deployment]:
            held = await known_deployment(writing.unit, deployment_id)
            check_revision(intent, held.revision, held)
            if held.status in {DeploymentStatus.DRAINING, DeploymentStatus.RETIRED}:
                return Made(value=held, before=held, after=held)
            await _leave_route(writing, held, force=force)
            status = DeploymentStatus.RETIRED if held.status is DeploymentStatus.FAILED else DeploymentStatus.DRAINING
            return await _replaced(writing, held, replace(held, status=status, reason=f"deleted by {intent.actor}"))

        request = {"deployment_id": deployment_id, "force": force}
        command = Command(action="deployment.delete", answer=Deployment, subject=subject, request=request)
        return await self._changes.make(intent, command, work)

    async def _subject(self, deployment_id: str) -> str:
        async with self._changes.reading() as unit:
            return f"model/{(await known_deployment(unit, deployment_id)).model}"

    async def _check(self, unit: Unit, spec: DeploymentSpec, version: Version) -> None:
        check_deployable(version)
        _refuse(batch_problems(spec.config, version.signature), f"deployment of {spec.model}@{spec.version}")
        if spec.digest and spec.digest != version.digest:
            raise Conflict(f"{spec.model}@{spec.version} has the digest {version.digest}, not {spec.digest}", reason="DIGEST_MISMATCH")
        if spec.feature_schema_hash and version.feature_schema_hash not in ("", spec.feature_schema_hash):
            raise Conflict(
                f"{spec.model}@{spec.version} was made for the feature schema {version.feature_schema_hash[:12]}, "
                f"and {spec.feature_schema_hash[:12]} would be served to it",
                reason="FEATURE_SCHEMA_MISMATCH",
            )
        if other := await _running(unit, spec):
            step = "scale that one" if other.is_wanted else "wait until it is retired"
            raise AlreadyExists(f"deployment {other.id} of {spec.model}@{spec.version} is {other.status.value}: {step}")
        await check_steps(unit, version)
        if reason := unschedulable(spec, version, self._fleet.workers()):
            raise Conflict(f"{spec.model}@{spec.version} fits no worker: {reason}", reason="UNSCHEDULABLE")


async def known_deployment(unit: Unit, deployment_id: str) -> Deployment:
    """Return the deployment of that id.

    Raises:
        NotFound: there is none.
    """
    held = await unit.deployments.get(deployment_id)
    if held is None:
        raise NotFound(f"there is no deployment {deployment_id[:80]!r}", reason="DEPLOYMENT_NOT_FOUND")
    return held


def _refuse(problems: tuple[Problem, ...], what: str) -> None:
    if problems:
        listed = "; ".join(f"{pointer}: {problem}" for pointer, problem in problems)
        raise InvalidSpec(f"{what}: {listed}", details=problems, field=problems[0][0])


def _deployment(spec: DeploymentSpec, version: Version, writing: Writing) -> Deployment:
    return Deployment(
        id=f"d-{writing.change_id[:16]}",
        model=spec.model,
        version=spec.version,
        digest=version.digest,
        replicas=spec.replicas,
        gpu_type=spec.gpu_type,
        resources=spec.resources,
        config=spec.config,
        traffic_basis_points=spec.traffic_basis_points,
        created_by=writing.intent.actor,
        created_time=writing.time,
        changed_time=writing.time,
    )


def _scaled(held: Deployment, scaling: Scaling) -> Deployment:
    config = held.config if scaling.config is None else scaling.config
    is_anew = held.status is DeploymentStatus.FAILED or config != held.config
    return replace(
        held,
        replicas=held.replicas if scaling.replicas is None else scaling.replicas,
        config=config,
        resources=scaling.resources or held.resources,
        status=DeploymentStatus.DEPLOYING if is_anew else held.status,
        reason="" if is_anew else held.reason,
    )


async def _replaced(writing: Writing, held: Deployment, new: Deployment) -> Made[Deployment]:
    if new == held:
        return Made(value=held, before=held, after=held)
    new = replace(new, revision=held.revision + 1, changed_time=writing.time)
    await writing.unit.deployments.replace(new)
    return Made(value=new, before=held, after=new, revision=new.revision)


async def _running(unit: Unit, wanted: Deployment | DeploymentSpec) -> Deployment | None:
    """Return the deployment of a version that is not over; there is one at most."""
    found = await unit.deployments.of(wanted.model)
    return next((each for each in found if each.version == wanted.version and not each.is_over), None)


async def _leave_route(writing: Writing, deployment: Deployment, *, force: bool) -> None:
    held = await writing.unit.routes.latest(deployment.model)
    if held is None or held.route is None or deployment.version not in route_versions(held.route):
        return
    if deployment.is_over and await _running(writing.unit, deployment):
        return  # the traffic is the other one's
    if not force:
        share = held.route.weight(deployment.version)
        raise Conflict(
            f"the route of {deployment.model!r} names version {deployment.version!r} ({share / 100:g} % of the traffic): "
            "move its traffic first, or force it",
            reason="HAS_TRAFFIC",
        )
    await next_revision(writing, held, without(held.route, deployment.version))
