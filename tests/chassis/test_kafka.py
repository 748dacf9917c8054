"""Kafka's clients are built in one place, and every default that matters is said aloud."""

from __future__ import annotations

import ast
from pathlib import Path

from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import Delivery, producer, producer_settings, reader, reader_settings

BUS = BusSettings(bootstrap_servers="127.0.0.1:1")
SERVICES = Path(__file__).parent.parent.parent / "services"


def test_a_reader_commits_nothing_and_reads_what_was_committed_from_the_beginning():
    settings = reader_settings()

    assert settings["enable_auto_commit"] is False
    assert settings["auto_offset_reset"] == "earliest"
    assert settings["isolation_level"] == "read_committed"
    assert settings["group_id"] is None
    assert settings["session_timeout_ms"] == 10_000
    assert settings["max_poll_interval_ms"] == 60_000


def test_desired_state_is_acknowledged_by_all_and_idempotent():
    settings = producer_settings(Delivery.DESIRED)

    assert settings["acks"] == "all"
    assert settings["enable_idempotence"] is True


def test_observed_state_expires():
    # aiokafka never gives up on an idempotent send.
    assert producer_settings(Delivery.OBSERVED)["enable_idempotence"] is False


async def test_the_clients_have_what_the_settings_say():
    made_reader, made_producer = reader(BUS, "test"), producer(BUS, "test", Delivery.DESIRED)

    assert made_reader._enable_auto_commit is False
    assert made_reader._auto_offset_reset == "earliest"
    assert made_reader._isolation_level == "read_committed"
    assert made_reader._request_timeout_ms == 10_000
    assert made_producer._request_timeout_ms == 10_000
    await made_reader.stop()
    await made_producer.stop()


def test_nobody_else_builds_a_client():
    kinds = ("AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient")
    builders = {
        (node.func.id, path.relative_to(SERVICES).as_posix())
        for path in SERVICES.rglob("*.py")
        if any(kind in (text := path.read_text()) for kind in kinds)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds
    }

    assert builders == {(kind, "chassis/kafka.py") for kind in kinds}
