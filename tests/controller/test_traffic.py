from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from penstock.contracts.errors import Conflict, InvalidInput, ModelNotFound, NotFound, RevisionConflict, ServingError, VersionNotFound
from penstock.contracts.routes import WHOLE, Backend, FallbackKind, FallbackStep, KeySource, KillSwitch, RoutingKey, Shadow
from services.controller.model_values import Version, VersionState
from services.controller.registry import Description
from services.controller.tenant_values import Setting, Tenant
from services.controller.traffic import Edge, RouteUpdate
from services.controller.write_freeze import WRITES_FROZEN
from tests.controller.stand import ANN, DIGEST, Stand


def step(version: str) -> FallbackStep:
    return FallbackStep(kind=FallbackKind.VERSION, version=version)


async def test_weights_are_one_revision_and_one_message(stand: Stand):
    await stand.active("fraud", "1", "2")
    first = await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    second = await stand.traffic.set_weights("fraud", {"1": 9_900, "2": 100}, ANN)

    assert (first.value.revision, second.value.revision) == (1, 2)
    route = await stand.published_route()
    assert route == await stand.route("fraud") == second.value.route
    assert (route.revision, route.writer_epoch, route.sequence) == (2, stand.lease.epoch, len(await stand.outbox()))
    assert second.change is not None
    assert (route.change_id, second.change.revision) == (second.change.change_id, 2)


async def test_weights_that_stand_already_make_no_revision(stand: Stand):
    await stand.active("fraud", "1")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    again = await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)

    assert (again.value.revision, again.change) == (1, None)


async def test_a_dry_run_tells_what_would_change_and_changes_nothing(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    outcome = await stand.traffic.set_weights("fraud", {"1": 9_900, "2": 100}, replace(ANN, dry_run=True))

    assert [each.pointer for each in outcome.differences] == ["/backends/0/weight_basis_points", "/backends/1"]
    assert await stand.shares("fraud") == {"1": WHOLE}


async def test_weights_over_a_stale_revision_are_refused_with_both_sides(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await stand.traffic.set_weights("fraud", {"1": 9_000, "2": 1_000}, replace(ANN, expected_revision=1))

    with pytest.raises(RevisionConflict) as refusal:
        await stand.traffic.set_weights("fraud", {"2": WHOLE}, replace(ANN, expected_revision=1))

    sides = refusal.value.details
    assert (sides.expected, sides.found) == (1, 2)  # type: ignore[attr-defined]
    assert await stand.shares("fraud") == {"1": 9_000, "2": 1_000}


@pytest.mark.parametrize(
    ("weights", "refusal", "row"),
    [
        ({"1": 9_900}, InvalidInput, "ID8"),
        ({"1": 9_900, "2": 200}, InvalidInput, "ID8"),
        ({"1": 0, "2": 0}, InvalidInput, "ID8"),
        ({}, InvalidInput, "ID8"),
        ({"1": -100, "2": 10_100}, InvalidInput, "ID8"),
        ({"1": 9_900, "7": 100}, VersionNotFound, "ID9"),
        ({"1": 9_900, "7": 100, "2": 0}, VersionNotFound, "ID9"),
        ({"1": 9_900, "idle": 100}, Conflict, "I9"),
    ],
)
async def test_weights_that_cannot_be_are_refused(stand: Stand, weights: Mapping[str, int], refusal: type[ServingError], row: str):
    await stand.active("fraud", "1", "2")
    await stand.registered("fraud", "idle")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)

    with pytest.raises(refusal):
        await stand.traffic.set_weights("fraud", weights, ANN)

    assert await stand.shares("fraud") == {"1": WHOLE}


async def test_traffic_of_a_model_that_nobody_knows_is_refused(stand: Stand):
    with pytest.raises(ModelNotFound):
        await stand.traffic.set_weights("absent", {"1": WHOLE}, ANN)


async def test_a_model_without_a_route_has_nothing_to_change(stand: Stand):
    await stand.active("fraud", "1")

    with pytest.raises(NotFound) as refusal:
        await stand.traffic.set_shadow("fraud", None, ANN)

    assert refusal.value.reason == "ROUTE_NOT_FOUND"


async def test_a_tenant_is_pinned_and_let_go(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    async with stand.catalogue.writing() as unit:
        await unit.tenants.add(Tenant(name="acme"))

    await stand.traffic.pin("fraud", "acme", "2", ANN)
    assert (await stand.route("fraud")).pins == {"acme": "2"}
    await stand.traffic.pin("fraud", "acme", "", ANN)
    assert (await stand.route("fraud")).pins == {}


@pytest.mark.parametrize(("tenant", "version", "refusal"), [("nobody", "1", NotFound), ("acme", "9", NotFound), ("acme", "idle", Conflict)])
async def test_a_pin_that_leads_nowhere_is_refused(stand: Stand, tenant: str, version: str, refusal: type[ServingError]):
    await stand.active("fraud", "1")
    await stand.registered("fraud", "idle")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    async with stand.catalogue.writing() as unit:
        await unit.tenants.add(Tenant(name="acme"))

    with pytest.raises(refusal):
        await stand.traffic.pin("fraud", tenant, version, ANN)


async def test_a_moved_alias_reaches_the_routers_at_once(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await stand.registry.set_alias("fraud", "stable", "2", ANN)

    assert (await stand.published_route()).aliases == {"stable": "2"}
    assert (await stand.route("fraud")).revision == 2


@pytest.mark.parametrize(
    ("shadow", "refusal", "row"),
    [
        (Shadow(version="1", sample_basis_points=5), InvalidInput, "ID36"),
        (Shadow(version="9", sample_basis_points=5), NotFound, "ID36"),
        (Shadow(version="idle", sample_basis_points=5), Conflict, "ID36"),
    ],
)
async def test_a_shadow_that_cannot_answer_is_refused(stand: Stand, shadow: Shadow, refusal: type[ServingError], row: str):
    await stand.active("fraud", "1")
    await stand.registered("fraud", "idle")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)

    with pytest.raises(refusal):
        await stand.traffic.set_shadow("fraud", shadow, ANN)


async def test_a_shadow_comes_and_goes(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    shadow = Shadow(version="2", sample_basis_points=500)

    await stand.traffic.set_shadow("fraud", shadow, ANN)
    assert (await stand.published_route()).shadow == shadow
    await stand.traffic.set_shadow("fraud", None, ANN)
    assert (await stand.published_route()).shadow is None


SIGNATURE = {"inputs": [{"name": "x", "datatype": "FP32"}], "outputs": [{"name": "y", "datatype": "FP32"}]}
OTHER = {"inputs": [{"name": "x", "datatype": "FP32"}, {"name": "z", "datatype": "FP32"}], "outputs": [{"name": "y", "datatype": "INT64"}]}


@pytest.mark.parametrize(
    ("chain", "refusal", "row"),
    [
        (("1",), InvalidInput, "ID37 itself"),
        (("2", "2"), InvalidInput, "ID37 cycle"),
        (("9",), NotFound, "ID37 unknown"),
        (("idle",), Conflict, "ID37 not ready"),
        (("other",), Conflict, "ID37 schema"),
    ],
)
async def test_a_fallback_that_leads_nowhere_is_refused(stand: Stand, chain: tuple[str, ...], refusal: type[ServingError], row: str):
    for version, signature in (("1", SIGNATURE), ("2", SIGNATURE), ("other", OTHER)):
        registered = Version(model="fraud", version=version, digest=DIGEST, signature=signature)
        await stand.registry.register(registered, Description(), ANN)
        await stand.active("fraud", version)
    await stand.registered("fraud", "idle")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)

    with pytest.raises(refusal):
        await stand.traffic.update("fraud", RouteUpdate(fallback=tuple(step(version) for version in chain)), ANN)

    await stand.traffic.update("fraud", RouteUpdate(fallback=(step("2"),)), ANN)
    assert (await stand.route("fraud")).fallback == (step("2"),)


async def test_parts_that_are_not_named_stay(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": 9_000, "2": 1_000}, ANN)
    await stand.traffic.update("fraud", RouteUpdate(routing_key=RoutingKey(source=KeySource.TENANT)), ANN)
    await stand.traffic.update("fraud", RouteUpdate(edges={"2": Edge(attempts=2, try_timeout_seconds=0.5)}), ANN)
    await stand.traffic.update("fraud", RouteUpdate(kill_switches=(KillSwitch(version="2"),)), ANN)

    route = await stand.route("fraud")
    assert route.routing_key.source is KeySource.TENANT
    assert route.backends[1] == Backend(version="2", weight_basis_points=1_000, attempts=2, try_timeout_seconds=0.5)
    assert route.is_killed("2", "anybody")


async def test_what_a_request_may_cost_is_said_of_a_backend_or_refused(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)

    with pytest.raises(InvalidInput, match="'2' is no backend") as refusal:
        await stand.traffic.update("fraud", RouteUpdate(edges={"1": Edge(attempts=2), "2": Edge(attempts=2)}), ANN)

    assert refusal.value.field == "edges"
    assert (await stand.route("fraud")).backends == (Backend(version="1", weight_basis_points=WHOLE),)


async def test_a_model_is_frozen_and_a_version_killed_while_writes_are_frozen(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    async with stand.catalogue.writing() as unit:
        await unit.settings.put(Setting(name=WRITES_FROZEN, value=True))

    await stand.traffic.update("fraud", RouteUpdate(frozen=True, kill_switches=(KillSwitch(version="1"),)), ANN)
    with pytest.raises(Conflict) as refusal:
        await stand.traffic.set_weights("fraud", {"2": WHOLE}, ANN)

    assert (await stand.published_route()).frozen
    assert refusal.value.reason == "WRITES_FROZEN"


async def test_a_version_that_failed_can_still_be_killed(stand: Stand):
    await stand.active("fraud", "1")
    await stand.registered("fraud", "bad")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await stand.registry.withdraw("fraud", "bad", VersionState.FAILED, ANN)
    await stand.traffic.update("fraud", RouteUpdate(kill_switches=(KillSwitch(version="bad"),)), ANN)

    assert (await stand.route("fraud")).is_killed("bad", "anybody")
