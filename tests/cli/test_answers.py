"""Answers become rows of plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penstock.cli.answers import Answer, rows_of
from penstock.client import Prediction
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType, fp32_to_bf16


def giving(datatype: DataType = DataType.FP32, *, max_batch_size: int = 8) -> Signature:
    return Signature(inputs=(), outputs=(TensorSpec(name="y", datatype=datatype, shape=(-1, 2)),), max_batch_size=max_batch_size)


def test_each_row_has_every_output():
    outputs = {"y": np.array([[1, 2], [3, 4]], np.float32), "label": np.array([7, 8])}

    assert rows_of(outputs, giving()) == [{"y": [1.0, 2.0], "label": 7}, {"y": [3.0, 4.0], "label": 8}]


@pytest.mark.parametrize(
    ("outputs", "signature"),
    [
        ({"y": np.array([[1, 2], [3, 4]])}, giving(max_batch_size=0)),
        ({"y": np.array([[1, 2], [3, 4]]), "z": np.array([1])}, giving()),
        ({"y": np.array(5)}, giving()),
    ],
)
def test_outputs_without_common_rows_stay_whole(outputs: Any, signature: Signature):
    assert rows_of(outputs, signature) == [{name: array.tolist() for name, array in outputs.items()}]


def test_floats_are_as_long_as_they_have_to_be():
    outputs = {"y": np.array([[0.1, 1e-7]], np.float32)}

    assert rows_of(outputs, giving()) == [{"y": [0.1, 1e-07]}]


def test_bf16_is_widened_because_the_signature_says_so():
    outputs = {"y": fp32_to_bf16(np.array([[1.5, -2.0]], np.float32))}

    assert rows_of(outputs, giving(DataType.BF16)) == [{"y": [1.5, -2.0]}]
    assert rows_of(outputs, giving(DataType.UINT16)) == [{"y": [16320, 49152]}]


def test_a_table_shows_the_ends_of_long_vectors():
    prediction = Prediction(model="m", version="1", outputs={}, request_id="r")
    rows = [{"y": [float(number) for number in range(100)], "label": [3], "text": "a", "m": [[1, 2], [3, 4]]}]

    assert Answer(prediction=prediction, rows=rows, latency_ms=1.2345).text().splitlines() == [
        "m@1: 1 row in 1.23 ms, request r",
        "",
        "ROW  Y                       LABEL  TEXT  M",
        "  0  [0 1 2 3 4 … 99] (100)      3  a     [[1 2] [3 4]]",
    ]
