"""Learns what the next request's head may look like. Pure.

A client's requests on one connection begin with the same bytes, but for the length of the body and whatever it counts or traces. A head
that was read and accepted need not be read again: the next request that begins with the same bytes means the same. Only the
plainest requests are learnt (one Content-Length, nothing that changes how the connection is read), and only where a request arrived
in one piece; everything else goes through the parser, every time.
"""

from __future__ import annotations

from services.router.http_exchange import Head, HttpRequest

HEAD_BYTES = 4096
"""Longest head that is kept; a connection keeps one."""
_LENGTH = b"\r\ncontent-length:"
_SPECIAL = (b"transfer-encoding", b"expect", b"upgrade", b"content-encoding")


def head_of(piece: bytes, request: HttpRequest) -> Head | None:
    """Pure: return the head by which the next request is recognised; None when there is none to go by.

    Args:
        piece: what was received.
        request: the only request that it held, as it was read.
    """
    fields, length = request.fields, request.fields.get(b"content-length")
    if length is None or not request.keep_alive or any(name in fields for name in _SPECIAL):
        return None
    end = piece.find(b"\r\n\r\n") + 4
    if end > HEAD_BYTES or piece[end:] != request.body or not piece.startswith(request.method.encode() + b" "):
        return None
    head = piece[:end]
    begin = head.lower().find(_LENGTH) + len(_LENGTH)
    value = head.find(length, begin)
    if begin < len(_LENGTH) or head[begin:value].strip(b" \t") or head[value + len(length) : value + len(length) + 2] != b"\r\n":
        return None
    return Head(before=head[:value], after=head[value + len(length) :], request=_without_body(request))


def _without_body(request: HttpRequest) -> HttpRequest:
    fields = {name: value for name, value in request.fields.items() if name != b"content-length"}
    return HttpRequest(request.method, request.path, request.query, fields, b"")
