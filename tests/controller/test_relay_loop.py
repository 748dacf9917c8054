from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from penstock.contracts.errors import Unavailable
from penstock.contracts.topics import ROUTES
from services.chassis.clock import SystemClock
from services.chassis.process import running
from services.controller import relay_loop
from services.controller.changes import Changes, Command, Made, Writing
from services.controller.ledger_values import OutboxRow
from services.controller.relay_loop import RelayLoop
from tests.controller.stand import ANN, Stand


class FakeBus:
    def __init__(self) -> None:
        self.rows: list[OutboxRow] = []
        self.is_away = False
        self.arrived = asyncio.Event()

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        if self.is_away:
            raise Unavailable("away")
        self.rows += rows
        self.arrived.set()

    @property
    def sequences(self) -> list[int]:
        return [row.sequence for row in self.rows]


def relay(stand: Stand, bus: FakeBus, *, is_writer: bool = True) -> RelayLoop:
    return RelayLoop(stand.catalogue, bus, SystemClock(), is_writer=lambda: is_writer)


async def write(stand: Stand, relay: RelayLoop | None, *keys: str) -> None:
    async def work(writing: Writing) -> Made[str]:
        for key in keys:
            await writing.publish(ROUTES, key, lambda number, key=key: key.encode())
        return Made(value="", before=None, after=keys)

    changes = Changes(stand.catalogue, epoch=lambda: stand.lease.epoch, committed=relay.wake if relay else lambda: None)
    await changes.make(ANN, Command(action="test", answer=str, subject="test"), work)


async def test_everything_is_published_in_order_and_once_while_nothing_fails(stand: Stand):
    bus = FakeBus()
    await write(stand, None, "a", "b")
    await write(stand, None, "c")
    relaying = relay(stand, bus)

    assert await relaying.publish_waiting() == 3
    assert await relaying.publish_waiting() == 0
    assert bus.sequences == [1, 2, 3]
    assert [row.key for row in bus.rows] == ["a", "b", "c"]


async def test_a_bus_that_fails_gets_everything_again(stand: Stand):
    bus = FakeBus()
    await write(stand, None, "a", "b")
    relaying = relay(stand, bus)
    bus.is_away = True
    with pytest.raises(Unavailable):
        await relaying.publish_waiting()
    bus.is_away = False
    await relaying.publish_waiting()

    assert bus.sequences == [1, 2]


async def test_a_commit_wakes_the_relay_at_once(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(relay_loop, "POLL_SECONDS", 3600.0)
    bus = FakeBus()
    relaying = relay(stand, bus)
    async with running(relaying.follow()):
        for key in ("a", "b", "c"):
            bus.arrived.clear()
            await write(stand, relaying, key)
            await asyncio.wait_for(bus.arrived.wait(), 10)

    assert bus.sequences == [1, 2, 3]


async def test_rows_of_another_process_are_found_by_looking(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(relay_loop, "POLL_SECONDS", 0.01)
    bus = FakeBus()
    async with running(relay(stand, bus).follow()):
        await write(stand, None, "a")
        await asyncio.wait_for(bus.arrived.wait(), 10)

    assert bus.sequences == [1]


async def test_the_relay_goes_on_when_the_bus_is_back(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(relay_loop, "RETRY_SECONDS", 0.01)
    bus = FakeBus()
    bus.is_away = True
    relaying = relay(stand, bus)
    await write(stand, relaying, "a")
    async with running(relaying.follow()):
        while relaying.failures < 3:
            await asyncio.sleep(0.01)
        bus.is_away = False
        await asyncio.wait_for(bus.arrived.wait(), 10)

    assert bus.sequences == [1]


async def test_whoever_is_not_the_writer_publishes_nothing(stand: Stand):
    bus = FakeBus()
    await write(stand, None, "a")

    assert await relay(stand, bus, is_writer=False).publish_waiting() == 0
    assert bus.rows == []


async def test_more_than_a_burst_is_published_in_one_go(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(relay_loop, "BURST_ROWS", 2)
    monkeypatch.setattr(relay_loop, "POLL_SECONDS", 3600.0)
    bus = FakeBus()
    relaying = relay(stand, bus)
    await write(stand, None, "a", "b", "c", "d", "e")
    async with running(relaying.follow()):
        while len(bus.rows) < 5:
            bus.arrived.clear()
            await asyncio.wait_for(bus.arrived.wait(), 10)

    assert bus.sequences == [1, 2, 3, 4, 5]
