"""How every example writes what a version folder holds: a checked ONNX file, and golden examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

OPSET = 17
"""ONNX operators used; the first with LayerNormalization, read by every ONNX Runtime since 1.12."""

IR_VERSION = 8
"""File format that goes with OPSET; newer ones would only shut out older runtimes."""

PRODUCER = "penstock-examples"


def model_of(graph: onnx.GraphProto) -> onnx.ModelProto:
    """Wrap a graph as a model of OPSET and IR_VERSION."""
    return helper.make_model(graph, producer_name=PRODUCER, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])


def save_model(model: onnx.ModelProto, version_folder: Path) -> None:
    """Check the model and write `model.onnx` into the folder, which is made.

    Raises:
        onnx.checker.ValidationError: the graph breaks ONNX's rules, or its shapes contradict each other.
    """
    onnx.checker.check_model(model, full_check=True)
    version_folder.mkdir(parents=True, exist_ok=True)
    (version_folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))


def save_golden(inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]], version_folder: Path) -> None:
    """Write `golden.json`: inputs, and the outputs that another implementation than the ONNX file gives for them."""
    content = {"inputs": _nested(inputs), "outputs": _nested(outputs)}
    (version_folder / "golden.json").write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


def _nested(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in arrays.items()}
