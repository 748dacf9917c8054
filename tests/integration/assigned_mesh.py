"""Workers that are assigned what they hold, as processes: a real broker, an artefact store, a router, and a caller that never pauses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from penstock import Client, ClientOptions, ServingError
from penstock.client.retry import RetryPolicy
from penstock.contracts.assignments import AssignedReplica, Assignment
from penstock.contracts.topics import ASSIGNMENTS, WORKERS, Topic
from penstock.contracts.worker_status import ReplicaStatus, WorkerStatus
from services.chassis.artefact_store import ArtefactStore
from services.chassis.disk_threads import DiskThreads
from services.chassis.kafka import Delivery
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.kafka_sending import KafkaSender
from services.chassis.object_store import open_objects
from tests.chassis.stored_versions import manifest_of, written
from tests.kafka_broker import Broker

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
QUICK = {"repository_poll_seconds": 0.05, "notice_seconds": 0.3, "drain_seconds": 5.0}


def until(condition: Callable[[], bool], child: Child) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, child.log.read_text()[-4000:]
        time.sleep(0.01)


@dataclass
class Child:
    """A process and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == name]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                assert self.process.wait(SECONDS) == 0, self.log.read_text()[-3000:]
            finally:
                if self.process.poll() is None:
                    self.kill()


@dataclass
class Mesh:
    """A store, a broker, and a state folder for one test; worker names are its own."""

    folder: Path
    broker: Broker
    store: str = ""
    store_options: dict[str, str] = field(default_factory=dict)
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    revisions: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = self.store or f"file://{self.folder}/store"

    @property
    def state(self) -> Path:
        return self.folder / "s"

    def worker_id(self, number: int = 0) -> str:
        return f"{self.name}-{number}"

    def register(self, model: bytes, files: Mapping[str, bytes] | None = None) -> str:
        """Put a version into the store and return its digest; `files` lie beside the version."""
        contents = {"version/model.onnx": model, **(files or {})}
        manifest = manifest_of(contents)

        async def put() -> None:
            async with DiskThreads("test") as threads:
                store = ArtefactStore(open_objects(self.store, self.store_options), threads)
                await store.put(manifest, written(self.folder / "registered" / manifest.digest, contents))

        asyncio.run(put())
        return manifest.digest

    def assign(self, *replicas: AssignedReplica, number: int = 0, revision: int | None = None, epoch: int = 1) -> int:
        """Publish a worker's assignment, the next revision unless one is given; return its revision."""
        worker = self.worker_id(number)
        revision = revision or self.revisions.get(worker, 0) + 1
        self.revisions[worker] = max(revision, self.revisions.get(worker, 0))
        self.publish(ASSIGNMENTS, worker, Assignment(worker_id=worker, revision=revision, writer_epoch=epoch, replicas=replicas).to_bytes())
        return revision

    def publish(self, topic: Topic, key: str, value: bytes) -> None:
        """Put a record on the bus as the controller does; return when the broker has it."""

        async def publish() -> None:
            sender = KafkaSender(self.broker.bus, "test", delivery=Delivery.DESIRED)
            sender.keep(topic, key, value)
            task = asyncio.create_task(sender.run())
            async with asyncio.timeout(20):
                while not sender.counters.sent:
                    await asyncio.sleep(0.002)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(publish())

    def status(self, number: int = 0) -> WorkerStatus | None:
        """Return what a worker has written into the state folder."""
        try:
            return WorkerStatus.from_bytes((self.state / "workers" / f"{self.worker_id(number)}.pb").read_bytes())
        except FileNotFoundError:
            return None

    def replicas(self, number: int = 0) -> dict[str, ReplicaStatus]:
        """Return the newest replica of each `model@version`."""
        status = self.status(number)
        return {} if status is None else {f"{one.model}@{one.version}": one for one in status.replicas}

    def states(self, number: int = 0) -> dict[str, str]:
        return {name: one.state.name for name, one in self.replicas(number).items()}

    def until_states(self, child: Child, wanted: Mapping[str, str], number: int = 0) -> dict[str, ReplicaStatus]:
        """Wait until a living worker holds exactly this."""
        until(
            lambda: (
                (status := self.status(number)) is not None
                and status.process_id == child.process.pid
                and self.states(number) == dict(wanted)
            ),
            child,
        )
        return self.replicas(number)

    def heard(self, holds: Callable[[list[tuple[str, WorkerStatus | None]]], bool]) -> list[tuple[str, WorkerStatus | None]]:
        """Read the workers' topic until `holds` of what was told."""
        told: list[tuple[str, WorkerStatus | None]] = []

        async def follow() -> None:
            feed = KafkaFeed(TopicSource(topic=WORKERS, bus=self.broker.bus), WorkerStatus.from_bytes)
            task = asyncio.create_task(feed.follow(lambda key, value: told.append((key, value))))
            async with asyncio.timeout(SECONDS):
                while not holds(told):
                    await asyncio.sleep(0.01)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(follow())
        return told

    def cached(self, number: int = 0) -> set[str]:
        """Return the digests on a worker's disk."""
        return {path.name for path in (self.state / "artefacts" / self.worker_id(number)).iterdir()} - {".lock"}

    def known_workers(self) -> set[str]:
        """Return the names of the workers that the topic says there are."""

        async def look() -> set[str]:
            feed = KafkaFeed(TopicSource(topic=WORKERS, bus=self.broker.bus), WorkerStatus.from_bytes)
            task = asyncio.create_task(feed.follow(lambda key, value: None))
            async with asyncio.timeout(SECONDS):
                await feed.caught_up()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return set(feed.snapshot())

        return asyncio.run(look())

    @contextmanager
    def worker(self, number: int = 0, **settings: Any) -> Iterator[Child]:
        """Run a worker until the block ends, or until it is killed in it."""
        given = {
            "worker_id": self.worker_id(number),
            "bus": self.broker.bus.model_dump(mode="json", exclude={"password"}),
            "artefacts": {"store": self.store, "store_options": self.store_options, "retry_limit_seconds": 1.0},
        }
        with self._child("worker", self.worker_id(number), given | QUICK | settings) as child:
            yield child

    @contextmanager
    def router(self, **settings: Any) -> Iterator[Client]:
        """Run a router, by default one that follows the state folder, and give out a client that tries every call once."""
        with self._child("router", "router-0", {"http_port": 0, "grpc_port": 0} | settings) as child:
            until(lambda: bool(child.events("router_ready")), child)
            options = ClientOptions(retries=RetryPolicy(attempts=1))
            with Client(f"127.0.0.1:{child.events('router_ready')[0]['grpc_port']}", options) as client:
                yield client

    @contextmanager
    def _child(self, service: str, name: str, settings: dict[str, Any]) -> Iterator[Child]:
        folder = self.folder / f"{name}-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"state_dir": str(self.state)} | settings))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PENSTOCK_PARENT_PID": str(os.getpid())}
        command = [sys.executable, "-P", "-m", f"services.{service}", "--config", str(folder / "config.json")]
        with (folder / "log").open("wb") as out:
            child = Child(subprocess.Popen(command, stdout=out, stderr=out, env=environment), folder / "log")
        try:
            yield child
        finally:
            child.end()


class Caller:
    """Asks one model over and over in a thread; keeps every answer and every failure."""

    def __init__(self, client: Client, model: str, version: str = "") -> None:
        self.failures: list[ServingError] = []
        self.versions: list[str] = []
        self._ask = lambda: client.predict(model, {"x": np.ones((1, 3), np.float32)}, version=version)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.versions.append(self._ask().version)
            except ServingError as error:
                self.failures.append(error)

    @contextmanager
    def calling(self) -> Iterator[Caller]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def until_asked(self, times: int) -> None:
        """Wait for that many more answers or failures."""
        wanted = len(self.versions) + len(self.failures) + times
        deadline = time.monotonic() + SECONDS
        while len(self.versions) + len(self.failures) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.005)
