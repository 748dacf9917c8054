"""Sends rows of the outbox to Kafka: one idempotent producer, thrown away at the first failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from penstock.contracts.errors import Unavailable
from services.chassis.bus_refusal import reason_of
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import CALL_SECONDS, Delivery, dismiss, producer, quieten
from services.controller.ledger_values import OutboxRow


class KafkaBus:
    """The relay's bus: a topic has one partition, so the order of sending is the order of reading."""

    def __init__(self, bus: BusSettings, client_id: str) -> None:
        """Keep the arguments; a producer is made at the first use."""
        self._bus = bus
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[KafkaBus]:
        """Close the producer at the end of a block."""
        quieten()
        try:
            yield self
        finally:
            await self._dismiss()

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Send rows in their order and return when the brokers have all of them.

        Raises:
            Unavailable: the brokers did not take all of them in CALL_SECONDS; some may be there.
        """
        try:
            async with asyncio.timeout(CALL_SECONDS):
                client = await self._started()
                sent = [await client.send(row.topic, row.value, key=row.key.encode()) for row in rows]
                await asyncio.gather(*sent)
        except (KafkaError, OSError, TimeoutError) as error:
            await self._dismiss()
            raise Unavailable(f"the bus did not take {len(rows)} messages: {await reason_of(self._bus, error)}") from error
        except BaseException:
            await self._dismiss()
            raise

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = producer(self._bus, self._client_id, Delivery.DESIRED)
            await self._producer.start()
        return self._producer

    async def _dismiss(self) -> None:
        client, self._producer = self._producer, None
        if client is not None:
            await dismiss(client)
