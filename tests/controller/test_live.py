from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.errors import ModelNotFound
from penstock.contracts.routes import WHOLE
from services.controller.deployment_values import DeploymentStatus
from services.controller.live import Live
from services.controller.model_ports import Page
from services.controller.tenancy import Tenancy, TenantUpdate
from tests.controller.stand import ANN, Stand


@pytest.fixture
async def mesh(stand: Stand) -> Stand:
    await stand.active("fraud", "1", "2")
    await stand.active("churn", "1")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await stand.registry.set_alias("fraud", "stable", "1", ANN)
    await stand.traffic.set_weights("churn", {"1": WHOLE}, ANN)
    return stand


async def test_a_model_is_shown_with_all_that_belongs_to_it(mesh: Stand):
    live = await Live(mesh.catalogue).model("fraud")

    assert [version.version for version in live.versions] == ["1", "2"]
    assert live.aliases == {"stable": "1"}
    assert {each.version for each in live.deployments} == {"1", "2"}
    assert live.route == await mesh.route("fraud")


async def test_models_come_by_name_and_by_page(mesh: Stand):
    live = Live(mesh.catalogue)

    assert [each.model.name for each in await live.models(Page())] == ["churn", "fraud"]
    assert [each.model.name for each in await live.models(Page(after="churn", limit=1))] == ["fraud"]


async def test_a_model_that_nobody_knows_is_not_found(mesh: Stand):
    with pytest.raises(ModelNotFound):
        await Live(mesh.catalogue).model("absent")


async def test_retired_deployments_are_shown_when_asked_for(mesh: Stand):
    held = await mesh.deployment("fraud", "2")
    async with mesh.catalogue.writing() as unit:
        await unit.deployments.replace(replace(held, status=DeploymentStatus.RETIRED))
    live = Live(mesh.catalogue)

    assert [each.version for each in await live.deployments("fraud")] == ["1"]
    assert [each.version for each in await live.deployments("fraud", retired=True)] == ["2", "1"]
    assert len(await live.deployments()) == 2


async def test_what_changed_since_a_number_is_told_in_order(mesh: Stand):
    live = Live(mesh.catalogue)
    routes = await live.routes_since(0)

    assert [(held.model, held.revision) for held in routes] == [("fraud", 1), ("fraud", 2), ("churn", 1)]
    assert await live.routes_since(routes[1].sequence) == routes[2:]
    assert [held.model for held in await live.routes()] == ["churn", "fraud"]
    assert [held.revision for held in await live.route_history("fraud")] == [2, 1]
    assert await live.unpublished() == 3


async def test_tenants_come_with_their_keys(mesh: Stand):
    tenancy = Tenancy(mesh.changes)
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)
    _, key = await tenancy.create_key("acme", None, ANN)

    [tenant] = await Live(mesh.catalogue).tenants()
    assert (tenant.tenant.name, tenant.keys) == ("acme", (key.value,))
