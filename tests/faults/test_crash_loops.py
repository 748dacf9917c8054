"""A version that has whoever loads it killed without a word is given up in the whole mesh, and the one before serves on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from bench.killable import Killable, service
from bench.mesh import MODEL, VERSIONS, Mesh, until
from bench.mesh_load import SteadyLoad
from penstock.client.answers import status_word
from penstock.client.control import Control
from penstock.client.writes import Run
from penstock.contracts.worker_status import ReplicaStatus, WorkerStatus
from penstock.v1 import controller_pb2 as pb
from services.chassis.blackbox import read_blackbox
from tests.faults.figures import record
from tests.faults.test_mesh import RATE, running

__all__ = ["running"]
pytestmark = pytest.mark.timeout(600)

WORKER, GPU = "worker-mortal", "mortal"
LETHAL = "v5"
MOST_LIVES = 10
ROUNDS = 30_000


def lethal() -> bytes:
    """Return a model that multiplies by 7 and takes its time: it can be killed while it is loaded and warmed up."""
    tensor, value = helper.make_tensor, helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_in"], ["go_out"]), helper.make_node("Mul", ["sum_in", "zero"], ["sum_out"])],
        "body",
        [value("round", TensorProto.INT64, []), value("go_in", TensorProto.BOOL, []), value("sum_in", TensorProto.FLOAT, [])],
        [value("go_out", TensorProto.BOOL, []), value("sum_out", TensorProto.FLOAT, [])],
    )
    nodes = [
        helper.make_node("ReduceMin", ["x"], ["least"], keepdims=0),
        helper.make_node("Loop", ["rounds", "true", "least"], ["nothing"], body=body),
        helper.make_node("Mul", ["x", "factor"], ["product"]),
        helper.make_node("Add", ["product", "nothing"], ["y"]),
    ]
    constants = [
        tensor("zero", TensorProto.FLOAT, [], [0.0]),
        tensor("factor", TensorProto.FLOAT, [1], [7.0]),
        tensor("rounds", TensorProto.INT64, [], [ROUNDS]),
        tensor("true", TensorProto.BOOL, [], [True]),
    ]
    sides = [value(name, TensorProto.FLOAT, ("rows", 1)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "lethal", sides[:1], sides[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


class Mortal:
    """A worker that is killed whenever it is busy with the lethal version and nothing else, and is started again."""

    def __init__(self, mesh: Mesh, process: Killable) -> None:
        self.process = process
        self.deaths = 0
        self._box = mesh.folder / "s" / "blackbox" / WORKER
        self._status = mesh.folder / "s" / "workers" / f"{WORKER}.pb"

    def replicas(self) -> dict[str, ReplicaStatus]:
        """Return what it says that it holds, by version."""
        try:
            return {one.version: one for one in WorkerStatus.from_bytes(self._status.read_bytes()).replicas}
        except (FileNotFoundError, ValueError):
            return {}

    def is_serving(self, version: str) -> bool:
        replica = self.replicas().get(version)
        return replica is not None and replica.is_ready

    def has_given_up(self) -> bool:
        lethal = self.replicas().get(LETHAL)
        return lethal is not None and lethal.given_up

    def is_on_its_own(self) -> bool:
        return [one.version.version for one in read_blackbox(self._box).suspects] == [LETHAL]

    def die_until_given_up(self) -> None:
        """Kill it again and again; what starts workers again knows nothing of versions."""
        while self.deaths < MOST_LIVES:
            until(lambda: self.has_given_up() or self.is_on_its_own(), pause_seconds=0.002)
            if self.has_given_up():
                return
            self.process.kill()
            self.deaths += 1
            opened = self._box.stat().st_ctime_ns
            self.process.start()
            # Until then the box tells of the life before.
            until(lambda opened=opened: opened_anew(self._box, opened))


def opened_anew(box: Path, before: int) -> bool:
    try:
        return box.stat().st_ctime_ns != before
    except FileNotFoundError:
        return False


@contextmanager
def mortal_beside(mesh: Mesh, control: Control) -> Iterator[Mortal]:
    """Run one more worker, which holds the serving version as well."""
    store = {"store": (mesh.folder / "s" / "artefacts").as_uri()}
    settings = {"worker_id": WORKER, "gpu_type": GPU, "bus": {"bootstrap_servers": mesh.kafka.address}, "artefacts": store}
    process = service(mesh.folder, "worker", WORKER, settings)
    process.start()
    mortal = Mortal(mesh, process)
    serving = next(one.deployment_id for one in control.deployments(MODEL) if one.version == "v1")
    try:
        control.scale(serving, 2)
        until(lambda: mortal.is_serving("v1"))
        yield mortal
    finally:
        process.end()  # first: what is scaled down before may be the replica of the worker that stays
        control.scale(serving, 1)


def deployment(control: Control, identity: str) -> pb.Deployment:
    return next(one for one in control.deployments(MODEL) if one.deployment_id == identity)


def test_p6_a_version_that_gets_its_worker_killed_silently_fails_with_the_reason_and_the_old_one_serves_on(running: Mesh):
    with running.control() as control, SteadyLoad(running.router_addresses, MODEL, rate=RATE) as load:
        load.settled(time.monotonic())
        running.send(control, LETHAL, lethal())
        with mortal_beside(running, control) as mortal:
            wanted = control.deploy(MODEL, LETHAL, Run(gpu_type=GPU)).deployment.deployment_id
            mortal.die_until_given_up()
            until(lambda: status_word(deployment(control, wanted)) == "failed")
            until(lambda: mortal.is_serving("v1"))
            load.settled(time.monotonic())
            failed = deployment(control, wanted)
            control.undeploy(wanted)

    assert "workers crashed within 600 s while it was" in failed.status_reason
    assert "killed without a word (SIGKILL)" in failed.status_reason
    assert 3 <= mortal.deaths < MOST_LIVES
    assert load.failures == []
    assert {(one.version, one.value) for one in load.told} == {("v1", VERSIONS["v1"])}
    record("P6", deaths=mortal.deaths, answered=len(load.told))
