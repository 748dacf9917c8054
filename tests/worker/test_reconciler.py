"""The reconciler takes every step once, reports what is applied, and tries again what failed for want of memory."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from penstock.contracts.errors import ArtifactCorrupt, LoadFailed, MemoryBudgetExceeded, ServingError, Unavailable
from penstock.contracts.worker_status import ReplicaState, WorkerStatus
from services.chassis.clock import SystemClock
from services.worker.artefacts import Artefact, FileMark
from services.worker.desired_state import Observation
from services.worker.loading import Loading
from services.worker.overrides import Override
from services.worker.reconciler import Pace, Reconciler
from services.worker.reconciliation import Desire, Offer
from services.worker.replica import Replica
from services.worker.replica_state import ReplicaEvent
from services.worker.replicas import Replicas
from services.worker.status_board import StatusBoard
from services.worker.trials import Trials
from services.worker.unloading import Unloading


def offer(model: str, content: int = 1, revision: int = 0) -> Offer:
    mark = FileMark(path="1/model.onnx", device=1, inode=content, size=1, modified_ns=0, changed_ns=0, links=1)
    return Offer(artefact=Artefact(model=model, version="1", model_folder=Path("/r") / model, files=(mark,)), revision=revision)


@dataclass
class World:
    """What the reconciler finds, and what becomes of its loads."""

    wanted: dict[str, Offer]
    fails: Callable[[Replica], ServingError | None] = lambda replica: None
    is_readable: bool = True
    loads: list[str] = field(default_factory=list)
    looks: int = 0
    replicas: Replicas = field(default_factory=Replicas)
    trials: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()))

    async def seen(self, overrides: Mapping[str, Override], *, now: float, now_time: float) -> Observation:
        self.looks += 1
        if not self.is_readable:
            raise FileNotFoundError(2, "No such file or directory")
        desires = {model: Desire(offers={one.artefact.version: one}) for model, one in self.wanted.items()}
        for model, override in overrides.items():
            desires[model] = Desire(offers={"1": offer(model, revision=override.revision)}, is_unloaded=override.is_unloaded)
        return Observation(desires=desires, revisions={model: one.revision for model, one in overrides.items()})

    def will_retry(self, offer: Offer, error: ServingError, *, now: float) -> bool:
        return isinstance(error, Unavailable)

    async def fetch(self, replica: Replica) -> bool:
        return True

    async def load(self, replica: Replica) -> None:
        self.loads.append(replica.model)
        await asyncio.sleep(0)
        replica.failure = self.fails(replica)
        replica.step(ReplicaEvent.LOADED, now_time=0)
        replica.step(ReplicaEvent.FAILED if replica.failure else ReplicaEvent.WARMED, now_time=0)

    async def unload(self, replica: Replica) -> None:
        await asyncio.sleep(0)
        replica.step(ReplicaEvent.EMPTIED, now_time=0)


class Nowhere:
    def publish(self, key: str, value: WorkerStatus | None) -> None:
        pass


@asynccontextmanager
async def reconciling(world: World):
    board = StatusBoard(
        identity=WorkerStatus(worker_id="w", instance_id="w", link_address=""), publisher=Nowhere(), replicas=world.replicas.statuses
    )
    reconciler = Reconciler(world, world.replicas, board, SystemClock(), Pace(poll_seconds=0.005))
    reconciler.connect(cast("Loading", world), cast("Unloading", world), Trials(world.trials, "w"))
    task = asyncio.create_task(reconciler.run())
    try:
        async with asyncio.timeout(30):
            await board.wait_until(lambda status: status.settled)
            yield reconciler, board
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def look_again(world: World, times: int = 3) -> None:
    seen = world.looks
    while world.looks < seen + times:
        await asyncio.sleep(0.001)


async def test_every_load_begins_once_however_often_the_repository_is_looked_at():
    world = World({"a": offer("a"), "b": offer("b")})
    async with reconciling(world):
        await look_again(world)

    assert sorted(world.loads) == ["a", "b"]


async def test_what_failed_is_not_tried_again_by_itself():
    world = World({"a": offer("a")}, fails=lambda replica: LoadFailed("no"))
    async with reconciling(world):
        await look_again(world)

    assert world.loads == ["a"]


async def test_what_failed_for_want_of_memory_is_tried_again_when_something_was_unloaded():
    world = World({"a": offer("a"), "b": offer("b")})
    world.fails = lambda replica: MemoryBudgetExceeded("no room") if replica.model == "b" and "a" in world.wanted else None
    async with reconciling(world) as (_, board):
        await look_again(world)
        assert world.loads == ["a", "b"]

        del world.wanted["a"]

        await board.wait_until(lambda status: [(one.model, one.is_ready) for one in status.replicas] == [("b", True)])
    assert world.loads == ["a", "b", "b"]


async def test_files_that_changed_under_a_load_are_looked_at_at_once():
    world = World({"a": offer("a")})

    def fails(replica: Replica) -> ServingError | None:
        if replica.offer.is_same_content(offer("a", content=2)):
            return None
        world.wanted["a"] = offer("a", content=2)
        return ArtifactCorrupt("changed")

    world.fails = fails
    async with reconciling(world) as (_, board):
        await board.wait_until(lambda status: any(one.is_ready for one in status.replicas))

    assert world.loads == ["a", "a"]


async def test_a_repository_that_cannot_be_read_changes_nothing():
    world = World({"a": offer("a")})
    async with reconciling(world) as (_, board):
        world.is_readable = False
        world.wanted.clear()
        await look_again(world)

        assert [one.is_ready for one in board.current.replicas] == [True]


async def test_an_override_is_reported_as_applied_and_an_older_one_is_ignored():
    world = World({"a": offer("a")})
    async with reconciling(world) as (reconciler, board):
        reconciler.override_changed(Override(model="a", revision=5, is_unloaded=True), "a")
        await board.wait_until(lambda status: status.applied_overrides.get("a") == 5)
        reconciler.override_changed(Override(model="a", revision=4), "a")
        await look_again(world)

        assert [one.state.name for one in board.current.replicas] == ["UNLOADED"]
        assert reconciler.wish(Override(model="a")) == 6
        await board.wait_until(lambda status: status.applied_overrides.get("a") == 6)
        assert [one.is_ready for one in board.current.replicas] == [True]


async def test_leaving_unloads_everything_and_begins_nothing_new():
    world = World({"a": offer("a")})
    async with reconciling(world) as (reconciler, _):
        await reconciler.leave()
        world.wanted["b"] = offer("b")
        await look_again(world)

        assert [one.life.state.name for one in world.replicas] == ["UNLOADED"]
    assert world.loads == ["a"]


async def test_what_failed_for_a_cause_that_passes_keeps_the_old_version_until_it_was_tried_again():
    world = World({"a": offer("a")}, fails=lambda replica: None if replica.version == "1" else Unavailable("away"))
    async with reconciling(world) as (_, board):
        artefact = replace(offer("a").artefact, version="2")
        world.wanted = {"a": Offer(artefact=artefact)}
        await board.wait_until(lambda status: len(status.replicas) == 2 and status.replicas[1].state is ReplicaState.FAILED)
        await look_again(world)
        waiting = [(one.version, one.state.name) for one in board.current.replicas]

        world.fails = lambda replica: None
        world.wanted = {"a": Offer(artefact=artefact, revision=1)}

        await board.wait_until(lambda status: [(one.version, one.is_ready) for one in status.replicas] == [("2", True)])
    assert waiting == [("1", "READY"), ("2", "FAILED")]
