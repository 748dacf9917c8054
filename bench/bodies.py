"""The same request in every encoding of the race, and what its answer must be."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.model import NAME, Floats
from penstock.oip.v2 import inference_pb2 as pb

ID = "bench-01"
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
HTTP_PATH = f"/v2/models/{NAME}/infer"
LENGTH_HEADER = "Inference-Header-Content-Length"


class WrongAnswer(SystemExit):
    """A server answered something else than the model does; nothing is measured then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A request over HTTP."""

    path: str
    content: bytes
    headers: Mapping[str, str]


def infer_request(rows: Floats, *, model: str = NAME, name: str = "x") -> pb.ModelInferRequest:
    """Return a request with raw tensor bytes."""
    request = pb.ModelInferRequest(model_name=model, id=ID)
    request.inputs.add(name=name, datatype="FP32", shape=rows.shape)
    request.raw_input_contents.append(rows.tobytes())
    return request


def grpc_message(request: pb.ModelInferRequest) -> bytes:
    """Return a message with gRPC's five-byte prefix."""
    body = request.SerializeToString()
    return b"\0" + struct.pack(">I", len(body)) + body


def json_body(rows: Floats) -> Body:
    """Return the protocol's JSON form."""
    tensor = {"name": "x", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}
    content = json.dumps({"id": ID, "inputs": [tensor]}).encode()
    return Body(path=HTTP_PATH, content=content, headers={"content-type": "application/json"})


def binary_body(rows: Floats) -> Body:
    """Return the protocol's binary form, which asks for a binary answer."""
    tensor = {"name": "x", "datatype": "FP32", "shape": list(rows.shape), "parameters": {"binary_data_size": rows.nbytes}}
    head = json.dumps({"id": ID, "inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"content-type": "application/octet-stream", LENGTH_HEADER: str(len(head))}
    return Body(path=HTTP_PATH, content=head + rows.tobytes(), headers=headers)


def msgpack_body(rows: Floats) -> Body:
    """Return {"x": bytes} of one row in msgpack, as mosec's mixin reads it."""
    content = b"\x81\xa1x\xc5" + struct.pack(">H", rows.nbytes) + rows.tobytes()
    return Body(path="/inference", content=content, headers={"content-type": "application/msgpack"})


def grpc_answer(response: pb.ModelInferResponse) -> Floats:
    """Return the values of the first output, in whichever form they came."""
    if response.raw_output_contents:
        return np.frombuffer(response.raw_output_contents[0], np.float32)
    return np.asarray(response.outputs[0].contents.fp32_contents, np.float32)


def http_answer(content: bytes, head_length: str | None) -> Floats:
    """Return the values of the first output of an answer over HTTP: JSON, the protocol's binary form, or mosec's msgpack."""
    if content[:3] == b"\x81\xa1y":
        return np.frombuffer(content[-struct.unpack_from(">B", content, 4)[0] :], np.float32)
    if head_length is not None:
        return np.frombuffer(content[int(head_length) :], np.float32)
    return np.asarray(json.loads(content)["outputs"][0]["data"], np.float32)


def check(server: str, got: Floats, expected: Floats) -> None:
    """Compare an answer with what ONNX Runtime says.

    Raises:
        WrongAnswer: it differs.
    """
    if got.size != expected.size or not np.allclose(got.ravel(), expected.ravel(), rtol=1e-4, atol=1e-5):
        raise WrongAnswer(f"{server} answered {got.ravel()[:4]} instead of {expected.ravel()[:4]}")
