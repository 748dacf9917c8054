"""What every feed keeps, whatever it follows: a folder, or a topic of a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from tests.chassis.feed_worlds import FolderWorld, Follower, KafkaWorld, World
from tests.kafka_broker import Broker


@pytest.fixture(params=["folder", "kafka"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "folder":
        yield FolderWorld(tmp_path)
        return
    broker: Broker = request.getfixturevalue("kafka")
    async with KafkaWorld(broker, tmp_path).opened() as opened:
        yield opened


async def test_the_newest_value_of_every_key_is_told_at_the_start(world: World):
    for key, value in (("a", "1"), ("b", "2"), ("a", "3")):
        await world.publish(key, value)

    async with Follower(world.feed()).following() as follower:
        assert sorted(follower.told) == [("a", "3"), ("b", "2")]
        assert dict(follower.feed.snapshot()) == {"a": "3", "b": "2"}


async def test_changes_are_told_as_they_come(world: World):
    await world.publish("a", "1")

    async with Follower(world.feed()).following() as follower:
        await world.publish("a", "2")
        await follower.until(lambda: ("a", "2") in follower.told)
        await world.publish("b", "1")
        await follower.until(lambda: ("b", "1") in follower.told)

        assert follower.told == [("a", "1"), ("a", "2"), ("b", "1")]


async def test_an_ended_key_is_told_once_and_gone(world: World):
    await world.publish("a", "1")

    async with Follower(world.feed()).following() as follower:
        await world.publish("a", None)
        await world.publish("a", None)
        await follower.until(lambda: ("a", None) in follower.told)
        await world.publish("z", "1")
        await follower.until(lambda: ("z", "1") in follower.told)

        assert follower.told == [("a", "1"), ("a", None), ("z", "1")]
        assert dict(follower.feed.snapshot()) == {"z": "1"}


async def test_a_key_that_ended_before_the_start_is_never_told(world: World):
    await world.publish("a", "1")
    await world.publish("a", None)

    async with Follower(world.feed()).following() as follower:
        assert follower.told == []


async def test_garbage_keeps_the_old_value_and_is_logged_once(world: World):
    await world.publish("a", "1")

    with structlog.testing.capture_logs() as logs:
        async with Follower(world.feed()).following() as follower:
            await world.publish_raw("a", b"\xff")
            await world.publish("b", "1")
            await follower.until(lambda: ("b", "1") in follower.told)
            assert follower.feed.snapshot()["a"] == "1"
            await world.publish("a", "whole")
            await follower.until(lambda: ("a", "whole") in follower.told)

    assert [entry["event"] for entry in logs].count("feed_value_unreadable") == 1


async def test_what_the_follower_raises_ends_the_following(world: World):
    await world.publish("a", "1")

    def refuse(_key: str, _value: str | None) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await world.feed().follow(refuse)


async def test_a_second_follower_is_refused(world: World):
    async with Follower(world.feed()).following() as follower:
        with pytest.raises(RuntimeError, match="followed already"):
            await follower.feed.follow(follower.tell)
