"""ONNX files that no exporter writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
ADD = helper.make_node("Add", ["x", "w"], ["y"])


def value(name: str, shape: Sequence[int | str] = ("rows", 2), datatype: int = FLOAT):
    return helper.make_tensor_value_info(name, datatype, list(shape))


def graph(*nodes: NodeProto, initializer: Sequence[TensorProto] = (), **more: object) -> GraphProto:
    return helper.make_graph(list(nodes), "g", [value("x")], [value("y")], initializer=list(initializer), **more)


def model(made: GraphProto, *, opset: int = 17, ir: int = 8, domains: Sequence[str] = (), **more: object) -> ModelProto:
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    built = helper.make_model(made, opset_imports=imports, **more)
    built.ir_version = ir
    return built


def content(built: ModelProto) -> bytes:
    return built.SerializeToString()


def plain(**more: object) -> bytes:
    return content(model(graph(helper.make_node("Identity", ["x"], ["y"])), **more))


def external(location: str | None, name: str = "w", **entries: object) -> TensorProto:
    """Return FP32[2] whose content is elsewhere."""
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, entry in ({} if location is None else {"location": location, "offset": 0, "length": 8} | entries).items():
        tensor.external_data.add(key=key, value=str(entry))
    return tensor


def with_weights(tensor: TensorProto) -> bytes:
    return content(model(graph(ADD, initializer=[tensor])))


def with_dims(*dims: int) -> bytes:
    return with_weights(TensorProto(name="w", data_type=FLOAT, dims=list(dims), raw_data=bytes(8)))


def _sparse(location: str) -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.array([0, 1], dtype=np.int64), "i")
    return onnx.SparseTensorProto(values=external(location), indices=indices, dims=[2])


def _function(location: str) -> ModelProto:
    node = helper.make_node("Constant", [], ["b"], value=external(location, ""))
    add = helper.make_node("Add", ["a", "b"], ["c"])
    function = helper.make_function("own", "Plus", ["a"], ["c"], [node, add], [helper.make_opsetid("", 17)])
    return model(graph(helper.make_node("Plus", ["x"], ["y"], domain="own")), domains=["own"], functions=[function])


def _subgraph(location: str) -> ModelProto:
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=external(location, ""))], "inner", [], [value("c", [2])])
    yes = numpy_helper.from_array(np.array(True), "yes")
    branch = helper.make_node("If", ["yes"], ["w"], then_branch=inner, else_branch=inner)
    return model(graph(branch, ADD, initializer=[yes]))


def places(location: str) -> dict[str, bytes]:
    """Return a model for each of the six places that can hold external data."""
    constant = helper.make_node("Constant", [], ["w"], value=external(location, ""))
    sparse = helper.make_node("Constant", [], ["w"], sparse_value=_sparse(location))
    return {
        "initialiser": with_weights(external(location)),
        "constant": content(model(graph(constant, ADD))),
        "sparse constant": content(model(graph(sparse, ADD))),
        "sparse initialiser": content(model(graph(ADD, sparse_initializer=[_sparse(location)]))),
        "subgraph": content(_subgraph(location)),
        "function": content(_function(location)),
    }


def nested(depth: int) -> bytes:
    """Return an If inside an If inside an If …, deeper than protobuf's own writers go."""
    inner = graph(helper.make_node("Identity", ["x"], ["y"])).SerializeToString()
    for _ in range(depth):
        attribute = _field(1, b"then_branch") + _field(6, inner) + b"\xa0\x01\x05"
        inner = _field(1, _field(1, b"yes") + _field(2, b"y") + _field(4, b"If") + _field(5, attribute))
    return b"\x08\x08" + _field(7, inner) + _field(8, b"\x10\x11")


def _field(number: int, inner: bytes) -> bytes:
    """Return a protobuf field of bytes."""
    length, size = b"", len(inner)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + inner


def hungry(operator: str) -> bytes:
    """Return a model of a few hundred bytes that makes a tensor of 16 GiB from nothing, and adds its sum to `x`."""
    numbers = {"shape": np.array([1 << 32], dtype=np.int64), "one": np.ones(1, dtype=np.float32)}
    numbers |= {"many": np.ones(1 << 16, dtype=np.float32), "times": np.array([1 << 16], dtype=np.int64)}
    numbers |= {"start": np.array(0, dtype=np.float32), "end": np.array(2.0**32, dtype=np.float32), "step": np.array(1, dtype=np.float32)}
    inputs = {"ConstantOfShape": ["shape"], "Expand": ["one", "shape"], "Tile": ["many", "times"], "Range": ["start", "end", "step"]}[
        operator
    ]
    nodes = [
        helper.make_node(operator, inputs, ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return content(model(graph(*nodes, initializer=[numpy_helper.from_array(numbers[name], name) for name in inputs])))
