"""A real broker that asks for certificates, and for users: who has them gets in, who has not is told which setting is wrong."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from penstock.contracts.topics import ROUTES
from services.chassis.bus_refusal import BusRefused, check_bus, reason_of, refusal_of
from services.chassis.bus_settings import BusSettings, SaslMechanism
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.kafka_sending import KafkaSender
from services.chassis.process import running
from services.stack.topic_catalogue import make_topics_on
from tests.kafka_broker import Broker
from tests.secure_listeners import HOST, PASSWORD, SecureListeners

pytestmark = pytest.mark.timeout(180)
PATIENT_SECONDS = 60.0

WAYS_IN: dict[str, Callable[[SecureListeners], BusSettings]] = {
    "certificate": lambda secure: secure.mutual,
    **{mechanism.value: lambda secure, one=mechanism: secure.users(one) for mechanism in SaslMechanism},
}
REFUSALS: dict[str, tuple[Callable[[Broker], BusSettings], str, str]] = {
    "plain client": (lambda b: plain(b.secure.mutual), "tls", "set bus.tls = true"),
    "plain client, port of users": (lambda b: plain(b.secure.users()), "tls", "set bus.tls = true"),
    "TLS to a plain port": (lambda b: at(b.secure.mutual, b.port), "tls", "set bus.tls = false"),
    "authority of strangers": (lambda b: changed(b, authorities="stranger.pem"), "authorities", "signed it"),
    "another name": (lambda b: at(b.secure.mutual, b.secure.mutual_port, "localhost"), "check_hostname", "check_hostname = false"),
    "no certificate": (
        lambda b: b.secure.mutual.model_copy(update={"certificate": None, "key": None}),
        "certificate",
        "set bus.certificate",
    ),
    "certificate of strangers": (lambda b: changed(b, certificate="other.pem", key="other.key"), "certificate", "broker trusts"),
    "wrong password, PLAIN": (lambda b: b.secure.users(SaslMechanism.PLAIN, "wrong"), "password", "check bus.username"),
    "wrong password, SCRAM": (lambda b: b.secure.users(SaslMechanism.SCRAM_SHA_256, "wrong"), "password", "check bus.username"),
    "no user": (lambda b: b.secure.users().model_copy(update={"sasl": None}), "sasl", "set bus.sasl"),
    "a user where none is asked": (lambda b: at(b.secure.users().model_copy(update={"tls": False}), b.port), "sasl", "take bus.sasl out"),
    "missing file": (lambda b: changed(b, authorities="gone.pem"), "authorities", "may read"),
    "no certificates in a file": (lambda b: changed(b, authorities="client.key"), "authorities", "PEM file of certificates"),
    "key of another certificate": (lambda b: changed(b, key="other.key"), "certificate", "PEM files that fit"),
}


def at(bus: BusSettings, port: int, host: str = HOST) -> BusSettings:
    return bus.model_copy(update={"bootstrap_servers": f"{host}:{port}"})


def plain(bus: BusSettings) -> BusSettings:
    return BusSettings(bootstrap_servers=bus.bootstrap_servers)


def changed(broker: Broker, **names: str) -> BusSettings:
    return broker.secure.mutual.model_copy(update={setting: broker.secure.folder / name for setting, name in names.items()})


@pytest.mark.parametrize("way", WAYS_IN)
async def test_topics_are_made_written_and_read_over_a_secured_listener(kafka: Broker, way: str):
    bus = WAYS_IN[way](kafka.secure)
    topic = replace(ROUTES, name=f"penstock.secured-{uuid.uuid4().hex}.v1")
    told: dict[str, bytes | None] = {}
    sender, feed = KafkaSender(bus, "test"), KafkaFeed(TopicSource(topic=topic, bus=bus), bytes)

    async with asyncio.timeout(PATIENT_SECONDS):
        await check_bus(bus)
        assert await make_topics_on(bus, [topic]) == 1
        async with running(sender.run()), running(feed.follow(told.__setitem__)):
            sender.keep(topic, "model", b"route")
            while "model" not in told:
                await asyncio.sleep(0.01)

    assert told == {"model": b"route"}


@pytest.mark.parametrize("case", REFUSALS)
async def test_who_does_not_get_in_is_told_the_setting_and_the_next_step(kafka: Broker, case: str):
    made, setting, step = REFUSALS[case]

    with pytest.raises(BusRefused) as refusal:
        await check_bus(made(kafka))

    assert (refusal.value.setting, refusal.value.exit_code) == (setting, 78)
    assert str(refusal.value).startswith(f"bus.{setting}: ")
    assert step in refusal.value.next_step
    assert PASSWORD not in str(refusal.value)


async def test_a_key_that_others_may_read_is_not_used(kafka: Broker, tmp_path: Path):
    key = tmp_path / "client.key"
    key.write_bytes((kafka.secure.folder / "client.key").read_bytes())
    key.chmod(0o644)

    with pytest.raises(BusRefused) as refusal:
        await check_bus(kafka.secure.mutual.model_copy(update={"key": key}))

    assert (refusal.value.setting, refusal.value.next_step) == ("key", f"chmod 600 {key}")


async def test_one_broker_of_several_that_lets_us_in_is_enough(kafka: Broker):
    secure = kafka.secure

    bus = secure.mutual.model_copy(update={"bootstrap_servers": f"{HOST}:1,{HOST}:{kafka.port},{HOST}:{secure.mutual_port}"})

    assert await refusal_of(bus, PATIENT_SECONDS) is None


async def test_a_broker_that_is_away_refuses_nobody(free_port: int):
    await check_bus(BusSettings(bootstrap_servers=f"{HOST}:{free_port}", tls=True))


async def test_a_refusal_is_only_logged_where_there_is_a_last_good_state(kafka: Broker, tmp_path: Path):
    # A knock is brief there: what a busy machine makes of it is a bus that is away.
    bus = changed(kafka, authorities="stranger.pem")
    (tmp_path / "routes.snapshot").touch()

    with structlog.testing.capture_logs() as logs:
        while not logs:
            await check_bus(bus, tmp_path / "routes.snapshot")

    assert (logs[0]["event"], logs[0]["log_level"], logs[0]["setting"]) == ("bus_refused", "error", "bus.authorities")


async def test_a_follower_goes_on_trying_and_says_what_is_wrong(kafka: Broker):
    feed = KafkaFeed(TopicSource(topic=ROUTES, bus=kafka.secure.users(password="wrong")), bytes)

    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(PATIENT_SECONDS), running(feed.follow(lambda _key, _value: None)):
            while not logs:
                await asyncio.sleep(0.01)

    assert logs[0]["event"] == "feed_interrupted"
    assert "wrong" not in str(logs)


async def test_a_log_names_the_setting_for_which_a_secured_bus_was_lost(kafka: Broker):
    bus = kafka.secure.users(password="wrong")

    async with asyncio.timeout(PATIENT_SECONDS):
        while "bus.password: " not in (told := await reason_of(bus, TimeoutError())):
            assert told == "TimeoutError"  # the knock is brief, and the machine may be busy
    assert await reason_of(kafka.secure.mutual, TimeoutError()) == "TimeoutError"
