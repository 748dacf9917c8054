"""Builds Kafka clients, in one place, with every default that matters said aloud.

aiokafka's own defaults are wrong here: it commits by itself, begins at the end of a topic, reads what was never committed, waits
40 seconds for a broker, and never gives up on an idempotent send. Nothing else in the services constructs a client, and a test holds
every setting below. Whoever uses a client puts a time limit around each of its calls and throws the client away when one expires.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from enum import Enum
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from services.chassis.bus_settings import BusSettings
from services.chassis.key_files import check_key

RECORD_LIMIT_BYTES = 8 << 20
"""Longest record: a worker's status with all its configurations. Topics have limits of their own, see penstock/contracts/topics.py."""
REQUEST_TIMEOUT_SECONDS = 10.0
CALL_SECONDS = 20.0
"""Time limit for a whole call of a client, its own retries included; a client that exceeds it is thrown away."""
METADATA_SECONDS = 30.0
"""How often a client asks which brokers there are, and which partitions."""
STOP_SECONDS = 2.0
"""Longest wait for a client that is thrown away; it may never end by itself."""

log = structlog.get_logger(__name__)


class Delivery(Enum):
    """What a producer's records are worth."""

    DESIRED = "desired"
    """Nothing may be lost or written twice: acknowledged by all replicas, idempotent. Such sends never expire by themselves."""
    OBSERVED = "observed"
    """The next one replaces it, or its loss is counted: acknowledged by the leader, gone after REQUEST_TIMEOUT_SECONDS."""


def reader(bus: BusSettings, client_id: str) -> AIOKafkaConsumer:
    """Return a consumer without a group that reads topics from their beginning; the caller assigns partitions."""
    return AIOKafkaConsumer(**_shared(bus, client_id), **reader_settings())


def producer(bus: BusSettings, client_id: str, delivery: Delivery) -> AIOKafkaProducer:
    """Return a producer."""
    return AIOKafkaProducer(**_shared(bus, client_id), **producer_settings(delivery))


def admin(bus: BusSettings, client_id: str) -> AIOKafkaAdminClient:
    """Return a client that makes topics."""
    return AIOKafkaAdminClient(bootstrap_servers=bus.bootstrap_servers, **_each_connection(bus, client_id))


class Unanswered(KafkaError):
    """A broker let a connection in and closed it at the first question."""


async def knock(bus: BusSettings, host: str, port: int) -> None:
    """Make one connection to one broker, as every client does, ask for its metadata, and close it.

    Raises:
        Unanswered: it was made, and closed at the question.
        KafkaError, OSError: it cannot be made; unlike a client's, the error is the one that the connection met.
    """
    connection = AIOKafkaConnection(host, port, **_each_connection(bus, "penstock-knock"))
    try:
        await connection.connect()
        try:
            await connection.send(MetadataRequest([]))
        except KafkaConnectionError as error:
            raise Unanswered(str(error)) from error
    finally:
        was_made = connection._protocol is not None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  nothing else says so
        closed = connection.close()
        if was_made and closed is not None:
            # A TLS connection closes in several steps; a loop that ends before them would leave its socket open.
            await asyncio.wait({closed}, timeout=STOP_SECONDS)


def reader_settings() -> dict[str, Any]:
    """Return what a reader is built with, the address aside."""
    return {
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "check_crcs": True,
        "fetch_min_bytes": 1,
        # A fetch that waits is answered at once when a record comes: a longer wait costs no latency, a shorter one costs requests.
        "fetch_max_wait_ms": 500,
        "max_partition_fetch_bytes": 2 * RECORD_LIMIT_BYTES,
        "fetch_max_bytes": 4 * RECORD_LIMIT_BYTES,
        "max_poll_records": 500,
        "session_timeout_ms": 10_000,
        "heartbeat_interval_ms": 2_000,
        "max_poll_interval_ms": 60_000,
        "exclude_internal_topics": True,
    }


def producer_settings(delivery: Delivery) -> dict[str, Any]:
    """Return what a producer is built with, the address aside."""
    desired = delivery is Delivery.DESIRED
    return {
        "acks": "all" if desired else 1,
        "enable_idempotence": desired,
        "transactional_id": None,
        "compression_type": None,
        "linger_ms": 0,
        "max_batch_size": 1 << 18,
        "max_request_size": RECORD_LIMIT_BYTES,
    }


def _shared(bus: BusSettings, client_id: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": bus.bootstrap_servers,
        "retry_backoff_ms": int(bus.retry_seconds * 1000),
        "metadata_max_age_ms": int(METADATA_SECONDS * 1000),
        "connections_max_idle_ms": 540_000,
        **_each_connection(bus, client_id),
    }


def _each_connection(bus: BusSettings, client_id: str) -> dict[str, Any]:
    """Return what a connection is made with; the files are read anew for each client."""
    return {
        "client_id": client_id,
        "request_timeout_ms": int(REQUEST_TIMEOUT_SECONDS * 1000),
        "security_protocol": bus.security_protocol,
        "ssl_context": tls_context(bus) if bus.tls else None,
        "sasl_mechanism": bus.sasl.value if bus.sasl is not None else "PLAIN",
        "sasl_plain_username": bus.username or None,
        "sasl_plain_password": bus.password.get_secret_value() or None,
    }


def tls_context(bus: BusSettings) -> ssl.SSLContext:
    """Return what TLS connections to brokers are made with.

    Raises:
        OSError: a file cannot be read, or (`ssl.SSLError`) holds no certificate or key that fit.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=bus.authorities)
    context.check_hostname = bus.check_hostname
    if bus.certificate is not None and bus.key is not None:
        check_key(bus.key)
        # A key with a password would be asked for at the terminal; with this it is an error like others.
        context.load_cert_chain(bus.certificate, bus.key, password="")
    return context


class PartitionsChanged(KafkaError):
    """A topic has other partitions than those that are read."""


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """Ask the broker which partitions a topic has.

    Raises:
        UnknownTopicOrPartitionError: there is no such topic.
    """
    cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  `topics` gives names alone
    numbers = cluster.partitions_for_topic(topic)
    if not numbers:
        raise UnknownTopicOrPartitionError(topic)
    return [TopicPartition(topic, number) for number in sorted(numbers)]


def check_partitions(consumer: AIOKafkaConsumer) -> None:
    """Return when a topic has no other partitions than those assigned, as far as the client has heard; it asks every METADATA_SECONDS.

    Raises:
        PartitionsChanged: it has more, or fewer.
    """
    assigned = consumer.assignment()
    for topic in {one.topic for one in assigned}:
        known = consumer.partitions_for_topic(topic)
        if known and known != {one.partition for one in assigned if one.topic == topic}:
            raise PartitionsChanged(topic)


async def dismiss(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Throw a client away: stop it within STOP_SECONDS and close its connections whatever comes of that.

    aiokafka may wait for ever in `stop`, and lets the cancellation of its own tasks out of it as if the caller had been cancelled; in
    both cases it would keep its connections and the task that renews its metadata.
    """
    is_producer = isinstance(client, AIOKafkaProducer)
    connections = client.client if is_producer else client._client  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # see above
    for close in (client.stop, connections.close):
        task = asyncio.ensure_future(close())
        done, _ = await asyncio.wait({task}, timeout=STOP_SECONDS)
        if not done:
            task.cancel()
        elif not task.cancelled() and task.exception() is not None:
            log.debug("kafka_client_not_stopped", reason=type(task.exception()).__name__)


def quieten() -> None:
    """Keep aiokafka from logging every try to reach a broker that is away: whoever follows or sends says it once, in our words."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
