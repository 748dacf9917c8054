"""The rows of the tensor matrix: requests that must be refused, each built as a ModelInferRequest, and how they are refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from penstock.oip.v2 import inference_pb2 as pb

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, 400)
MISSING = (grpc.StatusCode.NOT_FOUND, 404)


def request(*tensors: tuple[str, str, list[int], bytes], model: str = "echo", **fields: Any) -> pb.ModelInferRequest:
    asked = pb.ModelInferRequest(model_name=model, **fields)
    for name, datatype, shape, raw in tensors:
        asked.inputs.add(name=name, datatype=datatype, shape=shape)
        asked.raw_input_contents.append(raw)
    return asked


def x(
    shape: list[int] | None = None, raw: bytes | None = None, datatype: str = "FP32", name: str = "x"
) -> tuple[str, str, list[int], bytes]:
    shape = [1, 4] if shape is None else shape
    size = int(np.prod(shape)) if raw is None else 0
    return (name, datatype, shape, b"\0" * (4 * size) if raw is None else raw)


def ab(a: list[int], b: list[int]) -> pb.ModelInferRequest:
    return request(x(a, name="a"), x(b, name="b"), model="pair")


def with_outputs(*names: str) -> pb.ModelInferRequest:
    asked = request(x())
    for name in names:
        asked.outputs.add(name=name)
    return asked


def with_parameters(model: str = "echo", **values: Any) -> pb.ModelInferRequest:
    asked = request(x(), model=model)
    for name, (kind, value) in values.items():
        setattr(asked.parameters[name.replace("__", ".")], kind, value)
    return asked


def many_parameters() -> pb.ModelInferRequest:
    asked = request(x())
    for number in range(10_000):
        asked.parameters[f"p{number}"].bool_param = True
    return asked


def typed(datatype: str, field: str, values: list[Any], model: str) -> pb.ModelInferRequest:
    asked = pb.ModelInferRequest(model_name=model)
    getattr(asked.inputs.add(name="x", datatype=datatype, shape=[1, 4]).contents, field).extend(values)
    return asked


@dataclass(frozen=True)
class Row:
    """One bad request."""

    name: str
    build: Callable[[], pb.ModelInferRequest]
    reason: str
    codes: tuple[grpc.StatusCode, int] = INVALID
    faces: str = "grpc http"
    says: str = ""
    """Stands in the message."""


BYTES_CUT = struct.pack("<I", 2**32 - 1)

ROWS = [
    Row("V1 no inputs", request, "MISSING_INPUT"),
    Row("V2 one of two inputs missing", lambda: request(x([1, 2], name="a"), model="pair"), "MISSING_INPUT"),
    Row("V3 unknown extra input", lambda: request(x(), x(name="z")), "UNKNOWN_INPUT"),
    Row("V4 input twice", lambda: request(x(), x()), "DUPLICATE_INPUT"),
    Row("V5 empty input name", lambda: request(x(name="")), "UNKNOWN_INPUT"),
    Row("V5 NUL in input name", lambda: request(x(name="x\0")), "UNKNOWN_INPUT"),
    Row("V5 input name of 10 kB", lambda: request(x(name="x" * 10_000)), "UNKNOWN_INPUT"),
    Row("V6 unknown type", lambda: request(x(datatype="FP33")), "DTYPE_MISMATCH"),
    Row("V6 lower-case type", lambda: request(x(datatype="fp32")), "DTYPE_MISMATCH"),
    Row("V6 empty type", lambda: request(x(datatype="")), "DTYPE_MISMATCH"),
    Row("V7 other type", lambda: request(x(datatype="INT64", raw=b"\0" * 32)), "DTYPE_MISMATCH"),
    Row("V8 other rank", lambda: request(x([4])), "SHAPE_MISMATCH"),
    Row("V9 fixed size differs", lambda: request(x([1, 5])), "SHAPE_MISMATCH"),
    Row("V10 sizes that must be equal differ", lambda: ab([1, 2], [1, 3]), "SHAPE_MISMATCH"),
    Row("V11 NaN", lambda: request(x(raw=struct.pack("<4f", 0, float("nan"), 0, 0)), model="finite"), "NOT_FINITE_INPUT", faces="grpc"),
    Row(
        "V11 infinity", lambda: request(x(raw=struct.pack("<4f", 0, float("inf"), 0, 0)), model="finite"), "NOT_FINITE_INPUT", faces="grpc"
    ),
    Row("V12 BOOL byte 2", lambda: request(x(raw=b"\0\1\2\0", datatype="BOOL"), model="bool"), "BAD_VALUE", faces="grpc"),
    Row("V13 300 for INT8", lambda: typed("INT8", "int_contents", [300, 0, 0, 0], "int8"), "BAD_VALUE"),
    Row("V14 FP16 in list form", lambda: typed("FP16", "fp32_contents", [1, 2, 3, 4], "half"), "DTYPE_MISMATCH", faces="grpc"),
    Row("V16 elements overflow", lambda: request(x([2**4, 2**60 + 2], raw=b"")), "SHAPE_MISMATCH"),
    Row("V17 bytes overflow", lambda: request(x([4, 2**60 + 2], raw=b"")), "SHAPE_MISMATCH"),
    Row("V18 no bytes", lambda: request(x(raw=b"")), "BYTE_COUNT", faces="grpc"),
    Row("V19 one element short", lambda: request(x(raw=b"\0" * 12)), "BYTE_COUNT", faces="grpc"),
    Row("V20 one element long", lambda: request(x(raw=b"\0" * 20)), "BYTE_COUNT", faces="grpc"),
    Row("V21 negative size", lambda: request(x([-1, 4], raw=b"\0" * 16)), "SHAPE_MISMATCH"),
    Row("V21 zero where it is fixed", lambda: request(x([1, 0], raw=b"")), "SHAPE_MISMATCH"),
    Row("V22 more rows than max_batch_size", lambda: request(x([17, 4])), "BATCH_TOO_LARGE"),
    Row("V23 rows differ", lambda: ab([1, 2], [2, 2]), "SHAPE_MISMATCH"),
    Row("V24 rank 0", lambda: request(x([], raw=b"\0" * 4)), "SHAPE_MISMATCH"),
    Row("V24 rank 1000", lambda: request(x([1] * 1000, raw=b"\0" * 4)), "SHAPE_MISMATCH"),
    Row(
        "V25 length beyond the rest", lambda: request(x([1], raw=b"\5\0\0\0ab", datatype="BYTES"), model="text"), "BYTE_COUNT", faces="grpc"
    ),
    Row("V25 cut prefix", lambda: request(x([1], raw=b"\5\0", datatype="BYTES"), model="text"), "BYTE_COUNT", faces="grpc"),
    Row("V25 2**32-1", lambda: request(x([1], raw=BYTES_CUT, datatype="BYTES"), model="text"), "BYTE_COUNT", faces="grpc"),
    Row("V26 not UTF-8", lambda: request(x([1], raw=b"\1\0\0\0\xff", datatype="BYTES"), model="text"), "NOT_TEXT", faces="grpc"),
    Row("V27 unknown output", lambda: with_outputs("q"), "UNKNOWN_OUTPUT"),
    Row("V27 output twice", lambda: with_outputs("y", "y"), "DUPLICATE_OUTPUT"),
    Row("V27 10,000 outputs", lambda: with_outputs(*(f"o{n}" for n in range(10_000))), "BAD_VALUE UNKNOWN_OUTPUT"),
    Row("V28 reserved parameter", lambda: with_parameters(sys__x=("bool_param", True)), "BAD_PARAMETER"),
    Row("V28 reserved prefix", lambda: with_parameters(triton_secret=("bool_param", True)), "BAD_PARAMETER"),
    Row("V28 parameter of the wrong type", lambda: with_parameters(timeout=("string_param", "soon")), "BAD_PARAMETER"),
    Row("V28 10,000 parameters", many_parameters, "BAD_PARAMETER"),
    Row("V29 negative priority", lambda: with_parameters(priority=("int64_param", -1)), "BAD_PARAMETER", says="'priority' is -1"),
    Row(
        "V29 more than the model's levels",
        lambda: with_parameters("finite", priority=("uint64_param", 3)),
        "BAD_PARAMETER",
        says="priority 3: the model has levels 1 to 2",
    ),
    Row("V29 2**62 of 2 levels", lambda: with_parameters("finite", priority=("int64_param", 2**62)), "BAD_PARAMETER", says="priority"),
    Row("V29 negative timeout", lambda: with_parameters(timeout=("int64_param", -1)), "BAD_PARAMETER", says="'timeout' is -1"),
    Row(
        "V29 sequence without a sequence model",
        lambda: with_parameters(sequence_id=("int64_param", 7)),
        "BAD_PARAMETER",
        says="need a sequence model",
    ),
    Row(
        "ID34 a sticky key that is a number",
        lambda: with_parameters(routing_key=("int64_param", 7)),
        "BAD_PARAMETER",
        says="'routing_key' must be a string",
    ),
    *(
        Row(f"V30 version {version!r}", lambda version=version: request(x(), model_version=version), "VERSION_NOT_FOUND BAD_NAME", MISSING)
        for version in ("0", "-1", "latest2")
    ),
    Row("V30 version ../1", lambda: request(x(), model_version="../1"), "VERSION_NOT_FOUND BAD_NAME", MISSING, faces="grpc"),
    *(
        Row(f"V30 model {name[:8]!r}", lambda name=name: request(x(), model=name), "BAD_NAME", faces="grpc")
        for name in ("../x", "a/b", "m" * 300, "m\0", "\u0435cho")
    ),
    Row("V30 unknown model", lambda: request(x(), model="nobody"), "MODEL_NOT_FOUND", MISSING),
]
