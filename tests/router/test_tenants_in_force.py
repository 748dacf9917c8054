"""What a router makes of the records of tenants: whose keys open what, from the next request on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from penstock.contracts.errors import ModelNotFound, TenantForbidden, Unauthenticated
from penstock.contracts.tenant_records import KeyRecord, TenantRecord
from services.chassis.process import CannotStart
from services.controller.key_making import hash_of
from services.router.admission import UNLIMITED
from services.router.tenant_policies import number_of
from services.router.tenants import Tenants
from services.router.tenants_file import TenantsFile
from services.router.tenants_in_force import TenantsInForce
from tests.mesh.conftest import FakeWorker
from tests.router.inference_stand import Stand, request, standing


def record(name: str = "acme", *keys: KeyRecord, settings: dict[str, Any] | None = None, **more: Any) -> TenantRecord:
    return TenantRecord(tenant=name, revision=1, keys=keys, settings_json=json.dumps(settings) if settings else "", **more)


def key(secret: str, *, pepper: bytes = b"", **more: Any) -> KeyRecord:
    return KeyRecord(key_id=secret, hash=hash_of(secret, pepper), **more)


@dataclass
class Wall:
    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class World:
    wall: Wall = field(default_factory=Wall)

    def __post_init__(self) -> None:
        self.tenants = Tenants(pepper=b"pepper", wall_seconds=self.wall)
        self.in_force = TenantsInForce(self.tenants)

    def tell(self, one: TenantRecord) -> None:
        self.in_force.apply(one.tenant, one)

    def opened(self, secret: str | None) -> str:
        """Return whom a key opens for, or the reason of the refusal."""
        try:
            return self.tenants.of(secret).policy.name
        except (Unauthenticated, TenantForbidden) as error:
            return error.reason


@pytest.fixture
def world() -> World:
    return World()


def test_everybody_is_anonymous_until_the_first_key_and_never_again(world: World):
    before = (world.opened(None), world.opened("a"))
    world.tell(record("acme", key("a")))
    closed = (world.opened(None), world.opened("a"), world.opened("b"))
    world.in_force.apply("acme", None)

    assert before == ("anonymous", "anonymous")
    assert closed == ("UNAUTHENTICATED", "acme", "UNAUTHENTICATED")
    assert (world.opened(None), world.opened("a")) == ("UNAUTHENTICATED",) * 2


def test_a_tenant_without_keys_locks_nobody_out(world: World):
    world.tell(record("acme"))
    before = (world.opened(None), world.in_force.count())
    world.tell(record("acme", key("a")))

    assert before == ("anonymous", 1)
    assert world.opened(None) == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "after",
    [
        record("acme", key("a", revoked=True)),
        record("acme", key("a", expires_time=1.0)),
        record("acme", key("a"), frozen=True),
        record("acme"),
    ],
    ids=["revoked", "expired", "frozen", "forgotten"],
)
def test_whatever_becomes_of_the_only_key_the_router_stays_closed(after: TenantRecord, world: World):
    world.tell(record("acme", key("a")))
    world.tell(after)

    assert world.opened(None) == "UNAUTHENTICATED"


def test_a_key_that_was_revoked_before_the_router_started_closes_it_too(world: World):
    world.tell(record("acme", key("a", revoked=True)))

    assert world.opened(None) == "UNAUTHENTICATED"


def test_a_router_that_knew_a_key_is_closed_when_it_comes_back_without_the_bus(tmp_path: Path):
    mark = tmp_path / "snapshots" / "router-0" / "closed"
    first, again = TenantsInForce(Tenants(), mark), TenantsInForce(Tenants(), mark)
    first.recall()
    opened = first.tenants.is_open
    first.apply("acme", record("acme", key("a")))
    again.recall()

    assert opened
    assert not again.tenants.is_open


def test_a_mark_that_cannot_be_written_closes_all_the_same(tmp_path: Path):
    (tmp_path / "a file").touch()
    in_force = TenantsInForce(Tenants(), tmp_path / "a file" / "closed")
    in_force.apply("acme", record("acme", key("a")))

    assert not in_force.tenants.is_open


def test_keys_can_be_required_before_there_is_one():
    tenants = Tenants(require_keys=True)
    with pytest.raises(Unauthenticated):
        tenants.of(None)
    TenantsInForce(tenants).apply("acme", record("acme", key("a")))

    assert tenants.of("a").policy.name == "acme"


def test_a_router_that_requires_keys_and_can_have_none_does_not_start():
    with pytest.raises(CannotStart, match="tenants_file"):
        TenantsFile(Tenants(require_keys=True), None).open()


def test_a_revoked_key_that_was_in_use_is_refused_from_the_next_request_on(world: World):
    world.tell(record("acme", key("a"), key("b")))
    before = (world.opened("a"), world.opened("b"))
    world.tell(record("acme", key("a", revoked=True), key("b")))

    assert before == ("acme", "acme")
    assert (world.opened("a"), world.opened("b")) == ("UNAUTHENTICATED", "acme")
    assert "a" not in world.tenants.known


def test_keys_are_hashed_under_the_pepper(world: World):
    world.tell(record("acme", key("a", pepper=b"pepper"), key("b", pepper=b"another")))

    assert (world.opened("a"), world.opened("b")) == ("acme", "UNAUTHENTICATED")


def test_a_key_expires_while_it_is_in_use(world: World):
    world.tell(record("acme", key("a", expires_time=1010.0), key("b", expires_time=1020.0), key("c")))
    told: list[list[str]] = []
    for seconds in (1009.9, 1010.0, 1019.9, 1020.0):
        world.wall.seconds = seconds
        told.append([world.opened(secret) for secret in ("a", "b", "c")])

    over = "UNAUTHENTICATED"
    assert told == [["acme"] * 3, [over, "acme", "acme"], [over, "acme", "acme"], [over, over, "acme"]]


def test_a_frozen_tenants_keys_open_nothing_until_it_thaws(world: World):
    world.tell(record("acme", key("a")))
    world.opened("a")
    world.tell(record("acme", key("a"), frozen=True))
    frozen = world.opened("a")
    world.tell(record("acme", key("a")))

    assert (frozen, world.opened("a"), world.opened("x")) == ("TENANT_FROZEN", "acme", "UNAUTHENTICATED")


def test_settings_are_those_of_the_tenants_file(world: World):
    rights = {"models": ["fraud-*"], "roles": ["registrar"], "model_prefixes": ["fraud-"]}
    world.tell(record("acme", settings={"requests_per_second": 5, **rights}))
    world.tell(record("ops", settings={"roles": ["operator"]}))
    world.tell(record("root", settings={"admin": True}))
    acme, ops, root = (world.tenants.policy(name) for name in ("acme", "ops", "root"))

    assert acme is not None
    assert ops is not None
    assert root is not None
    assert (acme.requests_per_second, acme.rows_per_second, acme.models, acme.is_admin) == (5.0, UNLIMITED, ("fraud-*",), False)
    assert (ops.is_admin, root.is_admin, ops.models) == (True, True, None)
    assert acme.number == number_of("acme") != ops.number


@pytest.mark.parametrize("settings", ['{"unheard_of": 1}', "[]", "{", '{"requests_per_second": 0}', '{"models": "all"}'])
def test_settings_that_cannot_be_read_hold_up_no_revocation_and_give_no_right(world: World, settings: str):
    world.tell(record("acme", key("a"), key("b"), settings={"models": ["fraud-*"]}))
    world.tell(replace(record("acme", key("a", revoked=True), key("b")), settings_json=settings))
    world.tell(replace(record("new", key("n")), settings_json=settings))

    assert (world.opened("a"), world.opened("b"), world.opened("n")) == ("UNAUTHENTICATED", "acme", "new")
    assert [world.tenants.of(one).may_call("fraud-1") for one in ("b", "n")] == [True, False]
    assert not world.tenants.of("b").may_call("digits")
    assert world.in_force.unreadable == 2


def test_a_record_under_another_tenants_key_is_not_applied(world: World):
    world.in_force.apply("acme", record("other", key("a")))

    assert world.tenants.is_open


def test_a_file_and_a_bus_are_one_too_many(tmp_path: Path):
    with pytest.raises(CannotStart, match="set one of the two"):
        TenantsFile(Tenants(), tmp_path / "tenants.toml", is_on_bus=True).open()


@pytest.fixture
async def stand(worker: FakeWorker) -> AsyncIterator[Stand]:
    async with standing([worker]) as built:
        yield built


async def test_what_is_in_flight_stays_counted_while_the_tenant_is_changed_taken_away_and_made_again(stand: Stand, worker: FakeWorker):
    in_force = TenantsInForce(stand.tenants)
    in_force.apply("acme", record("acme", key("a"), settings={"max_rows_in_flight": 3}))
    worker.is_mute = True
    stand.take(request([[1, 1], [2, 2]]), key="a")
    in_force.apply("acme", None)
    in_force.apply("acme", record("acme", key("b"), settings={"max_rows_in_flight": 2}))
    stand.take(request([[3, 3]]), first_id=2, key="b")

    assert stand.front.errors[2].reason == "CONCURRENCY"
    await asyncio.wait_for(worker.arrived.wait(), 5)
    worker.speak()
    await stand.front.until(2)
    assert stand.tenants.all()["acme"].rows_in_flight == 0


async def test_requests_that_are_admitted_together_are_refused_alike_once_their_key_is_over(stand: Stand):
    wall = stand.tenants._wall_seconds = Wall()
    in_force = TenantsInForce(stand.tenants)
    in_force.apply("acme", record("acme", key("a", expires_time=1010.0)))
    stand.take(*(request([[n, n]]) for n in range(8)), key="a")
    await stand.front.until(8)
    stand.take(*(request([[n, n]]) for n in range(8)), first_id=11, key="a")
    await stand.front.until(16)
    wall.seconds = 1010.0
    stand.take(*(request([[n, n]]) for n in range(8)), first_id=21, key="a")

    assert len(stand.front.answers) == 16
    assert {type(stand.front.errors[number]) for number in range(21, 29)} == {Unauthenticated}


async def test_a_tenant_that_may_call_nothing_finds_no_model(stand: Stand):
    TenantsInForce(stand.tenants).apply("acme", record("acme", key("a"), settings={"models": ["other"]}))
    stand.take(request([[1, 2]]), key="a")

    assert isinstance(stand.front.errors[1], ModelNotFound)
