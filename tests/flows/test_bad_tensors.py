"""Bad tensors over gRPC and HTTP: the right code and reason, the process alive, the next good request served.

One table for both faces. A row is built as a ModelInferRequest; `to_json` writes the same request for HTTP, and rows that only one face
can express say so. The row's name is its number in the tensor matrix of the reliability goals.
"""

from __future__ import annotations

import json
import os
import struct
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from penstock import Client
from penstock.oip.v2 import inference_pb2 as pb
from tests.flows.models import write_repository
from tests.flows.serving import Served, serving

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, 400)
MISSING = (grpc.StatusCode.NOT_FOUND, 404)


def request(*tensors: tuple[str, str, list[int], bytes], model: str = "echo", **fields: Any) -> pb.ModelInferRequest:
    asked = pb.ModelInferRequest(model_name=model, **fields)
    for name, datatype, shape, raw in tensors:
        asked.inputs.add(name=name, datatype=datatype, shape=shape)
        asked.raw_input_contents.append(raw)
    return asked


def x(
    shape: list[int] | None = None, raw: bytes | None = None, datatype: str = "FP32", name: str = "x"
) -> tuple[str, str, list[int], bytes]:
    shape = [1, 4] if shape is None else shape
    size = int(np.prod(shape)) if raw is None else 0
    return (name, datatype, shape, b"\0" * (4 * size) if raw is None else raw)


def ab(a: list[int], b: list[int]) -> pb.ModelInferRequest:
    return request(x(a, name="a"), x(b, name="b"), model="pair")


def with_outputs(*names: str) -> pb.ModelInferRequest:
    asked = request(x())
    for name in names:
        asked.outputs.add(name=name)
    return asked


def with_parameters(**values: Any) -> pb.ModelInferRequest:
    asked = request(x())
    for name, (kind, value) in values.items():
        setattr(asked.parameters[name.replace("__", ".")], kind, value)
    return asked


def many_parameters() -> pb.ModelInferRequest:
    asked = request(x())
    for number in range(10_000):
        asked.parameters[f"p{number}"].bool_param = True
    return asked


def typed(datatype: str, field: str, values: list[Any], model: str) -> pb.ModelInferRequest:
    asked = pb.ModelInferRequest(model_name=model)
    getattr(asked.inputs.add(name="x", datatype=datatype, shape=[1, 4]).contents, field).extend(values)
    return asked


@dataclass(frozen=True)
class Row:
    """One bad request."""

    name: str
    build: Callable[[], pb.ModelInferRequest]
    reason: str
    codes: tuple[grpc.StatusCode, int] = INVALID
    faces: str = "grpc http"


BYTES_CUT = struct.pack("<I", 2**32 - 1)

ROWS = [
    Row("V1 no inputs", request, "MISSING_INPUT"),
    Row("V2 one of two inputs missing", lambda: request(x([1, 2], name="a"), model="pair"), "MISSING_INPUT"),
    Row("V3 unknown extra input", lambda: request(x(), x(name="z")), "UNKNOWN_INPUT"),
    Row("V4 input twice", lambda: request(x(), x()), "DUPLICATE_INPUT"),
    Row("V5 empty input name", lambda: request(x(name="")), "UNKNOWN_INPUT"),
    Row("V5 NUL in input name", lambda: request(x(name="x\0")), "UNKNOWN_INPUT"),
    Row("V5 input name of 10 kB", lambda: request(x(name="x" * 10_000)), "UNKNOWN_INPUT"),
    Row("V6 unknown type", lambda: request(x(datatype="FP33")), "DTYPE_MISMATCH"),
    Row("V6 lower-case type", lambda: request(x(datatype="fp32")), "DTYPE_MISMATCH"),
    Row("V6 empty type", lambda: request(x(datatype="")), "DTYPE_MISMATCH"),
    Row("V7 other type", lambda: request(x(datatype="INT64", raw=b"\0" * 32)), "DTYPE_MISMATCH"),
    Row("V8 other rank", lambda: request(x([4])), "SHAPE_MISMATCH"),
    Row("V9 fixed size differs", lambda: request(x([1, 5])), "SHAPE_MISMATCH"),
    Row("V10 sizes that must be equal differ", lambda: ab([1, 2], [1, 3]), "SHAPE_MISMATCH"),
    Row("V11 NaN", lambda: request(x(raw=struct.pack("<4f", 0, float("nan"), 0, 0)), model="finite"), "NOT_FINITE_INPUT", faces="grpc"),
    Row(
        "V11 infinity", lambda: request(x(raw=struct.pack("<4f", 0, float("inf"), 0, 0)), model="finite"), "NOT_FINITE_INPUT", faces="grpc"
    ),
    Row("V12 BOOL byte 2", lambda: request(x(raw=b"\0\1\2\0", datatype="BOOL"), model="bool"), "BAD_VALUE", faces="grpc"),
    Row("V13 300 for INT8", lambda: typed("INT8", "int_contents", [300, 0, 0, 0], "int8"), "BAD_VALUE"),
    Row("V14 FP16 in list form", lambda: typed("FP16", "fp32_contents", [1, 2, 3, 4], "half"), "DTYPE_MISMATCH", faces="grpc"),
    Row("V16 elements overflow", lambda: request(x([2**4, 2**60 + 2], raw=b"")), "SHAPE_MISMATCH"),
    Row("V17 bytes overflow", lambda: request(x([4, 2**60 + 2], raw=b"")), "SHAPE_MISMATCH"),
    Row("V18 no bytes", lambda: request(x(raw=b"")), "BYTE_COUNT", faces="grpc"),
    Row("V19 one element short", lambda: request(x(raw=b"\0" * 12)), "BYTE_COUNT", faces="grpc"),
    Row("V20 one element long", lambda: request(x(raw=b"\0" * 20)), "BYTE_COUNT", faces="grpc"),
    Row("V21 negative size", lambda: request(x([-1, 4], raw=b"\0" * 16)), "SHAPE_MISMATCH"),
    Row("V21 zero where it is fixed", lambda: request(x([1, 0], raw=b"")), "SHAPE_MISMATCH"),
    Row("V22 more rows than max_batch_size", lambda: request(x([17, 4])), "BATCH_TOO_LARGE"),
    Row("V23 rows differ", lambda: ab([1, 2], [2, 2]), "SHAPE_MISMATCH"),
    Row("V24 rank 0", lambda: request(x([], raw=b"\0" * 4)), "SHAPE_MISMATCH"),
    Row("V24 rank 1000", lambda: request(x([1] * 1000, raw=b"\0" * 4)), "SHAPE_MISMATCH"),
    Row(
        "V25 length beyond the rest", lambda: request(x([1], raw=b"\5\0\0\0ab", datatype="BYTES"), model="text"), "BYTE_COUNT", faces="grpc"
    ),
    Row("V25 cut prefix", lambda: request(x([1], raw=b"\5\0", datatype="BYTES"), model="text"), "BYTE_COUNT", faces="grpc"),
    Row("V25 2**32-1", lambda: request(x([1], raw=BYTES_CUT, datatype="BYTES"), model="text"), "BYTE_COUNT", faces="grpc"),
    Row("V26 not UTF-8", lambda: request(x([1], raw=b"\1\0\0\0\xff", datatype="BYTES"), model="text"), "NOT_TEXT", faces="grpc"),
    Row("V27 unknown output", lambda: with_outputs("q"), "UNKNOWN_OUTPUT"),
    Row("V27 output twice", lambda: with_outputs("y", "y"), "DUPLICATE_OUTPUT"),
    Row("V27 10,000 outputs", lambda: with_outputs(*(f"o{n}" for n in range(10_000))), "BAD_VALUE UNKNOWN_OUTPUT"),
    Row("V28 reserved parameter", lambda: with_parameters(sys__x=("bool_param", True)), "BAD_PARAMETER"),
    Row("V28 reserved prefix", lambda: with_parameters(triton_secret=("bool_param", True)), "BAD_PARAMETER"),
    Row("V28 parameter of the wrong type", lambda: with_parameters(timeout=("string_param", "soon")), "BAD_PARAMETER"),
    Row("V28 10,000 parameters", many_parameters, "BAD_PARAMETER"),
    Row("V29 negative priority", lambda: with_parameters(priority=("int64_param", -1)), "BAD_PARAMETER"),
    Row("V29 negative timeout", lambda: with_parameters(timeout=("int64_param", -1)), "BAD_PARAMETER"),
    Row("V29 sequence without a sequence model", lambda: with_parameters(sequence_id=("int64_param", 7)), "BAD_PARAMETER"),
    *(
        Row(f"V30 version {version!r}", lambda version=version: request(x(), model_version=version), "VERSION_NOT_FOUND BAD_NAME", MISSING)
        for version in ("0", "-1", "latest2")
    ),
    Row("V30 version ../1", lambda: request(x(), model_version="../1"), "VERSION_NOT_FOUND BAD_NAME", MISSING, faces="grpc"),
    *(
        Row(f"V30 model {name[:8]!r}", lambda name=name: request(x(), model=name), "BAD_NAME", faces="grpc")
        for name in ("../x", "a/b", "m" * 300, "m\0", "\u0435cho")
    ),
    Row("V30 unknown model", lambda: request(x(), model="nobody"), "MODEL_NOT_FOUND", MISSING),
]


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
