"""Reads a topic of the bus once, from its beginning to the end that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from penstock.contracts.errors import Unavailable
from penstock.contracts.topics import Topic
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.process import running

LOOK_SECONDS = 15.0


class KafkaTopicLooks:
    """Looks at topics; nothing is kept between two looks, so that what was lost is missed."""

    def __init__(self, bus: BusSettings, client_id: str) -> None:
        """Keep the arguments."""
        self._bus = bus
        self._client_id = client_id

    async def held(self, topic: Topic) -> Mapping[str, bytes]:
        """Return the newest value of every key.

        Raises:
            Unavailable: the bus is away, or has no such topic.
        """
        feed = KafkaFeed(TopicSource(topic=topic, bus=self._bus, client_id=self._client_id), bytes)
        try:
            async with asyncio.timeout(LOOK_SECONDS), running(feed.follow(_nothing), name=f"look-{topic.name}"):
                await feed.caught_up()
                return dict(feed.snapshot())
        except TimeoutError as error:
            raise Unavailable(f"{topic.name} could not be read within {LOOK_SECONDS:g} s: is it there, and is the bus?") from error


def _nothing(_key: str, _value: bytes | None) -> None:
    """Take what is told; the snapshot has it."""
