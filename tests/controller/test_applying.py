"""Applying manifests: what they take, in one transaction, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.errors import AlreadyExists, Conflict, InvalidInput, ModelNotFound, NotFound, VersionNotFound
from penstock.contracts.routes import WHOLE, FallbackKind, KeySource
from services.controller.applying import Applied, Applying
from services.controller.changes import Outcome
from services.controller.deployment_values import DeploymentStatus
from services.controller.model_values import Version
from services.controller.registry import Description
from services.controller.tenancy import Tenancy, TenantUpdate
from services.controller.tenant_values import Setting
from services.controller.write_freeze import WRITES_FROZEN
from tests.controller.stand import ANN, DIGEST, Stand

CANARY = """
apiVersion: penstock/v1
kind: Deployment
metadata: {name: fraud}
spec:
  versions:
    - {version: "1", traffic: 90, replicas: 2}
    - {version: "2", traffic: 10}
  routingKey: {source: tenant}
  pins: {acme: "1"}
  shadow: {version: "3", sample: 5}
  fallback: ["3", cached]
  aliases: {champion: "1"}
"""
KSERVE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: fraud}
spec: {predictor: {canaryTrafficPercent: 20, model: {modelFormat: {name: onnx}, storageUri: s3://models/fraud/2/}}}
"""


async def apply(stand: Stand, manifest: str = CANARY, **intent: object) -> Outcome[Applied]:
    return await Applying(stand.changes, stand.fleet).apply(manifest, replace(ANN, **intent))  # type: ignore[arg-type]


def kinds(outcome: Outcome[Applied]) -> list[str]:
    return [change.action for change in outcome.value.changes]


@pytest.fixture
async def ready(stand: Stand) -> Stand:
    await stand.active("fraud", "1", "2", "3")
    await Tenancy(stand.changes).set_tenant("acme", TenantUpdate(settings={}), ANN)
    return stand


async def test_a_manifest_takes_what_differs_and_the_second_time_nothing(ready: Stand):
    first, second = await apply(ready), await apply(ready)

    assert kinds(first) == ["deployment.scale", "alias.set", "traffic.set", "route.update", "traffic.shadow", "traffic.pin"]
    route = await ready.route("fraud")
    assert await ready.shares("fraud") == {"1": 9000, "2": 1000}
    assert (route.routing_key.source, route.pins, route.aliases) == (KeySource.TENANT, {"acme": "1"}, {"champion": "1"})
    assert [step.kind for step in route.fallback] == [FallbackKind.VERSION, FallbackKind.CACHED]
    assert (await ready.deployment("fraud", "1")).replicas == 2
    assert (second.value, second.change) == (Applied(), None)


async def test_only_what_differs_is_changed(ready: Stand):
    await apply(ready)
    again = await apply(ready, CANARY.replace("90", "80").replace("traffic: 10", "traffic: 20"))

    assert kinds(again) == ["traffic.set"]


async def test_what_a_manifest_leaves_out_stays(ready: Stand):
    await apply(ready)
    outcome = await apply(ready, "apiVersion: penstock/v1\nkind: Deployment\nmetadata: {name: fraud}\nspec: {versions: [{version: '1'}]}")

    assert outcome.value == Applied()


async def test_a_part_that_is_there_is_the_whole_of_it(ready: Stand):
    await apply(ready)
    emptied = CANARY.replace('{acme: "1"}', "{}").replace('{version: "3", sample: 5}', "null").replace('["3", cached]', "[]")
    outcome = await apply(ready, emptied.replace('{champion: "1"}', "{}"))
    route = await ready.route("fraud")

    assert kinds(outcome) == ["alias.set", "route.update", "traffic.shadow", "traffic.pin"]
    assert (route.pins, route.shadow, route.fallback, route.aliases) == ({}, None, (), {})


async def test_what_is_not_ready_is_brought_up_and_the_rest_waits(stand: Stand):
    await stand.registered("fraud", "1", "2", "3")
    first = await apply(stand, CANARY.replace("  aliases", "  # aliases"))
    second = await apply(stand, CANARY.replace("  aliases", "  # aliases"))

    assert kinds(first) == ["deployment.create", "deployment.create"]
    assert [(await stand.deployment("fraud", name)).traffic_basis_points for name in "12"] == [9000, 1000]
    assert first.value.pending == second.value.pending
    assert "the traffic of fraud waits until 1, 2 is ready" in first.value.pending
    assert second.value.changes == ()


async def test_a_failed_deployment_is_tried_again(ready: Stand):
    await apply(ready)
    async with ready.catalogue.writing() as unit:
        await unit.deployments.replace(replace(await ready.deployment("fraud", "2"), status=DeploymentStatus.FAILED))
    outcome = await apply(ready)

    assert kinds(outcome) == ["deployment.scale"]
    assert (await ready.deployment("fraud", "2")).status is DeploymentStatus.DEPLOYING


async def test_a_dry_run_says_the_same_and_writes_nothing(ready: Stand):
    before = await ready.audit()
    dry = await apply(ready, dry_run=True)

    assert (dry.is_dry_run, await ready.audit()) == (True, before)
    assert kinds(dry) == kinds(await apply(ready))


async def test_all_is_done_or_nothing(ready: Stand):
    waiting = len(await ready.outbox())
    with pytest.raises(NotFound):
        await apply(ready, CANARY.replace("acme", "nobody"))

    assert len(await ready.outbox()) == waiting
    assert (await ready.deployment("fraud", "1")).replicas == 1
    assert [record.action for record in await ready.audit() if record.action == "alias.set"] == []


async def test_the_same_key_gives_the_same_answer_and_another_manifest_is_refused(ready: Stand):
    first = await apply(ready, idempotency_key="once")
    again = await apply(ready, idempotency_key="once")
    with pytest.raises(AlreadyExists) as refusal:
        await apply(ready, CANARY.replace("90", "80").replace("traffic: 10", "traffic: 20"), idempotency_key="once")

    assert (again.value, again.is_repeat) == (first.value, True)
    assert refusal.value.reason == "IDEMPOTENCY_MISMATCH"


async def test_nothing_is_applied_while_writes_are_frozen(ready: Stand):
    async with ready.catalogue.writing() as unit:
        await unit.settings.put(Setting(name=WRITES_FROZEN, value=True))
    with pytest.raises(Conflict) as refusal:
        await apply(ready)

    assert refusal.value.reason == "WRITES_FROZEN"
    assert (await ready.audit())[-1].outcome == "WRITES_FROZEN"


@pytest.mark.parametrize(
    ("manifest", "error"),
    [(CANARY.replace("fraud", "ghost"), ModelNotFound), (CANARY.replace('"2"', '"9"'), VersionNotFound)],
)
async def test_what_is_not_registered_is_not_found(ready: Stand, manifest: str, error: type[Exception]):
    with pytest.raises(error):
        await apply(ready, manifest)


async def test_a_manifest_has_no_revision(ready: Stand):
    with pytest.raises(InvalidInput):
        await apply(ready, expected_revision=3)


async def test_kserves_canary_takes_its_share_from_those_who_have_it(stand: Stand):
    await stand.active("fraud", "1")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    version = Version(model="fraud", version="2", digest=DIGEST, metadata={"source": "s3://models/fraud/2"})
    await stand.registry.register(version, Description(), ANN)
    brought_up = await apply(stand, KSERVE)
    async with stand.catalogue.writing() as unit:
        await unit.deployments.replace(replace(await stand.deployment("fraud", "2"), status=DeploymentStatus.ACTIVE))
        await unit.versions.set_healthy("fraud", "2", unit.time)
    shared, again = await apply(stand, KSERVE), await apply(stand, KSERVE)

    assert (kinds(brought_up), kinds(shared), kinds(again)) == (["deployment.create"], ["traffic.set"], [])
    assert await stand.shares("fraud") == {"1": 8000, "2": 2000}


async def test_a_source_that_nothing_was_registered_from_is_said(ready: Stand):
    with pytest.raises(VersionNotFound) as refusal:
        await apply(ready, KSERVE)

    assert "s3://models/fraud/2/" in refusal.value.message


def sharing(*versions: str, **parts: str) -> str:
    lines = "".join(f"    - {{version: {name!r}, traffic: {share}}}\n" for name, share in (one.split("=") for one in versions))
    more = "".join(f"  {name}: {value}\n" for name, value in parts.items())
    return f"apiVersion: penstock/v1\nkind: Deployment\nmetadata: {{name: fraud}}\nspec:\n  versions:\n{lines}{more}"


@pytest.mark.parametrize("part", [{"fallback": "['1', cached]"}, {"shadow": "{version: '1', sample: 5}"}])
async def test_what_cannot_be_while_the_traffic_waits_waits_with_it(stand: Stand, part: dict[str, str]):
    await stand.active("fraud", "1")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await stand.registered("fraud", "2")
    manifest = sharing("1=90" if "fallback" in part else "1=0", "2=10" if "fallback" in part else "2=100", **part)
    first = await apply(stand, manifest)
    async with stand.catalogue.writing() as unit:
        await unit.deployments.replace(replace(await stand.deployment("fraud", "2"), status=DeploymentStatus.ACTIVE))
    second, third = await apply(stand, manifest), await apply(stand, manifest)

    assert (kinds(first), len(first.value.pending)) == (["deployment.create"], 2)
    assert kinds(second) == ["traffic.set", "route.update" if "fallback" in part else "traffic.shadow"]
    assert third.value == Applied()


@pytest.mark.parametrize(("shadow", "after"), [("null", None), ("{version: '1', sample: 5}", "1")])
async def test_a_shadow_is_given_all_the_traffic_and_another_one_takes_its_place(ready: Stand, shadow: str, after: str | None):
    await apply(ready, sharing("1=100", shadow="{version: '2', sample: 5}"))
    promoted, again = await apply(ready, sharing("2=100", shadow=shadow)), await apply(ready, sharing("2=100", shadow=shadow))
    route = await ready.route("fraud")

    assert (await ready.shares("fraud"), route.shadow.version if route.shadow else None) == ({"2": WHOLE}, after)
    assert "traffic.set" in kinds(promoted)
    assert again.value == Applied()


async def test_a_canary_that_nobody_shares_with_keeps_everything(stand: Stand):
    version = Version(model="fraud", version="2", digest=DIGEST, metadata={"source": "s3://models/fraud/2"})
    await stand.registry.register(version, Description(), ANN)
    await stand.active("fraud", "2")
    await stand.traffic.set_weights("fraud", {"2": WHOLE}, ANN)
    outcome = await apply(stand, KSERVE)

    assert outcome.value.changes == ()
    assert "nobody else" in outcome.value.pending[0]
    assert await stand.shares("fraud") == {"2": WHOLE}


async def test_a_version_whose_deployment_drains_is_deployed_when_that_is_over(ready: Stand):
    await ready.deployments.delete((await ready.deployment("fraud", "2")).id, ANN)
    first = await apply(ready, sharing("1=90", "2=10"))
    async with ready.catalogue.writing() as unit:
        await unit.deployments.replace(replace(await ready.deployment("fraud", "2"), status=DeploymentStatus.RETIRED))
    second = await apply(ready, sharing("1=90", "2=10"))

    assert (kinds(first), kinds(second)) == ([], ["deployment.create"])
    assert any("drains" in what for what in first.value.pending)
