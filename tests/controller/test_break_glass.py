from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.errors import InvalidInput, TenantForbidden
from penstock.contracts.route_records import RouteRecord, route_to_bytes, supersedes
from penstock.contracts.routes import WHOLE, single
from services.controller.break_glass import BreakGlass
from services.controller.tenant_values import Setting
from services.controller.write_freeze import WRITES_FROZEN
from tests.controller.stand import ANN, Stand


class Signed:
    """Takes the signature `good`."""

    def check(self, record: RouteRecord) -> None:
        if record.signature != b"good":
            raise TenantForbidden("no operator's", reason="BAD_SIGNATURE")


def emergency(version: str, revision: int) -> RouteRecord:
    route = single("fraud", version, revision=revision)
    return RouteRecord(route=route, route_bytes=route_to_bytes(route), break_glass=True, signature=b"good", key_id="alice")


@pytest.fixture
async def routed(stand: Stand) -> Stand:
    await stand.active("fraud", "1", "2")
    await stand.traffic.set_weights("fraud", {"2": WHOLE}, ANN)
    return stand


@pytest.mark.parametrize("revision", [1, 2, 7])
async def test_an_operators_record_becomes_the_newest_revision(routed: Stand, revision: int):
    outcome = await BreakGlass(routed.changes, Signed()).adopt(emergency("1", revision))

    assert await routed.shares("fraud") == {"1": WHOLE}
    assert outcome.value.break_glass
    assert outcome.value.revision == revision + 1
    assert outcome.change is not None
    assert (outcome.change.actor, outcome.change.action) == ("operator:alice", "route.adopt")
    ours = await routed.published_route()
    assert supersedes(RouteRecord(route=ours), emergency("1", revision))


async def test_a_record_that_is_read_again_changes_nothing(routed: Stand):
    adoption = BreakGlass(routed.changes, Signed())
    await adoption.adopt(emergency("1", 2))
    await routed.traffic.set_weights("fraud", {"2": WHOLE}, ANN)
    again = await adoption.adopt(emergency("1", 2))

    assert again.change is None
    assert await routed.shares("fraud") == {"2": WHOLE}


async def test_a_record_that_says_what_stands_is_passed_all_the_same(routed: Stand):
    outcome = await BreakGlass(routed.changes, Signed()).adopt(emergency("2", 5))

    assert outcome.value.revision == 6
    assert outcome.change is not None


async def test_a_record_is_adopted_while_writes_are_frozen(routed: Stand):
    async with routed.catalogue.writing() as unit:
        await unit.settings.put(Setting(name=WRITES_FROZEN, value=True))

    assert (await BreakGlass(routed.changes, Signed()).adopt(emergency("1", 2))).value.break_glass


async def test_a_record_without_an_operators_signature_is_refused(routed: Stand):
    with pytest.raises(TenantForbidden):
        await BreakGlass(routed.changes, Signed()).adopt(replace(emergency("1", 9), signature=b"bad"))

    assert await routed.shares("fraud") == {"2": WHOLE}


@pytest.mark.parametrize(
    "record", [replace(emergency("1", 9), break_glass=False), RouteRecord(route=None, break_glass=True, signature=b"good")]
)
async def test_what_is_no_break_glass_route_is_refused(routed: Stand, record: RouteRecord):
    with pytest.raises(InvalidInput):
        await BreakGlass(routed.changes, Signed()).adopt(record)
