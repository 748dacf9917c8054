"""The feed port with a compacted topic behind it.

Theory of operation. A follower first tells what its snapshot on disk holds, so that a process starts with what it served although the
bus is away. Then it reads the topic from its beginning. Up to the end that the topic had when reading began only the newest record of
every key counts, so a value that was ended or replaced long ago is never told; from there on every record is told as it comes. A key
that the topic does not mention is kept: a topic that was lost must not end what serves, only a tombstone ends a key. All partitions that
the topic has are read, however many it was meant to have; when their number changes, everything is read again.

When the bus goes away nothing is told and nothing grows; the reader is thrown away after SILENT_SECONDS without any answer and made
anew with back-off, and then reads everything again. `supersedes` decides whether a record that was read replaces the value held, so
nothing ever goes back, across snapshots and repeated readings too. The snapshot is written by a thread whenever the topic is quiet.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from penstock.contracts.topics import Topic
from services.chassis.bus_refusal import reason_of
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import CALL_SECONDS, check_partitions, dismiss, partitions_of, quieten, reader
from services.chassis.record_book import RecordBook, Supersedes, Unreadable, packed, unpacked
from services.chassis.snapshot import Snapshot

POLL_SECONDS = 0.5
"""Longest wait for records before other duties are looked at; records are told as they come."""
SILENT_SECONDS = 3.0
"""Time without any answer of the broker after which its reader is thrown away."""
PATIENCE_SECONDS = 2.0
"""How long a start waits for the bus when there is a snapshot."""
REFRESH_SECONDS = 0.005
"""How often who waits for the newest records looks."""
SLICE_RECORDS = 100
"""Records told in a row before other work of the loop gets its turn."""

V = TypeVar("V")
OnChange = Callable[[str, V | None], None]
Admission = Callable[[bytes, float], bool]
"""Whether a record counts, by its bytes and the time that the topic has for it (seconds since the Unix epoch)."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSource:
    """Where a feed reads and what it keeps."""

    topic: Topic
    bus: BusSettings
    snapshot: Path | None = None
    """File of the last good state; none means that nothing is kept."""
    client_id: str = "penstock"


@dataclass(slots=True)
class FeedCounters:
    """What happened, since the start."""

    applied: int = 0
    refused: int = 0
    """Records that did not supersede what is held."""
    unreadable: int = 0
    connections: int = 0
    heard_at: float = 0.0
    """Monotonic time of the broker's last answer; 0 when it never answered."""


class KafkaFeed(Generic[V]):
    """A feed of the newest values of one topic."""

    def __init__(
        self,
        source: TopicSource,
        decode: Callable[[bytes], V],
        supersedes: Supersedes[V] | None = None,
        *,
        is_admitted: Admission | None = None,
    ) -> None:
        """Store the arguments; `decode` may raise anything for bytes that are no value.

        What is not admitted is as if it were not on the topic: the key's earlier record counts.
        """
        self._is_admitted = is_admitted
        self.counters = FeedCounters()
        self._source = source
        self._book = RecordBook(decode, supersedes)
        self._disk = Snapshot[dict[str, bytes]](source.snapshot, packed, unpacked) if source.snapshot is not None else None
        self._caught_up = asyncio.Event()
        self._reader: AIOKafkaConsumer | None = None
        self._on_change: OnChange[V] | None = None
        self._is_dirty = False
        self._unwritten = ""
        self._has_snapshot = False
        self._blamed: dict[str, int] = {}
        self._saving = asyncio.Lock()

    def snapshot(self) -> Mapping[str, V]:
        """Return a read-only view of what is known now."""
        return self._book.values

    async def caught_up(self) -> None:
        """Return when everything that was there has been told; with a snapshot, after PATIENCE_SECONDS at the latest."""
        while not self._caught_up.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._caught_up.wait()
            if self._has_snapshot and not self._caught_up.is_set():
                log.warning("feed_started_from_snapshot", topic=self._source.topic.name, keys=len(self._book.values))
                return

    async def refreshed(self) -> None:
        """Return when everything has been told that was on the topic at the call; while the bus is away, that is never.

        For who must know what is in force now, as after a standstill; whoever follows is told by `follow`.
        """
        asked: AIOKafkaConsumer | None = None
        ends: Mapping[TopicPartition, int] = {}
        while True:
            with suppress(KafkaError):
                reader = self._reader
                if reader is not None and reader is not asked:
                    ends, asked = await reader.end_offsets(list(reader.assignment())), reader
                # A position moves in the very turn in which the records before it are told.
                if asked is not None and asked is self._reader and all([await asked.position(one) >= end for one, end in ends.items()]):
                    return
            await asyncio.sleep(REFRESH_SECONDS)

    async def follow(self, on_change: OnChange[V]) -> None:
        """Tell every value, then every change, until cancelled."""
        if self._on_change is not None:
            message = f"{self._source.topic.name} is followed already; make a feed for each follower"
            raise RuntimeError(message)
        self._on_change = on_change
        quieten()
        try:
            self._restore(on_change)
            await self._read_for_ever()
        finally:
            self._on_change = None
            self._save()

    async def offer(self, key: str, raw: bytes) -> bool:
        """Take a record that came another way, as if the topic had brought it; when this returns True it is on disk, if that takes it.

        Raises:
            Unreadable: the bytes are no value.
        """
        if not self._book.apply(key, raw):
            return False
        self._told(key)
        await self._save_apart()
        return True

    def _restore(self, on_change: OnChange[V]) -> None:
        kept = self._disk.load() if self._disk is not None else None
        self._has_snapshot = kept is not None
        for key in self._book.restore(kept or {}):
            log.warning("feed_value_unreadable", topic=self._source.topic.name, key=key, place="snapshot")
        for key, value in self._book.values.items():
            on_change(key, value)

    async def _read_for_ever(self) -> None:
        bus, failures = self._source.bus, 0
        while True:
            connections = self.counters.connections
            try:
                async with self._reading() as consumer:
                    await self._catch_up(consumer)
                    self._reader = consumer
                    await self._keep_up(consumer)
            except (KafkaError, OSError, TimeoutError) as error:
                failures = 0 if self.counters.connections > connections else failures + 1
                if failures <= 1:
                    log.warning("feed_interrupted", topic=self._source.topic.name, reason=await reason_of(bus, error))
            await asyncio.sleep(min(bus.retry_seconds * 2 ** min(failures, 16), bus.retry_limit_seconds))

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[AIOKafkaConsumer]:
        consumer = reader(self._source.bus, self._source.client_id)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await consumer.start()
            yield consumer
        finally:
            self._reader = None
            await dismiss(consumer)

    async def _catch_up(self, consumer: AIOKafkaConsumer) -> None:
        """Read up to the end that the topic has now, and tell the newest record of every key."""
        topic = self._source.topic
        newest: dict[str, bytes | None] = {}
        async with asyncio.timeout(CALL_SECONDS):
            partitions = await partitions_of(consumer, topic.name)
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
        while True:
            async with asyncio.timeout(CALL_SECONDS):
                if all([await consumer.position(one) >= ends[one] for one in partitions]):
                    break
                newest.update(self._records(await consumer.getmany(timeout_ms=100)))
        await self._take(newest)
        self.counters.connections += 1
        self._caught_up.set()
        log.info("feed_caught_up", topic=topic.name, keys=len(self._book.values), records=len(newest))

    async def _keep_up(self, consumer: AIOKafkaConsumer) -> None:
        self.counters.heard_at = time.monotonic()
        answered = 0
        while True:
            async with asyncio.timeout(CALL_SECONDS):
                records = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000))
            for key, raw in self._records(records):
                self._apply(key, raw)
            check_partitions(consumer)
            latest = max((consumer.last_poll_timestamp(one) or 0 for one in consumer.assignment()), default=0)
            if latest != answered:
                answered, self.counters.heard_at = latest, time.monotonic()
            elif time.monotonic() - self.counters.heard_at > SILENT_SECONDS:
                raise TimeoutError
            if not records and self._is_dirty:
                await self._save_apart()

    def _records(self, polled: Mapping[Any, Any]) -> list[tuple[str, bytes | None]]:
        """Return (key, value) in the order of each partition; records without a usable key mean nothing on a compacted topic."""
        return [
            (record.key.decode(errors="replace"), record.value)
            for records in polled.values()
            for record in records
            if record.key is not None
            and (self._is_admitted is None or record.value is None or self._is_admitted(record.value, record.timestamp / 1000))
        ]

    async def _take(self, newest: Mapping[str, bytes | None]) -> None:
        for count, (key, raw) in enumerate(newest.items(), start=1):
            self._apply(key, raw)
            if count % SLICE_RECORDS == 0:
                await asyncio.sleep(0)
        if self._is_dirty or not self._has_snapshot:
            # An empty topic is kept as well: who saw it once starts without the bus, too.
            await self._save_apart()
            self._has_snapshot = self._disk is not None

    def _apply(self, key: str, raw: bytes | None) -> None:
        try:
            is_news = self._book.apply(key, raw)
        except Unreadable as error:
            self.counters.unreadable += 1
            if self._blamed.get(key) != hash(raw):
                self._blamed[key] = hash(raw)
                log.warning("feed_value_unreadable", topic=self._source.topic.name, key=key, reason=str(error))
            return
        self._blamed.pop(key, None)
        if is_news:
            self._told(key)
        else:
            self.counters.refused += 1

    def _told(self, key: str) -> None:
        self.counters.applied += 1
        self._is_dirty = True
        if self._on_change is not None:
            self._on_change(key, self._book.values.get(key))

    def _save(self) -> None:
        if self._disk is None or not self._is_dirty:
            return
        self._is_dirty = False
        self._write(self._book.raws())

    async def _save_apart(self) -> None:
        if self._disk is None:
            return
        async with self._saving:
            self._is_dirty = False
            await asyncio.to_thread(functools.partial(self._write, self._book.raws()))

    def _write(self, raws: dict[str, bytes]) -> None:
        try:
            if self._disk is not None:
                self._disk.save(raws)
            self._unwritten = ""
        except OSError as error:
            self._is_dirty = True
            # Tried again whenever the topic is quiet, and said once.
            if self._unwritten != (error.strerror or "error"):
                self._unwritten = error.strerror or "error"
                log.warning("snapshot_not_written", topic=self._source.topic.name, reason=str(error))
