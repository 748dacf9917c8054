from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.errors import AlreadyExists, Conflict, InvalidInput, InvalidSpec, NotFound, RevisionConflict, ServingError
from penstock.contracts.routes import WHOLE, KillSwitch, Shadow
from penstock.contracts.worker_status import WorkerStatus
from services.controller.deployment_values import DeploymentSpec, DeploymentStatus, Resources, Scaling
from services.controller.model_values import Version, VersionState
from services.controller.registry import Description
from services.controller.traffic import RouteUpdate
from tests.controller.stand import ANN, DIGEST, Stand

SPEC = DeploymentSpec(model="fraud", version="1", replicas=2)
GIB = 1 << 30


def worker(name: str, budget: int = 0) -> WorkerStatus:
    return WorkerStatus(worker_id=name, instance_id=name, link_address="", memory_budget_bytes=budget)


@pytest.fixture
async def registered(stand: Stand) -> Stand:
    await stand.registered("fraud", "1", "failed", "deleted")
    await stand.registry.withdraw("fraud", "failed", VersionState.FAILED, ANN)
    await stand.registry.withdraw("fraud", "deleted", VersionState.DELETED, ANN)
    featured = Version(model="fraud", version="featured", digest=DIGEST, feature_schema_hash="a" * 64)
    await stand.registry.register(featured, Description(), ANN)
    return stand


async def test_a_deployment_begins_as_deploying(registered: Stand):
    outcome = await registered.deployments.create(SPEC, ANN)

    assert outcome.value.status is DeploymentStatus.DEPLOYING
    assert (outcome.value.digest, outcome.value.replicas, outcome.value.created_by) == (DIGEST, 2, "ann")
    assert await registered.deployment("fraud", "1") == outcome.value


@pytest.mark.parametrize(
    ("change", "pointer", "row"),
    [
        ({"version": "latest"}, "/version", "ID5"),
        ({"replicas": 0}, "/replicas", "ID11"),
        ({"replicas": -1}, "/replicas", "ID11"),
        ({"replicas": 10**6}, "/replicas", "ID11"),
        ({"resources": Resources(memory_bytes=-1)}, "/resources/memory_bytes", "ID13"),
        ({"resources": Resources(memory_bytes=10**30)}, "/resources/memory_bytes", "ID13"),
        ({"resources": Resources(cpus=float("nan"))}, "/resources/cpus", "ID13"),
        ({"config": {"max_batch_size": 0}}, "/config/max_batch_size", "ID16"),
        ({"config": {"max_batch_size": -1}}, "/config/max_batch_size", "ID16"),
        ({"config": {"max_batch_size": 10**6}}, "/config/max_batch_size", "ID16"),
        ({"config": {"max_batch_size": 1.5}}, "/config/max_batch_size", "ID16"),
        (
            {"config": {"dynamic_batching": {"max_queue_delay_microseconds": -1}}},
            "/config/dynamic_batching/max_queue_delay_microseconds",
            "ID17",
        ),
        (
            {"config": {"dynamic_batching": {"max_queue_delay_microseconds": 3_600_000_000}}},
            "/config/dynamic_batching/max_queue_delay_microseconds",
            "ID17",
        ),
        ({"config": {"default_queue_policy": {"max_queue_size": 0}}}, "/config/default_queue_policy/max_queue_size", "ID18"),
        ({"config": {"timeout_seconds": 0}}, "/config/timeout_seconds", "ID19"),
        ({"config": {"timeout_seconds": 10**9}}, "/config/timeout_seconds", "ID19"),
        ({"config": {"timeout_seconds": "5 minutes"}}, "/config/timeout_seconds", "ID19"),
        ({"config": {"env": {"DB_PASSWORD": "hunter2"}}}, "/config/env/DB_PASSWORD", "ID40"),
        ({"config": {"parameters": {"x": float("nan")}}}, "/config/parameters/x", "ID24"),
        ({"config": {"labels": {str(n): "" for n in range(10**4)}}}, "/config", "ID42"),
        ({"traffic_basis_points": 10_001}, "/traffic_basis_points", "ID8"),
        ({"gpu_type": "x\n"}, "/gpu_type", "ID14"),
    ],
)
async def test_a_specification_that_is_wrong_in_itself_is_refused(registered: Stand, change: dict[str, object], pointer: str, row: str):
    with pytest.raises(InvalidSpec) as refusal:
        await registered.deployments.create(replace(SPEC, **change), ANN)  # type: ignore[arg-type]

    assert [place for place, _ in refusal.value.details] == [pointer]  # type: ignore[attr-defined]


async def test_all_problems_are_named_at_once(registered: Stand):
    wrong = replace(SPEC, version="latest", replicas=0, config={"max_batch_size": 0, "timeout_seconds": 0})

    with pytest.raises(InvalidSpec) as refusal:
        await registered.deployments.create(wrong, ANN)

    assert [place for place, _ in refusal.value.details] == [  # type: ignore[attr-defined]
        "/replicas",
        "/config/max_batch_size",
        "/config/timeout_seconds",
        "/version",
    ]


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "ünï", "x" * 300])
async def test_a_name_that_is_none_is_refused(registered: Stand, name: str):
    with pytest.raises(InvalidInput):
        await registered.deployments.create(replace(SPEC, model=name), ANN)
    with pytest.raises(InvalidInput):
        await registered.deployments.create(replace(SPEC, version=name), ANN)


@pytest.mark.parametrize(
    ("change", "refusal", "reason", "row"),
    [
        ({"model": "absent"}, NotFound, "MODEL_NOT_FOUND", "ID4"),
        ({"version": "9"}, NotFound, "VERSION_NOT_FOUND", "ID4"),
        ({"version": "failed"}, Conflict, "VERSION_NOT_DEPLOYABLE", "ID6"),
        ({"version": "deleted"}, Conflict, "VERSION_NOT_DEPLOYABLE", "ID6"),
        ({"digest": "e" * 64}, Conflict, "DIGEST_MISMATCH", "ID7"),
        ({"gpu_type": "nvidia-l4"}, Conflict, "UNSCHEDULABLE", "ID14"),
        ({"resources": Resources(memory_bytes=3 * GIB)}, Conflict, "UNSCHEDULABLE", "ID15"),
    ],
)
async def test_a_specification_that_the_mesh_cannot_take_is_refused(
    registered: Stand, change: dict[str, object], refusal: type[ServingError], reason: str, row: str
):
    registered.fleet.known = (worker("a", GIB), worker("b", 2 * GIB))

    with pytest.raises(refusal) as refused:
        await registered.deployments.create(replace(SPEC, **change), ANN)  # type: ignore[arg-type]

    assert refused.value.reason == reason


async def test_m11_features_of_another_schema_are_refused_when_they_are_deployed(registered: Stand):
    registered.fleet.known = (worker("a"),)
    with pytest.raises(Conflict) as refused:
        await registered.deployments.create(replace(SPEC, version="featured", feature_schema_hash="b" * 64), ANN)

    assert refused.value.reason == "FEATURE_SCHEMA_MISMATCH"


async def test_a_worker_without_a_limit_takes_anything(registered: Stand):
    registered.fleet.known = (worker("a", GIB), worker("b"))

    await registered.deployments.create(replace(SPEC, resources=Resources(memory_bytes=900 * GIB)), ANN)


async def test_a_version_has_one_deployment_at_a_time(registered: Stand):
    first = await registered.deployments.create(SPEC, ANN)
    with pytest.raises(AlreadyExists, match=first.value.id):
        await registered.deployments.create(SPEC, ANN)

    async with registered.catalogue.writing() as unit:
        await unit.deployments.replace(replace(first.value, status=DeploymentStatus.RETIRED))
    again = await registered.deployments.create(SPEC, ANN)
    assert again.value.id != first.value.id


async def test_a_version_that_drains_is_to_be_waited_for(registered: Stand):
    first = (await registered.deployments.create(SPEC, ANN)).value
    await registered.deployments.delete(first.id, ANN)

    with pytest.raises(AlreadyExists, match=f"{first.id} .* is draining: wait until it is retired"):
        await registered.deployments.create(SPEC, ANN)


async def test_a_failed_deployment_goes_without_the_traffic_of_the_one_that_followed_it(stand: Stand):
    await stand.active("fraud", "1", "2")
    failed = await stand.deployment("fraud", "2")
    async with stand.catalogue.writing() as unit:
        await unit.deployments.replace(replace(failed, status=DeploymentStatus.FAILED))
    await stand.active("fraud", "2")
    await stand.traffic.set_weights("fraud", {"1": 9_000, "2": 1_000}, ANN)

    with pytest.raises(Conflict, match="has another deployment") as refusal:
        await stand.deployments.scale(failed.id, Scaling(replicas=1), ANN)
    outcome = await stand.deployments.delete(failed.id, ANN, force=True)

    assert refusal.value.reason == "INVALID_TRANSITION"
    assert outcome.value.status is DeploymentStatus.RETIRED
    assert await stand.shares("fraud") == {"1": 9_000, "2": 1_000}


async def test_a_deployment_is_scaled_and_a_failed_one_tried_again(registered: Stand):
    held = (await registered.deployments.create(SPEC, ANN)).value
    async with registered.catalogue.writing() as unit:
        await unit.deployments.replace(replace(held, status=DeploymentStatus.FAILED, reason="no"))

    scaled = await registered.deployments.scale(held.id, Scaling(replicas=3), replace(ANN, expected_revision=1))

    assert (scaled.value.replicas, scaled.value.revision) == (3, 2)
    assert (scaled.value.status, scaled.value.reason) == (DeploymentStatus.DEPLOYING, "")


@pytest.mark.parametrize(
    ("scaling", "intent", "refusal"),
    [(Scaling(replicas=0), ANN, InvalidSpec), (Scaling(replicas=3), replace(ANN, expected_revision=9), RevisionConflict)],
)
async def test_a_scaling_that_cannot_be_is_refused(registered: Stand, scaling: Scaling, intent, refusal: type[ServingError]):
    held = (await registered.deployments.create(SPEC, ANN)).value

    with pytest.raises(refusal):
        await registered.deployments.scale(held.id, scaling, intent)


async def test_a_deployment_that_nobody_knows_is_not_found(registered: Stand):
    with pytest.raises(NotFound):
        await registered.deployments.scale("d-1", Scaling(replicas=1), ANN)
    with pytest.raises(NotFound):
        await registered.deployments.delete("d-1", ANN)


async def test_a_deployment_with_traffic_is_deleted_by_force_only(stand: Stand):
    await stand.active("fraud", "1", "2", "3")
    await stand.traffic.set_weights("fraud", {"1": 5_000, "2": 3_000, "3": 2_000}, ANN)
    held = await stand.deployment("fraud", "1")

    with pytest.raises(Conflict) as refusal:
        await stand.deployments.delete(held.id, ANN)
    assert refusal.value.reason == "HAS_TRAFFIC"
    outcome = await stand.deployments.delete(held.id, ANN, force=True)

    assert outcome.value.status is DeploymentStatus.DRAINING
    assert await stand.shares("fraud") == {"2": 6_000, "3": 4_000}
    assert len([record for record in await stand.audit("model/fraud") if record.action == "deployment.delete"]) == 2


async def test_a_shadow_ends_when_it_is_left_with_all_the_traffic(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": 9_000, "2": 1_000}, ANN)
    await stand.traffic.set_shadow("fraud", Shadow(version="2", sample_basis_points=5), ANN)
    await stand.deployments.delete((await stand.deployment("fraud", "1")).id, ANN, force=True)

    assert (await stand.shares("fraud"), (await stand.route("fraud")).shadow) == ({"2": WHOLE}, None)


async def test_a_killed_version_stays_killed_when_its_deployment_goes(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": 9_000, "2": 1_000}, ANN)
    await stand.traffic.update("fraud", RouteUpdate(kill_switches=(KillSwitch(version="2"),)), ANN)
    await stand.deployments.delete((await stand.deployment("fraud", "2")).id, ANN, force=True)

    assert (await stand.route("fraud")).is_killed("2", "anybody")


async def test_a_model_whose_last_deployment_goes_has_no_route(stand: Stand):
    await stand.active("fraud", "1")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await stand.deployments.delete((await stand.deployment("fraud", "1")).id, ANN, force=True)

    async with stand.catalogue.reading() as unit:
        newest = await unit.routes.latest("fraud")
    assert newest is not None
    assert (newest.revision, newest.route) == (2, None)
    assert (await stand.outbox())[-1].value == b""


async def test_a_deployment_without_traffic_drains(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    held = await stand.deployment("fraud", "2")
    outcome = await stand.deployments.delete(held.id, ANN)
    again = await stand.deployments.delete(held.id, ANN)

    assert outcome.value.status is DeploymentStatus.DRAINING
    assert again.change is None
