"""Makes columns or rows out of the lines of a CSV file, by the model's signature. Pure: the file was read before.

x,y          the first line names inputs: a column an input, a line a row
1,a
5.1,3.5,1.4  a model with one input: a line is one row of it; a first line that is no row is taken for a heading
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType

Lines = Sequence[Sequence[str]]

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def inputs_of(signature: Signature, lines: Lines) -> Any:
    """Return columns by name, or rows of a model with one input.

    Raises:
        InvalidInput: a column is unknown, a cell is no value of its input, or the model needs names and the file has none.
    """
    head, specs = lines[0], {spec.name: spec for spec in signature.inputs}
    if set(head) & set(specs):
        return _columns(head, lines[1:], specs)
    if len(specs) != 1:
        names = ", ".join(specs)
        raise InvalidInput(f"the first line of the CSV file must name inputs of the model: {names}", reason="MISSING_INPUT")
    return _rows(signature.inputs[0], lines)


def _columns(head: Sequence[str], lines: Lines, specs: dict[str, TensorSpec]) -> dict[str, list[Any]]:
    unknown = [name for name in head if name not in specs]
    if unknown:
        known = ", ".join(map(str, specs.values()))
        raise InvalidInput(f"the CSV file has a column {unknown[0]!r}, which is no input. Expected: {known}", reason="UNKNOWN_INPUT")
    return {name: [_value(specs[name], line[index], row) for row, line in enumerate(lines, start=2)] for index, name in enumerate(head)}


def _rows(spec: TensorSpec, lines: Lines) -> list[Any]:
    first = 1 if spec.datatype is not DataType.BYTES and not _is_row(spec, lines[0]) else 0
    rows = [[_value(spec, cell, number) for cell in line] for number, line in enumerate(lines[first:], start=first + 1)]
    return [row[0] for row in rows] if len(spec.shape) == 1 and all(len(row) == 1 for row in rows) else rows


def _is_row(spec: TensorSpec, line: Sequence[str]) -> bool:
    try:
        return all(_value(spec, cell, 1) is not None for cell in line)
    except InvalidInput:
        return False


def _value(spec: TensorSpec, cell: str, line: int) -> Any:
    if spec.datatype is DataType.BYTES:
        return cell
    try:
        if spec.datatype is DataType.BOOL:
            return _TRUTHS[cell.lower()]
        return float(cell) if spec.datatype.is_floating else int(cell)
    except (ValueError, KeyError):
        raise InvalidInput(
            f"line {line} of the CSV file: {cell[:40]!r} is no {spec.datatype.value} of input {spec.name!r}",
            reason="BAD_VALUE",
            field=spec.name,
        ) from None
