"""Content-Encoding in both directions: gzip and deflate (a zlib stream, as RFC 9110 has it). Blocking; no I/O.

Decompression stops at the limit, so a bomb costs no more than the limit itself. Answers below SMALLEST_BYTES are sent as they are:
compressing them costs more than it saves.
"""

from __future__ import annotations

import zlib

from penstock.contracts.errors import MalformedBody, RequestTooLarge, UnsupportedMedia

SMALLEST_BYTES = 1024
"""Smallest answer that is compressed."""
INLINE_BYTES = 32 * 1024
"""Larger bodies are (de)compressed outside the event loop."""
_LEVEL = 1
_GZIP, _ZLIB = 31, 15
_WINDOWS = {b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": _ZLIB}


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Return a body as it was before its Content-Encoding.

    Raises:
        UnsupportedMedia: neither gzip nor deflate, or several at once.
        RequestTooLarge: it expands beyond `limit` bytes.
        MalformedBody: the stream is broken or cut off, or something follows it.
    """
    window = _WINDOWS.get(encoding.strip().lower())
    if window is None:
        raise UnsupportedMedia("content-encoding must be gzip or deflate, one of them", field="content-encoding")
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        raise MalformedBody(f"the body is no valid {encoding.decode('ascii', 'replace')[:16]} stream") from None
    if len(plain) > limit:
        raise RequestTooLarge(f"the body expands beyond {limit} bytes")
    if not stream.eof or stream.unused_data:
        raise MalformedBody(f"the {encoding.decode('ascii', 'replace')[:16]} stream is cut off, or something follows it")
    return plain


def accepted(fields: dict[bytes, bytes], size: int) -> bytes | None:
    """Return the encoding for an answer of `size` bytes; None to send it as it is."""
    given = fields.get(b"accept-encoding")
    if given is None or size < SMALLEST_BYTES:
        return None
    weights = dict(_weight(part) for part in given.lower().split(b","))
    for encoding in (b"gzip", b"deflate"):
        if weights.get(encoding, weights.get(b"*", False)):
            return encoding
    return None


def compress(body: bytes, encoding: bytes) -> bytes:
    """Return a body in an encoding that `accepted` named."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[encoding])
    return stream.compress(body) + stream.flush()


def _weight(part: bytes) -> tuple[bytes, bool]:
    name, _, parameter = part.partition(b";")
    return name.strip(), parameter.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
