"""A worker as its supervisor starts it: a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from penstock.contracts.worker_status import WorkerStatus
from services.chassis.blackbox import Phase, read_blackbox
from services.worker.ending import EXIT_STUCK
from tests.worker import models
from tests.worker.folders import publish, put
from tests.worker.link_client import connected
from tests.worker.live_worker import QUICK, short_folder, states_of

ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """A worker in a process of its own."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.state_dir = root / "state"
        config = {"worker_id": "w0", "repository": str(root / "repository"), "state_dir": str(self.state_dir)} | QUICK | settings
        path = put(root / "worker.json", json.dumps(config))
        self._log = (root / "log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.worker", "--config", str(path)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PENSTOCK_PARENT_PID": str(os.getpid())},
            stderr=self._log,
        )

    @property
    def status(self) -> WorkerStatus | None:
        try:
            return WorkerStatus.from_bytes((self.state_dir / "workers" / "w0.pb").read_bytes())
        except FileNotFoundError:
            return None

    def until(self, holds: Callable[[WorkerStatus], bool]) -> WorkerStatus:
        give_up_at = time.monotonic() + 30
        while (status := self.status) is None or not holds(status):
            assert self.process.poll() is None, f"the worker ended with {self.process.returncode}"
            assert time.monotonic() < give_up_at, f"not within 30 s: {status}"
            time.sleep(0.01)
        return status

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture
def root() -> Iterator[Path]:
    with short_folder() as path:
        publish(path / "repository", "m", "1", models.row_sum())
        yield path


@pytest.fixture
def worker(root: Path) -> Iterator[WorkerProcess]:
    process = WorkerProcess(root)
    try:
        yield process
    finally:
        process.close()


def test_a_worker_follows_its_repository_and_ends_cleanly_on_sigterm(worker: WorkerProcess, root: Path):
    settled = worker.until(lambda status: status.settled)
    assert states_of(settled, "m") == {"1": "READY"}
    assert settled.process_id == worker.process.pid

    publish(root / "repository", "m", "2", models.row_sum())
    worker.until(lambda status: states_of(status, "m") == {"1": "UNLOADED", "2": "READY"})
    publish(root / "repository", "m", "3", b"broken")
    worker.until(lambda status: states_of(status, "m") == {"1": "UNLOADED", "2": "READY", "3": "FAILED"})

    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0
    assert worker.status is None
    events = [json.loads(line)["event"] for line in (root / "log").read_text().splitlines()]
    assert {"worker_open", "replica_ready", "replica_failed", "worker_settled", "replica_unloaded"} <= set(events)


async def test_the_black_box_names_what_runs_and_a_run_without_end_does_not_hold_up_the_end(root: Path):
    publish(root / "repository", "endless", "1", models.looping(), model__toml=WARM_LOOP)
    put(root / "repository" / "endless" / "warmup" / "three", np.full(1, 3, np.float32).tobytes())
    worker = WorkerProcess(root, drain_seconds=0.2)
    try:
        status = worker.until(lambda status: status.settled)
        replica = next(one for one in status.replicas if one.model == "endless")
        assert replica.is_ready, replica.reason
        async with connected(status) as link:
            link.send(replica.replica_id, np.full((1, 1), -1.0))
            await link.writer.drain()
            while not (suspects := read_blackbox(worker.state_dir / "blackbox" / "w0").suspects):
                await asyncio.sleep(0.01)
            worker.process.send_signal(signal.SIGTERM)
            code = worker.process.wait(20)
    finally:
        worker.close()

    assert [(str(one.version), one.phase) for one in suspects] == [("endless@1", Phase.RUNNING)]
    assert code == 0


WARM_LOOP = """
[[model_warmup]]
name = "ends"
batch_size = 1
inputs.x = { data_type = "FP32", dims = [1], input_data_file = "three" }
"""

END = """
import sys
from pathlib import Path
from penstock.contracts.names import ModelVersion
from services.chassis import logs
from services.chassis.blackbox import Blackbox
from services.worker.ending import Ending
from services.worker.suspects import Suspects

with logs.started("worker") as pipeline:
    suspects, version = Suspects(Blackbox.open(Path(sys.argv[1]))), ModelVersion(model="m", version="1")
    suspects.hooks(version, 1)
    Ending(suspects, pipeline).end_because_of(version)
"""


def test_a_process_that_ends_itself_leaves_the_version_in_the_black_box_and_a_line_in_the_log(root: Path):
    command = [sys.executable, "-c", END, str(root / "box")]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True, timeout=30, check=False)

    assert ended.returncode == EXIT_STUCK
    words = read_blackbox(root / "box")
    assert (str(words.verdict), words.reason) == ("m@1", "an execution of m@1 ignored its brake")
    assert json.loads(ended.stderr)["event"] == "worker_ends_itself"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repository": "/nowhere"}, "the model repository /nowhere is no folder"),
        ({"repositori": "x"}, "repositori: Extra inputs are not permitted"),
        ({"link_certificate": "/x"}, "link_certificate and link_key go together"),
    ],
)
def test_settings_that_cannot_work_end_the_process_with_one_line_of_advice(root: Path, settings: dict[str, object], message: str):
    worker = WorkerProcess(root, **settings)
    code = worker.process.wait(20)
    worker.close()

    assert code in (1, 78)
    assert message in (root / "log").read_text()
