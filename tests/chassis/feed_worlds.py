"""The feed port's two worlds: a folder, and a topic of a real broker. Both take raw bytes, so that tests can publish garbage."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from penstock.contracts.topics import Topic
from services.chassis.atomic_file import write_atomically
from services.chassis.feeds import Feed, FolderFeed, FolderPublisher
from services.chassis.kafka import Delivery
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.kafka_sending import KafkaPublisher, KafkaSender
from services.stack.topic_catalogue import make_topics
from tests.kafka_broker import Broker


def decode(content: bytes) -> str:
    return content.decode("ascii")


def encode(text: str) -> bytes:
    return text.encode("ascii")


class World(Protocol):
    """Publishes, and makes feeds of what is published."""

    def feed(self) -> Feed[str]: ...

    async def publish(self, key: str, value: str | None) -> None: ...

    async def publish_raw(self, key: str, raw: bytes) -> None: ...


class FolderWorld:
    """A watched folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._publisher = FolderPublisher(folder, encode)

    def feed(self) -> Feed[str]:
        return FolderFeed(self._folder, decode)

    async def publish(self, key: str, value: str | None) -> None:
        self._publisher.publish(key, value)

    async def publish_raw(self, key: str, raw: bytes) -> None:
        write_atomically(self._folder / f"{key}.pb", raw)


class KafkaWorld:
    """A topic of its own on a real broker."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.topic = Topic(name=f"test.feed-{uuid.uuid4().hex[:12]}.v1", message="str", key="name")
        self.source = TopicSource(topic=self.topic, bus=broker.bus, snapshot=folder / "feed.snapshot")
        self._sender = KafkaSender(broker.bus, "test", delivery=Delivery.DESIRED)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[KafkaWorld]:
        await make_topics(self.broker.bus.bootstrap_servers, [self.topic])
        task = asyncio.create_task(self._sender.run())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def feed(self, supersedes: Callable[[str, str | None], bool] | None = None) -> KafkaFeed[str]:
        return KafkaFeed(self.source, decode, supersedes)

    async def publish(self, key: str, value: str | None) -> None:
        KafkaPublisher(self._sender, self.topic, encode).publish(key, value)
        await self._sent()

    async def publish_raw(self, key: str, raw: bytes) -> None:
        self._sender.keep(self.topic, key, raw)
        await self._sent()

    async def _sent(self) -> None:
        wanted = self._sender.counters.sent + 1
        async with asyncio.timeout(20):
            while self._sender.counters.sent < wanted:
                await asyncio.sleep(0.002)


class Follower:
    """What a feed told."""

    def __init__(self, feed: Feed[str]) -> None:
        self.feed = feed
        self.told: list[tuple[str, str | None]] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tell(self, key: str, value: str | None) -> None:
        self.told.append((key, value))
        self._news.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._news.clear()
                if self._task is not None and self._task.done():
                    self._task.result()
                await self._news.wait()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Follower]:
        task = self._task = asyncio.create_task(self.feed.follow(self.tell))
        task.add_done_callback(lambda _: self._news.set())
        await asyncio.wait_for(self.feed.caught_up(), 20)
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
