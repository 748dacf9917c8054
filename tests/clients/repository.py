"""The model repository that the clients' scripts are written against; small graphs whose answers the scripts compute themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

IDENTITIES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
    "bytes": TensorProto.STRING,
}
"""The suffix of each identity model's name, and its type in ONNX."""

VECTORS = {
    "[UNK]": (0.0, 0.0, 0.0, 1.0),
    "red": (3.0, 4.0, 0.0, 12.0),
    "green": (1.0, 0.0, 2.0, 0.0),
    "blue": (0.0, -1.0, 0.5, 0.0),
}
"""What the model `embedder` makes of each word; a text is the mean of its words."""

EMBEDDER = """\
max_batch_size = 4

[text]
tokenizer_file = "tokenizer.json"
pooling = "mean"
normalize = false
"""

MY_MODEL = """\
name: "my_model"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "input_node" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [ { name: "output_node" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]
version_policy { all { } }
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { timeout_action: REJECT allow_timeout_override: true }
}
"""

SIMPLE = """\
name: "simple"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] }, { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] }, { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 16 ] } ]
dynamic_batching { }
"""

MODELS = ("my_model", "simple", "spare", "remembering", "blinking", "slow", "embedder", *(f"identity_{name}" for name in IDENTITIES))
"""Every model of the repository."""

Shape = Sequence[int | str]


def build(folder: Path) -> None:
    """Write every model into the folder.

    `my_model` multiplies by 2 in version 1 and by 3 in version 2; `simple` is Triton's example of that name, sum and difference;
    `spare` negates and is there to be unloaded, as is `blinking`; `remembering` multiplies by 4 and keeps its answers; `slow` counts
    to its input; `embedder` reads text; `identity_*` gives back.
    """
    for version, factor in (("1", 2.0), ("2", 3.0)):
        _put(folder / "my_model" / version / "model.onnx", scaling(factor))
    _put(folder / "my_model" / "config.pbtxt", MY_MODEL.encode())
    _put(folder / "my_model" / "labels.txt", b"ant\nbee\ncat\n")
    _put(folder / "simple" / "1" / "model.onnx", _simple())
    _put(folder / "simple" / "config.pbtxt", SIMPLE.encode())
    _put(folder / "spare" / "1" / "model.onnx", scaling(-1.0))
    _put(folder / "blinking" / "1" / "model.onnx", scaling(1.0))
    _put(folder / "remembering" / "1" / "model.onnx", scaling(4.0))
    _put(folder / "remembering" / "config.pbtxt", b'name: "remembering" max_batch_size: 8 response_cache { enable: true }')
    _put(folder / "slow" / "1" / "model.onnx", _counting())
    _put(folder / "embedder" / "1" / "model.onnx", _embedding())
    _put(folder / "embedder" / "1" / "tokenizer.json", _tokenizer())
    _put(folder / "embedder" / "model.toml", EMBEDDER.encode())
    for name, datatype in IDENTITIES.items():
        _put(folder / f"identity_{name}" / "1" / "model.onnx", _identity(datatype))


def scaling(factor: float) -> bytes:
    """Multiply `input_node` FP32[-1, 3] by a number into `output_node`."""
    shape: Shape = ["rows", 3]
    node = helper.make_node("Mul", ["input_node", "factor"], ["output_node"])
    return _model(
        [node],
        [_value("input_node", TensorProto.FLOAT, shape)],
        [_value("output_node", TensorProto.FLOAT, shape)],
        {"factor": np.array(factor, dtype=np.float32)},
    )


def _identity(datatype: int) -> bytes:
    shape: Shape = ["rows", "columns"]
    node = helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])
    return _model([node], [_value("INPUT0", datatype, shape)], [_value("OUTPUT0", datatype, shape)])


def _simple() -> bytes:
    shape: Shape = ["rows", 16]
    nodes = [helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]), helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"])]
    inputs, outputs = ([_value(f"{side}{number}", TensorProto.INT32, shape) for number in (0, 1)] for side in ("INPUT", "OUTPUT"))
    return _model(nodes, inputs, outputs)


def _counting() -> bytes:
    """Go round a loop as often as the greatest element of `turns` INT64[-1, 1] says; `counted` FP32[-1, 1] is how often that was."""
    body = helper.make_graph(
        [helper.make_node("Add", ["sum_in", "one"], ["sum_out"]), helper.make_node("Identity", ["go_in"], ["go_out"])],
        "body",
        [_value("turn", TensorProto.INT64, []), _value("go_in", TensorProto.BOOL, []), _value("sum_in", TensorProto.FLOAT, [])],
        [_value("go_out", TensorProto.BOOL, []), _value("sum_out", TensorProto.FLOAT, [])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["turns"], ["most"], keepdims=0),
        helper.make_node("Loop", ["most", "", "zero"], ["sum"], body=body),
        helper.make_node("Cast", ["turns"], ["turns_fp32"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["turns_fp32", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "sum"], ["counted"]),
    ]
    return _model(
        nodes,
        [_value("turns", TensorProto.INT64, ["rows", 1])],
        [_value("counted", TensorProto.FLOAT, ["rows", 1])],
        {"zero": np.array(0.0, dtype=np.float32), "one": np.array(1.0, dtype=np.float32)},
    )


def _embedding() -> bytes:
    shape: Shape = ["texts", "tokens"]
    return _model(
        [helper.make_node("Gather", ["vectors", "input_ids"], ["last_hidden_state"])],
        [_value("input_ids", TensorProto.INT64, shape)],
        [_value("last_hidden_state", TensorProto.FLOAT, [*shape, 4])],
        {"vectors": np.array(list(VECTORS.values()), dtype=np.float32)},
    )


def _tokenizer() -> bytes:
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(VECTORS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer.to_str().encode()


def _value(name: str, datatype: int, shape: Shape) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, datatype, list(shape))


def _model(
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    constants: dict[str, np.ndarray] | None = None,
) -> bytes:
    weights = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializer=weights)
    # An opset and a file version that every supported ONNX Runtime reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
