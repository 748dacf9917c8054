"""Values given as lists become what the model takes, or are refused; nothing else is made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from penstock.client.encoding import Call, named_arrays, needs_signature, request_of
from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import DataType, bf16_to_fp32


def taking(datatype: DataType) -> tuple[TensorSpec, ...]:
    return (TensorSpec(name="x", datatype=datatype, shape=(-1,)),)


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        (DataType.INT64, [1, 1.5]),
        (DataType.INT64, ["7"]),
        (DataType.UINT8, [256]),
        (DataType.UINT8, [-1]),
        (DataType.UINT64, [2**64]),
        (DataType.BOOL, [2]),
        (DataType.BOOL, ["yes"]),
        (DataType.FP16, [70_000.0]),
        (DataType.FP32, [1e39]),
        (DataType.BF16, [3.4e38]),
        (DataType.BF16, [1e39]),
        (DataType.BYTES, [1]),
    ],
)
def test_values_that_the_type_cannot_hold_are_refused(datatype: DataType, values: list[Any]):
    with pytest.raises(InvalidInput):
        sent(datatype, values)


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        (DataType.INT64, [2**63 - 1, -(2**63), 2**53 + 1]),
        (DataType.UINT64, [2**64 - 1, 1]),
        (DataType.BOOL, [True, False]),
        (DataType.FP16, [1.5, math.inf]),
        (DataType.FP64, [0.1, -math.inf]),
        (DataType.INT32, []),
    ],
)
def test_values_that_fit_are_kept(datatype: DataType, values: list[Any]):
    (kind, array) = named_arrays(values, taking(datatype))["x"]

    assert (kind, array.dtype, array.tolist()) == (datatype, datatype.dtype, values)


def test_lists_for_bf16_are_values():
    (kind, array) = named_arrays([1.5, -2, math.inf], taking(DataType.BF16))["x"]

    assert (kind, bf16_to_fp32(array).tolist()) == (DataType.BF16, [1.5, -2.0, math.inf])


@pytest.mark.parametrize("datatype", [DataType.BF16, DataType.UINT16])
def test_arrays_of_16_bits_are_what_the_model_takes(datatype: DataType):
    bits = np.array([0x3FC0], dtype=np.uint16)

    assert needs_signature({"x": bits})
    assert named_arrays({"x": bits}, taking(datatype))["x"][0] is datatype


def sent(datatype: DataType, values: list[Any]) -> bytes:
    return request_of(Call(model="m", inputs=values), named_arrays(values, taking(datatype)))
