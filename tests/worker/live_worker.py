"""A whole worker inside the test's event loop: real folders, sockets, gRPC and ONNX Runtime."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from penstock.contracts.worker_status import ReplicaStatus, WorkerStatus
from penstock.v1 import worker_pb2 as pb
from penstock.v1.worker_pb2_grpc import WorkerControlStub
from services.chassis.config import ConfigFile
from services.chassis.entry import Start
from services.chassis.feeds import FolderPublisher
from services.worker.app import worker
from services.worker.config import WorkerSettings

WORKER_ID = "w0"
QUICK = {"repository_poll_seconds": 0.02, "settle_seconds": 0.04, "notice_seconds": 0.02}
"""Times that fit a test, in which nothing takes long to copy and no router has to notice."""


@contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder whose name leaves room for sockets, which may have 107 characters."""
    path = Path(tempfile.mkdtemp(prefix="pw-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWorker:
    """What a test sees of a worker."""

    state_dir: Path
    stub: WorkerControlStub

    @property
    def status(self) -> WorkerStatus | None:
        """What it has published."""
        try:
            return WorkerStatus.from_bytes((self.state_dir / "workers" / f"{WORKER_ID}.pb").read_bytes())
        except FileNotFoundError:
            return None

    def publish_override(self, override: pb.ModelOverride) -> None:
        """Publish desired state as a router does."""
        FolderPublisher[pb.ModelOverride](self.state_dir / "overrides", pb.ModelOverride.SerializeToString).publish(
            override.model, override
        )

    async def until(self, holds: Callable[[WorkerStatus], bool]) -> WorkerStatus:
        """Return the first published status of which `holds` is true."""
        async with asyncio.timeout(20):
            while (status := self.status) is None or not holds(status):
                await asyncio.sleep(0.005)
        return status

    async def settled(self) -> WorkerStatus:
        """Return the status once everything that can be ready is."""
        return await self.until(lambda status: status.settled)

    async def until_states(self, model: str, **states: str) -> dict[str, ReplicaStatus]:
        """Return the model's replicas once exactly these versions (`v1="READY"`) are in these states."""
        wanted = {version.removeprefix("v"): state for version, state in states.items()}
        status = await self.until(lambda status: states_of(status, model) == wanted)
        return {replica.version: replica for replica in status.replicas if replica.model == model}


def states_of(status: WorkerStatus, model: str) -> dict[str, str]:
    """Return the state of each version; of several replicas of one the newest counts."""
    return {replica.version: replica.state.name for replica in status.replicas if replica.model == model}


@asynccontextmanager
async def live_worker(repository: Path, state_dir: Path, **settings: Any) -> AsyncIterator[LiveWorker]:
    """Run a worker while the block lasts."""
    chosen = {"worker_id": WORKER_ID, "repository": repository, "state_dir": state_dir} | QUICK | settings
    config = ConfigFile(WorkerSettings, overrides=chosen)
    async with (
        worker(Start(service="worker", config=config)),
        grpc.aio.insecure_channel(f"unix:{state_dir / 'control' / WORKER_ID}.sock") as channel,
    ):
        yield LiveWorker(state_dir=state_dir, stub=WorkerControlStub(channel))
