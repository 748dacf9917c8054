"""The model of the race: a tiny MLP, so that what is measured is the serving and not the mathematics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

NAME = "tiny"
FEATURES, HIDDEN, CLASSES = 32, 64, 2

Floats = NDArray[np.float32]


def build_repository(folder: Path) -> Path:
    """Write a model repository with the tiny MLP (32 → 64 → 64 → 2, ReLU, FP32); return the ONNX file."""
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
    return save(graph, folder / NAME)


def save(graph: onnx.GraphProto, folder: Path) -> Path:
    """Write a graph as version 1 of the model in `folder`; return the ONNX file."""
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def session(path: Path) -> onnxruntime.InferenceSession:
    """Open a model as all of the race do: one thread, which does not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def rows(count: int = 1) -> Floats:
    """Return the rows that are sent in the race."""
    return np.linspace(-1, 1, count * FEATURES, dtype=np.float32).reshape(count, FEATURES)
