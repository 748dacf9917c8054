from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from penstock.contracts.errors import Conflict, InvalidInput, InvalidSpec, NotFound, RevisionConflict
from penstock.contracts.tenant_records import TenantRecord
from penstock.contracts.topics import TENANTS
from services.controller.key_making import checksum, hash_of, new_key
from services.controller.platform_settings import PlatformSettings
from services.controller.tenancy import LONGEST_TENANT, Tenancy, TenantUpdate, check_tenant_name
from tests.controller.stand import ANN, Stand

LIMITS = {"requests_per_second": 500, "models": ["fraud-*"]}


async def published(stand: Stand) -> TenantRecord:
    row = (await stand.outbox())[-1]
    assert row.topic == TENANTS.name
    assert row.value is not None
    return TenantRecord.from_bytes(row.value)


async def test_a_tenant_is_made_changed_and_published_each_time(stand: Stand):
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("acme", TenantUpdate(settings=LIMITS), ANN)
    outcome = await tenancy.set_tenant("acme", TenantUpdate(frozen=True), ANN)

    assert (outcome.value.settings, outcome.value.frozen, outcome.value.revision) == (LIMITS, True, 2)
    record = await published(stand)
    assert (record.tenant, record.revision, record.frozen, record.sequence) == ("acme", 2, True, 2)
    assert record.settings_json == '{"models":["fraud-*"],"requests_per_second":500}'


async def test_a_key_is_returned_once_and_only_its_hash_is_kept(stand: Stand):
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)
    intent = replace(ANN, idempotency_key="k")
    key, outcome = await tenancy.create_key("acme", 60.0, intent)
    again, repeat = await tenancy.create_key("acme", 60.0, intent)

    assert outcome.value.hash == f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    assert outcome.value.expires_time == outcome.value.created_time + 60.0
    assert (again, repeat.value) == ("", outcome.value)
    assert [one.key_id for one in (await published(stand)).keys] == [outcome.value.key_id]
    everything = [str(await stand.sql(f"SELECT * FROM {table}")) for table in ("keys", "audit", "outbox", "kept_answers")]
    assert key not in "".join(everything)


async def test_a_key_is_made_and_revoked_by_whoever_has_seen_its_tenant_as_it_stands(stand: Stand):
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)
    _, made = await tenancy.create_key("acme", None, replace(ANN, expected_revision=1))
    stale = replace(ANN, expected_revision=1)

    with pytest.raises(RevisionConflict):
        await tenancy.create_key("acme", None, stale)
    with pytest.raises(RevisionConflict):
        await tenancy.revoke_key("acme", made.value.key_id, stale)
    await tenancy.revoke_key("acme", made.value.key_id, replace(ANN, expected_revision=2))


@pytest.mark.parametrize("frozen", [True, False])
async def test_who_is_not_there_is_neither_frozen_nor_thawed(stand: Stand, frozen: bool):
    tenancy = Tenancy(stand.changes)
    with pytest.raises(NotFound) as refusal:
        await tenancy.set_tenant("acne", TenantUpdate(frozen=frozen), ANN)
    made = await tenancy.set_tenant("acme", TenantUpdate(settings={}, frozen=frozen), ANN)

    assert (refusal.value.reason, made.value.frozen) == ("TENANT_NOT_FOUND", frozen)
    assert await stand.sql("SELECT name FROM tenants") == [("acme",)]


async def test_a_dry_run_of_a_key_makes_none(stand: Stand):
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)
    key, _ = await tenancy.create_key("acme", None, replace(ANN, dry_run=True))

    assert key == ""
    assert await stand.sql("SELECT * FROM keys") == []


async def test_a_revoked_key_is_refused_by_whoever_reads_the_next_message(stand: Stand):
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)
    _, first = await tenancy.create_key("acme", None, ANN)
    _, second = await tenancy.create_key("acme", None, ANN)
    await tenancy.revoke_key("acme", first.value.key_id, ANN)
    again = await tenancy.revoke_key("acme", first.value.key_id, ANN)

    assert {key.key_id: key.revoked for key in (await published(stand)).keys} == {first.value.key_id: True, second.value.key_id: False}
    assert again.change is None


@pytest.mark.parametrize("name", ["", "a/b", "x" * (LONGEST_TENANT + 1)])
def test_a_name_that_is_no_tenants_is_refused_as_one(name: str):
    with pytest.raises(InvalidInput, match=f"tenant name .* is not valid: use 1 to {LONGEST_TENANT} letters") as refusal:
        check_tenant_name(name)

    assert refusal.value.field == "tenant"


async def test_keys_and_tenants_that_nobody_knows_are_not_found(stand: Stand):
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)
    await tenancy.set_tenant("globex", TenantUpdate(), ANN)
    _, key = await tenancy.create_key("acme", None, ANN)

    with pytest.raises(NotFound):
        await tenancy.create_key("absent", None, ANN)
    with pytest.raises(NotFound):
        await tenancy.revoke_key("globex", key.value.key_id, ANN)
    with pytest.raises(InvalidInput):
        await tenancy.create_key("acme", 0.0, ANN)


@pytest.mark.parametrize(
    "settings",
    [
        {"requests_per_second": 0},
        {"requests_per_second": True},
        {"rows_per_second": float("nan")},
        {"models": "fraud"},
        {"models": [""]},
        {"admin": "yes"},
        {"roles": ["king"]},
        {"roles": ["registrar"]},
        {"model_prefixes": ["team a-"]},
        {"model_prefixes": "team-a-"},
        {"colour": "red"},
    ],
)
async def test_settings_that_no_router_knows_are_refused(stand: Stand, settings: dict[str, object]):
    with pytest.raises(InvalidSpec) as refusal:
        await Tenancy(stand.changes).set_tenant("acme", TenantUpdate(settings=settings), ANN)

    assert [pointer for pointer, _ in refusal.value.details] == [f"/settings/{next(iter(settings))}"]  # type: ignore[attr-defined]


async def test_a_tenant_changed_over_a_stale_revision_is_refused(stand: Stand):
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)

    with pytest.raises(RevisionConflict):
        await tenancy.set_tenant("acme", TenantUpdate(settings=LIMITS), replace(ANN, expected_revision=7))


async def test_all_writes_freeze_with_one_call_but_a_tenant_can_still_be_frozen(stand: Stand):
    tenancy, settings = Tenancy(stand.changes), PlatformSettings(stand.changes)
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)
    await settings.freeze_writes(frozen=True, intent=ANN)
    with pytest.raises(Conflict) as refusal:
        await tenancy.set_tenant("acme", TenantUpdate(settings=LIMITS), ANN)
    await tenancy.set_tenant("acme", TenantUpdate(frozen=True), ANN)
    await settings.freeze_writes(frozen=False, intent=ANN)
    await tenancy.set_tenant("acme", TenantUpdate(settings=LIMITS), ANN)

    assert refusal.value.reason == "WRITES_FROZEN"


async def test_a_key_names_the_environment_that_makes_it(stand: Stand):
    tenancy = Tenancy(stand.changes, environment="staging")
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)
    key, outcome = await tenancy.create_key("acme", None, ANN)

    assert key.startswith(f"penstock_staging_{outcome.value.key_id}_")


def test_a_mistyped_key_is_known_by_its_checksum():
    _, key = new_key()
    body, end = key[:-6], key[-6:]

    assert checksum(body) == end
    assert checksum(body[:-1] + ("a" if body[-1] != "a" else "b")) != end


def test_a_pepper_makes_another_hash():
    assert hash_of("k", b"pepper").startswith("hmac-sha256:")
    assert hash_of("k", b"pepper") != hash_of("k", b"salt")
