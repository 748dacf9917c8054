"""Hostile HTTP/2: frames that no gRPC library would send, and clients that never read.

What is owed: the connection or the call ends, or what is sent costs little; everybody else is served meanwhile. Where the engines differ
the row says how: pygrpc-native 0.5.0 takes `grpc-timeout` that it cannot read for none.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import grpc
import pytest

from services.router.grpc_engine import Engine
from tests.hostile import http2
from tests.hostile.endings import (
    CLOSED,
    DEADLINE_EXCEEDED,
    EXHAUSTED,
    INTERNAL,
    INVALID,
    OK,
    OPEN,
    ROUNDS,
    UNIMPLEMENTED,
    Case,
    ending,
)
from tests.hostile.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, NO_WINDOW, Wire, connected, grpc_headers, grpc_message
from tests.hostile.stand import FLAT_BYTES, GOOD, Target


def with_header(name: bytes, value: bytes) -> Callable[[Wire], None]:
    return lambda wire: wire.call(GOOD, headers=grpc_headers(more=[(name, value)]))


def with_body(body: bytes, *, encoding: bytes | None = None) -> Callable[[Wire], None]:
    """Return an act that calls with these bytes instead of one message."""

    def act(wire: Wire) -> None:
        more = [] if encoding is None else [(b"grpc-encoding", encoding)]
        wire.send(HEADERS, grpc_headers(more=more), flags=END_HEADERS, stream=1)
        wire.send(DATA, body, flags=END_STREAM, stream=1)

    return act


Row = Case[Callable[[Wire], object]]
"""One call that only raw frames can express."""

ROWS = [
    Row("a good call", lambda wire: wire.call(GOOD), OK, OK),
    Row("IG3 message cut off", with_body(grpc_message(GOOD)[:-3]), INTERNAL, OPEN),
    Row("IG3 no message", with_body(b""), INTERNAL, OPEN),
    Row("IG1 4 GiB announced", with_body(struct.pack(">BI", 0, 2**32 - 1)), INTERNAL, EXHAUSTED, EXHAUSTED),
    Row("IG12 name not ASCII", with_header(b"x-\xff", b"a"), CLOSED, INTERNAL),
    Row("IG12 name in capitals", with_header(b"X-A", b"a"), CLOSED, INTERNAL),
    Row("IG12 value not ASCII", with_header(b"x-a", b"\xff\xfe"), OK, OK),
    Row("IG12 -bin that is no base64", with_header(b"a-bin", b"!!!!"), OK, INTERNAL),
    Row("IG13 deadline 0", with_header(b"grpc-timeout", b"0n"), DEADLINE_EXCEEDED, DEADLINE_EXCEEDED),
    Row("IG13 negative deadline", with_header(b"grpc-timeout", b"-1S"), OK, INTERNAL, INTERNAL),
    Row("IG13 deadline in no unit", with_header(b"grpc-timeout", b"abc"), OK, INTERNAL, INTERNAL),
    Row("IG13 11,000 years", with_header(b"grpc-timeout", b"99999999H"), OK, OK),
    Row("IG22 unknown compression", with_body(grpc_message(GOOD, is_compressed=True), encoding=b"foo"), UNIMPLEMENTED, INTERNAL),
    Row("IG22 compressed without saying how", with_body(grpc_message(GOOD, is_compressed=True)), INTERNAL, INTERNAL),
    Row("IG22 gzip that is none", with_body(grpc_message(GOOD, is_compressed=True), encoding=b"gzip"), INTERNAL, INTERNAL),
    Row("IG23 id with a line break", with_header(b"x-request-id", b"a\r\nb"), CLOSED, INVALID),
    Row("IG23 id with an escape", with_header(b"x-request-id", b"a\x1b[31m"), CLOSED, INVALID),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_call_against_the_rules_ends_as_its_engine_owes(row: Row, target: Target):
    with connected(target.address) as wire:
        row.act(wire)

        expected = row.owed(target.engine)
        assert ending(wire, seconds=0.3 if expected == OPEN else 30.0) == expected
    target.assert_unharmed()


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"a" * 200, bytes(range(256)) * 4],
    ids=["HTTP/1.1", "TLS", "random bytes"],
)
def test_ig19_another_protocol_on_the_port_is_hung_up_on_without_a_word_in_the_log(sent: bytes, target: Target):
    host, _, port = target.address.rpartition(":")
    lines = target.served.log.read_text().count("\n")
    memory = target.resident_bytes()
    for _ in range(300):
        with socket.create_connection((host, int(port)), timeout=30) as opened:
            opened.sendall(sent)
            while _received(opened):
                pass

    assert target.served.log.read_text().count("\n") - lines <= 3
    target.assert_memory_returns_to(memory)
    target.assert_unharmed()


def test_ig21_streams_beyond_those_of_one_connection_are_refused_one_by_one(target: Target):
    with connected(target.address) as wire:
        for number in range(1100):
            wire.send(HEADERS, grpc_headers(), flags=END_HEADERS, stream=2 * number + 1)
        wire.until(lambda: wire.count(http2.RST_STREAM) >= 76, seconds=5)
        refused = [one for one in wire.frames if one.kind == http2.RST_STREAM]

        assert [one.error_code for one in refused] == [7] * 76  # REFUSED_STREAM: 1,024 are open
        target.assert_unharmed()
    target.assert_unharmed()


def test_ig20_a_window_of_zero_holds_its_own_call_only(target: Target):
    with connected(target.address, settings=NO_WINDOW) as held:
        held.call(GOOD)

        assert held.until(lambda: held.http_status() == 200)
        assert held.status() is None  # the answer waits for a window
        target.assert_unharmed()
        held.send(http2.WINDOW_UPDATE, struct.pack(">I", 1 << 20), stream=1)
        assert held.until(lambda: held.status() == OK)


def test_ig18_a_client_that_never_reads_costs_little_and_is_forgotten(target: Target):
    _never_read(target)  # the first time buffers grow to their size
    target.assert_unharmed()
    for _ in range(ROUNDS):
        memory = target.resident_bytes()
        is_cut, held = _never_read(target)

        # grpcio and penstock-front cut at the deadline. What pygrpc-native was given it keeps until the connection ends: at most the
        # answers of 1,024 streams, whose owner must answer its PING every minute.
        assert is_cut == (target.engine is not Engine.PYGRPC)
        if held - memory <= FLAT_BYTES:
            break

    assert held - memory <= FLAT_BYTES
    target.assert_memory_returns_to(memory)
    target.assert_unharmed()


def _never_read(target: Target) -> tuple[bool, int]:
    """Call 1,000 times on a connection without a window.

    Returns: whether all were cut off at their deadline of a second, and the memory of router and worker, bytes, before it was closed.
    """
    seconds = 2 if target.engine is Engine.PYGRPC else 30
    late = grpc_headers(more=[(b"grpc-timeout", b"1S")])
    with connected(target.address, settings=NO_WINDOW, receive_bytes=4096) as wire:
        for number in range(1000):
            wire.call(GOOD, stream=2 * number + 1, headers=late)
        target.assert_unharmed()
        is_cut = wire.until(lambda: len({one.stream for one in wire.frames if one.ends_stream}) == 1000, seconds=seconds)
        return is_cut, target.resident_bytes()


def test_a_thousand_connections_that_break_the_rules_leave_memory_as_it_was(target: Target):
    acts = [row.act for row in ROWS if row.owed(target.engine) != OPEN]

    def bombard(count: int) -> None:
        for number in range(count):
            with connected(target.address) as wire:
                acts[number % len(acts)](wire)

    bombard(200)
    target.assert_unharmed()
    memory = target.resident_bytes()
    bombard(1000)

    target.assert_memory_returns_to(memory)
    assert target.call(GOOD) == (grpc.StatusCode.OK, None)


def _received(opened: socket.socket) -> bytes:
    try:
        return opened.recv(4096)
    except ConnectionResetError:
        return b""
