"""Builds a model's input tensors from JSON that names no types: rows, columns, or bare values.

The signature says what the values must be; nothing is guessed from them but the sizes that the signature leaves open. A row is an object of
named inputs, or for a model with one input its bare value; it holds one element of the batch. Where an input has one value a row
(shape [-1, 1]), the value may stand without its list. A model without a batch dimension takes exactly one row, with full shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import Signature, TensorSpec
from services.router import oip_wire as wire
from services.router.json_tensors import nested_shape, pack
from services.router.strict_json import kind_of


@dataclass(frozen=True, slots=True)
class Call:
    """How a model is called, apart from its tensors."""

    model: str
    version: str
    request_id: str = ""
    parameters: Mapping[str, wire.Parameter] | None = None
    outputs: Sequence[str] = ()
    """Wanted outputs; none means all."""


Columns = Mapping[str, Any]
"""Values of each input, the whole batch of it."""


def columns_of(signature: Signature, given: Any) -> Columns:
    """Return the columns of `given`: a list of rows, or an object of columns.

    Raises:
        InvalidInput: neither, an empty list, a row that lacks an input or has one too many.
    """
    if type(given) is dict:
        return cast("Columns", given)
    if type(given) is not list:
        raise InvalidInput(
            f"'inputs' must be a list of rows or an object of columns, not {kind_of(given)}", reason="SHAPE_MISMATCH", field="inputs"
        )
    rows = cast("list[Any]", given)
    if not rows:
        raise InvalidInput("there are no rows: 'inputs' is empty", reason="MISSING_INPUT", field="inputs")
    if type(rows[0]) is not dict or _is_bytes(rows[0], signature):
        return _bare(signature, rows)
    named = _named(signature, rows)
    return named if signature.has_batch_dimension else _only_row(named)


def payload(call: Call, signature: Signature, columns: Columns) -> bytes:
    """Return the ModelInferRequest of a call.

    Raises:
        InvalidInput: a column is unknown, or its values do not fit the signature. Missing inputs are the inference path's to refuse.
        RequestTooLarge: more values than a tensor may have.
    """
    head = [wire.address(call.model, call.version), wire.identity(call.request_id)]
    if call.parameters:
        head.append(wire.parameters(call.parameters))
    raws: list[bytes | memoryview] = []
    for name, values in columns.items():
        position = signature.input_index.get(name)
        if position is None:
            raise _unknown(signature, name)
        spec = signature.inputs[position]
        shape = _shape(signature, spec, values)
        head.append(wire.tensor(spec.name, spec.datatype.value, shape))
        raws.append(pack(spec.name, spec.datatype, shape, values))
    head += [wire.wanted(name, {}) for name in call.outputs]
    return wire.infer_request(head, raws)


def _shape(signature: Signature, spec: TensorSpec, values: Any) -> tuple[int, ...]:
    """Return the shape of a column's values."""
    rank = len(spec.shape)
    has_one_value = signature.has_batch_dimension and rank == 2 and spec.shape[1] in (1, -1)
    if has_one_value and type(values) is list and values and type(cast("list[Any]", values)[0]) is not list:
        return (len(cast("list[Any]", values)), 1)
    shape = nested_shape(spec.name, values, rank)
    if 0 not in shape:
        return shape
    # Empty lists do not show what they would hold; the signature does, where it says.
    told = shape.index(0) + 1
    return (*shape[:told], *(max(size, 0) for size in spec.shape[told:]))


def _bare(signature: Signature, rows: list[Any]) -> Columns:
    if len(signature.inputs) != 1:
        names = ", ".join(spec.name for spec in signature.inputs[:16])
        raise InvalidInput(
            f"the model has several inputs, so rows must be objects that name them: {names}", reason="MISSING_INPUT", field="inputs"
        )
    name = signature.inputs[0].name
    return {name: rows} if signature.has_batch_dimension else _only_row({name: rows})


def _only_row(columns: Mapping[str, list[Any]]) -> Columns:
    for name, values in columns.items():
        if len(values) != 1:
            raise InvalidInput(
                f"the model has no batch dimension and takes one row a request, got {len(values)}", reason="BATCH_TOO_LARGE", field=name
            )
    return {name: values[0] for name, values in columns.items()}


def _named(signature: Signature, rows: list[Any]) -> Mapping[str, list[Any]]:
    names = tuple(cast("dict[str, Any]", rows[0]))
    wanted = set(names)
    for index, row in enumerate(rows):
        if type(row) is not dict:
            raise InvalidInput(f"row {index} is {kind_of(row)}, the rows before it are objects", reason="SHAPE_MISMATCH", field="inputs")
        if set(cast("dict[str, Any]", row)) != wanted:
            raise _uneven(index, cast("dict[str, Any]", row), names)
    for name in names:
        if name not in signature.input_index:
            raise _unknown(signature, name)
    return {name: [row[name] for row in rows] for name in names}


def _uneven(index: int, row: Mapping[str, Any], names: tuple[str, ...]) -> InvalidInput:
    missing = [name for name in names if name not in row]
    name = (missing or [name for name in row if name not in names])[0]
    what = "lacks" if missing else "has"
    return InvalidInput(
        f"row {index} {what} input {name[:40]!r}, row 0 {'has' if missing else 'lacks'} it: all rows must name the same inputs",
        reason="MISSING_INPUT" if missing else "UNKNOWN_INPUT",
        field=name[:64],
    )


def _unknown(signature: Signature, name: str) -> InvalidInput:
    expected = ", ".join(str(spec) for spec in signature.inputs[:16])
    return InvalidInput(f"unknown input {name[:40]!r}. Expected: {expected}", reason="UNKNOWN_INPUT", field=name[:64])


def _is_bytes(row: Any, signature: Signature) -> bool:
    """Whether an object is a bare BYTES value (`{"b64": "..."}`) and no row."""
    return "b64" in row and len(row) == 1 and "b64" not in signature.input_index
