"""Speaks HTTP/2 to a port as no library would: any frame, in any order, and the answers as frames.

Request headers leave as literals without index or Huffman code (RFC 7541, 6.2.2). Of answers only a few things are read: which frames
there are, their error codes, and `:status` and `grpc-status`. The peer is told to keep no dynamic table, so that every block of headers
can be read by itself.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
NO_TABLE = struct.pack(">HI", 1, 0)
NO_WINDOW = struct.pack(">HI", 4, 0)
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
Fields = Sequence[tuple[bytes, bytes]]

# Huffman codes (RFC 7541, appendix B) of what is looked for in answers.
_CODES = {"g": "100110", "r": "101100", "p": "101011", "c": "00100", "-": "010110", "s": "01000", "t": "01001", "a": "00011", "u": "101101"}
_CODES |= {"0": "00000", "1": "00001", "2": "00010"} | {str(digit): format(0b011001 + digit - 3, "06b") for digit in range(3, 10)}
_INDEXED_STATUS = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}


def huffman(text: str) -> bytes:
    bits = "".join(_CODES[character] for character in text)
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def literal(name: bytes, value: bytes) -> bytes:
    """Return one header field, never indexed."""
    return b"\0" + _integer(len(name), 7) + name + _integer(len(value), 7) + value


def grpc_headers(path: str = MODEL_INFER, *, more: Fields = ()) -> bytes:
    """Return the header block of a gRPC request."""
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"a")]
    fields += [(b"te", b"trailers"), (b"content-type", b"application/grpc"), *more]
    return b"".join(literal(*one) for one in fields)


def grpc_message(payload: bytes, *, is_compressed: bool = False) -> bytes:
    """Return a message with gRPC's prefix of five bytes."""
    return struct.pack(">BI", is_compressed, len(payload)) + payload


@dataclass(frozen=True)
class Frame:
    """One frame as received."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def error_code(self) -> int:
        """The code of RST_STREAM or GOAWAY."""
        return struct.unpack(">I", self.payload[-4:] if self.kind == RST_STREAM else self.payload[4:8])[0]

    @property
    def ends_stream(self) -> bool:
        """Whether nothing follows on its stream."""
        return self.kind == RST_STREAM or (self.kind in {DATA, HEADERS} and bool(self.flags & END_STREAM))

    def told(self, name: str) -> str | None:
        """Return a status that a block of headers holds: `grpc-status` or `status` (for :status)."""
        return next((value for found, value in _statuses(self.payload) if found == name), None)


@dataclass
class Wire:
    """One connection; `send` frames, look at what came back."""

    socket: socket.socket
    frames: list[Frame] = field(default_factory=list)
    is_closed: bool = False
    _rest: bytes = b""

    def send(self, kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
        """Send one frame; a peer that is gone is noted, not raised."""
        return self.push(frame(kind, payload, flags=flags, stream=stream))

    def push(self, sent: bytes) -> bytes:
        """Send bytes; stops when the other side has closed."""
        try:
            self.socket.sendall(sent)
        except OSError:
            self.is_closed = True
        return sent

    def call(self, payload: bytes, *, stream: int = 1, headers: bytes | None = None, path: str = MODEL_INFER) -> None:
        """Send a whole unary call."""
        self.send(HEADERS, grpc_headers(path) if headers is None else headers, flags=END_HEADERS, stream=stream)
        self.send(DATA, grpc_message(payload), flags=END_STREAM, stream=stream)

    def until(self, condition: Callable[[], object], *, seconds: float = 5.0) -> bool:
        """Read frames until something is true or the connection is closed; whether it became true."""
        give_up_at = time.monotonic() + seconds
        while not condition() and not self.is_closed and time.monotonic() < give_up_at:
            self._read(max(0.01, give_up_at - time.monotonic()))
        return bool(condition())

    def count(self, kind: int) -> int:
        """Count the frames of a kind that came."""
        return sum(one.kind == kind for one in self.frames)

    def may_send(self, stream: int) -> int:
        """Return how many bytes of DATA the other side has let us send on a stream since the beginning, others being silent."""
        settings = b"".join(one.payload for one in self.frames if one.kind == SETTINGS)
        initial = [value for name, value in struct.iter_unpack(">HI", settings) if name == 4]
        given = {0: 65_535, stream: initial[-1] if initial else 65_535}
        for one in self.frames:
            if one.kind == WINDOW_UPDATE and one.stream in given:
                given[one.stream] += int.from_bytes(one.payload, "big")
        return min(given.values())

    def status(self, stream: int = 1) -> int | None:
        """Return the grpc-status that a stream has ended with; None when it has not."""
        found = [one.told("grpc-status") for one in self.frames if one.kind == HEADERS and one.stream == stream]
        return next((int(one) for one in found if one is not None), None)

    def http_status(self, stream: int = 1) -> int | None:
        """Return the :status that a stream was answered with."""
        found = [one.told("status") for one in self.frames if one.kind == HEADERS and one.stream == stream]
        return next((int(one) for one in found if one is not None), None)

    def goaways(self) -> list[int]:
        """Return the error codes of all GOAWAY frames."""
        return [one.error_code for one in self.frames if one.kind == GOAWAY]

    def _read(self, seconds: float) -> None:
        self.socket.settimeout(seconds)
        try:
            came = self.socket.recv(1 << 16)
        except TimeoutError:
            return
        except OSError:
            came = b""
        self.is_closed = self.is_closed or not came
        self._rest += came
        while len(self._rest) >= 9 and len(self._rest) >= 9 + (length := int.from_bytes(self._rest[:3], "big")):
            kind, flags, stream = struct.unpack(">BBI", self._rest[3:9])
            self.frames.append(Frame(kind, flags, stream & 0x7FFFFFFF, self._rest[9 : 9 + length]))
            self._rest = self._rest[9 + length :]


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """Return one frame as bytes."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


@contextmanager
def connected(address: str, *, settings: bytes = b"", receive_bytes: int | None = None) -> Iterator[Wire]:
    """Connect, say the preface and exchange settings."""
    host, _, port = address.rpartition(":")
    with socket.socket() as opened:
        if receive_bytes is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        opened.connect((host, int(port)))
        wire = Wire(opened)
        wire.push(PREFACE + frame(SETTINGS, NO_TABLE + settings))
        assert wire.until(lambda: wire.count(SETTINGS) > 0)
        wire.send(SETTINGS, flags=ACK)
        yield wire


def _integer(number: int, bits: int) -> bytes:
    limit = (1 << bits) - 1
    if number < limit:
        return bytes([number])
    encoded, number = bytearray([limit]), number - limit
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes((*encoded, number))


def _statuses(block: bytes) -> Iterator[tuple[str, str]]:
    """Yield (`status` or `grpc-status`, value) of a header block."""
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            index, at = _number(block, at, 7)
            if index in _INDEXED_STATUS:
                yield "status", _INDEXED_STATUS[index]
        elif first & 0xE0 == 0x20:
            _, at = _number(block, at, 5)
        else:
            index, at = _number(block, at, 6 if first & 0x40 else 4)
            name, at = _string(block, at) if index == 0 else (b"", at)
            value, at = _string(block, at)
            if name in {b"grpc-status", huffman("grpc-status")}:
                yield "grpc-status", _digits(value)
            elif 8 <= index <= 14:
                yield "status", _digits(value)


def _number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    limit = (1 << bits) - 1
    number, at, shift = block[at] & limit, at + 1, 0
    if number == limit:
        while True:
            number, at, shift = number + ((block[at] & 127) << shift), at + 1, shift + 7
            if not block[at - 1] & 128:
                break
    return number, at


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    length, at = _number(block, at, 7)
    return block[at : at + length], at + length


def _digits(value: bytes) -> str:
    plain = value.decode("latin-1")
    return plain if plain.isdecimal() else next(str(number) for number in range(600) if huffman(str(number)) == value)
