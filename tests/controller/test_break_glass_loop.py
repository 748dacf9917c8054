from __future__ import annotations

from penstock.contracts.errors import TenantForbidden, Unavailable
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.router_status import RouterStatus
from penstock.contracts.routes import single
from services.chassis.clock import SystemClock
from services.controller.break_glass_loop import BreakGlassLoop
from services.controller.changes import Outcome
from services.controller.route_values import RouteRevision


def emergency(model: str = "fraud", revision: int = 2) -> RouteRecord:
    return RouteRecord(route=single(model, "1", revision=revision), break_glass=True, signature=b"s", key_id="alice")


class Adoption:
    def __init__(self) -> None:
        self.adopted: list[RouteRecord] = []
        self.refusal: Exception | None = None

    async def adopt(self, record: RouteRecord) -> Outcome[RouteRevision]:
        if self.refusal is not None:
            raise self.refusal
        self.adopted.append(record)
        return Outcome(value=RouteRevision(model="fraud", revision=3, route=record.route, action="route.adopt", actor="operator:alice"))


class Stand:
    def __init__(self) -> None:
        self.adoption = Adoption()
        self.is_writer = True
        self.loop = BreakGlassLoop(self.adoption, SystemClock(), is_writer=lambda: self.is_writer)


async def test_an_operators_record_is_adopted_once():
    stand = Stand()
    stand.loop.take("fraud", emergency())
    await stand.loop.look()
    await stand.loop.look()

    assert stand.adoption.adopted == [emergency()]


async def test_a_record_that_a_router_holds_in_force_is_adopted_once_however_often_it_says_so():
    stand = Stand()
    said = RouterStatus(router_id="r", instance_id="r-1", signed_records=(emergency().to_bytes(), b"\xff"))
    for _ in range(3):
        stand.loop.hear(said)
        await stand.loop.look()

    assert [record.route for record in stand.adoption.adopted] == [emergency().route]


async def test_only_the_writer_adopts_and_a_new_one_finds_what_waits():
    stand = Stand()
    stand.is_writer = False
    stand.loop.take("fraud", emergency())
    await stand.loop.look()
    assert stand.adoption.adopted == []
    stand.is_writer = True
    await stand.loop.look()

    assert stand.adoption.adopted == [emergency()]


async def test_what_a_database_could_not_take_is_tried_again_and_a_strangers_record_is_not():
    stand = Stand()
    stand.loop.take("fraud", emergency())
    stand.adoption.refusal = Unavailable("the database is away")
    await stand.loop.look()
    stand.adoption.refusal = None
    await stand.loop.look()
    stand.loop.take("iris", emergency("iris"))
    stand.adoption.refusal = TenantForbidden("a stranger")
    await stand.loop.look()
    stand.adoption.refusal = None
    await stand.loop.look()

    assert stand.adoption.adopted == [emergency()]


async def test_a_record_that_the_controller_has_passed_is_left():
    stand = Stand()
    stand.loop.take("fraud", emergency())
    stand.loop.take("fraud", RouteRecord(route=single("fraud", "1", revision=3)))
    await stand.loop.look()

    assert stand.adoption.adopted == []
