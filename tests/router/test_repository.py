import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.contracts.errors import Conflict, DeadlineExceeded, LoadFailed, ModelNotFound, NoReadyReplica, TenantForbidden
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus
from penstock.v1.worker_pb2 import ModelOverride
from services.router.load_order import LoadOrder
from services.router.override_feed import FolderOverrides
from services.router.repository import WAIT_SECONDS, Repository
from tests.chassis.manual_clock import ManualClock
from tests.router.control_stand import ControlStand, control_stand, replica

FAR = 1e9
ORDER = LoadOrder(model="digits")

Outcome = Callable[[ModelOverride], list[ReplicaStatus]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stand(clock: ManualClock) -> ControlStand:
    return control_stand(clock=clock, wall_seconds=lambda: 5.0)


@pytest.fixture
def repository(stand: ControlStand) -> Repository:
    return stand.control.repository


def workers_do(stand: ControlStand, outcome: Outcome, *worker_ids: str) -> None:
    """Let workers apply every override at once, with this outcome."""

    def apply(model: str, override: ModelOverride | None) -> None:
        if override is not None:
            for worker_id in worker_ids or ("worker-0",):
                stand.report(worker_id, outcome(override), applied={model: override.revision})

    stand.overrides.on_change = apply


async def test_a_load_returns_when_every_worker_has_applied_it_and_the_model_is_settled(
    stand: ControlStand, repository: Repository, clock: ManualClock
):
    stand.report("worker-0")
    stand.report("worker-1")
    load = asyncio.ensure_future(repository.load(ORDER, FAR))
    await clock.asleep()
    revision = stand.overrides.held["digits"].revision

    stand.report("worker-0", [replica()], applied={"digits": revision})
    clock.advance(1)
    await clock.asleep()
    assert not load.done()
    stand.report("worker-1", [replica(state=ReplicaState.WARMING)], applied={"digits": revision})
    clock.advance(1)
    await clock.asleep()
    assert not load.done()
    stand.report("worker-1", [replica()], applied={"digits": revision})
    clock.advance(1)
    await load


async def test_the_override_carries_configuration_and_files_and_forgives_failures(stand: ControlStand, repository: Repository):
    stand.overrides.held["digits"] = ModelOverride(model="digits", revision=1, unloaded=True, failed_versions={"2": "crash loop"})
    stand.report()
    workers_do(stand, lambda _: [replica()])
    await repository.load(LoadOrder(model="digits", config_json="{}", files={"1/model.onnx": b"x"}), FAR)
    held = stand.overrides.held["digits"]

    assert (held.unloaded, held.config_json, dict(held.files), dict(held.failed_versions)) == (False, "{}", {"1/model.onnx": b"x"}, {})


@pytest.mark.parametrize(("held", "applied", "expected"), [(0, 0, 5_000_000), (7_000_000, 0, 7_000_001), (7_000_000, 9_000_000, 9_000_001)])
async def test_a_revision_is_the_wall_clock_or_above_everything_known(
    stand: ControlStand, repository: Repository, held: int, applied: int, expected: int
):
    if held:
        stand.overrides.held["digits"] = ModelOverride(model="digits", revision=held)
    stand.report(applied={"digits": applied})
    workers_do(stand, lambda _: [replica()])
    await repository.load(ORDER, FAR)

    assert stand.overrides.held["digits"].revision == expected


async def test_a_load_that_fails_says_where_and_why(stand: ControlStand, repository: Repository):
    stand.report()
    workers_do(stand, lambda _: [replica(), replica(version="2", state=ReplicaState.FAILED, reason="not an ONNX file")])

    with pytest.raises(LoadFailed, match="version '2' failed to load on worker-0: not an ONNX file"):
        await repository.load(ORDER, FAR)


async def test_a_version_that_had_failed_before_and_is_not_wanted_now_does_not_fail_a_load(stand: ControlStand, repository: Repository):
    stand.report()
    workers_do(stand, lambda _: [replica(state=ReplicaState.FAILED, changed_time=4.9), replica(version="2")])

    await repository.load(ORDER, FAR)


async def test_where_nothing_serves_an_old_failure_is_told_as_well(stand: ControlStand, repository: Repository):
    stand.report()
    workers_do(stand, lambda _: [replica(state=ReplicaState.FAILED, reason="crash loop", changed_time=4.9)])

    with pytest.raises(LoadFailed, match="crash loop"):
        await repository.load(ORDER, FAR)


async def test_configuration_that_cannot_be_loaded_is_taken_back_so_that_a_restarted_worker_finds_what_worked(
    stand: ControlStand, repository: Repository
):
    stand.overrides.held["digits"] = ModelOverride(model="digits", revision=1, config_json='{"max_batch_size": 2}')
    stand.report()
    workers_do(stand, lambda override: [replica(state=ReplicaState.FAILED if override.config_json == "{}" else ReplicaState.READY)])
    with pytest.raises(LoadFailed):
        await repository.load(LoadOrder(model="digits", config_json="{}"), FAR)
    held = stand.overrides.held["digits"]

    assert (held.config_json, held.revision) == ('{"max_batch_size": 2}', 5_000_001)


async def test_a_failed_first_override_leaves_an_empty_one_that_means_the_folder(stand: ControlStand, repository: Repository):
    stand.report()
    workers_do(stand, lambda override: [replica(state=ReplicaState.FAILED if override.config_json else ReplicaState.READY)])
    with pytest.raises(LoadFailed):
        await repository.load(LoadOrder(model="digits", config_json="{}"), FAR)

    assert stand.overrides.held == {"digits": ModelOverride(model="digits", revision=5_000_001)}


async def test_a_failed_load_returns_when_what_served_before_serves_again(stand: ControlStand, repository: Repository, clock: ManualClock):
    stand.report()
    load = asyncio.ensure_future(repository.load(LoadOrder(model="digits", config_json="{}"), FAR))
    await clock.asleep()
    revision = stand.overrides.held["digits"].revision
    stand.report(replicas=[replica(state=ReplicaState.FAILED)], applied={"digits": revision})
    clock.advance(1)
    await clock.asleep()
    assert stand.overrides.held["digits"].revision == revision + 1
    assert not load.done()
    stand.report(replicas=[replica()], applied={"digits": revision + 1})
    clock.advance(1)

    with pytest.raises(LoadFailed):
        await load


async def test_what_somebody_else_wished_for_meanwhile_is_not_taken_back(stand: ControlStand, repository: Repository, clock: ManualClock):
    stand.report()
    load = asyncio.ensure_future(repository.load(LoadOrder(model="digits", config_json="{}"), FAR))
    await clock.asleep()
    mine = stand.overrides.held["digits"].revision
    theirs = ModelOverride(model="digits", revision=mine + 1)
    stand.overrides.held["digits"] = theirs
    stand.report(replicas=[replica(state=ReplicaState.FAILED)], applied={"digits": mine + 1})
    clock.advance(1)
    with pytest.raises(LoadFailed):
        await load

    assert stand.overrides.held["digits"] == theirs


async def test_a_model_that_no_worker_finds_is_not_found_and_leaves_no_override(stand: ControlStand, repository: Repository):
    stand.report()
    workers_do(stand, lambda _: [])
    with pytest.raises(ModelNotFound):
        await repository.load(LoadOrder(model="nothing"), FAR)

    assert stand.overrides.held == {}


async def test_without_a_worker_nothing_is_written(stand: ControlStand, repository: Repository):
    stand.report(draining=True)
    with pytest.raises(NoReadyReplica):
        await repository.load(ORDER, FAR)

    assert stand.overrides.held == {}


async def test_a_worker_that_is_gone_is_not_waited_for(stand: ControlStand, repository: Repository, clock: ManualClock):
    stand.report("worker-0")
    stand.report("worker-1")
    load = asyncio.ensure_future(repository.load(ORDER, FAR))
    await clock.asleep()
    stand.report("worker-0", [replica()], applied={"digits": stand.overrides.held["digits"].revision})
    stand.gone("worker-1")
    clock.advance(1)

    await load


async def test_waiting_ends_at_the_callers_deadline_and_names_who_is_not_settled(
    stand: ControlStand, repository: Repository, clock: ManualClock
):
    stand.report("worker-0")
    load = asyncio.ensure_future(repository.load(ORDER, clock.now() + 2))
    await clock.asleep()
    clock.advance(2)

    with pytest.raises(DeadlineExceeded, match="worker-0"):
        await load
    assert "digits" in stand.overrides.held


async def test_waiting_ends_after_a_minute_without_a_deadline(stand: ControlStand, repository: Repository, clock: ManualClock):
    stand.report("worker-0")
    load = asyncio.ensure_future(repository.load(ORDER, FAR))
    await clock.asleep()
    clock.advance(WAIT_SECONDS)

    with pytest.raises(DeadlineExceeded):
        await load


async def test_an_unload_returns_when_no_worker_holds_the_model(stand: ControlStand, repository: Repository, clock: ManualClock):
    stand.report(replicas=[replica()])
    unload = asyncio.ensure_future(repository.unload("digits", FAR))
    await clock.asleep()
    revision = stand.overrides.held["digits"].revision
    assert stand.overrides.held["digits"].unloaded
    stand.report(replicas=[replica(state=ReplicaState.DRAINING)], applied={"digits": revision})
    clock.advance(1)
    await clock.asleep()
    assert not unload.done()
    stand.report(replicas=[replica(state=ReplicaState.UNLOADED)], applied={"digits": revision})
    clock.advance(1)

    await unload


async def test_an_unload_remembers_which_versions_had_failed(stand: ControlStand, repository: Repository):
    stand.overrides.held["digits"] = ModelOverride(model="digits", revision=1, failed_versions={"2": "crash loop"})
    stand.report(replicas=[replica()])
    workers_do(stand, lambda _: [replica(state=ReplicaState.UNLOADED)])
    await repository.unload("digits", FAR)

    assert dict(stand.overrides.held["digits"].failed_versions) == {"2": "crash loop"}


async def test_unloading_what_is_unloaded_succeeds_and_what_never_was_is_not_found(stand: ControlStand, repository: Repository):
    stand.report(replicas=[replica(state=ReplicaState.UNLOADED)])
    workers_do(stand, lambda _: [replica(state=ReplicaState.UNLOADED)])
    await repository.unload("digits", FAR)

    with pytest.raises(ModelNotFound):
        await repository.unload("nothing", FAR)
    assert set(stand.overrides.held) == {"digits"}


async def test_only_administrators_load_and_unload(stand: ControlStand, tmp_path: Path):
    tenants = tmp_path / "tenants.toml"
    tenants.write_text('[[tenants]]\nname = "a"\nkeys = ["sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"]\n')
    stand.control.tenants.load(tenants)

    with pytest.raises(TenantForbidden):
        await stand.control.load("secret", "digits", {}, FAR)
    with pytest.raises(TenantForbidden):
        await stand.control.unload("secret", "digits", {}, FAR)


async def test_where_a_controller_decides_a_load_past_it_is_refused_by_name(stand: ControlStand):
    control = dataclasses.replace(stand.control, repository=None)

    for refused in (control.load(None, "digits", {}, FAR), control.unload(None, "digits", {}, FAR)):
        with pytest.raises(Conflict, match="penstock deploy") as caught:
            await refused
        assert caught.value.reason == "DEPLOYED_BY_CONTROLLER"


async def test_overrides_are_files_that_other_processes_can_read(tmp_path: Path):
    overrides = FolderOverrides(tmp_path / "overrides")
    written = await overrides.update("digits", lambda held: ModelOverride(model="digits", revision=1 if held is None else 2))
    again = await overrides.update("digits", lambda held: ModelOverride(model="digits", revision=held.revision + 1 if held else 0))

    assert written == ModelOverride(model="digits", revision=1)
    assert again == ModelOverride(model="digits", revision=2)
    assert ModelOverride.FromString((tmp_path / "overrides" / "digits.pb").read_bytes()) == again
    await overrides.update("digits", lambda _: None)
    assert not (tmp_path / "overrides" / "digits.pb").exists()
