"""The whole mesh as processes on real Kafka: what a team does through one address, and what its callers see of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from penstock import Client, ServingError
from penstock.client.answers import status_word
from penstock.client.control import Control
from penstock.client.options import ClientOptions
from penstock.client.retry import RetryPolicy
from penstock.client.uploads import files_of, send
from penstock.client.writes import Run, Write
from penstock.contracts.errors import Conflict, InvalidInput, NoReadyReplica
from penstock.contracts.routes import Shadow
from tests.integration.processes import process, until
from tests.integration.servers import ServerAddress, SessionServers

pytestmark = pytest.mark.timeout(180)

ROWS = np.ones((2, 1), np.float32)


def scaled(factor: float) -> bytes:
    """Return a model that multiplies by `factor`: its answer names the version that gave it."""
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("rows", 1)) for name in ("x", "y")]
    constant = helper.make_tensor("k", TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "k"], ["y"])], "scaled", sides[:1], sides[1:], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@dataclass
class Mesh:
    folder: Path
    control: Control
    client: Client
    target: str
    log: Path

    def registered(self, model: str, version: str, factor: float) -> None:
        self.sent(model, version, "model.onnx", scaled(factor))

    def registered_graph(self, model: str, version: str, text: str) -> None:
        self.sent(model, version, "graph.toml", text.encode())

    def sent(self, model: str, version: str, name: str, content: bytes) -> None:
        """Send a file and register it as a version."""
        folder = self.folder / f"{model}-{version}"
        folder.mkdir()
        (folder / name).write_bytes(content)
        files = files_of(folder)
        for file in files:
            send(self.control, file)
        self.control.register(model, version, [file.sent for file in files])

    def deployed(self, model: str, version: str, **run: Any) -> str:
        deployment = self.control.deploy(model, version, Run(**run)).deployment
        self.until(lambda: self.status(deployment.deployment_id) == "active")
        return deployment.deployment_id

    def status(self, deployment_id: str) -> str:
        return next(status_word(one) for one in self.control.deployments(retired=True) if one.deployment_id == deployment_id)

    def answer(self, model: str, **more: Any) -> tuple[float, str]:
        """Return what a row of ones becomes, and the version that did it."""
        prediction = self.client.predict(model, ROWS, **more)
        return float(np.ravel(next(iter(prediction.outputs.values())))[0]), prediction.version

    def until(self, condition: Any) -> None:
        until(condition, self.log)


@contextmanager
def mesh_of(
    folder: Path, kafka: str, *, routers: int = 1, workers: Sequence[str] = ("worker-0", "worker-1"), **worker_settings: Any
) -> Iterator[Mesh]:
    """Run a controller, routers and workers that share a folder."""
    bus = {"bootstrap_servers": kafka}
    ready = folder / "s" / "ready"
    with ExitStack() as stack:
        log = stack.enter_context(process(folder, "controller", grpc_port=0, http_port=0, bus=bus, lease_seconds=2))
        store = (folder / "s" / "artefacts").as_uri()
        for name in workers:
            settings = {"worker_id": name, "bus": bus, "artefacts": {"store": store}, **worker_settings}
            stack.enter_context(process(folder, "worker", name=name, **settings))
        until((ready / "controller-0").exists, log)
        addresses = json.loads((ready / "controller-0").read_text())
        controllers = [{"grpc": f"127.0.0.1:{addresses['grpc']}", "http": f"127.0.0.1:{addresses['http']}"}]
        logs: dict[str, Path] = {}
        for name in (f"router-{number}" for number in range(routers)):
            settings = {"router_id": name, "grpc_port": 0, "http_port": 0, "bus": bus, "controllers": controllers}
            logs[name] = stack.enter_context(process(folder, "router", name=name, **settings))
        for name, router_log in logs.items():
            until((ready / name).exists, router_log)
        port = json.loads((ready / "router-0").read_text())["grpc"]
        target, options = f"127.0.0.1:{port}", ClientOptions(retries=RetryPolicy(attempts=8), timeout_seconds=30)
        control = stack.enter_context(Control(target, options))
        client = stack.enter_context(Client(target, options))
        yield Mesh(folder=folder, control=control, client=client, target=target, log=log)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, kafka: ServerAddress, servers: SessionServers) -> Iterator[Mesh]:
    servers.make_topics()
    with mesh_of(tmp_path_factory.mktemp("mesh"), kafka.address, routers=2) as mesh:
        mesh.registered("scaled", "v1", 2.0)
        mesh.registered("scaled", "v2", 3.0)
        mesh.deployed("scaled", "v1")
        mesh.deployed("scaled", "v2")
        yield mesh


def test_the_first_deployment_gets_all_the_traffic_and_the_next_none(mesh: Mesh):
    route = mesh.control.model("scaled").route

    assert {one.version: one.weight_basis_points for one in route.backends if one.weight_basis_points} == {"v1": 10_000}
    assert mesh.answer("scaled") == (2.0, "v1")
    assert mesh.answer("scaled", version="v2") == (3.0, "v2")


def test_a_flip_and_its_rollback_are_confirmed_by_every_router_and_fail_nothing(mesh: Mesh):
    flipped = mesh.control.set_traffic("scaled", {"v1": 0, "v2": 10_000}, Write(reason="flip"))
    after_flip = mesh.answer("scaled")
    back = mesh.control.rollback("scaled")
    after_back = mesh.answer("scaled")
    forth = mesh.control.rollback("scaled")
    after_forth = mesh.answer("scaled")
    mesh.control.rollback("scaled")

    assert sorted(one.router_id for one in flipped.confirmations) == ["router-0", "router-1"]
    assert all(one.seconds >= 0 for answer in (flipped, back, forth) for one in answer.confirmations)
    assert (after_flip, after_back, after_forth) == ((3.0, "v2"), (2.0, "v1"), (3.0, "v2"))
    assert 0 <= back.elapsed_seconds < 60


def test_a_split_gives_each_version_its_share(mesh: Mesh):
    mesh.control.set_traffic("scaled", {"v1": 5000, "v2": 5000})
    answers = [mesh.answer("scaled", request_id=f"r{number}")[1] for number in range(200)]
    mesh.control.set_traffic("scaled", {"v1": 10_000})

    assert 60 < answers.count("v1") < 140


def test_a_shadow_is_seen_by_nobody(mesh: Mesh):
    shadowed = mesh.control.shadow("scaled", Shadow(version="v2", sample_basis_points=10_000))
    answers = {mesh.answer("scaled") for _ in range(20)}
    mesh.control.shadow("scaled", None)

    assert shadowed.route.shadow.version == "v2"
    assert answers == {(2.0, "v1")}


def test_a_deployment_with_traffic_stays_until_it_is_forced(mesh: Mesh):
    deployment = next(one for one in mesh.control.deployments("scaled") if one.version == "v1")
    with pytest.raises(Conflict) as refused:
        mesh.control.undeploy(deployment.deployment_id)

    assert refused.value.reason == "HAS_TRAFFIC"
    assert mesh.answer("scaled") == (2.0, "v1")


def test_a_third_version_is_deployed_and_taken_away_again(mesh: Mesh):
    mesh.registered("scaled", "v3", 5.0)
    deployment = mesh.deployed("scaled", "v3")
    answered = mesh.answer("scaled", version="v3")
    mesh.control.undeploy(deployment)
    mesh.until(lambda: mesh.status(deployment) == "retired")

    assert answered == (5.0, "v3")
    with pytest.raises((NoReadyReplica, ServingError)):
        Client(mesh.target, ClientOptions(retries=RetryPolicy(attempts=1))).predict("scaled", ROWS, version="v3")


GRAPH = """
max_batch_size = 8
[[input]]
name = "x"
data_type = "FP32"
dims = [1]
[[output]]
name = "y"
data_type = "FP32"
dims = [1]
from = "last.y"
[[step]]
name = "first"
model = "scaled"
version = "v2"
inputs = { x = "x" }
[[step]]
name = "last"
model = "MODEL"
inputs = { x = "first.y" }
"""


def test_a_graph_is_registered_deployed_and_run_and_refused_when_a_step_is_not_registered_or_does_not_fit(mesh: Mesh):
    mesh.registered_graph("twice", "v1", GRAPH.replace("MODEL", "scaled"))
    mesh.deployed("twice", "v1")
    prediction = mesh.client.predict("twice", ROWS)
    with pytest.raises(Conflict, match=r"step 'last' \(nowhere\)") as refused:
        mesh.registered_graph("lacking", "v1", GRAPH.replace("MODEL", "nowhere"))
    with pytest.raises(InvalidInput, match="step 'last': scaled has no input 'u'") as unfit:
        mesh.registered_graph("unfit", "v1", GRAPH.replace("MODEL", "scaled").replace('{ x = "first.y" }', '{ u = "first.y" }'))

    assert (float(prediction["y"][0, 0]), prediction.version) == (6.0, "v1")
    assert (refused.value.reason, unfit.value.reason) == ("STEP_NOT_REGISTERED", "STEP_MISFIT")


def test_every_change_is_answered_for(mesh: Mesh):
    answer = mesh.control.changes(subject="model/scaled", verify=True)
    kinds = {one.kind for one in answer.changes}

    assert {"version.register", "deployment.create", "traffic.set", "traffic.rollback", "traffic.shadow"} <= kinds
    assert answer.broken == ""


def test_the_plan_says_why_every_replica_stands_where_it_does(mesh: Mesh):
    placements = mesh.control.plan("scaled")

    assert {one.version for one in placements} >= {"v1", "v2"}
    assert all(one.reason and one.worker_id for one in placements)


def test_members_are_shown(mesh: Mesh):
    started = time.monotonic()
    members = {(one.role, one.name) for one in mesh.control.mesh().members}

    assert {("router", "router-0"), ("router", "router-1"), ("worker", "worker-0"), ("worker", "worker-1")} <= members
    assert time.monotonic() - started < 30
