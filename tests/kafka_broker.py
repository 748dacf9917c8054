"""A real Kafka broker for tests: one JVM on 127.0.0.1, in a folder of its own."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from penstock.contracts.topics import TOPICS
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import Delivery, producer
from services.stack.fetch import cache_folder
from services.stack.kafka_broker import Kafka
from services.stack.kafka_java import QUICK_COMPILER, java_command
from services.stack.recipe import Sources
from services.stack.server_cache import ServerCache
from services.stack.topic_catalogue import make_topics
from tests.secure_listeners import SecureListeners

READY_SECONDS = 120.0
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{further}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{further}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/kafka
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A broker that was killed is let in again when its session is over.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
auto.create.topics.enable=false
"""


class Broker:
    """One broker; what it holds survives `kill` and comes back with `start`."""

    def __init__(self, folder: Path, ports: list[int], secure: SecureListeners | None = None) -> None:
        self.folder = folder
        self._secure = secure
        self.port, self.controller = ports
        self.bus = BusSettings(bootstrap_servers=f"127.0.0.1:{self.port}", retry_seconds=0.05, retry_limit_seconds=0.5)
        self._process: subprocess.Popen[bytes] | None = None

    def format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        secure = self._secure
        further = f",{secure.listeners}" if secure else ""
        text = PROPERTIES.format(port=self.port, controller=self.controller, folder=self.folder, further=further)
        if secure:
            secure.write()
        (self.folder / "server.properties").write_text(text + (secure.properties if secure else ""))
        storage = ["kafka.tools.StorageTool", "format", "-t", "NkU3OEVBNTcwNTJENDM2Qg", "--standalone"]
        users = secure.format_words if secure else []
        self._java(*storage, "-c", str(self.folder / "server.properties"), *users).wait(READY_SECONDS)

    @property
    def secure(self) -> SecureListeners:
        """Its listeners that speak TLS, of a broker that has them."""
        assert self._secure is not None
        return self._secure

    def start(self) -> None:
        """Return when the broker answers; a loop calls it by `asyncio.to_thread`."""
        self._process = self._java("kafka.Kafka", str(self.folder / "server.properties"))
        give_up_at = time.monotonic() + READY_SECONDS
        while not self._is_answering():
            if time.monotonic() > give_up_at or self._process.poll() is not None:
                raise AssertionError(f"no broker:\n{(self.folder / 'kafka.log').read_text()[-3000:]}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _is_answering(self) -> bool:
        with ThreadPoolExecutor(1) as thread:  # the caller's thread may have a loop of its own
            return thread.submit(lambda: asyncio.run(self._answers())).result()

    async def _answers(self) -> bool:
        client: AIOKafkaProducer = producer(self.bus, "probe", Delivery.OBSERVED)
        try:
            await client.start()
        except (KafkaError, OSError):
            await asyncio.sleep(0.1)
            return False
        finally:
            await client.stop()
        return True

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "kafka.log").open("ab") as log:
            return subprocess.Popen([*_java_command(), *arguments], stdout=log, stderr=log)


@contextmanager
def running_broker(folder: Path, ports: list[int]) -> Iterator[Broker]:
    """Run a broker of one's own, with every topic of the mesh, until the block ends; the block may kill it and start it again."""
    broker = Broker(folder, ports)
    broker.format()
    try:
        broker.start()
        asyncio.run(make_topics(broker.bus.bootstrap_servers, TOPICS))
        yield broker
    finally:
        broker.kill()


@cache
def _java_command() -> tuple[str, ...]:
    """Return the command up to the main class: of the Kafka that `penstock up` runs, brought by it where it is missing."""
    with tempfile.TemporaryDirectory(prefix="ps-kafka-") as logs, ThreadPoolExecutor(1) as thread:  # the caller may have a loop
        sources = Sources(cache=ServerCache(cache_folder(), print), logs=Path(logs), say=print)
        found = thread.submit(lambda: asyncio.run(Kafka().find(sources))).result()
    classes = [f"-XX:SharedArchiveFile={found.programs['classes']}"] if "classes" in found.programs else []
    return java_command(found.programs["java"], found.programs["jars"], "-Xms128m", "-Xmx384m", QUICK_COMPILER, *classes)
