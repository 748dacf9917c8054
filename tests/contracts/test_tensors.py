"""Tensors to bytes and back."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.contracts.errors import InvalidInput
from penstock.contracts.tensors import (
    DataType,
    Tensor,
    bf16_to_fp32,
    datatype_named,
    datatype_of,
    decode,
    element_count,
    encode,
    fp32_to_bf16,
    join_bytes,
    split_bytes,
)

NUMBERS = [kind for kind in DataType if kind is not DataType.BYTES]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@given(st.data(), st.sampled_from(NUMBERS))
def test_numbers_survive_the_wire_bit_by_bit(draw: st.DataObject, kind: DataType):
    array = draw.draw(hnp.arrays(kind.dtype, draw.draw(SHAPES)))

    back = decode("x", kind, array.shape, encode(array, kind))
    assert back.tobytes() == array.tobytes()
    assert back.shape == array.shape
    assert not back.flags.writeable


@given(st.lists(st.binary(max_size=20), max_size=12))
def test_bytes_elements_survive_the_wire(elements: list[bytes]):
    assert split_bytes("x", len(elements), join_bytes(elements)) == elements


@given(st.binary(max_size=64), st.integers(0, 8))
def test_any_bytes_are_elements_or_a_typed_refusal(raw: bytes, count: int):
    try:
        elements = split_bytes("x", count, raw)
    except InvalidInput:
        return

    assert join_bytes(elements) == raw
    assert len(elements) == count


def test_decoding_and_encoding_numbers_copies_nothing():
    array = np.arange(12, dtype="<f4").reshape(3, 4)
    wire = encode(array)

    assert np.shares_memory(decode("x", DataType.FP32, (3, 4), wire), array)


def test_a_transposed_or_big_endian_array_is_sent_row_major_little_endian():
    array = np.arange(6, dtype=">i4").reshape(2, 3).T

    assert bytes(encode(array, DataType.INT32)) == struct.pack("<6i", 0, 3, 1, 4, 2, 5)


def test_texts_travel_as_utf8():
    assert bytes(encode(np.array(["ä"], dtype=object))) == b"\x02\x00\x00\x00\xc3\xa4"
    assert datatype_of(np.array(["ä"])) is DataType.BYTES


def test_an_empty_tensor_is_empty_bytes():
    assert bytes(encode(np.empty((0, 4), dtype=np.float32))) == b""
    assert decode("x", DataType.FP32, (0, 4), b"").shape == (0, 4)


@pytest.mark.parametrize(
    ("kind", "shape", "raw", "reason"),
    [
        (DataType.FP32, (1, 2), b"\0" * 4, "BYTE_COUNT"),
        (DataType.FP32, (1, 2), b"\0" * 12, "BYTE_COUNT"),
        (DataType.FP32, (1, 2), b"", "BYTE_COUNT"),
        (DataType.BOOL, (2,), b"\0\2", "BAD_VALUE"),
        (DataType.FP32, (-1, 2), b"", "SHAPE_MISMATCH"),
        (DataType.FP32, (2**4, 2**60 + 2), b"", "SHAPE_MISMATCH"),
        (DataType.FP32, (4, 2**60 + 2), b"", "SHAPE_MISMATCH"),
        (DataType.FP32, (1,) * 1000, b"\0" * 4, "SHAPE_MISMATCH"),
        (DataType.BYTES, (1,), b"\1\0\0", "BYTE_COUNT"),
        (DataType.BYTES, (1,), b"\xff\xff\xff\xff", "BYTE_COUNT"),
        (DataType.BYTES, (1,), b"\2\0\0\0a", "BYTE_COUNT"),
        (DataType.BYTES, (1,), b"\0\0\0\0\0\0\0\0", "BYTE_COUNT"),
    ],
)
def test_bytes_that_do_not_fit_the_shape_are_refused(kind: DataType, shape: tuple[int, ...], raw: bytes, reason: str):
    with pytest.raises(InvalidInput) as refused:
        decode("x", kind, shape, raw)

    assert refused.value.reason == reason


def test_a_tensor_with_the_wrong_bytes_cannot_be_made():
    with pytest.raises(InvalidInput, match="needs 8"):
        Tensor(name="x", datatype=DataType.FP32, shape=(2,), raw=b"")


@pytest.mark.parametrize("name", ["FP33", "fp32", "", "TYPE_FP32"])
def test_unknown_types_are_refused_with_the_known_ones(name: str):
    with pytest.raises(InvalidInput, match="BF16"):
        datatype_named(name, field="x")


def test_complex_numbers_have_no_wire_type():
    with pytest.raises(InvalidInput):
        datatype_of(np.array([1j]))


@given(hnp.arrays(np.uint16, 16))
def test_bf16_widens_and_narrows_without_loss(bits: np.ndarray):
    wide = bf16_to_fp32(bits)
    back = fp32_to_bf16(wide)

    finite = ~np.isnan(wide)
    assert (back[finite] == bits[finite]).all()
    assert np.isnan(bf16_to_fp32(back[~finite])).all()


def test_bf16_rounds_to_nearest_even():
    assert fp32_to_bf16(np.array([1.0 + 2**-8, 1.0 + 3 * 2**-8], dtype=np.float32)).tolist() == [0x3F80, 0x3F82]


def test_a_scalar_has_one_element():
    assert element_count(()) == 1


def test_a_scalar_stays_one_on_its_way_to_bf16_and_back():
    bits = fp32_to_bf16(np.array(-1.5, dtype=np.float32))

    assert bits.shape == bf16_to_fp32(bits).shape == ()
    assert bf16_to_fp32(bits).tolist() == -1.5
