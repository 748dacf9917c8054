"""The walk over an ONNX file finds external data and foreign operators wherever they hide, and never trusts the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from penstock.contracts.errors import ArtifactCorrupt
from services.worker.graph_scan import scan_graph, walk


def external(name: str, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model_of(*nodes: onnx.NodeProto, **graph: object) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    return helper.make_model(helper.make_graph(list(nodes), "g", [x], [y], **graph))


def sparse(location: str) -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    return onnx.SparseTensorProto(values=external("s", location), indices=indices, dims=[4])


def subgraph(location: str) -> onnx.GraphProto:
    return helper.make_graph([helper.make_node("Constant", [], ["c"], value=external("c", location))], "inner", [], [])


def function(location: str) -> onnx.FunctionProto:
    node = helper.make_node("Constant", [], ["b"], value=external("c", location))
    return helper.make_function("local", "f", ["a"], ["b"], [node], [helper.make_opsetid("", 20)])


def with_function(location: str) -> onnx.ModelProto:
    model = model_of(helper.make_node("f", ["x"], ["y"], domain="local"))
    model.functions.append(function(location))
    return model


def with_training(location: str) -> onnx.ModelProto:
    model = model_of()
    model.training_info.add().algorithm.CopyFrom(subgraph(location))
    return model


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model_of(initializer=[external("w", "spot")]), id="initialiser"),
        pytest.param(model_of(sparse_initializer=[sparse("spot")]), id="sparse initialiser"),
        pytest.param(model_of(helper.make_node("Constant", [], ["y"], value=external("c", "spot"))), id="attribute"),
        pytest.param(model_of(helper.make_node("Constant", [], ["y"], sparse_value=sparse("spot"))), id="sparse attribute"),
        pytest.param(model_of(helper.make_node("If", ["x"], ["y"], then_branch=subgraph("spot"))), id="subgraph"),
        pytest.param(with_function("spot"), id="function body"),
        pytest.param(with_training("spot"), id="training graph"),
    ],
)
def test_external_data_is_found_in_every_place(model: onnx.ModelProto):
    assert walk(model.SerializeToString(), "m").external_files == {"spot"}


def test_operators_of_foreign_domains_are_named():
    model = model_of(helper.make_node("Evil", ["x"], ["y"], domain="com.evil"), helper.make_node("Relu", ["x"], ["z"]))

    assert walk(model.SerializeToString(), "m").foreign_operators == {"com.evil::Evil"}


def test_a_models_own_functions_are_not_foreign():
    assert not walk(with_function("spot").SerializeToString(), "m").foreign_operators


def test_long_lists_of_unpacked_numbers_are_stepped_over_and_what_follows_is_still_seen():
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml")
    node.attribute.append(helper.make_attribute("thresholds", np.random.default_rng(1).normal(size=20_000).tolist()))
    node.attribute.append(helper.make_attribute("ids", list(range(-10_000, 10_000))))
    node.attribute.append(helper.make_attribute("value", external("c", "spot")))

    facts = walk(model_of(node).SerializeToString(), "m")

    assert facts.external_files == {"spot"}
    assert not facts.foreign_operators


def is_read(raw: bytes) -> bool:
    try:
        walk(raw, "m")
    except ArtifactCorrupt:
        return False
    return True


def test_a_file_cut_anywhere_is_refused_or_read_but_never_breaks_the_walk():
    whole = with_function("spot").SerializeToString()

    read = [length for length in range(1, len(whole)) if is_read(whole[:length])]

    assert len(read) < 10  # only cuts between two fields of the outermost message leave a readable file


def test_random_bytes_are_refused():
    with pytest.raises(ArtifactCorrupt, match="m is not a readable ONNX file"):
        walk(b"\xff" * 64, "m")


def wrapped(tag: int, content: bytes) -> bytes:
    length, prefix = len(content), b""
    while length > 0x7F:
        prefix += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([tag << 3 | 2]) + prefix + bytes([length]) + content


def test_nesting_beyond_the_bound_is_refused():
    graph = b""
    for _ in range(40):
        graph = wrapped(1, wrapped(5, wrapped(6, graph)))

    with pytest.raises(ArtifactCorrupt, match="nested deeper"):
        walk(wrapped(7, graph), "m")


def test_an_empty_file_is_refused_with_the_next_step(tmp_path: Path):
    (tmp_path / "model.onnx").touch()

    with pytest.raises(ArtifactCorrupt, match=r"model\.onnx is empty: copy the model again"):
        scan_graph(tmp_path / "model.onnx")
