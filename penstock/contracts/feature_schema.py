"""The columns that a version was trained on: their order, names, types and units. Pure.

A version says in its `model.toml` which columns it expects. Whoever brings features (a feature view, a table, a stream) says which ones it
gives. The two are compared when the version is deployed, not when the first request comes: a model does not notice that its columns have
changed places.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from penstock.contracts.errors import Conflict
from penstock.contracts.model_config_checks import require
from penstock.contracts.signature import ANY, Signature, TensorSpec
from penstock.contracts.tensors import DataType

MAX_COLUMNS = 10_000
NAME_LIMIT = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureColumn:
    """One column."""

    name: str
    datatype: DataType
    unit: str = ""
    """What the numbers count, for example `EUR` or `year`; empty for what has none."""

    def __post_init__(self) -> None:
        """Refuse names and units that are empty, long or not printable."""
        good = 0 < len(self.name) <= NAME_LIMIT and self.name.isprintable()
        require(good, "features.columns", f"{self.name[:40]!r} is no name: use 1 to {NAME_LIMIT} printable characters")
        good = len(self.unit) <= NAME_LIMIT and self.unit.isprintable()
        require(good, "features.columns", f"the unit of {self.name[:40]!r} is not printable, or longer than {NAME_LIMIT}")

    def __str__(self) -> str:
        """Return for example `age INT64 year`."""
        return f"{self.name} {self.datatype.value} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSchema:
    """All columns, in their order."""

    columns: tuple[FeatureColumn, ...]
    view: str = ""
    """Name of where they come from; for people, and for whoever looks them up. No part of the hash."""

    def __post_init__(self) -> None:
        """Refuse none, too many, or two of one name."""
        require(0 < len(self.columns) <= MAX_COLUMNS, "features.columns", f"name 1 to {MAX_COLUMNS} columns, got {len(self.columns)}")
        names = [column.name for column in self.columns]
        twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        require(twice is None, "features.columns", f"{twice!r} is there twice")
        require(len(self.view) <= NAME_LIMIT and self.view.isprintable(), "features.view", "is not printable, or too long")

    @property
    def hash(self) -> str:
        """SHA-256 of the columns' names, types and units in their order, in hexadecimal."""
        content = [[column.name, column.datatype.value, column.unit] for column in self.columns]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode("ascii")).hexdigest()


def check_offered(expected: FeatureSchema, offered: FeatureSchema) -> None:
    """Refuse features that are not those that a version was trained on.

    Raises:
        Conflict: with the reason FEATURE_SCHEMA_MISMATCH; the message names the first difference.
    """
    for place, (wanted, given) in enumerate(zip(expected.columns, offered.columns, strict=False)):
        if wanted != given:
            known = next((index for index, column in enumerate(offered.columns) if column == wanted), None)
            advice = f"it is column {known} there" if known is not None else "it is not there"
            raise _mismatch(f"column {place} has to be {str(wanted)!r}, but {str(given)!r} is offered; {advice}")
    if len(expected.columns) != len(offered.columns):
        raise _mismatch(f"{len(expected.columns)} columns are expected, {len(offered.columns)} are offered")


def check_signature(schema: FeatureSchema, signature: Signature) -> None:
    """Refuse a schema that the version's own inputs contradict.

    Either every required input is a column, of the same type; or one input takes all columns as its last dimension.

    Raises:
        Conflict: with the reason FEATURE_SCHEMA_MISMATCH.
    """
    required = [spec for spec in signature.inputs if not spec.optional]
    columns = {column.name: column for column in schema.columns}
    if {spec.name for spec in required} == set(columns):
        for spec in required:
            wanted = columns[spec.name].datatype
            if spec.datatype is not wanted:
                raise _mismatch(f"the feature {spec.name[:80]!r} is {wanted.value}, but the model's input is {spec.datatype.value}")
        return
    if len(required) != 1:
        names = ", ".join(spec.name for spec in required)[:80]
        raise _mismatch(f"{len(columns)} features fit neither one input nor the inputs {names}: name one column an input")
    _check_row(schema, required[0])


def _check_row(schema: FeatureSchema, spec: TensorSpec) -> None:
    width = spec.shape[-1] if spec.shape else 1
    if width not in (ANY, len(schema.columns)):
        raise _mismatch(f"the model's input {spec.name[:80]!r} takes {width} features, but {len(schema.columns)} are named")
    for column in schema.columns:
        if (column.datatype is DataType.BYTES) != (spec.datatype is DataType.BYTES):
            raise _mismatch(f"the feature {str(column)!r} cannot be in the model's input {spec.name[:80]!r} of {spec.datatype.value}")


def _mismatch(message: str) -> Conflict:
    return Conflict(f"features: {message}", reason="FEATURE_SCHEMA_MISMATCH", field="features")
