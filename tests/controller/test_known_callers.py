"""Who is let in to the controller: everybody until the first administrator's key, and never again."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.contracts.errors import InvalidTransition, TenantForbidden, Unauthenticated
from penstock.contracts.tenant_records import TenantRecord
from services.controller.known_callers import KnownCallers
from services.controller.platform_settings import PlatformSettings
from services.controller.tenancy import Tenancy, TenantUpdate
from services.controller.way_back import Wanted, make_administrator
from tests.controller.stand import ANN, Stand

ADMIN = {"admin": True}


async def opened(callers: KnownCallers, key: str | None, *, writes: bool = True) -> str:
    """Return whom a key opens for, or why it does not."""
    try:
        return (await callers.of(key, writes=writes)).tenant
    except (Unauthenticated, TenantForbidden) as error:
        return error.reason


class World:
    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.tenancy = Tenancy(stand.changes)
        self.callers = KnownCallers(stand.catalogue)

    async def tenant(self, name: str, settings: dict[str, object] | None = None, **more: Any) -> None:
        await self.tenancy.set_tenant(name, TenantUpdate(settings=settings, **more), ANN)

    async def key(self, tenant: str, life_seconds: float | None = None) -> tuple[str, str]:
        """Make a key; return it and its id."""
        key, outcome = await self.tenancy.create_key(tenant, life_seconds, ANN)
        return key, outcome.value.key_id

    async def everywhere(self, key: str | None) -> set[str]:
        """Return what a controller that ran all the time says, and one that has just started."""
        return {await opened(self.callers, key), await opened(KnownCallers(self.stand.catalogue), key)}


@pytest.fixture
def world(stand: Stand) -> World:
    return World(stand)


async def test_everybody_may_until_an_administrator_has_a_key(world: World):
    told = [await opened(world.callers, None)]
    await world.tenant("acme")
    await world.key("acme")
    await world.tenant("root", ADMIN)
    told.append(await opened(world.callers, None))
    key, _ = await world.key("root")

    assert told == ["anonymous", "anonymous"]
    assert await world.everywhere(None) == {"UNAUTHENTICATED"}
    assert await world.everywhere(key) == {"root"}


async def test_a_tenant_with_a_key_that_becomes_an_administrator_closes_too(world: World):
    await world.tenant("acme")
    key, _ = await world.key("acme")
    before = await opened(world.callers, None)
    await world.tenant("acme", {"roles": ["operator"]})

    assert (before, await world.everywhere(None), await world.everywhere(key)) == ("anonymous", {"UNAUTHENTICATED"}, {"acme"})


@pytest.mark.parametrize("way", ["revoked", "demoted", "frozen"])
async def test_the_last_administrators_key_is_kept_unless_it_is_forced_and_then_nobody_is_let_in(way: str, world: World):
    await world.tenant("root", ADMIN)
    key, key_id = await world.key("root")

    async def lose(*, force: bool) -> None:
        if way == "revoked":
            await world.tenancy.revoke_key("root", key_id, ANN, force=force)
        elif way == "demoted":
            await world.tenant("root", {}, force=force)
        else:
            await world.tenant("root", frozen=True, force=force)

    with pytest.raises(InvalidTransition, match="first") as refused:
        await lose(force=False)
    kept = await world.everywhere(key)
    await lose(force=True)

    assert (refused.value.reason, kept) == ("LAST_ADMINISTRATOR", {"root"})
    assert await world.everywhere(None) == {"UNAUTHENTICATED"}
    assert await world.everywhere(key) == {"FORBIDDEN" if way == "demoted" else "UNAUTHENTICATED"}
    assert [one.outcome for one in await world.stand.audit("tenant/root")].count("LAST_ADMINISTRATOR") == 1


async def test_of_two_administrators_keys_one_may_go(world: World):
    await world.tenant("root", ADMIN)
    await world.tenant("other", ADMIN)
    _, key_id = await world.key("root")
    kept, _ = await world.key("other")
    await world.tenancy.revoke_key("root", key_id, ANN)

    assert await world.everywhere(kept) == {"other"}


async def test_an_expired_key_neither_counts_as_another_nor_opens_the_controller(world: World):
    await world.tenant("root", ADMIN)
    expired, _ = await world.key("root", 1000.0)
    key, key_id = await world.key("root")
    await world.stand.sql("UPDATE keys SET expires_time = 1.0 WHERE expires_time IS NOT NULL")

    with pytest.raises(InvalidTransition):
        await world.tenancy.revoke_key("root", key_id, ANN)
    assert await world.everywhere(None) == await world.everywhere(expired) == {"UNAUTHENTICATED"}
    assert await world.everywhere(key) == {"root"}


async def test_keys_of_tenants_are_revoked_without_asking_while_there_is_no_administrator(world: World):
    await world.tenant("acme")
    _, key_id = await world.key("acme")
    await world.tenancy.revoke_key("acme", key_id, ANN)

    assert await opened(world.callers, None) == "anonymous"


async def test_a_catalogue_older_than_the_mark_is_closed_by_the_keys_in_it(world: World):
    await world.tenant("root", ADMIN)
    _, key_id = await world.key("root")
    await world.tenancy.revoke_key("root", key_id, ANN, force=True)
    await world.stand.sql("DELETE FROM settings")

    assert await world.everywhere(None) == {"UNAUTHENTICATED"}


async def test_keys_can_be_required_before_there_is_one(world: World):
    closed = KnownCallers(world.stand.catalogue, require_keys=True)
    before = await opened(closed, None)
    key, _ = await make_administrator(world.stand.catalogue, Wanted())

    assert (before, await opened(closed, key)) == ("UNAUTHENTICATED", "administrators")


async def test_whoever_has_the_machine_makes_a_key_even_while_writes_are_frozen(world: World):
    await world.tenant("root", ADMIN)
    _, key_id = await world.key("root")
    await PlatformSettings(world.stand.changes).freeze_writes(frozen=True, intent=ANN)
    await world.tenancy.revoke_key("root", key_id, ANN, force=True)
    first, made = await make_administrator(world.stand.catalogue, Wanted(reason="all keys were lost"))
    second, _ = await make_administrator(world.stand.catalogue, Wanted())

    assert await world.everywhere(first) == await world.everywhere(second) == {"administrators"}
    told = TenantRecord.from_bytes((await world.stand.outbox())[-1].value or b"")
    assert (told.tenant, len(told.keys), told.keys[0].key_id, told.writer_epoch) == ("administrators", 2, made.key_id, 1)
    noted = (await world.stand.audit("tenant/administrators"))[0]
    assert (noted.actor, noted.action, noted.why) == ("controller-machine", "administrator.make", "all keys were lost")
    assert first not in str(noted)


async def test_the_key_is_not_given_to_a_tenant_that_may_not_change_the_mesh(world: World):
    await world.tenant("acme")
    await world.tenant("cold", {"admin": True}, frozen=True)
    for tenant in ("acme", "cold"):
        with pytest.raises(InvalidTransition, match="--tenant"):
            await make_administrator(world.stand.catalogue, Wanted(tenant=tenant))

    assert await world.stand.sql("SELECT * FROM keys") == []


async def test_the_writer_goes_on_writing_after_a_key_was_made_beside_it(world: World):
    await make_administrator(world.stand.catalogue, Wanted())
    await world.tenant("acme")

    assert [row.sequence for row in await world.stand.outbox()] == [1, 2]
