"""Varints as protobuf writes and reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.varint import read_varint, varint
from penstock.oip.v2 import inference_pb2 as pb


@given(st.integers(0, 2**64 - 1))
def test_a_number_is_written_as_protobuf_writes_it_and_read_back(number: int):
    written = varint(number)

    assert b"\x28" + written == pb.InferParameter(uint64_param=number).SerializeToString()
    assert read_varint(b"\x00" + written + b"\x7f", 1) == (number, 1 + len(written))


def test_a_number_that_is_cut_or_endless_is_none():
    with pytest.raises(IndexError):
        read_varint(b"\x80\x80", 0)
    with pytest.raises(ValueError, match="too long"):
        read_varint(b"\x80" * 11, 0)
