"""Tensors as bytes: the data types of the Open Inference Protocol and their row-major little-endian form.

Numbers are viewed, never copied, in both directions. BYTES elements travel as `<uint32 little-endian length><bytes>`. BOOL is one
byte, 0 or 1. BF16 has no NumPy type: it is viewed as its uint16 bit pattern; `bf16_to_fp32` and `fp32_to_bf16` convert.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.errors import InvalidInput

AnyArray = NDArray[Any]
Buffer = bytes | bytearray | memoryview

MAX_RANK = 32
"""Most dimensions of a tensor; more is refused."""

MAX_ELEMENTS = 2**40
"""Most elements a shape may describe; keeps products of dimensions far from overflow."""

_LENGTH = struct.Struct("<I")


class DataType(Enum):
    """A data type of the Open Inference Protocol; the value is its name on the wire."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    # Set below, once: as properties over a table every look-up hashed an enum member.
    itemsize: int | None
    """Bytes of one element; None for BYTES."""
    dtype: np.dtype[Any]
    """The NumPy type that views it: uint16 for BF16, object for BYTES."""

    @property
    def is_floating(self) -> bool:
        """Whether NaN and infinity exist in it."""
        return self in _FLOATING


_DTYPE: dict[DataType, np.dtype[Any]] = {
    DataType.BOOL: np.dtype("?"),
    DataType.UINT8: np.dtype("u1"),
    DataType.UINT16: np.dtype("<u2"),
    DataType.UINT32: np.dtype("<u4"),
    DataType.UINT64: np.dtype("<u8"),
    DataType.INT8: np.dtype("i1"),
    DataType.INT16: np.dtype("<i2"),
    DataType.INT32: np.dtype("<i4"),
    DataType.INT64: np.dtype("<i8"),
    DataType.FP16: np.dtype("<f2"),
    DataType.BF16: np.dtype("<u2"),
    DataType.FP32: np.dtype("<f4"),
    DataType.FP64: np.dtype("<f8"),
    DataType.BYTES: np.dtype("O"),
}
for _kind, _dtype in _DTYPE.items():
    _kind.dtype = _dtype
    _kind.itemsize = None if _kind is DataType.BYTES else _dtype.itemsize
_FLOATING = frozenset({DataType.FP16, DataType.BF16, DataType.FP32, DataType.FP64})
_BY_NUMPY: dict[np.dtype[Any], DataType] = {dtype: kind for kind, dtype in _DTYPE.items() if kind not in (DataType.BF16, DataType.BYTES)}
_BY_NAME = {kind.value: kind for kind in DataType}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One named tensor in its wire form.

    `raw` holds row-major little-endian bytes whose count agrees with `shape` and `datatype`; it is not copied.
    """

    name: str
    datatype: DataType
    shape: tuple[int, ...]
    raw: Buffer

    def __post_init__(self) -> None:
        """Refuse a byte count that differs from the shape's."""
        check_byte_count(self.name, self.datatype, self.shape, self.raw)

    @property
    def array(self) -> AnyArray:
        """The tensor as an array: a view, except for BYTES, whose elements are copied out as `bytes` objects."""
        return decode(self.name, self.datatype, self.shape, self.raw)


def datatype_named(name: str, *, field: str | None = None) -> DataType:
    """Return the data type of a wire name.

    Raises:
        InvalidInput: no such type; names are upper case.
    """
    kind = _BY_NAME.get(name)
    if kind is None:
        raise InvalidInput(
            f"data type {name[:40]!r} of input {field!r} is unknown: use one of {', '.join(_BY_NAME)}", reason="DTYPE_MISMATCH", field=field
        )
    return kind


def datatype_of(array: AnyArray) -> DataType:
    """Return the data type that carries an array; strings and objects travel as BYTES.

    Raises:
        InvalidInput: the array's type has no counterpart, for example complex numbers.
    """
    if array.dtype.kind in "OSU":
        return DataType.BYTES
    if array.dtype.name == "bfloat16":
        return DataType.BF16
    kind = _BY_NUMPY.get(array.dtype.newbyteorder("<"))
    if kind is None:
        raise InvalidInput(f"arrays of type {array.dtype} cannot be sent: convert it to a number, bool or bytes", reason="DTYPE_MISMATCH")
    return kind


def element_count(shape: tuple[int, ...], *, name: str = "") -> int:
    """Return the number of elements of a shape, 1 for a scalar.

    Raises:
        InvalidInput: negative dimension, more than MAX_RANK dimensions or more than MAX_ELEMENTS elements.
    """
    if len(shape) > MAX_RANK:
        raise InvalidInput(
            f"input {name!r} has {len(shape)} dimensions, more than the limit of {MAX_RANK}", reason="SHAPE_MISMATCH", field=name
        )
    if any(size < 0 for size in shape):
        raise InvalidInput(f"input {name!r} has a negative dimension in shape {list(shape)}", reason="SHAPE_MISMATCH", field=name)
    count = prod(shape)
    if count > MAX_ELEMENTS:
        raise InvalidInput(f"input {name!r} describes {count} elements, more than any tensor may have", reason="SHAPE_MISMATCH", field=name)
    return count


def check_byte_count(name: str, datatype: DataType, shape: tuple[int, ...], raw: Buffer) -> None:
    """Refuse raw bytes whose count differs from the shape's; BYTES elements are walked.

    Raises:
        InvalidInput: too few or too many bytes, or a length prefix that points past the end.
    """
    count = element_count(shape, name=name)
    itemsize = datatype.itemsize
    if itemsize is None:
        split_bytes(name, count, raw)
        return
    if len(raw) != count * itemsize:
        raise InvalidInput(
            f"input {name!r} carries {len(raw)} bytes, but {datatype.value}{list(shape)} needs {count * itemsize}",
            reason="BYTE_COUNT",
            field=name,
        )


def decode(name: str, datatype: DataType, shape: tuple[int, ...], raw: Buffer) -> AnyArray:
    """View wire bytes as an array without copying (BYTES elements are copied out).

    Returns:
        Read-only, row-major array of `shape`; valid while `raw` lives. BF16 comes as uint16 bit patterns.

    Raises:
        InvalidInput: the byte count differs from product(shape) × itemsize, or a BOOL byte is neither 0 nor 1.
    """
    if datatype is DataType.BYTES:
        elements = split_bytes(name, element_count(shape, name=name), raw)
        array = np.empty(len(elements), dtype=object)
        array[:] = elements
        return array.reshape(shape)
    check_byte_count(name, datatype, shape, raw)
    if datatype is DataType.BOOL:
        check_bool_bytes(name, raw)
    view = np.frombuffer(raw, dtype=datatype.dtype).reshape(shape)
    view.flags.writeable = False
    return view


def encode(array: AnyArray, datatype: DataType | None = None) -> Buffer:
    """Return an array's wire bytes: a view of it when it is contiguous and little-endian, else of a copy.

    Args:
        array: numbers, bools, or for BYTES an array of `bytes` or `str` (encoded as UTF-8). BF16 takes uint16 bit patterns.
        datatype: the wire type; by default the array's own.
    """
    kind = datatype_of(array) if datatype is None else datatype
    if kind is DataType.BYTES:
        return join_bytes([_as_bytes(element) for element in array.ravel().tolist()])
    if array.dtype.name == "bfloat16":
        array = array.view(np.uint16)
    contiguous = np.ascontiguousarray(array, dtype=kind.dtype)
    return contiguous.reshape(-1).view(np.uint8).data.toreadonly() if contiguous.size else b""


def check_bool_bytes(name: str, raw: Buffer) -> None:
    """Refuse BOOL bytes other than 0 and 1."""
    if len(raw) and int(np.frombuffer(raw, dtype=np.uint8).max()) > 1:
        raise InvalidInput(f"input {name!r} holds a BOOL byte that is neither 0 nor 1", reason="BAD_VALUE", field=name)


def split_bytes(name: str, count: int, raw: Buffer) -> list[bytes]:
    """Return the elements of a BYTES tensor.

    Raises:
        InvalidInput: a prefix is cut off or points past the end, or the number of elements differs from `count`.
    """
    elements: list[bytes] = []
    position, end = 0, len(raw)
    while position < end:
        if end - position < _LENGTH.size:
            raise InvalidInput(f"input {name!r}: BYTES element {len(elements)} has a cut length prefix", reason="BYTE_COUNT", field=name)
        (length,) = _LENGTH.unpack_from(raw, position)
        position += _LENGTH.size
        if length > end - position:
            raise InvalidInput(
                f"input {name!r}: BYTES element {len(elements)} announces {length} bytes, {end - position} are left",
                reason="BYTE_COUNT",
                field=name,
            )
        elements.append(bytes(raw[position : position + length]))
        position += length
        if len(elements) > count:
            break
    if len(elements) != count:
        found = f"more than {count}" if len(elements) > count else str(len(elements))
        raise InvalidInput(f"input {name!r} holds {found} BYTES elements, its shape says {count}", reason="BYTE_COUNT", field=name)
    return elements


def join_bytes(elements: list[bytes]) -> bytes:
    """Return the wire form of BYTES elements."""
    pack = _LENGTH.pack
    return b"".join([part for element in elements for part in (pack(len(element)), element)])


def bf16_to_fp32(bits: AnyArray) -> NDArray[np.float32]:
    """Widen BF16 bit patterns (uint16) to float32 values; exact."""
    widened: NDArray[np.float32] = (np.ravel(bits).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return widened.reshape(np.shape(bits))


def fp32_to_bf16(values: AnyArray) -> NDArray[np.uint16]:
    """Round float32 values to BF16 bit patterns, to nearest even; NaN stays NaN."""
    flat = np.ravel(values).astype(np.float32, copy=False)
    bits = flat.view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    quiet_nan = ((bits >> np.uint32(16)) | np.uint32(0x40)).astype(np.uint16)
    result: NDArray[np.uint16] = np.where(np.isnan(flat), quiet_nan, rounded).astype(np.uint16)
    return result.reshape(np.shape(values))


def _as_bytes(element: object) -> bytes:
    if isinstance(element, bytes):
        return element
    if isinstance(element, str):
        try:
            return element.encode()
        except UnicodeEncodeError:
            raise InvalidInput("a BYTES element is text with a lone surrogate, which UTF-8 cannot hold", reason="BAD_VALUE") from None
    raise InvalidInput(f"BYTES elements are bytes or str, not {type(element).__name__}", reason="DTYPE_MISMATCH")
