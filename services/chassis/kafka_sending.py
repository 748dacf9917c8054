"""Sends records to Kafka without ever making anybody wait.

Whoever has something to say leaves it here and goes on. What stands for a state (`keep`) is held by key, a newer one replacing it, until
the broker has it; what stands for an event (`offer`) waits in a queue that is bounded in records and bytes, and is refused when it is
full: the caller counts it. One task a topic sends, so that a topic that is gone holds up no other, by one producer for all; a producer
whose call failed or ran out of time is thrown away and made anew with back-off. A record may be sent twice after such a failure: states are
idempotent, and events carry their own identity.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from penstock.contracts.topics import Topic
from services.chassis.bus_refusal import reason_of
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import CALL_SECONDS, Delivery, dismiss, producer, quieten

QUEUE_RECORDS = 8192
QUEUE_BYTES = 32 << 20
BURST_RECORDS = 500
"""Records handed to the producer before their delivery is awaited."""
OVERHEAD_BYTES = 512
"""What a record costs in a batch beside key and value, with room to spare."""
FAREWELL_SECONDS = 1.0
"""How long an ending process tries to send what is left."""

V = TypeVar("V")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Record:
    key: str
    value: bytes | None


@dataclass(slots=True)
class _Lane:
    """What waits for one topic."""

    topic: str
    states: dict[str, _Record] = field(default_factory=dict[str, _Record])
    """By their keys."""
    events: deque[_Record] = field(default_factory=deque[_Record])
    waiting: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class SendingCounters:
    """What happened, since the start."""

    sent: int = 0
    refused: int = 0
    """Events that found the queue full, and records that no broker would take."""
    failures: int = 0


class KafkaSender:
    """Holds what is to be sent, and the task that sends it."""

    def __init__(self, bus: BusSettings, client_id: str, *, delivery: Delivery = Delivery.OBSERVED) -> None:
        """Store the arguments; nothing is sent before `run`."""
        self.counters = SendingCounters()
        self._bus = bus
        self._client_id = client_id
        self._delivery = delivery
        self._lanes: dict[str, _Lane] = {}
        self._opened = asyncio.Event()
        self._event_records = 0
        self._event_bytes = 0

    def keep(self, topic: Topic, key: str, value: bytes | None) -> None:
        """Hold a state until it is sent, in the place of an older one of its key."""
        if value is not None and not self._fits(topic, key, value):
            return
        lane = self._lane(topic)
        lane.states[key] = _Record(key, value)
        lane.waiting.set()

    def offer(self, topic: Topic, key: str, value: bytes) -> bool:
        """Queue an event; False, and it is not kept, when the queue is full."""
        if not self._fits(topic, key, value):
            return False
        if self._event_records >= QUEUE_RECORDS or self._event_bytes + len(value) > QUEUE_BYTES:
            self.counters.refused += 1
            return False
        lane = self._lane(topic)
        lane.events.append(_Record(key, value))
        self._event_records += 1
        self._event_bytes += len(value)
        lane.waiting.set()
        return True

    def _fits(self, topic: Topic, key: str, value: bytes) -> bool:
        # A record that the broker refuses for its size would be tried for ever, and everything behind it would wait.
        if len(value) + len(key) + OVERHEAD_BYTES <= topic.largest_message_bytes:
            return True
        self.counters.refused += 1
        log.error("record_too_large", topic=topic.name, key=key, size_bytes=len(value), limit_bytes=topic.largest_message_bytes)
        return False

    async def run(self) -> None:
        """Send until cancelled; then send what is left, for FAREWELL_SECONDS at most."""
        quieten()
        failures = 0
        while True:
            try:
                async with self._producing() as client:
                    if failures:
                        log.info("bus_is_back", client=self._client_id)
                    failures = 0
                    await self._send_for_ever(client)
            except (KafkaError, OSError, TimeoutError) as error:
                failures += 1
                self.counters.failures += 1
                if failures == 1:
                    log.warning("bus_away", client=self._client_id, reason=await reason_of(self._bus, error))
            await asyncio.sleep(min(self._bus.retry_seconds * 2 ** min(failures, 16), self._bus.retry_limit_seconds))

    @asynccontextmanager
    async def _producing(self) -> AsyncGenerator[AIOKafkaProducer]:
        client = producer(self._bus, self._client_id, self._delivery)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await client.start()
            yield client
        finally:
            await dismiss(client)

    async def _send_for_ever(self, client: AIOKafkaProducer) -> None:
        sending: dict[str, asyncio.Task[None]] = {}
        try:
            await self._send_each(client, sending)
        except asyncio.CancelledError:
            await _ended(sending.values())
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await asyncio.gather(*(self._empty(client, lane) for lane in self._lanes.values()), return_exceptions=True)
            raise
        finally:
            await _ended(sending.values())

    async def _send_each(self, client: AIOKafkaProducer, sending: dict[str, asyncio.Task[None]]) -> None:
        """Send each topic by a task of its own, until one fails."""
        while True:
            self._opened.clear()
            for topic in self._lanes.keys() - sending.keys():
                sending[topic] = asyncio.create_task(self._serve(client, self._lanes[topic]), name=f"send-{topic}")
            opened = asyncio.create_task(self._opened.wait())
            try:
                await asyncio.wait({opened, *sending.values()}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                opened.cancel()
            for task in sending.values():
                if task.done():
                    task.result()

    async def _serve(self, client: AIOKafkaProducer, lane: _Lane) -> None:
        while True:
            lane.waiting.clear()
            await self._empty(client, lane)
            await lane.waiting.wait()

    async def _empty(self, client: AIOKafkaProducer, lane: _Lane) -> None:
        while lane.states or lane.events:
            await self._send(client, lane)

    async def _send(self, client: AIOKafkaProducer, lane: _Lane) -> None:
        """Send one burst; what fails is held on to."""
        states = list(lane.states.values())[:BURST_RECORDS]
        events = list(islice(lane.events, BURST_RECORDS))
        async with asyncio.timeout(CALL_SECONDS):
            futures = [await client.send(lane.topic, one.value, key=one.key.encode()) for one in (*states, *events)]
            await asyncio.gather(*futures)
        for record in states:
            if lane.states.get(record.key) is record:
                del lane.states[record.key]
        for record in events:
            lane.events.popleft()
            self._event_bytes -= len(record.value or b"")
        self._event_records -= len(events)
        self.counters.sent += len(states) + len(events)

    def _lane(self, topic: Topic) -> _Lane:
        if topic.name not in self._lanes:
            self._lanes[topic.name] = _Lane(topic.name)
            self._opened.set()
        return self._lanes[topic.name]


async def _ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them; what they have to say is said by the one that failed first."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class KafkaPublisher(Generic[V]):
    """The publisher port with a compacted topic behind it."""

    def __init__(self, sender: KafkaSender, topic: Topic, encode: Callable[[V], bytes]) -> None:
        """Store the arguments."""
        self._sender = sender
        self._topic = topic
        self._encode = encode

    def publish(self, key: str, value: V | None) -> None:
        """Make a value the newest of its key as soon as the bus allows, or end the key with None."""
        self._sender.keep(self._topic, key, None if value is None else self._encode(value))
