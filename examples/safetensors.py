"""The safetensors file format, as far as reading weights needs it.

A file is an unsigned 64-bit little-endian length, that many bytes of JSON (name → data type, shape, byte range), and the raw
row-major little-endian tensors (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("<Q")
_DTYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I32": np.dtype("<i4"), "I64": np.dtype("<i8")}


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Return every tensor of the file, viewed in one buffer without copying.

    Raises:
        ValueError: the file is cut short, or holds a data type other than F32, F64, I32 and I64.
    """
    content = path.read_bytes()
    if len(content) < _LENGTH.size:
        raise ValueError(f"{path} holds {len(content)} bytes: too short for a safetensors file")
    header_end = _LENGTH.size + _LENGTH.unpack_from(content)[0]
    if header_end > len(content):
        raise ValueError(f"{path} ends inside its header: {header_end} bytes announced, {len(content)} there")
    header = json.loads(content[_LENGTH.size : header_end])
    tensors = memoryview(content)[header_end:]
    return {name: _view(path, name, entry, tensors) for name, entry in header.items() if name != "__metadata__"}


def _view(path: Path, name: str, entry: dict[str, Any], tensors: memoryview) -> NDArray[Any]:
    start, end = entry["data_offsets"]
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        raise ValueError(f"{path}: tensor {name} has data type {entry['dtype']}, only {', '.join(_DTYPES)} are read")
    if not 0 <= start <= end <= len(tensors) or end - start != prod(entry["shape"]) * dtype.itemsize:
        raise ValueError(f"{path}: tensor {name} of shape {entry['shape']} does not fit bytes {start} to {end} of {len(tensors)}")
    return np.frombuffer(tensors[start:end], dtype=dtype).reshape(entry["shape"])
