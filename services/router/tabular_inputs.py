"""Reads what data-science tools send: MLflow's data frames and CSV. Pure.

A data frame's columns are a model's inputs when they carry their names; else, for a model with one input, each row is that input's
value, its columns in their order. CSV begins with a line of names when none of its fields is a number or a truth value, or when
`header=present` in the Content-Type says so. Its numbers are written as in JSON, or are `nan` or `inf`.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence
from itertools import zip_longest
from math import isinf
from typing import Any, cast

from penstock.contracts.errors import InvalidInput, MalformedBody, RequestTooLarge
from penstock.contracts.signature import Signature
from penstock.contracts.tensors import DataType
from services.router.row_inputs import Columns, columns_of
from services.router.strict_json import VALUES_LIMIT, kind_of

_WRITTEN = re.compile(r"[ \t]*[-+0-9.a-zA-Z]+[ \t]*")
_TRUE, _FALSE = ("true", "True", "TRUE", "1"), ("false", "False", "FALSE", "0")


def split_frame(signature: Signature, given: Any) -> Columns:
    """Return the inputs of `{"columns": [...], "data": [[...], ...]}` (an `index` is ignored).

    Raises:
        InvalidInput: not of this form, or rows of other lengths than `columns`.
    """
    frame = _object("dataframe_split", given)
    rows = _list("dataframe_split.data", frame.get("data"))
    columns = frame.get("columns")
    if columns is None:
        return columns_of(signature, rows)
    names = _list("dataframe_split.columns", columns)
    return framed(signature, [str(name) for name in names], rows)


def record_frame(signature: Signature, given: Any) -> Columns:
    """Return the inputs of `[{"column": value, ...}, ...]`.

    Raises:
        InvalidInput: not of this form, or records that name different columns.
    """
    records = _list("dataframe_records", given)
    for index, record in enumerate(records):
        if type(record) is not dict or set(cast("dict[str, Any]", record)) != set(records[0]):
            raise InvalidInput(
                f"record {index} must be an object with the columns of record 0", reason="SHAPE_MISMATCH", field="dataframe_records"
            )
    names = list(cast("dict[str, Any]", records[0])) if records else []
    return framed(signature, names, [[record[name] for name in names] for record in records])


def framed(signature: Signature, names: Sequence[str], rows: Sequence[Any]) -> Columns:
    """Return the inputs of a table.

    Raises:
        InvalidInput: there are no rows, or one has another number of values than there are names.
    """
    if not rows:
        raise InvalidInput("the data frame has no rows", reason="MISSING_INPUT", field="inputs")
    for index, row in enumerate(rows):
        if type(row) is not list or len(cast("list[Any]", row)) != len(names):
            raise InvalidInput(f"row {index} must be a list of {len(names)} values, one a column", reason="SHAPE_MISMATCH", field="inputs")
    if all(name in signature.input_index for name in names):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInput(f"the data frame has column {twice!r} twice", reason="DUPLICATE_INPUT", field=twice)
        return columns_of(signature, [dict(zip(names, row, strict=True)) for row in rows])
    if len(signature.inputs) == 1:
        return columns_of(signature, list(rows))
    known = ", ".join(spec.name for spec in signature.inputs[:16])
    raise InvalidInput(f"the columns must be named as the model's inputs: {known}", reason="UNKNOWN_INPUT", field="inputs")


def csv_frame(signature: Signature, body: bytes, *, has_header: bool | None = None) -> Columns:
    """Return the inputs of a CSV document.

    Args:
        signature: says what the fields are.
        body: UTF-8.
        has_header: whether the first line names the columns; None to judge by its fields.

    Raises:
        MalformedBody: not UTF-8, or no lines.
        InvalidInput: a field is not what its input takes.
        RequestTooLarge: too many fields.
    """
    if body.count(b",") + body.count(b"\n") > VALUES_LIMIT:
        raise RequestTooLarge(f"more than {VALUES_LIMIT} fields in one CSV body: send less at once")
    csv.field_size_limit(sys.maxsize)  # Python's own is 128 KiB for the whole process; a body has its limit already
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode())) if line]
    except (UnicodeDecodeError, csv.Error):
        raise MalformedBody("the body is no CSV in UTF-8") from None
    if not lines:
        raise MalformedBody("the CSV body is empty")
    named = has_header if has_header is not None else not any(_is_value(field) for field in lines[0])
    names = lines[0] if named else [f"column {index}" for index in range(len(lines[0]))]
    rows = lines[1:] if named else lines
    types = _types(signature, names)
    # Fields beyond the names count: `framed` refuses their row.
    return framed(signature, names, [[_value(field, kind) for field, kind in zip_longest(row, types[: len(row)])] for row in rows])


def _types(signature: Signature, names: Sequence[str]) -> list[DataType]:
    if all(name in signature.input_index for name in names):
        return [signature.inputs[signature.input_index[name]].datatype for name in names]
    return [signature.inputs[0].datatype] * len(names)


def _value(field: str, kind: DataType | None) -> Any:
    """Return a field as the JSON value it stands for; without a kind it stays as it is."""
    if kind is None or kind is DataType.BYTES:
        return field
    try:
        if kind is DataType.BOOL:
            return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}[field.strip()]
        return _number(field) if kind.is_floating else _whole(field)
    except (ValueError, KeyError):
        raise InvalidInput(f"a CSV field is no {kind.value}", reason="DTYPE_MISMATCH", field="inputs") from None


def _number(field: str) -> float:
    """Read a fraction. Python's own digits (`1_000`, those of other scripts) and what overflows to infinity are none."""
    value = float(field)
    if not _WRITTEN.fullmatch(field) or (isinf(value) and "inf" not in field.lower()):
        raise ValueError(field)
    return value


def _whole(field: str) -> int:
    if not _WRITTEN.fullmatch(field):
        raise ValueError(field)
    return int(field)


def _is_value(field: str) -> bool:
    if field.strip() in (*_TRUE, *_FALSE):
        return True
    try:
        _number(field)
    except ValueError:
        return False
    return True


def _object(field: str, given: Any) -> dict[str, Any]:
    if type(given) is not dict:
        raise InvalidInput(f"{field!r} must be an object, not {kind_of(given)}", reason="SHAPE_MISMATCH", field=field)
    return cast("dict[str, Any]", given)


def _list(field: str, given: Any) -> list[Any]:
    if type(given) is not list:
        raise InvalidInput(f"{field!r} must be a list, not {kind_of(given)}", reason="SHAPE_MISMATCH", field=field)
    return cast("list[Any]", given)
