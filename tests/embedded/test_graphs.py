"""`penstock serve` over a folder that holds graphs and real models, by gRPC and HTTP."""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model

from penstock import Client
from penstock.contracts.errors import InvalidInput, NoReadyReplica
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.embedded.test_serve import Served, running

pytestmark = pytest.mark.timeout(180)

HEAD = """
max_batch_size = 8
[[input]]
name = "rows"
data_type = "FP32"
dims = [3]
[[output]]
name = "sums"
data_type = "FP32"
dims = [3]
from = "{origin}"
"""
ENSEMBLE = """
[[step]]
name = "pre"
model = "halving"
version = "1"
inputs = { x = "rows" }
[[step]]
name = "more"
model = "adding"
version = "1"
inputs = { x = "pre.y" }
[[step]]
name = "most"
model = "adding"
inputs = { x = "pre.y" }
[[step]]
name = "mean"
combine = "mean"
of = ["more.y", "most.y"]
"""
BRANCHES = """
[[step]]
name = "large"
model = "halving"
inputs = { x = "rows" }
when = { tensor = "rows", is = ">", value = 10.0 }
[[step]]
name = "small"
model = "adding"
inputs = { x = "rows" }
when = { otherwise = "large" }
[[step]]
name = "either"
combine = "first"
of = ["large.y", "small.y"]
"""
CHAIN = """
platform: "ensemble"
max_batch_size: 8
input [{ name: "RAW", data_type: TYPE_FP32, dims: [3] }]
output [{ name: "SUMS", data_type: TYPE_FP32, dims: [3] }, { name: "HALF", data_type: TYPE_FP32, dims: [3] }]
ensemble_scheduling {
  step [
    { model_name: "adding", model_version: 1, input_map { key: "x", value: "HALF" }, output_map { key: "y", value: "more" } },
    { model_name: "halving", model_version: -1, input_map { key: "x", value: "RAW" }, output_map { key: "y", value: "HALF" } },
    { model_name: "adding", model_version: -1, input_map { key: "x", value: "more" }, output_map { key: "y", value: "SUMS" } }
  ]
}
"""
LACKING = '[[step]]\nname = "s"\nmodel = "nowhere"\ninputs = { x = "rows" }\n'


def put_model(folder: Path, operator: str, operand: float) -> None:
    folder.mkdir(parents=True)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 3]) for name in ("x", "y"))
    constant = numpy_helper.from_array(np.array([operand], np.float32), "c")
    made = helper.make_graph([helper.make_node(operator, ["x", "c"], ["y"])], "g", [x], [y], [constant])
    save_model(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")


def put_ensemble(folder: Path, text: str) -> None:
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(text)


def put_graph(folder: Path, steps: str, origin: str) -> None:
    folder.mkdir(parents=True)
    (folder / "graph.toml").write_text(HEAD.format(origin=origin) + steps)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    folder = Path(f"/tmp/ps-graphs-{os.getpid()}")
    folder.mkdir(mode=0o700)
    models = folder / "models"
    put_model(models / "halving" / "1", "Mul", 0.5)
    put_model(models / "adding" / "1", "Add", 1.0)
    put_model(models / "adding" / "2", "Add", 3.0)
    (models / "adding" / "model.toml").write_text("version_policy = { all = {} }\n")
    put_graph(models / "ensemble" / "1", ENSEMBLE, "mean.output")
    put_graph(models / "branches" / "1", BRANCHES, "either.output")
    put_graph(models / "lacking" / "1", LACKING, "s.y")
    put_graph(models / "broken" / "1", LACKING, "nobody.y")
    put_ensemble(models / "chain", CHAIN)
    put_ensemble(models / "chain_lacking", CHAIN.replace('"halving"', '"nowhere"'))
    put_ensemble(models / "chain_misfit", CHAIN.replace('"x", value: "RAW"', '"q", value: "RAW"'))
    put_ensemble(
        models / "chain_circle", CHAIN.replace('{ key: "x", value: "RAW" }', '[{ key: "x", value: "RAW" }, { key: "w", value: "more" }]')
    )
    with running(folder, "--workers", "1", "--routers", "1") as served:
        served.until_ready()
        yield served
    shutil.rmtree(folder)


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.record["grpc"]) as client:
        yield client


def answered(served: Served, path: str, body: object = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{served.record['http']}{path}", data=data, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            return json.loads(error.read())


def test_an_ensemble_answers_by_grpc(client: Client):
    prediction = client.predict("ensemble", [[2.0, 4.0, 6.0], [0.0, 0.0, 0.0]])

    assert prediction["sums"].tolist() == [[3.0, 4.0, 5.0], [2.0, 2.0, 2.0]]
    assert (prediction.model, prediction.version) == ("ensemble", "1")


def test_an_ensemble_answers_by_http_and_names_every_step(served: Served):
    inputs = [{"name": "rows", "shape": [1, 3], "datatype": "FP32", "data": [2, 4, 6]}]
    answer = answered(served, "/v2/models/ensemble/infer", {"id": "q", "inputs": inputs})

    assert answer["outputs"][0]["data"] == [3.0, 4.0, 5.0]
    assert answer["id"] == "q"
    assert answer["parameters"] == {
        "penstock.step.pre": "halving@1",
        "penstock.step.more": "adding@1",
        "penstock.step.most": "adding@2",
        "penstock.step.mean": "combined",
    }


def test_a_tensor_chooses_the_branch_of_every_row_and_a_row_that_disagrees_with_itself_is_refused(client: Client):
    assert client.predict("branches", [[20.0, 30.0, 40.0]])["sums"].tolist() == [[10.0, 15.0, 20.0]]
    assert client.predict("branches", [[1.0, 2.0, 3.0]])["sums"].tolist() == [[4.0, 5.0, 6.0]]
    both = client.predict("branches", [[1.0, 2.0, 3.0], [20.0, 30.0, 40.0], [0.0, 0.0, 0.0]])
    assert both["sums"].tolist() == [[4.0, 5.0, 6.0], [10.0, 15.0, 20.0], [3.0, 3.0, 3.0]]
    with pytest.raises(InvalidInput, match="step 'large' on rows holds for some elements of row 1") as refused:
        client.predict("branches", [[20.0, 30.0, 40.0], [1.0, 20.0, 3.0]])

    assert refused.value.reason == "MIXED_ROWS"


def test_an_answer_of_two_branches_says_by_http_how_many_rows_each_had(served: Served):
    inputs = [{"name": "rows", "shape": [3, 3], "datatype": "FP32", "data": [1, 1, 1, 20, 20, 20, 2, 2, 2]}]
    answer = answered(served, "/v2/models/branches/infer", {"inputs": inputs})

    assert answer["outputs"][0]["data"] == [4.0, 4.0, 4.0, 10.0, 10.0, 10.0, 5.0, 5.0, 5.0]
    assert answer["parameters"] == {
        "penstock.step.large": "halving@1",
        "penstock.step.large.rows": 1,
        "penstock.step.small": "adding@2",
        "penstock.step.small.rows": 2,
        "penstock.step.either": "combined",
    }


def test_metadata_and_readiness_are_those_of_a_model(served: Served):
    metadata = answered(served, "/v2/models/ensemble")
    states = {one["name"]: one for one in answered(served, "/v2/repository/index", {})}

    assert metadata["platform"] == "ensemble"
    assert metadata["inputs"] == [{"name": "rows", "datatype": "FP32", "shape": [-1, 3]}]
    assert served.get("/v2/models/ensemble/ready") == 200
    assert served.get("/v2/models/lacking/ready") != 200
    assert states["ensemble"]["state"] == "READY"
    assert "model 'nowhere' is not known" in states["lacking"]["reason"]
    assert "there is no step 'nobody'" in states["broken"]["reason"]


def test_a_graph_without_a_step_refuses_by_name(client: Client):
    with pytest.raises(NoReadyReplica, match=r"graph lacking@1: step 's' \(nowhere\)"):
        client.predict("lacking", [[1.0, 2.0, 3.0]])


def test_an_ensemble_of_triton_in_an_empty_version_folder_answers_a_request_as_its_client_sends_it_by_grpc(served: Served):
    request = pb.ModelInferRequest(model_name="chain", id="c1")
    request.inputs.add(name="RAW", datatype="FP32", shape=[2, 3])
    request.outputs.add(name="HALF")
    request.outputs.add(name="SUMS")
    request.raw_input_contents.append(np.array([[2, 4, 6], [0, 0, 0]], "<f4").tobytes())
    with grpc.insecure_channel(served.record["grpc"]) as channel:
        stub = GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(request, timeout=30)
        config = stub.ModelConfig(pb.ModelConfigRequest(name="chain"), timeout=30).config

    raws = zip(answer.outputs, answer.raw_output_contents, strict=True)
    assert {one.name: (list(one.shape), np.frombuffer(raw, "<f4").tolist()) for one, raw in raws} == {
        "HALF": ([2, 3], [1, 2, 3, 0, 0, 0]),
        "SUMS": ([2, 3], [5, 6, 7, 4, 4, 4]),
    }
    told = {name: value.string_param for name, value in answer.parameters.items()}
    assert told == {"penstock.step.halving": "halving@1", "penstock.step.adding": "adding@1", "penstock.step.adding_2": "adding@2"}
    assert config.platform == "ensemble"
    assert [(step.model_name, step.model_version, dict(step.output_map)) for step in config.ensemble_scheduling.step] == [
        ("adding", 1, {"y": "more"}),
        ("halving", -1, {"y": "HALF"}),
        ("adding", -1, {"y": "SUMS"}),
    ]


def test_an_ensemble_of_triton_answers_a_request_as_its_client_sends_it_by_http(served: Served):
    raw = np.array([[2, 4, 6]], "<f4").tobytes()
    tensor = {"name": "RAW", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "SUMS", "parameters": {"binary_data": True}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "content-type": "application/octet-stream"}
    url = f"http://{served.record['http']}/v2/models/chain/infer"
    with urllib.request.urlopen(urllib.request.Request(url, data=head + raw, headers=headers), timeout=30) as answer:
        body, size = answer.read(), int(answer.headers["Inference-Header-Content-Length"])

    assert json.loads(body[:size])["outputs"][0]["name"] == "SUMS"
    assert np.frombuffer(body[size:], "<f4").tolist() == [5, 6, 7]


def test_an_ensemble_of_triton_that_cannot_run_says_why_by_step_and_tensor(served: Served):
    reasons = {one["name"]: one.get("reason", "") for one in answered(served, "/v2/repository/index", {})}

    assert "step 'nowhere': model 'nowhere' is not known" in reasons["chain_lacking"]
    assert "step 'halving': halving has no input 'q'" in reasons["chain_misfit"]
    assert "these steps wait for one another in a circle" in reasons["chain_circle"]
    assert "(halving) for tensor 'more'" in reasons["chain_circle"]
    assert served.get("/v2/models/chain/ready") == 200
    assert served.get("/v2/models/chain_misfit/ready") != 200


def test_a_graph_is_unloaded_and_loaded_by_name(served: Served):
    answered(served, "/v2/repository/models/branches/unload", {})
    served.until(lambda: served.get("/v2/models/branches/ready") != 200, 60)
    answered(served, "/v2/repository/models/branches/load", {})

    served.until(lambda: served.get("/v2/models/branches/ready") == 200, 60)


def test_graphs_and_their_steps_are_counted(served: Served, client: Client):
    client.predict("ensemble", [[2.0, 4.0, 6.0]])

    shown = served.metrics()
    assert 'nv_inference_request_success{model="ensemble",version="1"}' in shown
    assert 'nv_inference_request_success{model="halving",version="1"}' in shown
    [total] = answered(served, "/v2/models/ensemble/stats")["model_stats"]
    assert int(total["inference_stats"]["success"]["count"]) == int(total["execution_count"]) >= 1
    [unasked] = answered(served, "/v2/models/lacking/stats")["model_stats"]
    assert int(unasked["execution_count"]) == 0


def test_every_request_that_a_graph_refused_is_counted_as_failed(served: Served, client: Client):
    def failed() -> int:
        [told] = answered(served, "/v2/models/branches/stats")["model_stats"]
        return int(told["inference_stats"].get("fail", {}).get("count", 0))

    before = failed()
    for _ in range(3):
        with pytest.raises(InvalidInput):
            client.predict("branches", [[1.0, 20.0, 1.0]])

    assert failed() == before + 3
