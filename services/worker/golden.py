"""Golden examples: inputs whose outputs are known. A version that answers otherwise is not served."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, LoadFailed, ServingError
from penstock.contracts.model_config import GoldenExample
from penstock.contracts.signature import GivenInput, TensorSpec, check_inputs, check_outputs
from penstock.contracts.tensors import AnyArray, DataType, bf16_to_fp32, fp32_to_bf16
from services.worker.trial import Trial, failed

DEFAULT_FILE = "golden.json"
"""Read from the version's folder when it is there, whether the configuration names it or not."""

MAX_BYTES = 64 << 20
"""Largest file of an example."""

Texts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """An example as it was read."""

    inputs: Mapping[str, AnyArray]
    outputs: Mapping[str, AnyArray]
    absolute_tolerance: float
    relative_tolerance: float


def check_golden(trial: Trial, examples: tuple[GoldenExample, ...], folder: Path) -> int:
    """Run every example and compare; return how many there were.

    Raises:
        LoadFailed: an answer differs by more than the tolerance (the message has the numbers), or the model failed.
        InvalidInput: an example does not fit the model's signature, or is no valid file.
        ArtifactCorrupt: a file cannot be read.
    """
    named = {example.file for example in examples}
    if DEFAULT_FILE not in named and (folder / DEFAULT_FILE).is_file():
        examples = (*examples, GoldenExample(file=DEFAULT_FILE))
    for example in examples:
        expectation = read_expectation(trial, example, folder)
        try:
            answers = trial.run(expectation.inputs)
        except ServingError as error:
            raise failed(f"golden example {example.file!r}", error) from error
        for name, expected in expectation.outputs.items():
            is_bf16 = _spec(trial.signature.outputs, name).datatype is DataType.BF16
            got = bf16_to_fp32(answers[name]) if is_bf16 else answers[name]
            _compare(f"golden example {example.file!r}: output {name!r}", expected, got, expectation)
    return len(examples)


def read_expectation(trial: Trial, example: GoldenExample, folder: Path) -> Expectation:
    """Read an example; tolerances in the file count before those of the configuration."""
    tree, name = _read(example.file, folder), example.file
    signature = trial.signature
    outputs = _table(tree, "outputs", name)
    try:
        inputs = {key: _array(_spec(signature.inputs, key), value) for key, value in _table(tree, "inputs", name).items()}
        check_inputs(signature, [_given(_spec(signature.inputs, key), one) for key, one in inputs.items()])
        check_outputs(signature, list(outputs))
        expected = {key: _expected(_spec(signature.outputs, key), value) for key, value in outputs.items()}
    except InvalidInput as error:
        raise InvalidInput(f"golden example {name!r}: {error.message}", reason=error.reason, field=error.field) from error
    return Expectation(
        inputs=inputs,
        outputs=expected,
        absolute_tolerance=_tolerance(tree, "absolute_tolerance", example.absolute_tolerance, name),
        relative_tolerance=_tolerance(tree, "relative_tolerance", example.relative_tolerance, name),
    )


def _given(spec: TensorSpec, array: AnyArray) -> GivenInput:
    return GivenInput(name=spec.name, datatype=spec.datatype.value, shape=array.shape)


def _tolerance(tree: Texts, key: str, configured: float, name: str) -> float:
    value = tree.get(key, configured)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise InvalidInput(f"golden example {name!r}: {key} must be a number of 0 or more, got {str(value)[:40]!r}", field=key)
    return float(value)


def _read(name: str, folder: Path) -> Texts:
    path = folder / name
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"golden example {name!r} has more than {MAX_BYTES} bytes", field=name)
        tree = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactCorrupt(f"golden example {name!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"golden example {name!r} is not JSON: {error}", field=name) from error
    if not isinstance(tree, dict):
        raise InvalidInput(f"golden example {name!r} is no JSON object", field=name)
    return cast("Texts", tree)


def _table(tree: Texts, key: str, name: str) -> Texts:
    table = tree.get(key)
    if not isinstance(table, dict) or not table:
        raise InvalidInput(f"golden example {name!r} needs an object {key!r} of nested lists by tensor name", field=name)
    return cast("Texts", table)


def _spec(specs: tuple[TensorSpec, ...], name: str) -> TensorSpec:
    found = next((spec for spec in specs if spec.name == name), None)
    if found is None:
        raise InvalidInput(f"it names {name!r}; the model has {', '.join(spec.name for spec in specs)}", field=name)
    return found


def _array(spec: TensorSpec, value: object) -> AnyArray:
    try:
        if spec.datatype is DataType.BYTES:
            return np.array(value, dtype=object)
        if spec.datatype is DataType.BF16:
            return fp32_to_bf16(np.array(value, dtype=np.float32))
        return np.array(value, dtype=spec.datatype.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(f"{spec.name!r} is no {spec.datatype.value} array: {error}", field=spec.name) from error


def _expected(spec: TensorSpec, value: object) -> AnyArray:
    """Return an output's array; BF16 as numbers, not as bit patterns."""
    array = _array(spec, value)
    return bf16_to_fp32(array) if spec.datatype is DataType.BF16 else array


def _compare(where: str, expected: AnyArray, got: AnyArray, tolerance: Expectation) -> None:
    if expected.shape != got.shape:
        raise LoadFailed(f"{where} has the shape {list(got.shape)} instead of {list(expected.shape)}")
    if expected.dtype == object:
        wrong: AnyArray = np.asarray([str(left) != str(right) for left, right in zip(expected.flat, got.flat, strict=True)], dtype=bool)
        if wrong.any():
            at = int(wrong.argmax())
            raise LoadFailed(
                f"{where}: {int(wrong.sum())} of {wrong.size} texts differ; at {at}: {got.flat[at]!r} instead of {expected.flat[at]!r}"
            )
        return
    _compare_numbers(where, expected.astype(np.float64), got.astype(np.float64), tolerance)


def _compare_numbers(where: str, expected: AnyArray, got: AnyArray, tolerance: Expectation) -> None:
    near = np.isclose(got, expected, rtol=tolerance.relative_tolerance, atol=tolerance.absolute_tolerance, equal_nan=True)
    if near.all():
        return
    with np.errstate(invalid="ignore"):
        distance = np.where(near, 0.0, np.nan_to_num(np.abs(got - expected), nan=np.inf))
    at = np.unravel_index(int(distance.argmax()), distance.shape)
    raise LoadFailed(
        f"{where}: {int((~near).sum())} of {near.size} numbers differ; worst at {[int(one) for one in at]}: {got[at]:.9g} instead of "
        f"{expected[at]:.9g} (absolute tolerance {tolerance.absolute_tolerance:g}, relative {tolerance.relative_tolerance:g})"
    )
