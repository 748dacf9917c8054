"""The models that the rows of tests/router/badinput ask for, as real models: same names, signatures, labels and limits."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper

from tests.flows.models import identity, write

TYPES = {
    "INT8": TensorProto.INT8,
    "UINT8": TensorProto.UINT8,
    "INT32": TensorProto.INT32,
    "UINT64": TensorProto.UINT64,
    "BOOL": TensorProto.BOOL,
    "BYTES": TensorProto.STRING,
}
LIMIT = "max_batch_size = 8\n"
LABELLED = LIMIT + '[[output]]\nname = "y"\nlabel_filename = "labels.txt"\n'


def write_repository(folder: Path) -> Path:
    """Write `echo`, `pair`, and `types_<data type>` for every data type of the rows."""
    write(folder, "echo", **identity(TensorProto.FLOAT, ("rows", 3)), model__toml=LABELLED, labels__txt="cat\ndog\nowl\n")
    floats, integers = TensorProto.FLOAT, TensorProto.INT64
    write(
        folder,
        "pair",
        [
            helper.make_node("Cast", ["b"], ["float_b"], to=floats),
            helper.make_node("Add", ["a", "float_b"], ["sum"]),
            helper.make_node("Mul", ["a", "float_b"], ["product"]),
        ],
        [("a", floats, ("rows", 1)), ("b", integers, ("rows", 1))],
        [("sum", floats, ("rows", 1)), ("product", floats, ("rows", 1))],
        model__toml=LIMIT,
    )
    for name, kind in TYPES.items():
        write(
            folder,
            f"types_{name.lower()}",
            [helper.make_node("Identity", [name], [name + "_out"])],
            [(name, kind, ("rows", 2))],
            [(name + "_out", kind, ("rows", 2))],
            model__toml=LIMIT,
        )
    return folder
