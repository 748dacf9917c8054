from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from penstock.contracts.errors import Conflict, NotFound, RevisionConflict, ServingError
from penstock.contracts.routes import WHOLE, KillSwitch
from services.controller.tenant_values import Setting
from services.controller.traffic import RouteUpdate
from services.controller.write_freeze import WRITES_FROZEN
from tests.controller.stand import ANN, Stand


@pytest.fixture
async def rolled(stand: Stand) -> Stand:
    """Version 1 has all the traffic, then version 2 gets a part, then all."""
    await stand.active("fraud", "1", "2")
    for weights in ({"1": WHOLE}, {"1": 9_000, "2": 1_000}, {"2": WHOLE}):
        await stand.traffic.set_weights("fraud", weights, ANN)
    return stand


async def test_the_shares_of_before_come_back_as_the_next_revision(rolled: Stand):
    outcome = await rolled.roll_back("fraud")

    assert await rolled.shares("fraud") == {"1": 9_000, "2": 1_000}
    assert (outcome.value.revision, outcome.value.rolled_back_from) == (4, 3)
    assert (await rolled.published_route()).revision == 4


async def test_the_same_call_again_takes_it_back(rolled: Stand):
    for expected in ({"1": 9_000, "2": 1_000}, {"2": WHOLE}, {"1": 9_000, "2": 1_000}):
        await rolled.roll_back("fraud")
        assert await rolled.shares("fraud") == expected


async def test_revisions_that_changed_no_share_are_passed_over(rolled: Stand):
    await rolled.registry.set_alias("fraud", "stable", "1", ANN)
    await rolled.roll_back("fraud")

    assert await rolled.shares("fraud") == {"1": 9_000, "2": 1_000}
    assert (await rolled.route("fraud")).aliases == {"stable": "1"}


async def test_one_version_gets_everything_when_it_is_named(rolled: Stand):
    await rolled.roll_back("fraud", "1")

    assert await rolled.shares("fraud") == {"1": WHOLE}


async def test_whoever_names_the_bad_revision_rolls_back_once_however_often_they_call(rolled: Stand):
    away_from = replace(ANN, expected_revision=3)
    outcomes = await asyncio.gather(*(rolled.roll_back("fraud", intent=away_from) for _ in range(4)))

    assert {outcome.value.revision for outcome in outcomes} == {4}
    assert len([outcome for outcome in outcomes if outcome.change]) == 1
    assert await rolled.shares("fraud") == {"1": 9_000, "2": 1_000}


async def test_a_rollback_to_a_version_is_done_once_however_often_it_is_asked_for(rolled: Stand):
    await rolled.roll_back("fraud", "1")
    again = await rolled.roll_back("fraud", "1")

    assert (again.value.revision, again.change) == (4, None)


async def test_a_rollback_of_a_revision_that_is_long_gone_is_refused(rolled: Stand):
    with pytest.raises(RevisionConflict):
        await rolled.roll_back("fraud", intent=replace(ANN, expected_revision=1))


@pytest.mark.parametrize(
    ("target", "refusal", "row"),
    [
        ("9", NotFound, "ID29 unknown"),
        ("never", Conflict, "ID29 never healthy"),
        ("2", Conflict, "ID29 same as current"),
        ("gone", Conflict, "not there any more"),
    ],
)
async def test_a_rollback_to_nowhere_is_refused(rolled: Stand, target: str, refusal: type[ServingError], row: str):
    await rolled.registered("fraud", "never")
    await rolled.active("fraud", "gone")
    await rolled.deployments.delete((await rolled.deployment("fraud", "gone")).id, ANN)

    with pytest.raises(refusal):
        await rolled.roll_back("fraud", target)

    assert await rolled.shares("fraud") == {"2": WHOLE}


async def test_a_model_that_never_had_other_shares_has_nothing_to_go_back_to(stand: Stand):
    await stand.active("fraud", "1")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)

    with pytest.raises(Conflict) as refusal:
        await stand.roll_back("fraud")

    assert refusal.value.reason == "ROLLBACK_TARGET"


@pytest.mark.parametrize("target", ["", "1"])
async def test_a_rollback_does_not_lead_to_what_is_killed(stand: Stand, target: str):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await stand.traffic.set_weights("fraud", {"2": WHOLE}, ANN)
    await stand.traffic.update("fraud", RouteUpdate(kill_switches=(KillSwitch(version="1"),)), ANN)

    with pytest.raises(Conflict, match="'1' of 'fraud' is killed") as refusal:
        await stand.roll_back("fraud", target)
    await stand.traffic.update("fraud", RouteUpdate(kill_switches=()), ANN)
    await stand.roll_back("fraud", target)

    assert refusal.value.reason == "ROLLBACK_TARGET"
    assert await stand.shares("fraud") == {"1": WHOLE}


async def test_a_rollback_to_shares_of_which_one_lives_is_done(stand: Stand):
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"1": 9_000, "2": 1_000}, ANN)
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await stand.traffic.update("fraud", RouteUpdate(kill_switches=(KillSwitch(version="2"),)), ANN)
    await stand.roll_back("fraud")

    assert await stand.shares("fraud") == {"1": 9_000, "2": 1_000}


async def test_a_rollback_is_possible_while_writes_are_frozen(rolled: Stand):
    async with rolled.catalogue.writing() as unit:
        await unit.settings.put(Setting(name=WRITES_FROZEN, value=True))
    await rolled.roll_back("fraud")

    assert await rolled.shares("fraud") == {"1": 9_000, "2": 1_000}


async def test_a_rollback_is_in_the_audit_with_what_was_and_what_is(rolled: Stand):
    outcome = await rolled.roll_back("fraud", intent=replace(ANN, why="errors"))
    record = (await rolled.audit("model/fraud"))[-1]

    assert record == outcome.change
    assert (record.action, record.why, record.revision) == ("traffic.rollback", "errors", 4)
    assert '"weight_basis_points":10000' in record.before
    assert '"weight_basis_points":9000' in record.after


async def test_every_route_says_where_a_rollback_leads_as_the_history_has_it(rolled: Stand):
    await rolled.registry.set_alias("fraud", "stable", "1", ANN)
    for _ in range(3):
        said = {one.version: one.weight_basis_points for one in (await rolled.published_route()).previous}
        await rolled.roll_back("fraud")

        assert await rolled.shares("fraud") == said
