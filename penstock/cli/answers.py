"""Answers of a model in the shape of the REST call: an object of named outputs for each row."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from penstock.cli import terminal
from penstock.cli.model_views import Document
from penstock.cli.table import table
from penstock.client import Prediction
from penstock.contracts.signature import Signature
from penstock.contracts.tensors import AnyArray, DataType, bf16_to_fp32

SHOWN_VALUES = 6
"""Longest vector that a table shows whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model answered, and how long that took."""

    prediction: Prediction
    rows: list[dict[str, Any]]
    latency_ms: float

    def document(self) -> Document:
        """Return it for printing."""
        return {
            "model": self.prediction.model,
            "version": self.prediction.version,
            "request_id": self.prediction.request_id,
            "outputs": self.rows,
            "latency_ms": round(self.latency_ms, 3),
        }

    def text(self) -> str:
        """Return it for people."""
        heads = tuple(self.rows[0]) if self.rows else ()
        rows = [(index, *map(_shown, row.values())) for index, row in enumerate(self.rows)]
        request = f", request {self.prediction.request_id}" if self.prediction.request_id else ""
        count = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
        summary = f"{self.prediction.model}@{self.prediction.version}: {count} in {self.latency_ms:.3g} ms{request}"
        return f"{summary}\n\n{table(('row', *heads), rows, width=terminal.width())}"


def rows_of(outputs: Mapping[str, AnyArray], signature: Signature) -> list[dict[str, Any]]:
    """Return an object of named outputs for each row; one for all when the outputs have no rows."""
    types = {spec.name: spec.datatype for spec in signature.outputs}
    columns = {name: _plain(array, types.get(name)) for name, array in outputs.items()}
    sizes = {array.shape[:1] for array in outputs.values()}
    if not signature.has_batch_dimension or len(sizes) != 1 or () in sizes:
        return [columns]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(array: AnyArray, datatype: DataType | None) -> Any:
    """Return nested lists of numbers and texts; bytes that are no text become {"b64": "…"}."""
    if datatype is DataType.BF16:
        array = bf16_to_fp32(array)
    if array.dtype.kind == "O":
        return _texts(array.tolist())
    # The shortest text of a float32 is half as long as that of the same number as a float64.
    is_short = array.dtype.kind == "f" and array.dtype.itemsize < 8
    return array.astype("U").astype(np.float64).tolist() if is_short else array.tolist()


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(one) for one in cast("list[Any]", value)]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode("ascii")}


def _shown(value: Any) -> Any:
    """Return a cell: a bare value for a list of one, the ends of a long list."""
    if not isinstance(value, list):
        return value
    values = cast("list[Any]", value)
    if len(values) == 1:
        return _shown(values[0])
    kept = values if len(values) <= SHOWN_VALUES else [*values[: SHOWN_VALUES - 1], "…", values[-1]]
    size = f" ({len(values)})" if len(values) > SHOWN_VALUES else ""
    return f"[{' '.join(f'{one:.3g}' if isinstance(one, float) else str(_shown(one)) for one in kept)}]{size}"
