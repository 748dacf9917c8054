"""What was written down becomes arrays of the model's types, or is refused for a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from penstock.cli.csv_columns import inputs_of
from penstock.cli.input_arrays import arrays_of
from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType, bf16_to_fp32


def spec(name: str, datatype: DataType, *shape: int, optional: bool = False) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape, optional=optional)


def taking(*inputs: TensorSpec, max_batch_size: int = 8) -> Signature:
    return Signature(inputs=inputs, outputs=(), max_batch_size=max_batch_size)


VECTOR = taking(spec("x", DataType.FP32, -1, 2))
PAIR = taking(spec("a", DataType.INT32, -1, 1), spec("b", DataType.BOOL, -1, 1))


@given(np_st.arrays(np.float32, np_st.array_shapes(min_dims=2, max_dims=4), elements=st.floats(-1e6, 1e6, width=32)))
def test_rows_columns_bare_values_and_arrays_mean_the_same(array: Any):
    signature = taking(spec("x", DataType.FP32, *(-1 for _ in array.shape)))
    forms = [array, {"x": array}, {"x": array.tolist()}, array.tolist(), [{"x": row} for row in array.tolist()]]

    for form in forms:
        made = arrays_of(signature, form)["x"]
        assert made.dtype == np.float32
        assert np.array_equal(made, array)


@pytest.mark.parametrize(
    ("datatype", "values", "expected"),
    [
        (DataType.FP32, [1, 2.5], np.array([[1.0], [2.5]], np.float32)),
        (DataType.FP16, [0.5], np.array([[0.5]], np.float16)),
        (DataType.INT8, [-128, 127], np.array([[-128], [127]], np.int8)),
        (DataType.UINT64, [2**64 - 1], np.array([[2**64 - 1]], np.uint64)),
        (DataType.BOOL, [True, False], np.array([[True], [False]])),
    ],
)
def test_one_value_a_row_may_stand_without_its_list(datatype: DataType, values: list[Any], expected: Any):
    signature = taking(spec("x", datatype, -1, 1))

    for form in (values, [[value] for value in values], [{"x": value} for value in values]):
        made = arrays_of(signature, form)["x"]
        assert made.dtype == expected.dtype
        assert np.array_equal(made, expected)


def test_bf16_travels_as_bit_patterns():
    made = arrays_of(taking(spec("x", DataType.BF16, -1, 2)), [[1.5, -2.0]])["x"]

    assert made.dtype == np.uint16
    assert bf16_to_fp32(made).tolist() == [[1.5, -2.0]]


def test_large_and_small_integers_are_kept_together():
    made = arrays_of(taking(spec("x", DataType.UINT64, -1, 2)), [[2**64 - 1, 1], [2**53 + 1, 0]])["x"]

    assert made.dtype == np.uint64
    assert made.tolist() == [[2**64 - 1, 1], [2**53 + 1, 0]]


def test_texts_and_base64_are_bytes():
    made = arrays_of(taking(spec("x", DataType.BYTES, -1)), ["a", {"b64": "AP8="}])["x"]

    assert made.tolist() == [b"a", b"\x00\xff"]


def test_an_optional_input_may_stay_away():
    signature = taking(spec("x", DataType.FP32, -1, 2), spec("y", DataType.FP32, -1, 2, optional=True))

    assert list(arrays_of(signature, [[1, 2]])) == ["x"]


@pytest.mark.parametrize(
    ("signature", "given_inputs", "reason", "says"),
    [
        (VECTOR, "text", "SHAPE_MISMATCH", "a list of rows or an object of columns"),
        (VECTOR, [], "SHAPE_MISMATCH", "not empty"),
        (VECTOR, [[1, 2], [3]], "SHAPE_MISMATCH", "nested regularly"),
        (VECTOR, [["1", "2"]], "DTYPE_MISMATCH", "takes FP32, got texts"),
        (VECTOR, [[True, False]], "DTYPE_MISMATCH", "got booleans"),
        (VECTOR, [[1, None]], "DTYPE_MISMATCH", "got null"),
        (VECTOR, {"z": [[1, 2]]}, "UNKNOWN_INPUT", "Expected: x FP32[-1,2]"),
        (taking(spec("pixels", DataType.FP32, -1)), {"pixel": [1]}, "UNKNOWN_INPUT", "did you mean 'pixels'?"),
        (PAIR, [[1, 2]], "MISSING_INPUT", "inputs a, b: name them"),
        (PAIR, [{"a": 1, "b": True}, {"a": 1}], "MISSING_INPUT", "row 1"),
        (PAIR, {"a": [1.5], "b": [True]}, "DTYPE_MISMATCH", "takes INT32, got fractions"),
        (PAIR, {"a": [2**31], "b": [True]}, "BAD_VALUE", "outside the range of INT32"),
        (taking(spec("x", DataType.FP16, -1, 1)), [1e6], "BAD_VALUE", "outside the range of FP16"),
        (taking(spec("x", DataType.UINT64, -1)), [2**64, 1], "BAD_VALUE", "outside the range of UINT64"),
        (taking(spec("x", DataType.INT64, -1)), [2**63, -1], "BAD_VALUE", "outside the range of INT64"),
        (taking(spec("x", DataType.BYTES, -1)), [1], "DTYPE_MISMATCH", "takes texts"),
        (taking(spec("x", DataType.BYTES, -1)), [["a"], "b"], "SHAPE_MISMATCH", "nested regularly"),
        (taking(spec("x", DataType.BYTES, -1)), [{"b64": "?"}], "BAD_VALUE", "base64"),
        (taking(spec("x", DataType.FP32, 2), max_batch_size=0), [[1, 2], [3, 4]], "INVALID_ARGUMENT", "one row a request, got 2"),
    ],
)
def test_what_does_not_fit_is_refused(signature: Signature, given_inputs: Any, reason: str, says: str):
    with pytest.raises(InvalidInput, match=r".") as refused:
        arrays_of(signature, given_inputs)

    assert refused.value.reason == reason
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("signature", "lines", "expected"),
    [
        (VECTOR, [["1", "2"]], [[1.0, 2.0]]),
        (VECTOR, [["width", "height"], ["1", "2"]], [[1.0, 2.0]]),
        (PAIR, [["b", "a"], ["true", "3"], ["0", "4"]], {"b": [True, False], "a": [3, 4]}),
        (taking(spec("t", DataType.BYTES, -1)), [["hello"], ["you"]], ["hello", "you"]),
        (taking(spec("t", DataType.BYTES, -1)), [["t"], ["you"]], {"t": ["you"]}),
    ],
)
def test_lines_become_rows_or_columns(signature: Signature, lines: list[list[str]], expected: Any):
    assert inputs_of(signature, lines) == expected


@pytest.mark.parametrize(
    ("signature", "lines", "says"),
    [
        (VECTOR, [["1", "2"], ["3", "?"]], "line 2 of the CSV file: '?' is no FP32 of input 'x'"),
        (PAIR, [["a", "b", "label"], ["1", "true", "x"]], "column 'label', which is no input"),
        (PAIR, [["1", "true"]], "first line of the CSV file must name inputs of the model: a, b"),
        (PAIR, [["a", "b"], ["1", "maybe"]], "line 2 of the CSV file: 'maybe' is no BOOL"),
    ],
)
def test_lines_that_do_not_fit_are_refused(signature: Signature, lines: list[list[str]], says: str):
    with pytest.raises(InvalidInput, match=r".") as refused:
        inputs_of(signature, lines)

    assert says in refused.value.message
