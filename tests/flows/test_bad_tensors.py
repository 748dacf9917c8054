"""Bad tensors over gRPC and HTTP: the right code and reason, the process alive, the next good request served.

One table for both faces (bad_tensors.py). `to_json` writes a row's request for HTTP, and rows that only one face can express say so.
The row's name is its number in the tensor matrix of the reliability goals.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from penstock import Client
from penstock.oip.v2 import inference_pb2 as pb
from tests.flows.bad_tensors import ROWS, Row
from tests.flows.models import write_repository
from tests.flows.serving import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "bad"
    folder.mkdir()
    with serving(folder, write_repository(tmp_path_factory.mktemp("models"))) as running:
        yield running


@pytest.fixture(scope="module")
def infer(served: Served) -> Iterator[Callable[..., Any]]:
    with grpc.insecure_channel(served.grpc) as channel:
        yield channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.grpc) as opened:
        yield opened


def next_good_request_is_served(client: Client) -> None:
    answer = client.predict("echo", {"x": np.array([[1, 2, 3, 4]], np.float32)})

    assert answer["y"].tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("row", [row for row in ROWS if "grpc" in row.faces], ids=lambda row: row.name)
def test_grpc_refuses_by_code_and_reason(row: Row, infer: Callable[..., Any], client: Client):
    with pytest.raises(grpc.RpcError) as refused:
        infer(row.build().SerializeToString(), timeout=30)
    trailers = dict(refused.value.trailing_metadata())

    assert refused.value.code() is row.codes[0]
    assert trailers["penstock-reason"] in row.reason.split()
    assert row.says in refused.value.details()
    assert len(refused.value.details()) <= 512
    assert "Traceback" not in refused.value.details()
    next_good_request_is_served(client)


def to_json(asked: pb.ModelInferRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"inputs": []}
    for index, tensor in enumerate(asked.inputs):
        described = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if asked.raw_input_contents:
            described["data"] = [0.0] * (len(asked.raw_input_contents[index]) // (8 if tensor.datatype == "INT64" else 4))
        else:
            described["data"] = list(tensor.contents.int_contents)
        body["inputs"].append(described)
    if asked.outputs:
        body["outputs"] = [{"name": output.name} for output in asked.outputs]
    if asked.parameters:
        body["parameters"] = {name: getattr(value, str(value.WhichOneof("parameter_choice"))) for name, value in asked.parameters.items()}
    return body


def post(served: Served, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    asked = urllib.request.Request(served.http + path, data=body, headers={"content-type": "application/json"} | headers)
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize("row", [row for row in ROWS if "http" in row.faces], ids=lambda row: row.name)
def test_http_refuses_by_code_and_reason(row: Row, served: Served, client: Client):
    asked = row.build()
    version = f"/versions/{asked.model_version}" if asked.model_version else ""
    status, body = post(served, f"/v2/models/{asked.model_name}{version}/infer", json.dumps(to_json(asked)).encode())

    assert (status, body["error"] != "") == (row.codes[1], True)
    assert body["reason"] in row.reason.split()
    assert row.says in body["error"]
    next_good_request_is_served(client)


def to_binary(asked: pb.ModelInferRequest) -> tuple[bytes, bytes]:
    """Return the JSON and the bytes behind it of the same request in the binary extension."""
    body = to_json(asked)
    for described, raw in zip(body["inputs"], asked.raw_input_contents, strict=True):
        del described["data"]
        described["parameters"] = {"binary_data_size": len(raw)}
    return json.dumps(body).encode(), b"".join(asked.raw_input_contents)


RAW_ONLY = [row for row in ROWS if row.faces == "grpc" and row.build().raw_input_contents and not row.name.startswith("V30")]


@pytest.mark.parametrize("row", RAW_ONLY, ids=lambda row: row.name)
def test_http_refuses_the_same_bytes_behind_json_by_code_and_reason(row: Row, served: Served, client: Client):
    asked = row.build()
    document, raw = to_binary(asked)
    length = {"Inference-Header-Content-Length": str(len(document))}
    status, body = post(served, f"/v2/models/{asked.model_name}/infer", document + raw, **length)

    assert (status, body["reason"]) == (row.codes[1], row.reason)
    next_good_request_is_served(client)


HTTP_ONLY = [
    ("V12 two as BOOL", "bool", {"name": "x", "datatype": "BOOL", "shape": [1, 4], "data": [True, False, 2, True]}),
    ("V15 ragged", "echo", {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [[1, 2], [3]]}),
    ("V18 no elements", "echo", {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": []}),
    ("V19 one short", "echo", {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3]}),
    ("V20 one long", "echo", {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4, 5]}),
    ("IH9 data is null", "echo", {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": None}),
    ("IH9 shape of texts", "echo", {"name": "x", "datatype": "FP32", "shape": ["1", "4"], "data": [1, 2, 3, 4]}),
    ("text for a number", "echo", {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, "4"]}),
]


@pytest.mark.parametrize(("model", "tensor"), [row[1:] for row in HTTP_ONLY], ids=[row[0] for row in HTTP_ONLY])
def test_json_that_is_no_tensor_is_refused(model: str, tensor: dict[str, Any], served: Served, client: Client):
    status, body = post(served, f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode())

    assert status == 400
    assert body["reason"] not in {"INTERNAL", "EXECUTION_FAILED"}
    next_good_request_is_served(client)


def test_zero_rows_are_valid_and_answered_with_zero_rows(client: Client):
    answer = client.predict("echo", {"x": np.empty((0, 4), np.float32)})

    assert answer["y"].shape == (0, 4)


def test_a_thousand_bad_requests_leave_memory_as_it_was(served: Served, infer: Callable[..., Any], client: Client):
    rows = [row.build().SerializeToString() for row in ROWS if "grpc" in row.faces and row.name[:3] not in {"V27", "V28"}]

    def bombard(count: int) -> None:
        for number in range(count):
            with pytest.raises(grpc.RpcError):
                infer(rows[number % len(rows)], timeout=30)

    def resident_bytes() -> int:
        pids = [served.child("router-0"), served.child("worker-0")]
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGE_SIZE")

    bombard(300)
    before = resident_bytes()
    bombard(1000)

    assert resident_bytes() - before <= 8 << 20
    next_good_request_is_served(client)


def test_no_refusal_was_logged_as_a_mistake_of_ours(served: Served):
    assert not [line for line in served.log.read_text().splitlines() if '"level":"error"' in line]
