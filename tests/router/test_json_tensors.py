import base64

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput, OutputContract, RequestTooLarge
from penstock.contracts.tensors import DataType, bf16_to_fp32, decode, encode
from services.router.json_tensors import array_of, dumps, nested_shape, pack, plain

WHOLE = [kind for kind in DataType if not kind.is_floating and kind not in (DataType.BOOL, DataType.BYTES)]
REAL = [kind for kind in DataType if kind.is_floating]


def packed(kind, shape, values):
    return decode("x", kind, shape, pack("x", kind, shape, values))


@pytest.mark.parametrize("kind", WHOLE)
def test_integers_survive_at_both_ends_of_their_range(kind):
    limits = np.iinfo(kind.dtype)

    assert packed(kind, (2,), [int(limits.min), int(limits.max)]).tolist() == [limits.min, limits.max]


@pytest.mark.parametrize("text", [b"[18446744073709551616]", b"[-9223372036854775809]"])
@pytest.mark.parametrize("kind", [DataType.INT64, DataType.UINT64])
def test_integers_beyond_64_bits_are_not_called_fractions(kind, text):
    with pytest.raises(InvalidInput, match="outside the range") as refused:
        pack("x", kind, (1,), orjson.loads(text))
    assert refused.value.reason == "BAD_VALUE"


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("step", [-1, 1])
def test_integers_outside_their_range_are_refused_with_their_position(kind, step):
    limits = np.iinfo(kind.dtype)
    value = int(limits.max) + 1 if step > 0 else int(limits.min) - 1

    with pytest.raises(InvalidInput, match="value 1 is outside the range") as refused:
        pack("x", kind, (3,), [0, value, 0])
    assert refused.value.reason == "BAD_VALUE"


@pytest.mark.parametrize("kind", REAL)
def test_reals_take_integers_and_fractions(kind):
    array = packed(kind, (2,), [3, 0.5])

    assert (bf16_to_fp32(array) if kind is DataType.BF16 else array).tolist() == [3.0, 0.5]


@pytest.mark.parametrize(
    ("kind", "value"), [(DataType.FP32, 1e39), (DataType.FP16, 70000), (DataType.BF16, 3.4e38 * 1.01), (DataType.FP32, 10**40)]
)
def test_reals_that_would_become_infinite_are_refused(kind, value):
    with pytest.raises(InvalidInput, match="outside the range"):
        pack("x", kind, (1,), [value])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DataType.FP32, True), (DataType.FP32, "1"), (DataType.FP32, None), (DataType.FP32, {}), (DataType.INT32, 1.0),
        (DataType.INT8, True), (DataType.BOOL, 1), (DataType.BOOL, "true"), (DataType.BYTES, 1),
        (DataType.BYTES, None), (DataType.INT64, "7"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(kind, value):
    with pytest.raises(InvalidInput) as refused:
        pack("x", kind, (1,), [value])

    assert refused.value.reason == "DTYPE_MISMATCH"


def test_bools_and_texts_and_base64_are_taken():
    assert packed(DataType.BOOL, (3,), [True, False, True]).tolist() == [True, False, True]
    assert packed(DataType.BYTES, (2,), ["grün", {"b64": base64.b64encode(b"\xff\x00").decode()}]).tolist() == [
        "grün".encode(),
        b"\xff\x00",
    ]


@pytest.mark.parametrize("value", [{"b64": "*"}, {"b64": 1}, {"b64": "AA==", "more": 1}, {"other": "AA=="}, {}])
def test_broken_base64_is_refused(value):
    with pytest.raises(InvalidInput):
        pack("x", DataType.BYTES, (1,), [value])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_nested_values_are_read_in_row_major_order(shape):
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)

    assert pack("x", DataType.INT32, tuple(shape), array.tolist()) == array.tobytes()
    assert pack("x", DataType.INT32, tuple(shape), array.ravel().tolist()) == array.tobytes()


@pytest.mark.parametrize(
    "values",
    [[[1, 2], [3]], [[1, 2], 3], [1, [2, 3]], [[1, 2, 3], [4, 5, 6]], [[[1], [2]], [[3], [4]]], [1, 2, 3], [1] * 5, [], 1, "1234", None],
)
def test_values_that_do_not_fill_the_shape_are_refused(values):
    with pytest.raises(InvalidInput) as refused:
        pack("x", DataType.INT32, (2, 2), values)

    assert refused.value.reason == "SHAPE_MISMATCH"


def test_empty_tensors_and_scalars_are_tensors():
    assert pack("x", DataType.FP32, (0, 4), []) == b""
    assert pack("x", DataType.INT8, (), 7) == b"\x07"


@pytest.mark.parametrize("shape", [(-1, 2), (2**60, 2**60), (1,) * 1000])
def test_impossible_shapes_are_refused_before_anything_is_allocated(shape):
    with pytest.raises(InvalidInput):
        pack("x", DataType.FP32, shape, [])


def test_a_shape_beyond_the_limit_is_too_large_whatever_the_values_are():
    with pytest.raises(RequestTooLarge):
        pack("x", DataType.FP64, (2**24,), [])


@pytest.mark.parametrize("kind", list(DataType))
def test_every_data_type_comes_back_out_as_json(kind):
    values = ["a", "b"] if kind is DataType.BYTES else [True, False] if kind is DataType.BOOL else [1, 2]
    array = array_of("x", kind, (2,), pack("x", kind, (2,), values))

    assert orjson.loads(dumps(plain(array))) == values


def test_numbers_are_written_as_short_as_their_type_allows_and_not_finite_ones_as_null():
    raw = bytes(encode(np.array([0.1, np.nan, np.inf, -np.inf], dtype=np.float32)))

    assert dumps(plain(array_of("x", DataType.FP32, (4,), raw))) == b"[0.1,null,null,null]"


def test_bytes_that_are_no_text_ask_for_the_binary_form():
    with pytest.raises(InvalidInput, match="binary form") as refused:
        array_of("x", DataType.BYTES, (1,), b"\x01\x00\x00\x00\xff")

    assert refused.value.reason == "NOT_TEXT"


def test_an_output_that_does_not_fit_its_shape_is_our_fault():
    with pytest.raises(OutputContract):
        array_of("x", DataType.FP32, (2,), b"1234")


@pytest.mark.parametrize(
    ("values", "rank", "shape"), [([[1, 2], [3, 4]], 2, (2, 2)), ([[]], 2, (1, 0)), ([], 3, (0, 0, 0)), (5, 0, ()), ([[[1]]], 2, (1, 1))]
)
def test_the_shape_of_nested_values_is_read_off_their_first_elements(values, rank, shape):
    assert nested_shape("x", values, rank) == shape


def test_too_few_levels_are_refused():
    with pytest.raises(InvalidInput, match="2 levels"):
        nested_shape("x", [1, 2], 2)
