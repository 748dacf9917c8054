"""`penstock serve` with real routers, workers and models."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save_model

from tests.chassis.children import ROOT, is_alive, wait_gone


class Served:
    """A running `penstock serve`."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process
        self.printed = ""

    def until_ready(self) -> None:
        while "ready in" not in self.printed:
            ready, _, _ = select.select([self.process.stdout], [], [], 40)
            part = os.read(self.process.stdout.fileno(), 1 << 16).decode() if ready else ""
            assert part, (self.printed, (self.folder / "log").read_text())
            self.printed += part

    @property
    def record(self) -> dict:
        return json.loads((self.folder / "s" / "serve.json").read_text())

    def logs(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def child(self, name: str) -> int:
        return [line["child_process_id"] for line in self.logs() if line["event"] == "child_started" and line["child"] == name][-1]

    def get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://{self.record['http']}{path}", timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.record['metrics']}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def until(self, condition, timeout_seconds: float = 20.0) -> None:
        give_up_at = time.monotonic() + timeout_seconds
        while not condition():
            assert time.monotonic() < give_up_at, (self.folder / "log").read_text()
            time.sleep(0.02)


def write_model(folder: Path) -> None:
    """Write a model that doubles what it is given, next to its place, and move it in as a whole."""
    draft = folder.parent.parent.parent / f"draft-{folder.name}"
    draft.mkdir(parents=True)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 3]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [x], [y])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), draft / "model.onnx")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(folder)


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Served]:
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    command = [sys.executable, "-m", "penstock.cli", "serve", str(folder / "models"), "--state-dir", str(folder / "s"), *ports, *options]
    if not (ROOT / "penstock" / "cli" / "__main__.py").exists():
        command[1:3] = ["-c", "from penstock.cli.main import main; main()"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    served = Served(folder, process)
    try:
        yield served
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    folder = Path(f"/tmp/ps-serve-{os.getpid()}")
    folder.mkdir(mode=0o700)
    write_model(folder / "models" / "doubling" / "1")
    with running(folder, "--workers", "2", "--routers", "2") as served:
        served.until_ready()
        yield served
    shutil.rmtree(folder)


def test_the_printed_call_works(served: Served):
    call = next(line for line in served.printed.splitlines() if "curl" in line)
    url, body = re.search(r"(http://\S+)", call)[1], re.search(r"-d '(.*)'", call)[1]
    request = urllib.request.Request(url, data=body.encode(), headers={"content-type": "application/json"})

    with urllib.request.urlopen(request, timeout=10) as answer:
        content = json.load(answer)

    assert answer.status == 200
    assert "1.0" in json.dumps(content)


def test_when_it_says_ready_every_router_reaches_every_worker(served: Served):
    reached = [json.loads((served.folder / "s" / "ready" / name).read_text())["workers"] for name in ("router-0", "router-1")]

    assert [sorted(one) for one in reached] == [["worker-0", "worker-1"]] * 2


def test_versions_come_and_go_without_a_restart(served: Served):
    second = served.folder / "models" / "doubling" / "2"
    write_model(second)
    served.until(lambda: served.get("/v2/models/doubling/versions/2/ready") == 200)

    shutil.rmtree(second)

    served.until(lambda: served.get("/v2/models/doubling/versions/2/ready") != 200)
    assert served.get("/v2/models/doubling/ready") == 200


def test_metrics_of_all_processes_are_one_page(served: Served):
    shown = served.metrics()

    assert 'nv_inference_request_success{model="doubling",version="1"}' in shown
    assert shown.count("# HELP nv_inference_count ") == 1
    assert shown.count("# HELP process_resident_memory_bytes ") == 1
    for name in ("supervisor", "router-0", "router-1", "worker-0", "worker-1"):
        assert f'process_resident_memory_bytes{{process="{name}"}}' in shown
    assert 'penstock_scrape_failures_total{process="worker-0"} 0.0' in shown


def test_a_killed_worker_is_replaced_and_serves(served: Served):
    former = served.child("worker-0")
    os.kill(former, signal.SIGKILL)

    served.until(lambda: served.child("worker-0") != former)
    served.until(lambda: sum(line["event"] == "worker_settled" for line in served.logs()) >= 3)

    assert served.get("/v2/models/doubling/ready") == 200
    assert not list((served.folder / "s" / "overrides").glob("*.pb"))


def test_sigterm_ends_with_zero_and_no_child_is_left(short_dir: Path):
    write_model(short_dir / "models" / "doubling" / "1")
    with running(short_dir) as served:
        served.until_ready()
        children = [served.child(name) for name in ("router-0", "worker-0")]

        served.process.send_signal(signal.SIGTERM)

        assert served.process.wait(20) == 0
        assert not any(is_alive(pid) for pid in children)
        stopped = [line["child"] for line in served.logs() if line["event"] == "child_stopped"]
        assert stopped == ["router-0", "worker-0"]


def test_no_child_outlives_a_killed_supervisor(short_dir: Path):
    write_model(short_dir / "models" / "doubling" / "1")
    with running(short_dir) as served:
        served.until_ready()
        children = [served.child(name) for name in ("router-0", "worker-0")]

        served.process.kill()

        assert all(wait_gone(pid, 2.0) for pid in children)


def test_settings_that_are_wrong_are_named_together(short_dir: Path):
    (short_dir / "models").mkdir()
    with running(short_dir, "--set", "grcp_port=1", "--set", "workers=many") as served:
        assert served.process.wait(30) == 78

    message = (short_dir / "log").read_text()
    assert "grcp_port" in message
    assert "workers" in message
    assert "Traceback" not in message
