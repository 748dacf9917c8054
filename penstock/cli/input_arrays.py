"""Makes a request's input arrays out of what was written down.

The forms are those of the REST call: a list of rows (objects of named inputs; bare values for a model with one input) or an object of
columns. The signature says what values must be; nothing but the size of open dimensions follows from them, and nothing is converted
silently between kinds: a text is no number. Where an input has one value a row (shape [-1, 1]), the value may stand without its list. A
model without a batch dimension takes exactly one row. Pure: reading files is the caller's.
"""

from __future__ import annotations

import base64
import binascii
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import AnyArray, DataType, fp32_to_bf16

Arrays = dict[str, Any]
"""By input; for BF16 arrays of bit patterns (uint16), which the client takes for what the model's signature says."""

_KINDS = {DataType.BOOL: "b", DataType.BYTES: "OSU"}
"""NumPy's kinds of arrays that may become a type; floats take `iuf`, integers `iu`."""

_TOLD = {
    "b": "booleans",
    "i": "integers",
    "u": "integers",
    "f": "fractions",
    "U": "texts",
    "S": "texts",
    "O": "null, or values of several kinds",
}


def arrays_of(signature: Signature, given: Any) -> Arrays:
    """Return the arrays of `given`.

    Args:
        signature: of the model.
        given: rows, columns or bare values out of JSON; an array; or arrays by name.

    Raises:
        InvalidInput: it does not fit the signature; the message says where.
    """
    if isinstance(given, np.ndarray):
        given = {_only_input(signature).name: given}
    columns = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else _columns(signature, given)
    specs = {spec.name: spec for spec in signature.inputs}
    unknown = [name for name in columns if name not in specs]
    if unknown:
        raise _unknown(signature, unknown[0])
    return {name: _array(signature, specs[name], values) for name, values in columns.items()}


def _columns(signature: Signature, given: Any) -> dict[str, Any]:
    if not isinstance(given, list) or not given:
        raise InvalidInput("the inputs must be a list of rows or an object of columns, and not empty", reason="SHAPE_MISMATCH")
    rows = cast("list[Any]", given)
    is_named = isinstance(rows[0], dict) and not _is_bytes(rows[0])
    columns = _named_rows(rows) if is_named else {_only_input(signature).name: rows}
    return columns if signature.has_batch_dimension else _only_row(columns)


def _named_rows(rows: list[Any]) -> dict[str, list[Any]]:
    names = tuple(cast("dict[str, Any]", rows[0]))
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or set(cast("dict[str, Any]", row)) != set(names):
            raise InvalidInput(f"row {index} must name the inputs that row 0 names: {', '.join(names)}", reason="MISSING_INPUT")
    return {name: [row[name] for row in rows] for name in names}


def _only_row(columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    for name, values in columns.items():
        if len(values) != 1:
            raise InvalidInput(f"the model has no batch dimension and takes one row a request, got {len(values)}", field=name)
    return {name: values[0] for name, values in columns.items()}


def _array(signature: Signature, spec: TensorSpec, values: Any) -> Any:
    array = cast("AnyArray", values) if isinstance(values, np.ndarray) else _natural(spec, values)
    if signature.has_batch_dimension and len(spec.shape) == 2 and spec.shape[1] in (1, -1) and array.ndim == 1:
        array = array.reshape(-1, 1)
    if array.size and array.dtype.kind not in _kinds(spec.datatype):
        raise InvalidInput(f"input {spec.name!r} takes {spec.datatype.value}, got {_told(array)}", reason="DTYPE_MISMATCH", field=spec.name)
    if spec.datatype is DataType.BF16:
        return array if array.dtype == np.uint16 else fp32_to_bf16(array.astype(np.float32))
    return array if spec.datatype is DataType.BYTES else _cast(spec, array)


def _cast(spec: TensorSpec, array: AnyArray) -> AnyArray:
    wanted = spec.datatype.dtype
    if array.dtype == wanted:
        return array
    with np.errstate(over="ignore"):
        cast_array = array.astype(wanted)
    is_kept = np.isfinite(cast_array) == np.isfinite(array) if wanted.kind == "f" else cast_array == array
    if not is_kept.all():
        raise InvalidInput(
            f"input {spec.name!r} holds a value outside the range of {spec.datatype.value}", reason="BAD_VALUE", field=spec.name
        )
    return cast_array


def _natural(spec: TensorSpec, values: Any) -> AnyArray:
    """Return JSON values as the array that they are by themselves."""
    try:
        if spec.datatype is DataType.BYTES:
            return _texts(spec, values)
        array: AnyArray = np.array(values)
        return _whole(spec, values) if array.dtype.kind in "fO" and _kinds(spec.datatype) == "iu" else array
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"input {spec.name!r}: lists must be nested regularly, as {spec} says", reason="SHAPE_MISMATCH", field=spec.name
        ) from None


def _whole(spec: TensorSpec, values: Any) -> AnyArray:
    """Return integers as they are: NumPy alone makes fractions of integers when some are above 2**63 and others are not."""
    exact: AnyArray = np.array(values, dtype=object)
    if any(type(one) is not int for one in exact.ravel().tolist()):
        return np.array(values)
    try:
        return exact.astype(spec.datatype.dtype)
    except OverflowError:
        raise InvalidInput(
            f"input {spec.name!r} holds a value outside the range of {spec.datatype.value}", reason="BAD_VALUE", field=spec.name
        ) from None


def _texts(spec: TensorSpec, values: Any) -> AnyArray:
    shape = _nested_shape(values)
    array = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        value = values
        for position in index:
            value = value[position]
        array[index] = _bytes(spec, value)
    return array


def _nested_shape(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list):
        return ()
    shapes = {_nested_shape(one) for one in cast("list[Any]", values)} or {()}
    if len(shapes) > 1:
        raise ValueError("ragged")
    return (len(cast("list[Any]", values)), *shapes.pop())


def _bytes(spec: TensorSpec, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    try:
        if _is_bytes(value):
            return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise InvalidInput(f"input {spec.name!r} holds invalid base64", reason="BAD_VALUE", field=spec.name) from None
    raise InvalidInput(f'input {spec.name!r} takes texts or {{"b64": "…"}}, got {value!r:.40}', reason="DTYPE_MISMATCH", field=spec.name)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and set(cast("dict[str, Any]", value)) == {"b64"}


def _kinds(datatype: DataType) -> str:
    return _KINDS.get(datatype) or ("iuf" if datatype.is_floating else "iu")


def _told(array: AnyArray) -> str:
    return _TOLD.get(array.dtype.kind, str(array.dtype))


def _only_input(signature: Signature) -> TensorSpec:
    required: Sequence[TensorSpec] = [spec for spec in signature.inputs if not spec.optional]
    if len(required) != 1:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise InvalidInput(f"the model has the inputs {names}: name them, in rows or columns", reason="MISSING_INPUT")
    return required[0]


def _unknown(signature: Signature, name: str) -> InvalidInput:
    near = difflib.get_close_matches(name, [spec.name for spec in signature.inputs], n=1)
    hint = f", did you mean {near[0]!r}?" if near else "."
    expected = ", ".join(map(str, signature.inputs))
    return InvalidInput(f"unknown input {name[:40]!r}{hint} Expected: {expected}", reason="UNKNOWN_INPUT", field=name[:64])
