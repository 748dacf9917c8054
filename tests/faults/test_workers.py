"""Workers die, hang and are drained under load; callers see answers.

The load is an open loop of idempotent calls with one try each, so that nothing a client library does hides a failure. Every answer is
checked against the number that was asked for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from penstock import AsyncClient, ClientOptions, ServingError
from penstock.client.retry import RetryPolicy
from tests.flows.models import write_repository
from tests.flows.serving import Served, serving

ONE_TRY = ClientOptions(timeout_seconds=10.0, connections=2, retries=RetryPolicy(attempts=1))
RATE = 100


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    repository = write_repository(tmp_path_factory.mktemp("models"))
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "faults"
    folder.mkdir()
    with serving(folder, repository, "--workers", "2") as running:
        yield running


@dataclass
class Ledger:
    """What was asked and what came of it."""

    answered: int = 0
    wrong: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    slowest_seconds: float = 0.0


async def load(served: Served, seconds: float, ledger: Ledger, stop: asyncio.Event | None = None) -> None:
    """Ask RATE times a second, each call on its own schedule."""
    async with AsyncClient(served.grpc, ONE_TRY) as client, asyncio.TaskGroup() as group:
        started = time.monotonic()
        for number in range(int(seconds * RATE)):
            if stop is not None and stop.is_set():
                break
            group.create_task(_ask(client, number, ledger))
            await asyncio.sleep(max(0.0, started + (number + 1) / RATE - time.monotonic()))


async def _ask(client: AsyncClient, number: int, ledger: Ledger) -> None:
    asked_at = time.monotonic()
    try:
        answer = await client.predict("echo", {"x": np.full((1, 4), number, np.float32)})
    except ServingError as error:
        ledger.failed[number] = f"{error.reason}: {error.message}"
        return
    ledger.slowest_seconds = max(ledger.slowest_seconds, time.monotonic() - asked_at)
    if answer["y"].tolist() != [[number] * 4] or answer["total"].tolist() != [4 * number]:
        ledger.wrong.append(number)
    ledger.answered += 1


def both_workers_serve(served: Served) -> bool:
    lines = served.get("/v2/models/echo/ready")[0] == 200 and served.events("link_up")
    return bool(lines) and len(alive([served.child("worker-0"), served.child("worker-1")])) == 2 and _links_up(served) == 2


def _links_up(served: Served) -> int:
    import urllib.request

    with urllib.request.urlopen(f"http://{served.record['metrics']}/metrics", timeout=5) as response:
        lines = response.read().decode().splitlines()
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("penstock_link_up{")))


def alive(process_ids: list[int]) -> list[int]:
    return [pid for pid in process_ids if Path(f"/proc/{pid}").exists()]


async def test_a_killed_worker_costs_no_caller_an_answer(served: Served):
    await asyncio.to_thread(served.until, lambda: both_workers_serve(served))
    ledger = Ledger()
    loading = asyncio.create_task(load(served, 4.0, ledger))
    for _ in range(3):
        await asyncio.sleep(0.8)
        os.kill(served.child("worker-0"), signal.SIGKILL)
        await asyncio.to_thread(served.until, lambda: both_workers_serve(served))
    await loading

    assert ledger.failed == {}
    assert ledger.wrong == []
    assert ledger.answered == 4 * RATE


async def test_a_stopped_worker_is_out_of_rotation_and_costs_no_caller_an_answer(served: Served):
    await asyncio.to_thread(served.until, lambda: both_workers_serve(served))
    ledger = Ledger()
    loading = asyncio.create_task(load(served, 4.0, ledger))
    await asyncio.sleep(0.5)
    stopped = served.child("worker-1")
    os.kill(stopped, signal.SIGSTOP)
    try:
        await asyncio.to_thread(served.until, lambda: _links_up(served) == 1)
        await asyncio.sleep(0.5)
    finally:
        os.kill(stopped, signal.SIGCONT)
    await loading
    await asyncio.to_thread(served.until, lambda: both_workers_serve(served))

    assert ledger.failed == {}
    assert ledger.wrong == []
    # 0.4 s of silence end it, `make bench` holds the figure; here only that nobody waits for a deadline
    assert ledger.slowest_seconds < 5.0


async def test_sigterm_finishes_every_call_in_flight_and_leaves_nobody_behind(tmp_path: Path, short_dir: Path):
    repository = write_repository(tmp_path / "models")
    with serving(short_dir, repository) as running:
        ledger, stop = Ledger(), asyncio.Event()
        children = [running.child("worker-0"), running.child("router-0")]
        loading = asyncio.create_task(load(running, 6.0, ledger, stop))
        await asyncio.sleep(1.0)
        running.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(running.process.wait, 40)
        stop.set()
        await loading

        assert running.process.returncode == 0
        assert ledger.wrong == []
        assert ledger.answered >= RATE // 2
        assert {text.partition(":")[0] for text in ledger.failed.values()} <= {"DRAINING", "UNAVAILABLE"}
        assert alive(children) == []


async def test_a_hot_swap_under_load_fails_no_call(served: Served, tmp_path_factory: pytest.TempPathFactory):
    await asyncio.to_thread(served.until, lambda: both_workers_serve(served))
    repository = Path(str(served.record["repository"]))
    ledger = Ledger()
    loading = asyncio.create_task(load(served, 5.0, ledger))
    await asyncio.sleep(0.5)
    staged = tmp_path_factory.mktemp("staged") / "2"
    staged.mkdir()
    (staged / "model.onnx").write_bytes((repository / "echo" / "1" / "model.onnx").read_bytes())
    staged.rename(repository / "echo" / "2")
    await loading
    served.until(lambda: b'"versions":["2"]' in served.get("/v2/models/echo")[1])

    assert ledger.failed == {}
    assert ledger.wrong == []
