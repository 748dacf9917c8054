"""Small models whose right answers anybody can compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

Tensor = tuple[str, int, Sequence[int | str]]


def write(
    folder: Path, name: str, nodes: Sequence[onnx.NodeProto], inputs: Sequence[Tensor], outputs: Sequence[Tensor], **files: str
) -> None:
    """Write version 1 of a model; `files` are further files of the model's folder, `__` standing for a dot."""
    graph = helper.make_graph(
        list(nodes), name, [helper.make_tensor_value_info(*one) for one in inputs], [helper.make_tensor_value_info(*one) for one in outputs]
    )
    path = folder / name / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    for file, text in files.items():
        (folder / name / file.replace("__", ".")).write_text(text)


def identity(kind: int, shape: Sequence[int | str] = ("rows", 4)) -> dict[str, object]:
    return {
        "nodes": [helper.make_node("Identity", ["x"], ["y"])],
        "inputs": [("x", kind, shape)],
        "outputs": [("y", kind, shape)],
    }


LEVELS = "[dynamic_batching]\npriority_levels = 2\ndefault_priority_level = 2\n"


def write_repository(folder: Path) -> Path:
    """Write `echo`, `pair`, `bool`, `int8`, `text`, `finite` and `scalar`."""
    write(
        folder,
        "echo",
        [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("ReduceSum", ["x", "axis"], ["total"], keepdims=0), _axis()],
        [("x", TensorProto.FLOAT, ("rows", 4))],
        [("y", TensorProto.FLOAT, ("rows", 4)), ("total", TensorProto.FLOAT, ("rows",))],
        model__toml="max_batch_size = 16\n",
    )
    write(
        folder,
        "pair",
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [("a", TensorProto.FLOAT, ("rows", "n")), ("b", TensorProto.FLOAT, ("rows", "n"))],
        [("y", TensorProto.FLOAT, ("rows", "n"))],
    )
    write(folder, "bool", **identity(TensorProto.BOOL))
    write(folder, "int8", **identity(TensorProto.INT8))
    write(folder, "half", **identity(TensorProto.FLOAT16))
    write(folder, "text", **identity(TensorProto.STRING, ("rows",)), model__toml='[[input]]\nname = "x"\nis_text = true\n')
    write(folder, "finite", **identity(TensorProto.FLOAT), model__toml="reject_non_finite = true\n" + LEVELS)
    write(folder, "scalar", **identity(TensorProto.FLOAT, (3,)))
    return folder


def _axis() -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["axis"], value=helper.make_tensor("v", TensorProto.INT64, [1], [1]))
