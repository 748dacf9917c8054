"""Turns the typed contents of an OIP tensor into raw bytes.

Data types without a field of their own (FP16, BF16) can only travel raw.
"""

from __future__ import annotations

import numpy as np

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import GivenInput
from penstock.contracts.tensors import DataType, datatype_named, join_bytes
from penstock.oip.v2 import inference_pb2 as pb

FIELDS: dict[DataType, str] = {
    DataType.BOOL: "bool_contents",
    DataType.INT8: "int_contents",
    DataType.INT16: "int_contents",
    DataType.INT32: "int_contents",
    DataType.INT64: "int64_contents",
    DataType.UINT8: "uint_contents",
    DataType.UINT16: "uint_contents",
    DataType.UINT32: "uint_contents",
    DataType.UINT64: "uint64_contents",
    DataType.FP32: "fp32_contents",
    DataType.FP64: "fp64_contents",
    DataType.BYTES: "bytes_contents",
}


def raw_of(given: GivenInput, contents: pb.InferTensorContents) -> bytes:
    """Return the raw bytes of one tensor's typed contents.

    Raises:
        InvalidInput: values in the wrong field or in two fields, out of the type's range, or a type that can only travel raw.
    """
    datatype = datatype_named(given.datatype, field=given.name)
    field = FIELDS.get(datatype)
    if field is None:
        raise InvalidInput(
            f"input {given.name!r}: {datatype.value} has no typed contents, send raw_input_contents",
            reason="DTYPE_MISMATCH",
            field=given.name,
        )
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise InvalidInput(
                f"input {given.name!r} is {datatype.value} and belongs into {field}, not into {descriptor.name}",
                reason="DTYPE_MISMATCH",
                field=given.name,
            )
    values = getattr(contents, field)
    if datatype is DataType.BYTES:
        return join_bytes(list(values))
    try:
        return np.array(values, dtype=datatype.dtype).tobytes()
    except OverflowError:
        raise InvalidInput(
            f"input {given.name!r} holds a value outside the range of {datatype.value}", reason="BAD_VALUE", field=given.name
        ) from None
