"""A version is tried before it is ready, and one that does not keep its signature then is refused with what to configure."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from penstock.contracts.errors import LoadFailed
from services.worker.digests import Digests
from services.worker.examination import Order, Refused, examine
from services.worker.inspection import inspect
from services.worker.opening import Device, Opened, open_version
from services.worker.reconciliation import Offer
from services.worker.repository_look import look_at_repository
from services.worker.trial import Trial
from services.worker.try_out import TriedOut, try_out
from tests.worker import models
from tests.worker.folders import put

FLOAT = TensorProto.FLOAT


def of_rows(operator: str, inputs: list[str], shape: list[str | int] | None, **attributes: int) -> bytes:
    """Run one operator on `x` FP32[-1, 3] and its transpose `t`; `y` has the shape that is claimed."""
    nodes = [helper.make_node("Transpose", ["x"], ["t"]), helper.make_node(operator, inputs, ["y"], **attributes)]
    x, y = helper.make_tensor_value_info("x", FLOAT, ["rows", 3]), helper.make_tensor_value_info("y", FLOAT, shape)
    graph = helper.make_graph(nodes, "graph", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


TWICE = of_rows("Concat", ["x", "x"], ["answers", 3], axis=0)
"""Two rows for each that is asked."""
PAIRS = of_rows("MatMul", ["x", "t"], ["answers", "others"])
"""How each row agrees with every other."""
SHAPELESS = of_rows("Squeeze", ["x"], None)
"""The graph does not say how many dimensions the answer has."""


def opened(repository: Path, onnx: bytes, config: str = "") -> Opened:
    put(repository / "m" / "1" / "model.onnx", onnx)
    put(repository / "m" / "config.pbtxt", config)
    return open_version(inspect(Offer(artefact=look_at_repository(repository).models["m"].versions["1"]), Digests()), Device())


def tried(version: Opened) -> TriedOut:
    return try_out(Trial(version.sessions[0], version.completed.signature), version)


@pytest.mark.parametrize(
    ("onnx", "reason"),
    [
        (TWICE, r"'y' came with 2 rows for 1 rows of input; .*: set max_batch_size to 0"),
        (PAIRS, r"'y' has the shape \[1, 1\] for one row and \[2, 2\] for the same row 2 times: .*: set max_batch_size to 0"),
    ],
    ids=["twice", "pairs"],
)
def test_a_version_that_breaks_its_signature_is_refused_by_workers_and_registries(tmp_path: Path, onnx: bytes, reason: str):
    version = opened(tmp_path / "repository", onnx)
    put(tmp_path / "registered" / "version" / "model.onnx", onnx)
    order = Order(model="m", version="1", model_folder=tmp_path / "registered", folder_name="version", trial_seconds=60.0, own_status=None)

    with pytest.raises(LoadFailed, match=reason):
        tried(version)
    with pytest.raises(Refused, match=reason):
        examine(order)


@pytest.mark.parametrize("onnx", [TWICE, PAIRS], ids=["twice", "pairs"])
def test_what_the_refusal_advises_is_served(tmp_path: Path, onnx: bytes):
    assert tried(opened(tmp_path, onnx, "max_batch_size: 0")).costs


def test_a_version_whose_graph_does_not_say_the_shape_of_an_output_is_refused(tmp_path: Path):
    with pytest.raises(LoadFailed, match=r"'y' came with shape \[3\]; its signature says y FP32\[\]: .*export it with the shapes"):
        tried(opened(tmp_path, SHAPELESS))


def test_a_model_that_does_not_take_zeros_is_served_unmeasured(tmp_path: Path):
    assert tried(opened(tmp_path, models.poisonable(limit=0))).costs == ()
