"""Small ONNX models for tests, built on the spot; each is the serialised model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
Shape = Sequence[int | str]


def identity(datatype: int = FLOAT, width: int = 2, *, symbol: str | None = None) -> bytes:
    """Give back `x` [-1, width] as `y`; with `symbol` the width is of variable size."""
    shape: Shape = ["rows", symbol or width]
    return _model([helper.make_node("Identity", ["x"], ["y"])], [_value("x", datatype, shape)], [_value("y", datatype, shape)])


def scalar(datatype: int = FLOAT) -> bytes:
    """Give back `x`, a scalar, as `y`."""
    return _model([helper.make_node("Identity", ["x"], ["y"])], [_value("x", datatype, [])], [_value("y", datatype, [])])


def echo_bytes() -> bytes:
    """Give back the strings of `x` [-1, 1] as `y`."""
    return identity(TensorProto.STRING, 1)


def row_sum(width: int = 3) -> bytes:
    """Sum each row of `x` FP32[-1, width] into `sum` FP32[-1, 1]."""
    node = helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=1)
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")
    return _model([node], [_value("x", FLOAT, ["rows", width])], [_value("sum", FLOAT, ["rows", 1])], [axes])


def two_inputs(width: int = 2) -> bytes:
    """Give `total` = `left` + `right` and `difference` = `left` - `right`, all FP32[-1, width]."""
    shape: Shape = ["rows", width]
    nodes = [helper.make_node("Add", ["left", "right"], ["total"]), helper.make_node("Sub", ["left", "right"], ["difference"])]
    return _model(
        nodes,
        [_value("left", FLOAT, shape), _value("right", FLOAT, shape)],
        [_value("total", FLOAT, shape), _value("difference", FLOAT, shape)],
    )


def dense(inputs: int = 32, outputs: int = 8) -> bytes:
    """Multiply `x` FP32[-1, inputs] by a fixed matrix into `y` FP32[-1, outputs]."""
    weights = np.random.default_rng(7).normal(size=(inputs, outputs)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "weights"], ["y"])
    return _model(
        [node],
        [_value("x", FLOAT, ["rows", inputs])],
        [_value("y", FLOAT, ["rows", outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )


def with_external_data(location: str = "weights.bin", **entries: int) -> tuple[bytes, bytes]:
    """Add to `x` FP32[-1, 2] weights out of another file; return the model and that file's content.

    `entries` replace offset and length.
    """
    weights = np.arange(2, dtype=np.float32)
    tensor = TensorProto(name="weights", data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": 0, "length": weights.nbytes, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    shape: Shape = ["rows", 2]
    node = helper.make_node("Add", ["x", "weights"], ["y"])
    return _model([node], [_value("x", FLOAT, shape)], [_value("y", FLOAT, shape)], [tensor]), weights.tobytes()


def no_batch() -> bytes:
    """Double `x` FP32[3] into `y` FP32[3]; no dimension counts rows."""
    return _model([helper.make_node("Add", ["x", "x"], ["y"])], [_value("x", FLOAT, [3])], [_value("y", FLOAT, [3])])


def without_inputs() -> bytes:
    """A constant's places that are not 0, a column of as many rows as there are."""
    flags = helper.make_tensor("flags", FLOAT, [4], [0.0, 1.0, 0.0, 1.0])
    nodes = [helper.make_node("NonZero", ["flags"], ["found"]), helper.make_node("Transpose", ["found"], ["places"])]
    return _model(nodes, [], [_value("places", TensorProto.INT64, ["places", 1])], [flags])


def looping() -> bytes:
    """Go round a Loop `x`[0, 0] times, for ever when it is negative; `y` is `x` FP32[-1, 1]."""
    # The trip count is left open; the condition `remaining != 0` after counting down from x[0, 0] ends it, or never does.
    body = helper.make_graph(
        [
            helper.make_node("Sub", ["remaining_in", "one"], ["remaining_out"]),
            helper.make_node("Equal", ["remaining_out", "zero"], ["is_over"]),
            helper.make_node("Not", ["is_over"], ["goes_on"]),
        ],
        "body",
        [_value("trip", TensorProto.INT64, []), _value("go_in", TensorProto.BOOL, []), _value("remaining_in", FLOAT, [])],
        [_value("goes_on", TensorProto.BOOL, []), _value("remaining_out", FLOAT, [])],
    )
    constants = [
        numpy_helper.from_array(np.array(1.0, dtype=np.float32), "one"),
        numpy_helper.from_array(np.array(0.0, dtype=np.float32), "zero"),
        numpy_helper.from_array(np.array(True), "true"),
        numpy_helper.from_array(np.array([0], dtype=np.int64), "axis"),
    ]
    nodes = [
        helper.make_node("ReduceMin", ["x"], ["count"], keepdims=0),
        helper.make_node("Loop", ["", "true", "count"], ["left_over"], body=body),
        helper.make_node("Mul", ["left_over", "zero"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]
    return _model(nodes, [_value("x", FLOAT, ["rows", 1])], [_value("y", FLOAT, ["rows", 1])], constants[:3])


def poisonable(limit: int = 10) -> bytes:
    """Look `index` INT64[-1, 1] up in a table of `limit` numbers; an index beyond it fails the execution."""
    table = numpy_helper.from_array(np.arange(limit, dtype=np.float32), "table")
    return _model(
        [helper.make_node("Gather", ["table", "index"], ["y"])],
        [_value("index", TensorProto.INT64, ["rows", 1])],
        [_value("y", FLOAT, ["rows", 1])],
        [table],
    )


def reciprocal() -> bytes:
    """Give `y` = 1 / `x`, FP32[-1, 1]: infinite for 0."""
    shape: Shape = ["rows", 1]
    return _model([helper.make_node("Reciprocal", ["x"], ["y"])], [_value("x", FLOAT, shape)], [_value("y", FLOAT, shape)])


def token_embedding(vocabulary: int = 16, width: int = 4) -> bytes:
    """Look `input_ids` up into `last_hidden_state` FP32[-1, -1, width]; row i of the table is i in every place. Takes `attention_mask`."""
    table = np.repeat(np.arange(vocabulary, dtype=np.float32)[:, None], width, axis=1)
    shape: Shape = ["rows", "tokens"]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["hidden"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=FLOAT),
        helper.make_node("Mul", ["mask", "zero"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "last"], ["column"]),
        helper.make_node("Add", ["hidden", "column"], ["last_hidden_state"]),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array(0.0, dtype=np.float32), "zero"),
        numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
    ]
    return _model(
        nodes,
        [_value("input_ids", TensorProto.INT64, shape), _value("attention_mask", TensorProto.INT64, shape)],
        [_value("last_hidden_state", FLOAT, ["rows", "tokens", width])],
        constants,
    )


def _value(name: str, datatype: int, shape: Shape) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, datatype, list(shape))


def _model(
    nodes: list[NodeProto], inputs: list[ValueInfoProto], outputs: list[ValueInfoProto], constants: Sequence[TensorProto] = ()
) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializer=list(constants))
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()
