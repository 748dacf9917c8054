"""The model of the race: a tiny MLP, so that what is measured is the serving and not the mathematics."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.oip.v2 import inference_pb2 as pb

NAME = "tiny"
FEATURES, HIDDEN, CLASSES = 32, 64, 2


def build_repository(folder: Path) -> None:
    """Write a model repository with the tiny MLP (32 → 64 → 64 → 2, ReLU, FP32)."""
    random = np.random.default_rng(7)
    sizes = [(FEATURES, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, CLASSES)]
    weights = [numpy_helper.from_array(random.normal(0, 0.3, size).astype(np.float32), f"w{n}") for n, size in enumerate(sizes)]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["a0"]),
        helper.make_node("MatMul", ["a0", "w1"], ["h1"]),
        helper.make_node("Relu", ["h1"], ["a1"]),
        helper.make_node("MatMul", ["a1", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / NAME / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(model, path)


def request_bytes() -> bytes:
    """Return one request of one row, as a gRPC message with its prefix."""
    request = pb.ModelInferRequest(model_name=NAME, id="bench-01")
    request.inputs.add(name="x", datatype="FP32", shape=[1, FEATURES])
    request.raw_input_contents.append(np.linspace(-1, 1, FEATURES, dtype=np.float32).tobytes())
    body = request.SerializeToString()
    return b"\0" + struct.pack(">I", len(body)) + body
