"""Each real server is what it says: it keeps what it is given and gives it back."""

from __future__ import annotations

import asyncio
import uuid

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis
from temporalio.client import Client

from penstock.contracts.topics import ROUTES, TOPICS
from tests.integration.servers import ServerAddress, SessionServers


async def test_redis_gives_back_what_it_was_given(redis: ServerAddress):
    async with Redis(host=redis.host, port=redis.port) as client:
        await client.set("servers:colour", "blue", ex=60)

        assert await client.get("servers:colour") == b"blue"


async def test_postgres_has_the_projects_database_and_user(postgres: ServerAddress):
    connection = await asyncpg.connect(host=postgres.host, port=postgres.port, user="penstock", database="penstock")
    try:
        assert await connection.fetchval("SELECT current_user || '@' || current_database()") == "penstock@penstock"
    finally:
        await connection.close()


async def test_temporal_has_the_default_namespace(temporal: ServerAddress):
    client = await Client.connect(temporal.address, namespace="default")

    assert (await client.count_workflows()).count >= 0


def test_the_catalogues_topics_can_be_made_twice(servers: SessionServers):
    servers.make_topics()
    servers.make_topics()


async def test_kafka_commits_a_transaction_that_readers_see_whole(kafka: ServerAddress, servers: SessionServers):
    await asyncio.to_thread(servers.make_topics, [ROUTES])
    key = uuid.uuid4().hex.encode()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=f"servers-{uuid.uuid4()}")
    async with producer, producer.transaction():
        await producer.send(ROUTES.name, b"first", key=key)
        await producer.send(ROUTES.name, b"second", key=key)
    consumer = AIOKafkaConsumer(
        ROUTES.name, bootstrap_servers=kafka.address, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    async with consumer, asyncio.timeout(20):
        seen = []
        while len(seen) < 2:
            message = await consumer.getone()
            seen += [message.value] if message.key == key else []

    assert seen == [b"first", b"second"]


async def test_kafka_knows_the_settings_of_the_catalogue(kafka: ServerAddress, servers: SessionServers):
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    await asyncio.to_thread(servers.make_topics)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in TOPICS])
        partitions = {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics([topic.name for topic in TOPICS])}
    finally:
        await admin.close()
    known = {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for answer in answers for resource in answer.resources}

    assert {topic.name: topic.partitions for topic in TOPICS} == partitions
    assert {topic.name: {**topic.settings, **known[topic.name]} for topic in TOPICS} == known
