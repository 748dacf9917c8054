"""The feed of a topic: what it keeps on disk, and what it does while the bus is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from aiokafka.admin import NewPartitions

from services.chassis.kafka import admin
from services.chassis.kafka_feed import PATIENCE_SECONDS
from services.chassis.kafka_sending import KafkaSender
from services.chassis.process import running
from services.stack.topic_catalogue import make_topics
from tests.chassis.feed_worlds import Follower, KafkaWorld
from tests.kafka_broker import Broker


def grows(new: str, held: str | None) -> bool:
    return held is None or int(new) > int(held)


@pytest.fixture
async def world(kafka: Broker, tmp_path: Path) -> AsyncIterator[KafkaWorld]:
    async with KafkaWorld(kafka, tmp_path).opened() as opened:
        yield opened


def away(world: KafkaWorld) -> None:
    """Point the world's feeds to a broker that is not there; the snapshot stays."""
    world.source = replace(world.source, bus=world.source.bus.model_copy(update={"bootstrap_servers": "127.0.0.1:1"}))


async def test_a_feed_starts_from_its_snapshot_when_the_bus_is_away(world: KafkaWorld):
    await world.publish("a", "1")
    async with Follower(world.feed()).following():
        pass
    away(world)

    async with Follower(world.feed()).following() as follower:
        assert follower.told == [("a", "1")]


async def test_without_a_snapshot_and_without_a_bus_it_is_not_caught_up(world: KafkaWorld):
    away(world)
    feed = world.feed()
    task = asyncio.create_task(feed.follow(lambda _key, _value: None))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(feed.caught_up(), PATIENCE_SECONDS + 0.5)

    task.cancel()


async def test_a_value_never_goes_back_across_snapshot_and_replay(world: KafkaWorld):
    await world.publish("a", "5")
    async with Follower(world.feed(grows)).following():
        pass
    await world.publish("a", "3")

    async with Follower(world.feed(grows)).following() as follower:
        await world.publish("a", "4")
        await world.publish("a", "6")
        await follower.until(lambda: ("a", "6") in follower.told)

        assert follower.told == [("a", "5"), ("a", "6")]


async def test_a_value_that_the_topic_lost_goes_on(world: KafkaWorld, kafka: Broker, tmp_path: Path):
    await world.publish("a", "1")
    async with Follower(world.feed()).following():
        pass

    async with KafkaWorld(kafka, tmp_path).opened() as emptied, Follower(emptied.feed()).following() as follower:
        await emptied.publish("b", "1")
        await follower.until(lambda: ("b", "1") in follower.told)

        assert dict(follower.feed.snapshot()) == {"a": "1", "b": "1"}


async def test_a_tombstone_ends_what_the_snapshot_held(world: KafkaWorld):
    await world.publish("a", "1")
    async with Follower(world.feed()).following():
        pass
    await world.publish("a", None)

    async with Follower(world.feed()).following() as follower:
        assert follower.told == [("a", "1"), ("a", None)]


async def test_what_is_offered_past_the_bus_is_told_and_survives(world: KafkaWorld):
    away(world)
    feed = world.feed(grows)
    follower = Follower(feed)
    task = asyncio.create_task(feed.follow(follower.tell))
    await asyncio.sleep(0)

    assert await feed.offer("a", b"7")
    assert not await feed.offer("a", b"6")
    task.cancel()

    assert follower.told == [("a", "7")]
    async with Follower(world.feed(grows)).following() as again:
        assert again.told == [("a", "7")]


async def test_who_asks_to_be_up_to_date_has_been_told_what_was_there(world: KafkaWorld):
    async with Follower(world.feed(grows)).following() as follower:
        for value in range(1, 6):
            await world.publish("a", f"{value}")
            await follower.feed.refreshed()
            assert follower.told[-1] == ("a", f"{value}")


async def test_while_the_bus_is_away_nobody_is_up_to_date(world: KafkaWorld):
    await world.publish("a", "1")
    async with Follower(world.feed()).following():
        pass
    away(world)

    async with Follower(world.feed()).following() as follower:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(follower.feed.refreshed(), 0.3)


@pytest.mark.timeout(120)
async def test_a_broker_that_dies_and_comes_back_is_followed_again(tmp_path: Path, free_ports):
    broker = Broker(tmp_path / "broker", free_ports(2))
    broker.format()
    await asyncio.to_thread(broker.start)
    async with KafkaWorld(broker, tmp_path).opened() as world:
        await world.publish("a", "1")
        async with Follower(world.feed(grows)).following() as follower:
            broker.kill()
            await asyncio.to_thread(broker.start)
            await world.publish("a", "2")
            await follower.until(lambda: ("a", "2") in follower.told)

            assert follower.told == [("a", "1"), ("a", "2")]
    broker.kill()


async def test_a_thousand_values_are_replayed_without_holding_the_loop(world: KafkaWorld):
    for number in range(999):
        world._sender.keep(world.topic, f"key-{number}", b"1")
    await world.publish("last", "1")
    longest, looked_at = 0.0, time.monotonic()

    async def watch() -> None:
        nonlocal longest, looked_at
        while True:
            await asyncio.sleep(0.001)
            longest, looked_at = max(longest, time.monotonic() - looked_at), time.monotonic()

    watching = asyncio.create_task(watch())
    async with Follower(world.feed()).following() as follower:
        await follower.until(lambda: len(follower.told) >= 1000)
    watching.cancel()

    assert longest < 2.0  # far above what it takes: a busy machine is no defect, a loop that is held is


async def test_every_partition_is_read_however_many_a_topic_has(world: KafkaWorld, kafka: Broker):
    await make_topics(kafka.bus.bootstrap_servers, [wide := replace(world.topic, name=f"{world.topic.name}-wide", partitions=5)])
    world.topic, world.source = wide, replace(world.source, topic=replace(wide, partitions=1))
    keys = [f"key-{number}" for number in range(20)]
    for key in keys:
        await world.publish(key, "1")

    async with Follower(world.feed(grows)).following() as follower:
        assert sorted(follower.told) == sorted((key, "1") for key in keys)
        for key in keys:
            await world.publish(key, "2")
        await follower.until(lambda: len(follower.told) == 2 * len(keys))


async def test_partitions_that_a_topic_gets_later_are_read_too(world: KafkaWorld, kafka: Broker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.chassis.kafka.METADATA_SECONDS", 0.2)
    keys = [f"key-{number}" for number in range(20)]
    async with Follower(world.feed(grows)).following() as follower:
        await world.publish("a", "1")
        await follower.until(lambda: ("a", "1") in follower.told)
        client = admin(kafka.bus, "test")
        await client.start()
        try:
            await client.create_partitions({world.topic.name: NewPartitions(5)})
        finally:
            await client.close()
        later = KafkaSender(kafka.bus, "later")
        for key in keys:
            later.keep(world.topic, key, b"1")
        async with running(later.run()):
            await follower.until(lambda: {key for key, _ in follower.told} == {"a", *keys})


async def test_a_disk_that_takes_no_snapshot_is_said_once_until_it_takes_one(world: KafkaWorld, tmp_path: Path):
    away(world)
    folder = tmp_path / "state"
    folder.touch()
    world.source = replace(world.source, snapshot=folder / "feed.snapshot")
    feed = world.feed(grows)
    with structlog.testing.capture_logs() as logs:
        for number in (1, 2, 3):
            assert await feed.offer("a", b"%d" % number)
        folder.unlink()
        assert await feed.offer("a", b"4")
        (folder / "feed.snapshot").unlink()
        folder.rmdir()
        folder.touch()
        assert await feed.offer("a", b"5")

    assert [entry["event"] for entry in logs] == ["snapshot_not_written"] * 2
