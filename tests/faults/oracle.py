"""Models whose right answers the checker computes by itself, and models that misbehave on request.

`x` is INT64 [rows, 4]: the nonce of the row and three numbers derived from it. `y` = x·(2·version + 1) + 7·version + 1000·model and
`total` is the sum of each row of `y`. Whoever swaps rows, mixes versions or models, or cuts a tensor short, is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

WIDTH = 4
NUMBERS = {
    name: number
    for number, name in enumerate(
        (
            "alpha",
            "beta",
            "slow",
            "fragile",
            "poison",
            "endless",
            "loose",
            "shape",
            "narrow",
            "cached",
            "strict",
            "counted",
            "hungry",
            "ranked",
        ),
        1,
    )
}
SPINS = 8_000
"""Turns of `slow`'s loop: some 20 ms."""
LOWEST = -(2**63)
BAD_ROW = {"dividend": 7, "divisor": 1}
"""`fragile` refuses to compute a row that holds these."""
KILLER = {"dividend": LOWEST, "divisor": 0}
"""`fragile` dies of a row that holds these: the processor cannot divide the lowest number by -1."""

LIMITS = {"slow": 4, "narrow": 4, "ranked": 4, "fragile": 64}
QUEUE = 16
SETTINGS = {
    "narrow": f"[dynamic_batching.default_queue_policy]\nmax_queue_size = {QUEUE}\n",
    "ranked": "[dynamic_batching]\npriority_levels = 2\ndefault_priority_level = 2\n",
    "cached": "[response_cache]\nenable = true\nshared = true\n",
    "strict": 'non_finite_output = "error"\n',
    "counted": 'non_finite_output = "pass"\n',
}
NEGATIVE = -1
"""`loose` has no number to answer for a row that holds this in its third place."""
DROPPED = 666
"""`shape` leaves rows out that hold this in their third place."""
FOR_EVER = 2**62
"""`endless` goes round that often for a row that holds this in its second place."""

I64 = TensorProto.INT64


def row_of(nonce: int, row: int) -> tuple[int, int, int, int]:
    """Return the inputs of one row."""
    return (nonce, row, (nonce * 31 + row * 17) % 100_003, 2 + (nonce + row) % 89)


def rows_of(nonce: int, rows: int) -> np.ndarray:
    """Return `x` of a request."""
    return np.array([row_of(nonce, row) for row in range(rows)], dtype=np.int64).reshape(rows, WIDTH)


def expected(model: str, version: str, nonce: int, rows: int) -> tuple[int, ...]:
    """Return what an answer must hold: `y`, row by row, then `total`; plain Python, nothing of the product."""
    number = int(version)
    y = [[value * (2 * number + 1) + 7 * number + 1000 * NUMBERS[model] for value in row_of(nonce, row)] for row in range(rows)]
    return (*(value for row in y for value in row), *(sum(row) for row in y))


def write_models(folder: Path, names: Sequence[str] = ("alpha", "beta", "slow")) -> Path:
    """Write version 1 of models."""
    for name in names:
        write_version(folder / name, 1)
    return folder


def write_version(model: Path, version: int) -> Path:
    """Write one version of a model, complete at once as deployers do it, and return its folder."""
    model.mkdir(parents=True, exist_ok=True)
    (model / "model.toml").write_text(f"max_batch_size = {LIMITS.get(model.name, 4096)}\n{SETTINGS.get(model.name, '')}")
    staged = model.parent.parent / f".staged-{model.name}-{version}"
    staged.mkdir(parents=True)
    onnx.save(graph(model.name, version), staged / "model.onnx")
    staged.rename(model / str(version))
    return model / str(version)


def graph(name: str, version: int) -> onnx.ModelProto:
    """Return a model of the oracle's."""
    special = {
        "slow": _spinning,
        "narrow": _spinning,
        "ranked": _spinning,
        "endless": _endless,
        "fragile": _dividing,
        "poison": _dying,
        "hungry": _allocating,
    }.get(name, _nothing)
    nodes, constants = special()
    nodes = [
        helper.make_node("Mul", ["x", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["plain"]),
        *nodes,
        helper.make_node("Add", ["plain", "nothing"], ["y"]),
        helper.make_node("ReduceSum", ["y", "axis"], ["total"], keepdims=0),
    ]
    constants += [_number("weight", 2 * version + 1), _number("bias", 7 * version + 1000 * NUMBERS.get(name, 0)), _list("axis", 1)]
    inputs = [helper.make_tensor_value_info("x", I64, ["rows", WIDTH])]
    outputs = [helper.make_tensor_value_info("y", I64, ["rows", WIDTH]), helper.make_tensor_value_info("total", I64, ["rows"])]
    for more in MORE.get(name, ()):
        more(nodes, constants, outputs)
    made = helper.make_graph(nodes, name, inputs, outputs, constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


Parts = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def _nothing() -> Parts:
    return [helper.make_node("Mul", ["x", "zero"], ["nothing"])], [_number("zero", 0)]


def _spinning() -> Parts:
    """Go round a loop SPINS times, negating zero."""
    nodes, constants = _loop("turns")
    return nodes, [*constants, _number("turns", SPINS)]


def _endless() -> Parts:
    """Go round a loop as often as the largest second number of a row says."""
    nodes, constants = _loop("turns")
    asked = [
        helper.make_node("Gather", ["x", "second"], ["asked"], axis=1),
        helper.make_node("ReduceMax", ["asked"], ["turns"], keepdims=0),
    ]
    return [*asked, *nodes], [*constants, _list("second", 1)]


def _loop(turns: str, result: str = "nothing") -> Parts:
    scalars = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("turn", I64), ("go", TensorProto.BOOL), ("value", I64))]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Neg", ["value"], ["negated"])],
        "body",
        scalars,
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), helper.make_tensor_value_info("negated", I64, [])],
    )
    nodes = [
        helper.make_node("ReduceMin", ["x"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "zero"], ["start"]),
        helper.make_node("Loop", [turns, "always", "start"], [result], body=body),
    ]
    return nodes, [_number("zero", 0), helper.make_tensor("always", TensorProto.BOOL, [], [True])]


def _dividing() -> Parts:
    """Divide the third number by (the fourth - 1): harmless, an error for BAD_ROW, the end of the process for KILLER."""
    nodes = [
        helper.make_node("Gather", ["x", "two"], ["dividend"], axis=1),
        helper.make_node("Gather", ["x", "three"], ["divisor_up"], axis=1),
        helper.make_node("Sub", ["divisor_up", "one"], ["divisor"]),
        helper.make_node("Div", ["dividend", "divisor"], ["quotient"]),
        helper.make_node("Mul", ["quotient", "zero"], ["nothing"]),
    ]
    return nodes, [_number("zero", 0), _number("one", 1), _list("two", 2), _list("three", 3)]


def _dying() -> Parts:
    """Divide the lowest number by -1, whatever the input: whoever executes it dies."""
    nodes = [
        helper.make_node("Mul", ["x", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "lowest"], ["dividend"]),
        helper.make_node("Sub", ["zeros", "one"], ["divisor"]),
        helper.make_node("Div", ["dividend", "divisor"], ["quotient"]),
        helper.make_node("Mul", ["quotient", "zero"], ["nothing"]),
    ]
    return nodes, [_number("zero", 0), _number("one", 1), _number("lowest", LOWEST)]


def _allocating() -> Parts:
    """Fill as many numbers as the second numbers of all rows say together, after a loop of 2 ms: what is cheap runs inline."""
    loop, constants = _loop("turns", "idled")
    nodes = [
        *loop,
        helper.make_node("Gather", ["x", "second"], ["asked"], axis=1),
        helper.make_node("ReduceSum", ["asked"], ["size"], keepdims=0),
        helper.make_node("Reshape", ["size", "one"], ["sizes"]),
        helper.make_node("ConstantOfShape", ["sizes"], ["filled"], value=helper.make_tensor("v", I64, [1], [0])),
        helper.make_node("ReduceMax", ["filled"], ["most"], keepdims=0),
        helper.make_node("Add", ["most", "idled"], ["nothing"]),
    ]
    return nodes, [*constants, _number("turns", SPINS // 10), _list("second", 1), _list("one", 1)]


def _number(name: str, value: int) -> onnx.TensorProto:
    return helper.make_tensor(name, I64, [], [value])


def _list(name: str, value: int) -> onnx.TensorProto:
    return helper.make_tensor(name, I64, [1], [value])


def _with_root(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], outputs: list[onnx.ValueInfoProto]) -> None:
    """Answer the square root of the third number as well: no number for a negative one."""
    constants.append(_list("third", 2))
    nodes += [
        helper.make_node("Gather", ["x", "third"], ["square"], axis=1),
        helper.make_node("Cast", ["square"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Sqrt", ["real"], ["root"]),
    ]
    outputs.append(helper.make_tensor_value_info("root", TensorProto.FLOAT, ["rows", 1]))


def _with_kept(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], outputs: list[onnx.ValueInfoProto]) -> None:
    """Answer the rows themselves as well, without those that hold DROPPED."""
    constants += [_number("third", 2), _number("dropped", DROPPED)]
    nodes += [
        helper.make_node("Gather", ["x", "third"], ["tested"], axis=1),
        helper.make_node("Equal", ["tested", "dropped"], ["is_dropped"]),
        helper.make_node("Not", ["is_dropped"], ["is_kept"]),
        helper.make_node("Compress", ["x", "is_kept"], ["kept"], axis=0),
    ]
    outputs.append(helper.make_tensor_value_info("kept", I64, ["rows", WIDTH]))


MORE = {"loose": (_with_root,), "strict": (_with_root,), "counted": (_with_root,), "shape": (_with_kept,)}
"""What models answer beside `y` and `total`."""
