"""Unary gRPC calls over one HTTP/2 connection, cheap enough that a generator in Python is not what is measured.

A call costs its sender about 10 microseconds of frames made beforehand, where grpcio takes 300 and two threads. Answers are read as
frames; blocks of headers are decoded once each, because the server is told to keep no dynamic table (RFC 7541, 4.2) and so says the same
thing with the same bytes.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from hpack import Decoder, Encoder

from bench.bodies import GRPC_PATH

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 32
ACK = 1
TABLE_SIZE, MAX_STREAMS, INITIAL_WINDOW = 1, 3, 4
FIRST_WINDOW = 65_535
LARGEST_WINDOW = 2**31 - 1
CANCEL = struct.pack(">I", 8)
RECEIVE_BYTES = 1 << 18
_STATUS = {status.value[0]: status for status in grpc.StatusCode}


@dataclass(slots=True)
class Ending:
    """How a stream ended."""

    stream: int
    code: grpc.StatusCode
    content: bytes = b""


@dataclass(slots=True)
class Wire:
    """One connection and what is known of its other side."""

    socket: socket.socket
    headers: bytes
    """The block of headers of every call, but for its deadline."""
    window: int = FIRST_WINDOW
    initial_window: int = FIRST_WINDOW
    max_streams: int = LARGEST_WINDOW
    open: dict[int, bytearray] = field(default_factory=dict[int, bytearray])
    """What came of each answer that has not ended."""
    is_closed: bool = False
    _next: int = 1
    _rest: bytes = b""
    _block: bytes = b""
    _told: dict[bytes, int | None] = field(default_factory=dict[bytes, "int | None"])

    def may_call(self, size: int) -> bool:
        """Whether the other side takes another call with so many bytes now."""
        return len(self.open) < self.max_streams and size <= self.window and size <= self.initial_window

    def call(self, message: bytes, timeout_seconds: float) -> int:
        """Send a call, its gRPC prefix included in the message, and return its stream."""
        stream = self._next
        self._next += 2
        deadline = b"%du" % max(1, int(timeout_seconds * 1e6))
        block = self.headers + b"\x10\x0cgrpc-timeout" + bytes((len(deadline),)) + deadline
        self.socket.sendall(frame(HEADERS, block, END_HEADERS, stream) + frame(DATA, message, END_STREAM, stream))
        self.window -= len(message)
        self.open[stream] = bytearray()
        return stream

    def cancel(self, stream: int) -> None:
        """Give up a call."""
        if self.open.pop(stream, None) is not None:
            self.socket.sendall(frame(RST_STREAM, CANCEL, 0, stream))

    def receive(self) -> list[Ending]:
        """Read what there is, answer what the protocol wants answered, and return the calls that ended."""
        chunk = self.socket.recv(RECEIVE_BYTES)
        if not chunk:
            self.is_closed = True
            return []
        held, at, ended = self._rest + chunk, 0, list[Ending]()
        while len(held) - at >= 9:
            size, kind, flags, stream = int.from_bytes(held[at : at + 3], "big"), held[at + 3], held[at + 4], held[at + 5 : at + 9]
            if len(held) - at - 9 < size:
                break
            payload = held[at + 9 : at + 9 + size]
            at += 9 + size
            self._take(kind, flags, int.from_bytes(stream, "big"), payload, ended)
        self._rest = held[at:]
        return ended

    def _take(self, kind: int, flags: int, stream: int, payload: bytes, ended: list[Ending]) -> None:
        if kind == DATA:
            if stream in self.open:
                self.open[stream] += payload
        elif kind in {HEADERS, CONTINUATION}:
            self._take_headers(flags, stream, payload, ended)
        elif kind == RST_STREAM and self.open.pop(stream, None) is not None:
            ended.append(Ending(stream, grpc.StatusCode.UNAVAILABLE if payload[-1] == 7 else grpc.StatusCode.CANCELLED))
        elif kind == SETTINGS and not flags & ACK:
            self._agree(payload)
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, payload, ACK))
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            raise SystemExit(f"the server said goodbye to the generator: {payload!r}")

    def _take_headers(self, flags: int, stream: int, payload: bytes, ended: list[Ending]) -> None:
        if flags & (PADDED | PRIORITY):
            raise SystemExit("the server pads its headers, which this generator does not read")
        self._block += payload
        if not flags & END_HEADERS:
            return
        block, self._block = self._block, b""
        if block not in self._told:
            self._told[block] = grpc_status(block)
        code = self._told[block]
        if code is None:  # the headers before the answer
            return
        content = self.open.pop(stream, None)
        if content is not None:
            ended.append(Ending(stream, _STATUS[code], bytes(content[5:])))

    def _agree(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == INITIAL_WINDOW:
                self.initial_window = value
            elif name == MAX_STREAMS:
                self.max_streams = value
        self.socket.sendall(frame(SETTINGS, b"", ACK))


def connect(port: int, headers: Mapping[str, str]) -> Wire:
    """Open a connection whose answers need no window."""
    channel = socket.create_connection(("127.0.0.1", port))
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    settings = struct.pack(">HIHI", TABLE_SIZE, 0, INITIAL_WINDOW, LARGEST_WINDOW)
    grown = frame(WINDOW_UPDATE, struct.pack(">I", LARGEST_WINDOW - FIRST_WINDOW))
    channel.sendall(PREFACE + frame(SETTINGS, settings) + grown)
    named = [(":method", "POST"), (":scheme", "http"), (":path", GRPC_PATH), (":authority", f"127.0.0.1:{port}")]
    named += [("te", "trailers"), ("content-type", "application/grpc"), *headers.items()]
    encoder = Encoder()
    encoder.header_table_size = 0
    return Wire(channel, encoder.encode(named, huffman=False))


def frame(kind: int, payload: bytes, flags: int = 0, stream: int = 0) -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def grpc_status(block: bytes) -> int | None:
    """Return the status that a block of headers ends a call with, None for headers that end nothing.

    Raises:
        SystemExit: the answer is no gRPC.
    """
    decoder = Decoder()
    decoder.max_allowed_table_size = decoder.header_table_size = 0
    found = {str(name): str(value) for name, value in decoder.decode(block)}
    if found.get(":status", "200") != "200":
        raise SystemExit(f"the server answered the generator with {found}")
    return int(found["grpc-status"]) if "grpc-status" in found else None
