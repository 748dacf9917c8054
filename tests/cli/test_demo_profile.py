"""What `up --profile demo` does to a mesh: a model is registered, deployed and split once, and left alone the next time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from examples import datasets
from penstock.cli.demo_profile import MODEL, NEW, OLD, SHARES, show_demo
from penstock.cli.failure import Failure
from penstock.contracts.errors import ModelNotFound, TenantForbidden
from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2
from tests.cli.far_controller import FarController

CARRIED = Path(__file__).parents[2] / "deploy" / "local" / "demo"


class Fresh(FarController):
    """A controller without models, whose deployments are active at once."""

    def __init__(self) -> None:
        self.deployments: list[pb.Deployment] = []
        self.is_closed = False
        super().__init__()

    def GetModel(self, request: pb.GetModelRequest) -> pb.GetModelResponse:
        if self.is_closed:
            raise TenantForbidden("only administrators may change the mesh")
        if request.model not in self.routes:
            raise ModelNotFound(f"model {request.model!r} is not known here")
        versions = [pb.ModelVersion(model=MODEL, version=version) for version in (OLD, NEW)]
        return pb.GetModelResponse(model=pb.Model(name=MODEL, versions=versions), route=self.routes[MODEL])

    def RegisterVersion(self, request: pb.RegisterVersionRequest) -> pb.RegisterVersionResponse:
        answer = super().RegisterVersion(request)
        self.routes[MODEL] = routes_pb2.Route(model=MODEL)
        return answer

    def CreateDeployment(self, request: pb.CreateDeploymentRequest) -> pb.CreateDeploymentResponse:
        made = pb.Deployment(deployment_id=f"d-{request.version}", model=MODEL, version=request.version, status=pb.DEPLOYMENT_STATUS_ACTIVE)
        self.deployments.append(made)
        return pb.CreateDeploymentResponse(deployment=made)

    def ListDeployments(self, request: pb.ListDeploymentsRequest) -> pb.ListDeploymentsResponse:
        return pb.ListDeploymentsResponse(deployments=[one for one in self.deployments if one.model == request.model])


@pytest.fixture
def controller() -> Iterator[Fresh]:
    far = Fresh()
    yield far
    far.stop()


def test_an_empty_mesh_is_given_both_versions_and_a_split(controller: Fresh):
    said: list[str] = []
    commands = show_demo(controller.target, 3, said.append)

    (registered,) = [one for one in controller.requests if isinstance(one, pb.RegisterVersionRequest)]
    deployed = [(one.version, one.replicas) for one in controller.requests if isinstance(one, pb.CreateDeploymentRequest)]
    (split,) = [one for one in controller.requests if isinstance(one, pb.SetTrafficRequest)]
    assert {"1/model.onnx", "2/model.onnx", "config.pbtxt"} <= {file.path for file in registered.files}
    assert deployed == [(OLD, 2), (NEW, 2)]
    assert dict(split.basis_points) == SHARES
    assert len(said) == 4
    assert [command.split()[:2] for command in commands] == [["penstock", "predict"], ["penstock", "traffic"], ["penstock", "rollback"]]


def test_what_a_mesh_has_been_given_is_left_as_it_is(controller: Fresh):
    show_demo(controller.target, 1, lambda _: None)
    before = len(controller.requests)
    said: list[str] = []
    commands = show_demo(controller.target, 1, said.append)

    changing = (pb.RegisterVersionRequest, pb.CreateDeploymentRequest, pb.SetTrafficRequest)
    assert not [one for one in controller.requests[before:] if isinstance(one, changing)]
    assert said == []
    assert len(commands) == 3


def test_a_mesh_that_refuses_says_what_to_do(controller: Fresh):
    controller.is_closed = True

    with pytest.raises(Failure, match="only administrators") as refused:
        show_demo(controller.target, 1, lambda _: None)
    assert "PENSTOCK_API_KEY" in str(refused.value.next_step)


@pytest.mark.parametrize(("version", "least"), [(OLD, 0.9), (NEW, 0.95)])
def test_the_versions_that_are_carried_read_digits(version: str, least: float):
    table = datasets.digits()
    session = onnxruntime.InferenceSession(CARRIED / MODEL / version / "model.onnx")
    (labels,) = session.run(["label"], {"pixels": table.held_out_rows})

    assert float(np.mean(np.asarray(labels)[:, 0] == table.held_out_labels)) > least


def test_the_row_to_try_is_a_row_of_the_model():
    (row,) = json.loads((CARRIED / "row.json").read_text())["inputs"]

    assert len(row["pixels"]) == 64
