"""`penstock up` from outside, as a person and a crash meet it: real servers, real signals, other terminals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, save_model
from redis import Redis

from penstock import Client
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import Delivery, producer, reader
from services.stack.postgres_database import home

PENSTOCK = (str(Path(sys.executable).with_name("penstock")),)
WAIT_SECONDS = 90.0
LONG_SECONDS = 150.0
"""For the whole stack, with PostgreSQL's and Kafka's first start, on a machine that is busy otherwise."""

pytestmark = pytest.mark.timeout(2 * LONG_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """A user's shell with folders of its own."""

    environment: dict[str, str]
    folder: Path

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end and return both streams."""
        ended = subprocess.run(
            [*PENSTOCK, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=WAIT_SECONDS, check=False,
        )  # fmt: skip
        assert ended.returncode == code, ended.stdout
        return ended.stdout

    def document(self, name: str = "local") -> dict[str, Any]:
        return json.loads((self.folder / "state" / "penstock" / name / "stack.json").read_text())

    def server(self, server: str, name: str = "local") -> dict[str, Any]:
        return self.document(name)["servers"][server]

    def redis(self, name: str = "local") -> Redis:
        return Redis(port=int(self.server("redis", name)["address"].rpartition(":")[2]))

    @contextmanager
    def up(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Keep a stack up in the foreground; the test may end it itself."""
        output = self.folder / "up.out"
        with output.open("w") as out:
            process = subprocess.Popen(
                [*PENSTOCK, "up", *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            until(lambda: "\nready after" in output.read_text(), process, output)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(WAIT_SECONDS)


def until(condition: Callable[[], Any], process: subprocess.Popen[Any] | None = None, output: Path | None = None) -> None:
    give_up_at = time.monotonic() + LONG_SECONDS
    while not condition():
        told = output.read_text() if output else "it did not come about"
        assert process is None or process.poll() is None, told
        assert time.monotonic() < give_up_at, told
        time.sleep(0.05)


def is_gone(process_id: int) -> bool:
    """Whether a process has ended; a zombie whose parent has yet to look has."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def terminal(short_dir: Path) -> Iterator[Terminal]:
    # The compiler that is quick to start: what Kafka does here is start.
    quick = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}
    environment = os.environ | quick | {"XDG_STATE_HOME": str(short_dir / "state"), "NO_COLOR": "1"}
    yield Terminal(environment=environment, folder=short_dir)
    for folder in (short_dir / "state" / "penstock").glob("*/postgres"):
        subprocess.run(["rm", "-rf", str(home(folder))], check=True)


def test_ctrl_c_ends_everything_in_the_mirror_of_the_start(terminal: Terminal):
    with terminal.up("--only", "redis,temporal") as process:
        processes = [terminal.server(name)["pid"] for name in ("redis", "temporal")]
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_SECONDS) == 0
    told = (terminal.folder / "up.out").read_text()

    assert all(map(is_gone, processes))
    assert (
        told.index("redis        127")
        < told.index("temporal     127")
        < told.index("temporal     stopped")
        < told.index("redis        stopped")
    )
    assert "ready after" in told


def test_a_killed_up_leaves_nobody_behind_and_the_next_one_has_the_data(terminal: Terminal):
    with terminal.up("--only", "redis") as process:
        with terminal.redis() as client:
            client.set("colour", "blue")
            client.config_set("appendfsync", "always")
            client.set("colour", "blue")
        document = terminal.document()
        process.kill()
        process.wait()
        until(lambda: is_gone(document["pid"]) and is_gone(document["servers"]["redis"]["pid"]))
    with terminal.up("--only", "redis"), terminal.redis() as client:
        assert client.get("colour") == b"blue"
        assert terminal.server("redis")["address"] == document["servers"]["redis"]["address"]


def test_a_killed_supervisor_leaves_nobody_behind_either(terminal: Terminal):
    with terminal.up("--only", "redis") as process:
        document = terminal.document()
        os.kill(document["pid"], signal.SIGKILL)
        until(lambda: is_gone(document["servers"]["redis"]["pid"]))

        assert process.wait(WAIT_SECONDS) == 1


def test_a_killed_server_is_started_again_and_up_says_so(terminal: Terminal):
    with terminal.up("--only", "redis"):
        former = terminal.server("redis")["pid"]
        os.kill(former, signal.SIGKILL)
        until(lambda: "redis answers again" in (terminal.folder / "up.out").read_text())

        assert terminal.server("redis")["pid"] != former
        with terminal.redis() as client:
            assert client.ping()
    assert "redis died (SIGKILL) and is started again" in (terminal.folder / "up.out").read_text()


def test_two_stacks_run_side_by_side_and_end_one_by_one(terminal: Terminal):
    terminal.run("up", "--only", "redis", "--name", "one", "--detach")
    terminal.run("up", "--only", "redis", "--name", "two", "--detach")
    try:
        with terminal.redis("one") as one, terminal.redis("two") as two:
            one.set("colour", "blue")
            assert two.get("colour") is None
        stacks = json.loads(terminal.run("ps", "-o", "json"))["stacks"]
        assert [stack["name"] for stack in stacks] == ["one", "two"]
        assert "Ready to accept connections" in terminal.run("logs", "redis", "--name", "two")
        assert "runs already" in terminal.run("up", "--only", "redis", "--name", "one", code=1)
        terminal.run("down", "--name", "one")
        assert is_gone(stacks[0]["servers"]["redis"]["pid"])
        assert [stack["name"] for stack in json.loads(terminal.run("ps", "-o", "json"))["stacks"]] == ["two"]
    finally:
        terminal.run("down", "--name", "one")
        terminal.run("down", "--name", "two")


def test_two_ups_of_one_name_at_once_are_one_stack_and_one_error(terminal: Terminal):
    command = [*PENSTOCK, "up", "--only", "redis", "--detach"]
    both = [
        subprocess.Popen(
            command, env=terminal.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=WAIT_SECONDS)[0] for process in both]
    terminal.run("down")

    assert sorted(process.returncode for process in both) == [0, 1], told
    assert any("runs already" in text or "another up uses" in text for text in told), told


def test_a_taken_port_is_an_error_with_the_port_and_the_option(terminal: Terminal, free_port: int):
    with socket.create_server(("127.0.0.1", free_port)):
        told = terminal.run("up", "--only", "redis", "--redis-port", str(free_port), code=1)

    assert f"port {free_port} is taken" in told
    assert "--redis-port" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--state-dir", "/dev/null/stack"), "/dev/null/stack/logs/up.log cannot be written: Not a directory"),
        (("--kafka-address", "127.0.0.1:65536"), "write host:port, with a port from 1 to 65535"),
        (("--kafka-address", "127.0.0.1:0"), "write host:port, with a port from 1 to 65535"),
    ],
)
def test_a_start_that_cannot_succeed_says_why_before_anything_is_started(terminal: Terminal, arguments: tuple[str, str], told: str):
    lines = terminal.run("up", *arguments, code=1).splitlines()

    assert told in "".join(lines[1:])
    assert "ready after" not in "".join(lines)


def test_a_folder_that_is_too_long_for_sockets_is_refused_before_anything_is_started(terminal: Terminal):
    told = terminal.run("up", "--state-dir", str(terminal.folder / ("x" * 90)), code=1)

    assert "of 107 bytes; name a shorter one with --state-dir" in told
    assert "ready after" not in told


def test_a_missing_tool_is_an_error_with_what_installs_it(terminal: Terminal, short_dir: Path):
    (short_dir / "bin").mkdir()
    blind = Terminal(environment=terminal.environment | {"PATH": str(short_dir / "bin")}, folder=terminal.folder)

    assert "apt-get install redis-server" in blind.run("up", "--only", "redis", code=1)


@pytest.mark.timeout(4 * LONG_SECONDS)
async def test_the_whole_stack_keeps_what_it_was_given_over_a_kill(terminal: Terminal):
    # One test for all of them: each start of Kafka is seconds of two cores.
    with terminal.up("--postgres", "--servers-only") as process:
        first = terminal.document()["servers"]
        bus = BusSettings(bootstrap_servers=first["kafka"]["address"])
        async with producer(bus, "test", Delivery.DESIRED) as sending:
            await sending.send_and_wait("penstock.routes.v1", b"value", key=b"model")
        process.kill()
        await asyncio.to_thread(process.wait)
        await asyncio.to_thread(until, lambda: all(is_gone(entry["pid"]) for entry in first.values()))
    began_at = time.monotonic()
    with terminal.up("--postgres", "--servers-only"):
        print(f"warm start of all four: {time.monotonic() - began_at:.1f} s")
        async with reader(bus, "test") as reading, asyncio.timeout(WAIT_SECONDS):
            reading.subscribe(["penstock.routes.v1"])
            record = await reading.getone()
        second = terminal.document()["servers"]

    assert record.value == b"value"
    assert {name: entry["address"] for name, entry in first.items()} == {name: entry["address"] for name, entry in second.items()}
    assert list(second) == ["redis", "postgres", "kafka", "temporal"]


def looked(terminal: Terminal) -> dict[str, Any]:
    return json.loads(terminal.run("status", "-o", "json"))


@pytest.mark.timeout(4 * LONG_SECONDS)
def test_the_mesh_over_the_servers_deploys_and_answers_and_leaves_nobody_behind(terminal: Terminal):
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("rows", 1)) for name in ("x", "y")]
    factor = helper.make_tensor("k", TensorProto.FLOAT, [1], [2.0])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "k"], ["y"])], "scaled", sides[:1], sides[1:], [factor])
    (terminal.folder / "model").mkdir()
    save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), terminal.folder / "model" / "model.onnx"
    )
    with terminal.up("--routers", "2"):
        document = terminal.document()
        router = ("--grpc", document["mesh"]["grpc"])
        terminal.run("models", "register", str(terminal.folder / "model"), "--name", "scaled@v1", *router)
        terminal.run("deploy", "scaled@v1", *router)
        with Client(router[1]) as client:
            until(lambda: client.is_ready("scaled"))
            answer = client.predict("scaled", np.ones((1, 1), np.float32)).outputs["y"].tolist()
        # Without an address: it finds the mesh by itself.
        until(lambda: looked(terminal)["redis"]["quotas_shared_by"] == 2)
        status = looked(terminal)

    assert answer == [[2.0]]
    assert (status["mesh"], status["repository"], status["redis"]["routers"]) == ("local", None, 2)
    assert {"kafka", "controller", "router-0", "router-1", "worker-0"} <= set(document["servers"])
    assert all(is_gone(entry["pid"]) for entry in document["servers"].values())
