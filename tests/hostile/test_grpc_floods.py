"""Floods of HTTP/2 frames, bounded in count and so in time: the connection ends, or they cost little; everybody else is served meanwhile.

Where the engines differ the row says how. pygrpc-native 0.5.0 answers every PING and SETTINGS, however many there are: 0.3 µs each, so a
flood buys less of our processor than it costs of the sender's; penstock-front stands on the same HTTP/2 library and does likewise.
"""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager

import grpc
import pytest

from tests.hostile import http2
from tests.hostile.endings import CLOSED, EXHAUSTED, OPEN, ROUNDS, Case, Ending, ending
from tests.hostile.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, connected, frame, grpc_headers, grpc_message
from tests.hostile.stand import FLAT_BYTES, GOOD, Target

CPU_SECONDS = 1.0
"""How much processor time of the router a flood may take; one that lasts longer may take a core meanwhile."""
PUSHES = 50


def rapid_reset(number: int) -> bytes:
    streams = range(200 * number + 1, 200 * number + 201, 2)
    reset = struct.pack(">I", 8)
    return b"".join(
        frame(HEADERS, grpc_headers(), flags=END_HEADERS, stream=one) + frame(http2.RST_STREAM, reset, stream=one) for one in streams
    )


def whole_calls_reset(number: int) -> bytes:
    call, body, reset = grpc_headers(), grpc_message(GOOD), struct.pack(">I", 8)
    streams = range(200 * number + 1, 200 * number + 201, 2)
    return b"".join(
        frame(HEADERS, call, flags=END_HEADERS, stream=one)
        + frame(DATA, body, flags=END_STREAM, stream=one)
        + frame(http2.RST_STREAM, reset, stream=one)
        for one in streams
    )


def after_headers(sent: bytes, *, flags: int) -> Callable[[int], bytes]:
    return lambda number: (b"" if number else frame(HEADERS, grpc_headers(), flags=flags, stream=1)) + sent


MANY_HEADERS = b"".join(frame(http2.CONTINUATION, http2.literal(b"x%d" % number, b"y" * 1000), stream=1) for number in range(100))


Flood = Case[Callable[[int], bytes]]
"""Frames without end: what is pushed each time, and whether the engines end the connection for it."""

FLOODS = [
    Flood("5,000 calls opened and reset", rapid_reset, CLOSED, OPEN),
    Flood("5,000 whole calls reset", whole_calls_reset, CLOSED, OPEN),
    Flood("5 MB of headers in CONTINUATION", after_headers(MANY_HEADERS, flags=0), CLOSED, EXHAUSTED),
    Flood("empty CONTINUATION", after_headers(frame(http2.CONTINUATION, stream=1) * 1000, flags=0), CLOSED, CLOSED),
    Flood("50,000 SETTINGS", lambda _: frame(http2.SETTINGS, struct.pack(">HI", 3, 100)) * 1000, OPEN, OPEN),
    Flood("50,000 PING", lambda _: frame(http2.PING, b"12345678") * 1000, OPEN, CLOSED),
    Flood("50,000 empty DATA", after_headers(frame(DATA, stream=1) * 1000, flags=END_HEADERS), CLOSED, CLOSED),
    Flood("50,000 WINDOW_UPDATE", lambda _: frame(http2.WINDOW_UPDATE, struct.pack(">I", 1)) * 1000, OPEN, OPEN),
]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_ig20_a_flood_ends_or_costs_little_while_others_are_served(flood: Flood, target: Target):
    expected = flood.owed(target.engine)
    _push(flood, target)  # the first time buffers grow to their size
    for _ in range(ROUNDS):
        memory, cpu, started_at = target.resident_bytes(), target.router_cpu_seconds(), time.monotonic()
        assert _push(flood, target) == expected
        assert target.router_cpu_seconds() - cpu < max(CPU_SECONDS, time.monotonic() - started_at)
        if target.resident_bytes() - memory <= FLAT_BYTES:
            break

    target.assert_memory_returns_to(memory)


def test_ig20_a_flood_that_piled_up_ends_no_call_of_others(target: Target):
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        wires = [stack.enter_context(connected(target.address)) for _ in range(4)]
        with stopped(target.process_ids[0]):
            pushed = [pool.submit(lambda wire: [wire.push(rapid_reset(number)) for number in range(14)], wire) for wire in wires]
            calls = [pool.submit(target.call, GOOD, timeout=30) for _ in range(4)]
            wait(pushed, timeout=0.5)  # what does not fit into the sockets is taken afterwards

        assert [call.result() for call in calls] == [(grpc.StatusCode.OK, None)] * 4
    target.assert_unharmed()


@contextmanager
def stopped(process_id: int) -> Iterator[None]:
    """Let a process stand still, as one that gets no processor does."""
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


def _push(flood: Flood, target: Target) -> Ending:
    """Push it all, others calling meanwhile; return how it ended."""
    with connected(target.address) as wire:
        for number in range(PUSHES):
            wire.push(flood.act(number))
            wire.until(lambda: wire.is_closed, seconds=0.001)
            if number % 20 == 0:
                target.assert_unharmed()
        ended = ending(wire, seconds=0.2 if flood.owed(target.engine) == OPEN else 30.0)
        return CLOSED if wire.is_closed else ended
