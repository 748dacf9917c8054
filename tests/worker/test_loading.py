"""A load ends ready or failed, and gives back what it does not keep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from penstock.contracts.errors import MemoryBudgetExceeded
from penstock.contracts.worker_status import ReplicaState
from services.chassis.blackbox import Blackbox, read_blackbox
from services.worker.batcher import Batcher, BatcherPorts
from services.worker.deployment import batcher_of
from services.worker.loading import Loading, LoadingPorts, LoadTimes, nothing_leaves
from services.worker.memory_budget import MemoryBudget
from services.worker.opening import Device, Opened
from services.worker.reconciliation import Offer
from services.worker.replica import Replica
from services.worker.replicas import Replicas
from services.worker.repository_look import look_at_repository
from services.worker.suspects import Suspects
from services.worker.try_out import TriedOut
from tests.worker import models
from tests.worker.folders import publish, put

MEBIBYTE = 1 << 20


def fail_to_batch(replica: Replica, opened: Opened, tried: TriedOut) -> Batcher:
    raise ZeroDivisionError("a stranger's secret")


def batched(replica: Replica, opened: Opened, tried: TriedOut) -> Batcher:
    return batcher_of(opened, tried.costs, tried.row_bytes, BatcherPorts())


@dataclass
class Bench:
    """A loading with memory that grows as the test says."""

    root: Path
    budget: MemoryBudget
    growth: list[int]
    make_batcher: Callable[[Replica, Opened, TriedOut], Batcher] = batched
    states: list[str] = field(default_factory=list)
    replicas: Replicas = field(default_factory=Replicas)
    times: LoadTimes = field(default_factory=LoadTimes)
    leaving: Callable[[Replica], Awaitable[bool]] = nothing_leaves

    def add(self, version: str = "1") -> Replica:
        artefact = look_at_repository(self.root / "repository").models["m"].versions[version]
        return self.replicas.add(Offer(artefact=artefact))

    async def load(self, replica: Replica) -> Replica:
        ports = LoadingPorts(
            make_batcher=self.make_batcher,
            on_change=lambda: self.states.append(replica.life.state.name),
            on_end=lambda _, seconds: self.states.append("end"),
            ready_twin=self.replicas.ready_twin,
            resident_bytes=lambda: self.growth.pop(0),
            leaving=self.leaving,
        )
        suspects = Suspects(Blackbox.open(self.root / "box"))
        await Loading(Device(), self.budget, suspects, ports, self.times).load(replica)
        return replica

    async def close(self) -> None:
        for replica in self.replicas:
            if replica.batcher is not None:
                await replica.batcher.close()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    publish(tmp_path / "repository", "m", "1", models.row_sum())
    yield tmp_path
    assert read_blackbox(tmp_path / "box").suspects == ()


async def test_a_load_goes_through_every_state_and_keeps_the_memory_that_was_measured(root: Path):
    bench = Bench(root, MemoryBudget(budget_bytes=100 * MEBIBYTE), [10 * MEBIBYTE, 17 * MEBIBYTE])

    replica = await bench.load(bench.add())
    await bench.close()

    assert bench.states == ["WARMING", "READY", "end"]
    assert replica.loaded is not None
    assert replica.loaded.memory_bytes == bench.budget.used_bytes == 7 * MEBIBYTE


async def test_memory_never_counts_for_less_than_the_files(root: Path):
    bench = Bench(root, MemoryBudget(), [10, 5])

    replica = await bench.load(bench.add())
    await bench.close()

    assert replica.loaded is not None
    assert replica.loaded.memory_bytes == (root / "repository" / "m" / "1" / "model.onnx").stat().st_size


async def test_a_version_that_turns_out_too_large_fails_and_gives_its_memory_back(root: Path):
    bench = Bench(root, MemoryBudget(budget_bytes=100 * MEBIBYTE), [0, 101 * MEBIBYTE])

    replica = await bench.load(bench.add())

    assert isinstance(replica.failure, MemoryBudgetExceeded)
    assert replica.life.reason.startswith("m@1 needs 101.0 MiB of memory; 0.0 MiB of the budget of 100.0 MiB are in use")
    assert (replica.batcher, bench.budget.used_bytes) == (None, 0)


async def test_a_load_without_room_waits_for_what_leaves_and_fails_when_nothing_does(root: Path):
    bench = Bench(root, MemoryBudget(budget_bytes=100 * MEBIBYTE), [0, MEBIBYTE])
    bench.budget.reserve(7, "former@1", 50 * MEBIBYTE)
    bench.budget.reserve(8, "old@1", 50 * MEBIBYTE)
    left = [7]

    async def leaving(replica: Replica) -> bool:
        if left:
            bench.budget.release(left.pop())
            return True
        return False

    bench.leaving = leaving
    first = await bench.load(bench.add())
    bench.budget.reserve(9, "other@1", 49 * MEBIBYTE)
    second = bench.add()
    second.offer = replace(second.offer, config_json="{}")
    await bench.load(second)
    await bench.close()

    assert first.life.state is ReplicaState.READY
    assert isinstance(second.failure, MemoryBudgetExceeded)


async def test_the_same_content_under_new_marks_is_taken_over_by_the_replica_that_is_ready(root: Path):
    bench = Bench(root, MemoryBudget(), [0, 0])
    ready = await bench.load(bench.add())
    put(root / "repository" / "m" / "1" / "model.onnx", models.row_sum())

    again = await bench.load(bench.add())
    await bench.close()

    assert (again.life.state, ready.life.state) == (ReplicaState.UNLOADED, ReplicaState.READY)
    assert ready.offer is again.offer


async def test_a_failure_that_nobody_foresaw_fails_the_version_and_tells_nothing_of_a_stranger(root: Path):
    bench = Bench(root, MemoryBudget(), [0, 0], make_batcher=fail_to_batch)

    replica = await bench.load(bench.add())

    assert (replica.life.state, replica.life.reason) == (ReplicaState.FAILED, "internal error while loading; the worker's log says why")
    assert bench.budget.used_bytes == 0


async def test_a_load_that_takes_too_long_fails_with_the_limit(root: Path):
    bench = Bench(root, MemoryBudget(), [0, 0], times=LoadTimes(load_seconds=0.000_001))

    replica = await bench.load(bench.add())

    assert replica.life.reason == "the load did not finish within 1e-06 s"


async def test_an_abandoned_load_gives_everything_back(root: Path):
    publish(root / "repository", "m", "2", models.looping(), model__toml=ENDLESS)
    bench = Bench(root, MemoryBudget(), [0, 0])
    replica = bench.add("2")
    task = asyncio.create_task(bench.load(replica))
    while "WARMING" not in bench.states:
        await asyncio.sleep(0.005)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.budget.used_bytes == 0
    assert replica.batcher is None


ENDLESS = """
[[model_warmup]]
name = "endless"
batch_size = 1
inputs.x = { data_type = "FP32", dims = [1], zero_data = true }
"""
