"""The sender never waits, is bounded, and delivers when the bus is back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from penstock.contracts.topics import Topic
from services.chassis import kafka_sending
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka_sending import BURST_RECORDS, QUEUE_BYTES, QUEUE_RECORDS, KafkaSender
from services.chassis.process import running
from tests.chassis.feed_worlds import Follower, KafkaWorld
from tests.kafka_broker import Broker

NOWHERE = BusSettings(bootstrap_servers="127.0.0.1:1", retry_seconds=0.01, retry_limit_seconds=0.02)
EVENTS = Topic(name="test.events.v1", message="str", key="name", retention_seconds=60)


async def test_events_beyond_the_queue_are_refused_and_counted():
    sender = KafkaSender(NOWHERE, "test")

    taken = [sender.offer(EVENTS, "a", b"x") for _ in range(QUEUE_RECORDS + 3)]

    assert taken == [True] * QUEUE_RECORDS + [False] * 3
    assert sender.counters.refused == 3


async def test_the_queue_is_bounded_in_bytes_too():
    sender = KafkaSender(NOWHERE, "test")
    piece = b"x" * 900_000

    taken = sum(sender.offer(EVENTS, "a", piece) for _ in range(100))

    assert taken == QUEUE_BYTES // len(piece)


async def test_a_record_that_no_broker_would_take_is_refused_at_once():
    sender = KafkaSender(NOWHERE, "test")

    assert not sender.offer(EVENTS, "a", b"x" * EVENTS.largest_message_bytes)


async def test_a_bus_that_is_away_is_logged_once():
    sender = KafkaSender(NOWHERE, "test")

    with structlog.testing.capture_logs() as logs:
        async with running(sender.run()):
            while sender.counters.failures < 4:
                await asyncio.sleep(0.01)

    assert [entry["event"] for entry in logs] == ["bus_away"]


async def test_states_that_waited_for_the_bus_arrive_with_their_newest_value(kafka: Broker, tmp_path: Path):
    async with KafkaWorld(kafka, tmp_path).opened() as world, Follower(world.feed()).following() as follower:
        sender = KafkaSender(world.broker.bus, "test")
        for number in range(3):
            sender.keep(world.topic, "a", str(number).encode())
        async with running(sender.run()):
            await follower.until(lambda: ("a", "2") in follower.told)

        assert follower.told == [("a", "2")]


async def test_what_is_left_is_sent_when_the_process_ends(kafka: Broker, tmp_path: Path):
    async with KafkaWorld(kafka, tmp_path).opened() as world, Follower(world.feed()).following() as follower:
        sender = KafkaSender(world.broker.bus, "test")
        sender.keep(world.topic, "a", b"first")
        async with running(sender.run()):
            await follower.until(lambda: ("a", "first") in follower.told)
            sender.keep(world.topic, "a", b"last")

        await follower.until(lambda: ("a", "last") in follower.told, kafka_sending.FAREWELL_SECONDS + 5)


async def test_more_than_a_burst_is_sent_when_the_process_ends(kafka: Broker, tmp_path: Path):
    async with KafkaWorld(kafka, tmp_path).opened() as world, Follower(world.feed()).following() as follower:
        sender = KafkaSender(world.broker.bus, "test")
        sender.keep(world.topic, "first", b"1")
        async with running(sender.run()):
            await follower.until(lambda: ("first", "1") in follower.told)
            for number in range(BURST_RECORDS + 1):
                sender.keep(world.topic, f"last-{number}", b"1")

        await follower.until(lambda: len(follower.told) == BURST_RECORDS + 2)
        assert sender.counters.sent >= BURST_RECORDS + 2


async def test_a_topic_that_is_not_there_holds_up_no_other_and_is_sent_when_it_is(kafka: Broker, tmp_path: Path):
    async with KafkaWorld(kafka, tmp_path).opened() as world, Follower(world.feed()).following() as follower:
        gone = KafkaWorld(kafka, tmp_path / "gone")
        sender = KafkaSender(world.broker.bus, "test")
        sender.keep(gone.topic, "a", b"waits")
        sender.keep(world.topic, "a", b"goes")
        async with running(sender.run()):
            await follower.until(lambda: ("a", "goes") in follower.told)
            async with asyncio.timeout(60):
                while not sender.counters.failures:
                    await asyncio.sleep(0.01)
            sender.keep(world.topic, "a", b"goes on")
            await follower.until(lambda: ("a", "goes on") in follower.told)
            assert follower.told == [("a", "goes"), ("a", "goes on")]

            async with gone.opened(), Follower(gone.feed()).following() as late:
                await late.until(lambda: ("a", "waits") in late.told, 60)
