"""A whole mesh short of memory: what nobody uses leaves, what is asked for comes once, what is live or one rollback away stays."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from penstock import Client, ServingError
from penstock.client.options import ClientOptions
from penstock.client.retry import RetryPolicy
from penstock.contracts.errors import NoReadyReplica
from tests.integration.processes import events
from tests.integration.test_mesh import ROWS, Mesh, mesh_of
from tests.kafka_broker import Broker, running_broker

pytestmark = pytest.mark.timeout(300)

MEBI = 1 << 20
MODEL_BYTES = 20 * MEBI
"""Of each version's file: much more than what the measure of a process's memory is out by."""
REPLICA_BYTES = 33 * MEBI
"""What each deployment declares: beside two of them a worker has no room for the 30 MiB that it reckons with for a third."""
WORKERS = ("short-0", "short-1")
SECONDS = 60.0
ONCE = ClientOptions(retries=RetryPolicy(attempts=1), timeout_seconds=30)
MODEL, FORMER, LIVE = "heavy", "v1", "v2"


def heavy(factor: float) -> bytes:
    """Return a model that multiplies by the first number of a table so large that it fills memory."""
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("rows", 1)) for name in ("x", "y")]
    table = np.zeros(MODEL_BYTES // 4, np.float32)
    table[0] = factor
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["first"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "first"], ["k"]),
        helper.make_node("Mul", ["x", "k"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "heavy", sides[:1], sides[1:], [numpy_helper.from_array(table, "table")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@dataclass
class Told:
    """What one caller was told until it had an answer."""

    value: float = 0.0
    refusals: list[ServingError] = field(default_factory=list[ServingError])


def asked_until_answered(targets: Sequence[str], version: str, callers: int) -> list[Told]:
    """Let callers ask at routers in turn, all at once, each once more after every refusal; return what they were told."""
    start = threading.Barrier(callers)
    told = [Told() for _ in range(callers)]

    def ask(number: int) -> None:
        with Client(targets[number % len(targets)], ONCE) as client:
            start.wait(SECONDS)
            deadline = time.monotonic() + SECONDS
            while not told[number].value and time.monotonic() < deadline:
                try:
                    told[number].value = float(client.predict(MODEL, ROWS, version=version)["y"][0, 0])
                except ServingError as refusal:
                    told[number].refusals.append(refusal)
                    time.sleep(refusal.retry_after_seconds or 0.1)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


class Short:
    """The mesh, and what its workers have done."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.targets = [
            f"127.0.0.1:{json.loads((mesh.folder / 's' / 'ready' / f'router-{number}').read_text())['grpc']}" for number in (0, 1)
        ]

    def deployed(self, version: str, factor: float) -> None:
        self.mesh.sent(MODEL, version, "model.onnx", heavy(factor))
        self.mesh.deployed(MODEL, version, memory_bytes=REPLICA_BYTES)

    def done(self, event: str) -> Counter[str]:
        """Return how often workers did something, by version."""
        lines = [line for name in WORKERS for line in events(self.mesh.folder / f"{name}.log", event)]
        return Counter(line["version"] for line in lines)

    @contextmanager
    def calling(self, *versions: str) -> Iterator[list[ServingError]]:
        """Ask for versions over and over at both routers while the block lasts, and give out what failed; an empty one is what is live."""
        failures: list[ServingError] = []
        stop = threading.Event()

        def ask(target: str, version: str) -> None:
            with Client(target, ONCE) as client:
                while not stop.wait(0.02):
                    try:
                        client.predict(MODEL, ROWS, version=version)
                    except ServingError as failure:
                        failures.append(failure)

        threads = [threading.Thread(target=ask, args=(target, version)) for target in self.targets for version in versions]
        for thread in threads:
            thread.start()
        try:
            yield failures
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def until_used(self, version: str) -> None:
        """Wait until placement knows that somebody asks for a version."""
        asked = "somebody asked for it lately"
        self.mesh.until(lambda: any((one.version, one.reason) == (version, asked) for one in self.mesh.control.plan(MODEL)))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, session_ports: Callable[[int], list[int]]) -> Iterator[Broker]:
    """A broker of this mesh alone: two catalogues do not go together in the same topics."""
    with running_broker(tmp_path_factory.mktemp("kafka"), session_ports(2)) as broker:
        yield broker


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Short]:
    """Two replicas have room in each of two workers: v2 is live, v1 is one rollback away, v3 and v4 are there, and nobody uses them."""
    budget = {"memory_budget_bytes": 2 * REPLICA_BYTES}
    folder = tmp_path_factory.mktemp("short")
    with mesh_of(folder, broker.bus.bootstrap_servers, routers=2, workers=WORKERS, **budget) as mesh:
        short = Short(mesh)
        short.deployed(FORMER, 1.0)
        short.deployed(LIVE, 2.0)
        mesh.control.set_traffic(MODEL, {LIVE: 10_000})
        short.deployed("v3", 3.0)
        short.deployed("v4", 4.0)
        yield short


def test_what_is_unloaded_is_loaded_once_for_fifty_callers_in_the_place_of_what_was_unused_longest(short: Short):
    asked_until_answered(short.targets, "v3", 2)
    with short.calling("", "v3") as failures:
        short.until_used("v3")
        short.deployed("v5", 5.0)
        short.mesh.until(lambda: bool(short.done("replica_unloaded")))
        first_left, before = short.done("replica_unloaded"), short.done("replica_ready")
        told = asked_until_answered(short.targets, "v4", 50)
        after, left = short.done("replica_ready"), short.done("replica_unloaded")
    back = short.mesh.control.rollback(MODEL)

    assert first_left == Counter({"v4": 1})
    assert {one.value for one in told} == {4.0}
    refusals = [refusal for one in told for refusal in one.refusals]
    assert {(type(refusal), refusal.reason) for refusal in refusals} == {(NoReadyReplica, "MODEL_LOADING")}
    assert all(refusal.retry_after_seconds for refusal in refusals)
    assert after - before == Counter({"v4": 1})
    assert left == Counter({"v4": 1, "v5": 1})
    assert (failures, short.done("replica_failed")) == ([], Counter())
    assert {one.version for one in back.route.backends if one.weight_basis_points} == {FORMER}
    assert short.mesh.answer(MODEL) == (1.0, FORMER)
