"""Makes the topics of the catalogue in a broker that may have them already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from penstock.contracts.topics import Topic
from services.chassis.bus_refusal import check_bus
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import admin
from services.chassis.process import CannotStart


async def make_topics(address: str, topics: Sequence[Topic]) -> int:
    """Make the topics that are missing in a broker that is reached in the clear, and return how many those were.

    Raises:
        CannotStart: the broker refuses one.
    """
    return await make_topics_on(BusSettings(bootstrap_servers=address), topics)


async def make_topics_on(bus: BusSettings, topics: Sequence[Topic]) -> int:
    """Make the topics that are missing and return how many those were; what exists stays as it is.

    Raises:
        CannotStart: the broker refuses one, or (`BusRefused`) this process.
    """
    if bus.is_secured:
        await check_bus(bus)
    address = bus.bootstrap_servers
    client = admin(bus, "penstock-up")
    try:
        await client.start()
        there = set(await client.list_topics())
        missing = [topic for topic in topics if topic.name not in there]
        answer: Any = await client.create_topics([_wish(topic) for topic in missing]) if missing else None
        for name, code, *_ in answer.topic_errors if answer else ():
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise CannotStart(f"Kafka at {address} refuses the topic {name}: {for_code(code).__name__}")
    except KafkaError as error:
        raise CannotStart(f"the topics cannot be made in Kafka at {address}: {error}") from None
    finally:
        await client.close()
    return len(missing)


def _wish(topic: Topic) -> NewTopic:
    return NewTopic(topic.name, num_partitions=topic.partitions, replication_factor=1, topic_configs=dict(topic.settings))
