"""The frame of the binary tensor extension: JSON first, raw tensors behind it, and a header that says where the JSON ends.

`Inference-Header-Content-Length` counts the uncompressed JSON, in both directions. Tensors follow in the order of the inputs (or
outputs) that carry `binary_data_size`, without gaps; what a request announces must be exactly what it sends.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.contracts.errors import InvalidInput

LENGTH_HEADER = b"inference-header-content-length"
_SHOWN_HEADER = "Inference-Header-Content-Length"


def split(body: bytes, length: bytes | None) -> tuple[bytes, memoryview | None]:
    """Return the JSON and the raw tensors of a body.

    Args:
        body: the whole, uncompressed body.
        length: value of LENGTH_HEADER; None when the request has none.

    Returns:
        The JSON, and a view of what follows it; None without the header.

    Raises:
        InvalidInput: the length is no positive number, or more than the body has.
    """
    if length is None:
        return body, None
    if not length.isdigit() or len(length) > 12:
        raise InvalidInput(f"{_SHOWN_HEADER} must be a number of bytes", reason="BAD_HEADER", field=_SHOWN_HEADER)
    end = int(length)
    if not 0 < end <= len(body):
        raise InvalidInput(f"{_SHOWN_HEADER} is {end}, the body has {len(body)} bytes", reason="BAD_HEADER", field=_SHOWN_HEADER)
    return (body if end == len(body) else body[:end]), memoryview(body)[end:]


def cut(tail: memoryview | None, sizes: Sequence[int]) -> list[memoryview]:
    """Return the tensors of a request, in order.

    Raises:
        InvalidInput: tensors are announced without the header, or the announced bytes are more or fewer than those sent.
    """
    if tail is None:
        if sizes:
            raise InvalidInput(
                f"binary_data_size needs the header {_SHOWN_HEADER}: it says where the JSON ends", reason="BAD_HEADER", field=_SHOWN_HEADER
            )
        return []
    if sum(sizes) != len(tail):
        raise InvalidInput(
            f"the inputs announce {sum(sizes)} binary bytes, {len(tail)} follow the JSON", reason="BYTE_COUNT", field="binary_data_size"
        )
    views: list[memoryview] = []
    position = 0
    for size in sizes:
        views.append(tail[position : position + size])
        position += size
    return views
