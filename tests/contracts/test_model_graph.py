"""What a graph says about itself."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from penstock.contracts.model_config import GraphSignature
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import DataType
from tests.contracts.graphs import FIXED, ROWS, completed, graph, tensor


@pytest.mark.parametrize(
    ("of", "rows"),
    [
        (ROWS, 64),
        (graph(tensor("x", "a", 3), tensor("z", "b")), 64),
        (graph(tensor("x", None, None)), 64),
        (graph(tensor("x", -1, 3)), 64),
        (FIXED, 0),
        (graph(tensor("x", "N", 3), tensor("z", 4)), 0),
        (graph(tensor("x", "N", 3), outputs=(tensor("y"),)), 0),
        (graph(tensor("x", "N", 3), outputs=(tensor("y", 1, 2),)), 0),
        (graph(tensor("x", "N", "N")), 0),
        (graph(tensor("x", "N", 3), tensor("z", "M", "N")), 0),
        (graph(outputs=(tensor("y", 3),)), 0),
    ],
    ids=str,
)
def test_the_graph_says_whether_the_first_dimension_counts_rows(of: GraphSignature, rows: int):
    model = completed(None, of)

    assert (model.config.max_batch_size, model.signature.max_batch_size) == (rows, rows)
    assert model.signature.has_batch_dimension is (rows > 0)


def test_a_real_session_is_understood():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Cast", ["p"], ["y"], to=TensorProto.INT32)]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.0] * 6)
    values = [helper.make_tensor_value_info(name, kind, ["rows", size]) for name, kind, size in (("x", 1, 3), ("y", TensorProto.INT32, 2))]
    weights = helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2])
    made = helper.make_graph(nodes, "g", [values[0], weights], [values[1]], [weight])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    of = GraphSignature.of(session.get_inputs(), session.get_outputs(), session.get_overridable_initializers())

    assert of.inputs == (tensor("x", "rows", 3), tensor("w", 3, 2, optional=True))
    signature = completed(None, of).signature
    assert signature.inputs == (TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 3), symbols=("rows", "")),)
    assert signature.outputs == (TensorSpec(name="y", datatype=DataType.INT32, shape=(-1, 2), symbols=("rows", "")),)
