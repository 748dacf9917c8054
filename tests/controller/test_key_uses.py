"""When a key was last used, as the catalogue keeps it: to the minute, never backwards, and without a trace anywhere else."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import pytest

from penstock.contracts.errors import Unauthenticated, Unavailable
from penstock.contracts.router_status import KeyUse, RouterStatus
from services.chassis.process import running
from services.controller.key_use_loop import PAUSE_SECONDS, KeyUseLoop
from services.controller.key_uses import WAITING_LIMIT, KeyUses
from services.controller.known_callers import KnownCallers
from services.controller.ports import Catalogue, Unit
from services.controller.tenancy import Tenancy, TenantUpdate
from tests.chassis.manual_clock import ManualClock
from tests.controller.stand import ANN, Stand

NOW = 1_000_000.0


def told(*uses: tuple[str, float]) -> RouterStatus:
    keys = tuple(KeyUse(key_id=key_id, used_time=used_time) for key_id, used_time in uses)
    return RouterStatus(router_id="router-0", instance_id="r-1", key_uses=keys)


class AwayAtFirst:
    """A catalogue whose database is away when it is first written to."""

    def __init__(self, real: Catalogue) -> None:
        self._real = real
        self._is_away = True
        self.reading = real.reading

    def writing(self, *, keep: bool = True) -> AbstractAsyncContextManager[Unit]:
        if self._is_away:
            self._is_away = False
            raise Unavailable("away", reason="CATALOGUE_UNAVAILABLE")
        return self._real.writing(keep=keep)


@dataclass
class World:
    stand: Stand
    is_writer: bool = True
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.tenancy = Tenancy(self.stand.changes)
        self.loop = KeyUseLoop(self.stand.catalogue, self.clock, is_writer=lambda: self.is_writer, wall_seconds=lambda: NOW)

    async def key(self, tenant: str = "acme", **settings: object) -> tuple[str, str]:
        """Make a key of a tenant; return it and its id."""
        await self.tenancy.set_tenant(tenant, TenantUpdate(settings=settings), ANN)
        key, outcome = await self.tenancy.create_key(tenant, None, ANN)
        return key, outcome.value.key_id

    async def last_used(self, key_id: str) -> float | None:
        async with self.stand.catalogue.reading() as unit:
            held = await unit.keys.get(key_id)
        assert held is not None
        return held.last_used_time


@pytest.fixture
def world(stand: Stand) -> World:
    return World(stand)


async def test_what_routers_tell_is_written_to_the_minute_and_leaves_no_other_trace(world: World):
    _, key_id = await world.key()
    before = (await world.stand.audit(), await world.stand.outbox(), await world.last_used(key_id))
    world.loop.hear(told((key_id, NOW - 70.0), ("nobody's", NOW)))
    await world.loop.write()

    assert before == (await world.stand.audit(), await world.stand.outbox(), None)
    assert await world.last_used(key_id) == (NOW - 70.0) // 60.0 * 60.0


async def test_it_never_goes_backwards_whoever_writes(world: World):
    _, key_id = await world.key()
    world.loop.hear(told((key_id, NOW)))
    await world.loop.write()
    newest = await world.last_used(key_id)
    late = World(world.stand)
    late.loop.hear(told((key_id, NOW - 600.0)))

    assert await late.loop.write() == 1
    assert await world.last_used(key_id) == newest


async def test_a_key_costs_one_write_a_minute_however_many_routers_tell_it(world: World):
    _, key_id = await world.key()
    world.loop.hear(told((key_id, 600.0)))
    written = [await world.loop.write()]
    for second in (600.0, 630.0, 659.0, 540.0):
        world.loop.hear(told((key_id, second)))
    written.append(await world.loop.write())
    world.loop.hear(told((key_id, 660.0)))
    written.append(await world.loop.write())

    assert written == [1, 0, 1]


async def test_only_the_writer_listens_to_routers(world: World):
    _, key_id = await world.key()
    world.is_writer = False
    world.loop.hear(told((key_id, NOW)))
    missed = await world.loop.write()
    world.is_writer = True
    world.loop.hear(told((key_id, NOW)))

    assert (missed, await world.loop.write()) == (0, 1)


async def test_a_key_that_opens_the_controller_is_in_use_and_one_that_does_not_is_not(world: World):
    key, key_id = await world.key("root", admin=True)
    callers = KnownCallers(world.stand.catalogue, on_use=world.loop.seen)
    with pytest.raises(Unauthenticated):
        await callers.of(key[:-1], writes=False)
    wrong = await world.loop.write()
    await callers.of(key, writes=False)

    assert (wrong, await world.loop.write()) == (0, 1)
    assert await world.last_used(key_id) == NOW // 60.0 * 60.0


async def test_revoking_a_key_keeps_when_it_was_last_used(world: World):
    _, key_id = await world.key()
    world.loop.hear(told((key_id, NOW)))
    await world.loop.write()
    await world.tenancy.revoke_key("acme", key_id, ANN)

    assert await world.last_used(key_id) == NOW // 60.0 * 60.0


async def test_what_cannot_be_written_now_is_written_later(world: World):
    _, key_id = await world.key()
    catalogue = AwayAtFirst(world.stand.catalogue)
    loop = KeyUseLoop(catalogue, world.clock, is_writer=lambda: True, wall_seconds=lambda: NOW)
    loop.hear(told((key_id, NOW)))
    async with running(loop.follow(), name="uses"):
        await world.clock.asleep()
        failed = await world.last_used(key_id)
        world.clock.advance(PAUSE_SECONDS)
        await world.clock.asleep()

    assert (failed, await world.last_used(key_id)) == (None, NOW // 60.0 * 60.0)


def test_a_clock_that_is_ahead_and_what_is_no_id_are_not_believed():
    uses = KeyUses()

    assert uses.note("a", used_time=9_000.0, now=600.0)
    assert not uses.note("", used_time=600.0, now=600.0)
    assert not uses.note("k" * 256, used_time=600.0, now=600.0)
    assert uses.waiting(10) == {"a": 600.0}


def test_what_waits_is_bounded_and_what_is_left_out_may_come_again():
    uses = KeyUses()
    for number in range(WAITING_LIMIT):
        uses.note(f"k-{number}", 60.0, 60.0)
    refused = uses.note("one more", 60.0, 60.0)
    uses.written(uses.waiting(1))

    assert not refused
    assert uses.note("one more", 60.0, 60.0)
