"""Requests that would blow up when parsed are refused while they are bytes."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput
from penstock.oip.v2 import inference_pb2 as pb
from services.router.field_limits import INPUT_LIMIT, PARAMETER_LIMIT, SMALL_BYTES, check_counts
from services.router.scan import PARAMETER_BYTES, parse, scan

ECHO = b"\x0a\x04echo"
MEGABYTE = 1 << 20


def field(number: int, content: bytes) -> bytes:
    length, encoded = len(content), bytearray()
    while length > 127:
        encoded.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *encoded, length]) + content


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (ECHO + field(5, b"") * MEGABYTE, "BAD_VALUE"),
        (ECHO + field(6, b"") * MEGABYTE, "BAD_VALUE"),
        (ECHO + field(7, b"") * MEGABYTE, "BAD_VALUE"),
        (ECHO + field(4, b"") * MEGABYTE, "BAD_PARAMETER"),
        (ECHO + field(5, field(3, b"\1" * MEGABYTE)), "SHAPE_MISMATCH"),
        (ECHO + field(5, b"\x18\1" * MEGABYTE), "BAD_VALUE"),
        (ECHO + field(5, field(4, b"") * MEGABYTE), "BAD_VALUE"),
        (ECHO + field(6, field(2, b"") * MEGABYTE), "BAD_VALUE"),
        (ECHO + b"\x98\x06\x01" * MEGABYTE, "MALFORMED"),
        (ECHO + b"\xaa\x80\x00\x00" * MEGABYTE, "BAD_VALUE"),
        (b"\x7b\x7c" * MEGABYTE + ECHO, "MALFORMED"),
    ],
    ids=[
        "inputs", "outputs", "tensors", "parameters", "a shape", "a shape's sizes one by one", "an input's parameters",
        "an output's parameters", "unknown fields", "inputs under a longer tag", "groups",
    ],
)  # fmt: skip
def test_too_many_of_anything_are_refused_before_they_are_parsed(payload: bytes, reason: str):
    started_at = time.process_time()
    with pytest.raises(InvalidInput) as refused:
        parse(payload)

    assert refused.value.reason == reason
    assert time.process_time() - started_at < 0.05


def test_as_many_as_are_allowed_are_parsed():
    request = pb.ModelInferRequest(model_name="m" * SMALL_BYTES)
    for number in range(INPUT_LIMIT):
        request.inputs.add(name=f"x{number}", datatype="FP32", shape=[1, 2, 3]).parameters["binary_data_size"].int64_param = 24
        request.outputs.add(name=f"y{number}")
        request.raw_input_contents.append(b"\0" * 24)
    for number in range(PARAMETER_LIMIT):
        request.parameters[f"p{number}"].bool_param = True

    assert parse(request.SerializeToString()) == request


@given(st.binary(max_size=200))
def test_any_bytes_are_counted_or_left_to_the_parser(some: bytes):
    for payload in (some + b"\0" * SMALL_BYTES, field(5, some + b"\0" * SMALL_BYTES)):
        with suppress(InvalidInput):
            check_counts(payload)


def test_parameters_without_end_are_not_scanned_and_so_not_remembered():
    assert scan(ECHO + field(4, b"") * PARAMETER_LIMIT + field(5, b"")) is not None
    assert scan(ECHO + field(4, b"") * (PARAMETER_BYTES // 2 + 2) + field(5, b"")) is None
