"""What CSV and data frames say reaches the model as it stands there, or is refused."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from services.router.tabular_inputs import csv_frame, split_frame


def taking(**inputs: DataType) -> Signature:
    outputs = (TensorSpec(name="y", datatype=DataType.FP32, shape=(-1, 1)),)
    return Signature(
        inputs=tuple(TensorSpec(name=name, datatype=kind, shape=(-1, 3 if len(inputs) == 1 else 1)) for name, kind in inputs.items()),
        outputs=outputs,
        max_batch_size=8,
    )


FRACTIONS, WHOLE, TRUTHS = taking(x=DataType.FP32), taking(x=DataType.INT64), taking(x=DataType.BOOL)
PAIR = taking(a=DataType.FP32, b=DataType.INT64)


@pytest.mark.parametrize(
    ("signature", "body", "columns"),
    [
        (FRACTIONS, b"1,2.5,-3e2", {"x": [[1.0, 2.5, -300.0]]}),
        (FRACTIONS, b" 1, +2 ,inf\n", {"x": [[1.0, 2.0, float("inf")]]}),
        (FRACTIONS, b"a,b,c\n1,2,3\n", {"x": [[1.0, 2.0, 3.0]]}),
        (WHOLE, b"9007199254740993,-1,0", {"x": [[9007199254740993, -1, 0]]}),
        (TRUTHS, b"true,false,TRUE\nFalse,1,0", {"x": [[True, False, True], [False, True, False]]}),
        (PAIR, b"b,a\n1,2.5", {"b": [1], "a": [2.5]}),
    ],
)
def test_csv_is_read(signature: Signature, body: bytes, columns: dict[str, Any]):
    assert csv_frame(signature, body) == columns


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        (FRACTIONS, b"1,2,3\n4,5,6,7"),
        (FRACTIONS, b"a,b,c\n1,2,3,4"),
        (FRACTIONS, b"1,2,1e400"),
        (FRACTIONS, b"1,2,3_000"),
        (FRACTIONS, "1,2,\u0663".encode()),
        (WHOLE, b"1,2,3_000"),
        (WHOLE, b"1,2,3.5"),
        (PAIR, b"a,a,b\n1,2,3"),
    ],
)
def test_csv_that_says_something_else_than_the_model_takes_is_refused(signature: Signature, body: bytes):
    with pytest.raises(InvalidInput):
        csv_frame(signature, body)


def test_a_field_may_be_as_long_as_a_body():
    texts, long = taking(a=DataType.BYTES, b=DataType.BYTES), "x" * 300_000

    assert csv_frame(texts, f"a,b\n{long},y\n".encode()) == {"a": [long], "b": ["y"]}


def test_a_data_frame_does_not_name_an_input_twice():
    with pytest.raises(InvalidInput, match="'a' twice"):
        split_frame(PAIR, {"columns": ["a", "a", "b"], "data": [[1, 2, 3]]})
