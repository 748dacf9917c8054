"""Makes the topics of the mesh as the catalogue describes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from penstock.contracts.topics import TOPICS, Topic
from services.chassis.kafka import CALL_SECONDS, STOP_SECONDS, BusSettings, admin


async def make_topics(bus: BusSettings, topics: Sequence[Topic] = TOPICS, *, replicas: int = 1) -> None:
    """Make the topics that are not there; those that are stay as they are.

    Raises:
        aiokafka.errors.KafkaError: a broker refused, or none can be reached.
        TimeoutError: none answered in time.
    """
    client = admin(bus, "penstock-topics")
    try:
        async with asyncio.timeout(CALL_SECONDS):
            await client.start()
            wanted = [
                NewTopic(one.name, num_partitions=one.partitions, replication_factor=replicas, topic_configs=dict(one.settings))
                for one in topics
            ]
            answer: Any = await client.create_topics(wanted)  # the type that the stub names lacks the answer's own fields
        for _, code, *_ in answer.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                raise for_code(code)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await client.close()
