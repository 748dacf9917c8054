"""That a key was used is told to the minute, and costs requests nothing."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import Unauthenticated
from penstock.contracts.router_status import TOLD_KEYS, KeyUse
from penstock.contracts.tenant_records import KeyRecord, TenantRecord
from services.controller.key_making import hash_of
from services.router.key_uses import TOLD_SECONDS, USES_LIMIT, KeyUses
from services.router.tenants import Tenants
from services.router.tenants_in_force import TenantsInForce


class Wall:
    seconds = 6_000.0

    def __call__(self) -> float:
        return self.seconds


def tenants_of(wall: Wall, *secrets: str) -> Tenants:
    """Return tenants where every secret opens for `acme` under the id `id-<secret>`."""
    tenants = Tenants(wall_seconds=wall)
    keys = tuple(KeyRecord(key_id=f"id-{secret}", hash=hash_of(secret)) for secret in secrets)
    TenantsInForce(tenants).apply("acme", TenantRecord(tenant="acme", revision=1, keys=keys))
    return tenants


def test_a_use_is_told_by_the_id_and_the_minute():
    wall = Wall()
    tenants = tenants_of(wall, "a", "b")
    wall.seconds = 6_059.0
    tenants.of("a")

    assert tenants.used_keys() == (KeyUse(key_id="id-a", used_time=6_000.0),)


def test_a_key_that_goes_on_being_used_is_told_anew_every_minute():
    wall = Wall()
    tenants = tenants_of(wall, "a")
    told: list[float] = []
    for _ in range(3):
        tenants.used_keys()
        tenants.of("a")
        told += [one.used_time for one in tenants.used_keys()]
        wall.seconds += 60.0

    assert told == [6_000.0, 6_060.0, 6_120.0]


def test_within_a_minute_a_key_is_looked_up_once():
    wall = Wall()
    tenants = tenants_of(wall, "a")
    tenants.used_keys()
    tenants.of("a")
    remembered = tenants.known
    wall.seconds += 59.0
    tenants.used_keys()

    assert tenants.known is remembered
    assert "a" in remembered


def test_a_key_that_opens_nothing_is_not_told():
    wall = Wall()
    tenants = Tenants(wall_seconds=wall)
    revoked = KeyRecord(key_id="r", hash=hash_of("r"), revoked=True)
    expired = KeyRecord(key_id="e", hash=hash_of("e"), expires_time=1.0)
    TenantsInForce(tenants).apply("acme", TenantRecord(tenant="acme", revision=1, keys=(revoked, expired)))
    for secret in ("r", "e", "unknown", None):
        with pytest.raises(Unauthenticated):
            tenants.of(secret)

    assert tenants.used_keys() == ()


def test_all_uses_are_told_in_turn_while_they_are_fresh_and_then_no_more():
    uses = KeyUses()
    for number in range(3 * TOLD_KEYS):
        uses.note(f"k-{number}", 0.0)
    turns = [uses.told(1.0) for _ in range(3)]

    assert [len(turn) for turn in turns] == [TOLD_KEYS] * 3
    assert len({one.key_id for turn in turns for one in turn}) == 3 * TOLD_KEYS
    assert [uses.told(TOLD_SECONDS) for _ in range(3)] == [()] * 3


def test_so_many_are_remembered_and_no_more():
    uses = KeyUses()
    for number in range(USES_LIMIT + 1):
        uses.note(f"k-{number}", 0.0)
    told = {one.key_id for _ in range(USES_LIMIT // TOLD_KEYS + 1) for one in uses.told(1.0)}

    assert len(told) == USES_LIMIT
    assert f"k-{USES_LIMIT}" in told
