"""What this process has written to its connections and the other side's machine has not taken yet.

Closing a connection on which the other side has just written sends a reset, which throws away what is still queued here. Whoever
cannot ask the owner of a connection looks at the process's own descriptors instead; some 10 µs a descriptor, Linux only.

What is owed is a point in each connection's stream, not an empty queue: a caller who goes on asking, and is refused each time, keeps
the queue from ever being seen empty.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_INET = (socket.AF_INET, socket.AF_INET6)
_BYTES_ACKED = struct.Struct("=120xQ")
"""tcpi_bytes_acked in `struct tcp_info` (linux/tcp.h, since Linux 4.1)."""


def owed(port: int) -> dict[int, int]:
    """Return how far the other side has to take the stream of each connection whose local port is `port`, by descriptor."""
    found: dict[int, int] = {}
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # a listener, or closed meanwhile
            if entry.readlink().name.startswith("socket:"):
                taken, queued = _taken_and_queued(int(entry.name), port)
                if queued:
                    found[int(entry.name)] = taken + queued
    return found


def still_owed(marks: Mapping[int, int], port: int) -> dict[int, int]:
    """Return the marks that the other side has not reached yet; a connection that is gone owes nothing."""
    left: dict[int, int] = {}
    for descriptor, mark in marks.items():
        with suppress(OSError):
            if _taken_and_queued(descriptor, port)[0] < mark:
                left[descriptor] = mark
    return left


def _taken_and_queued(descriptor: int, port: int) -> tuple[int, int]:
    # The copy is closed, not the connection; making a socket object of it fails only for what is no socket any more.
    copy = os.dup(descriptor)
    try:
        connection = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
    with connection:
        if connection.family not in _INET or connection.getsockname()[1] != port:
            raise OSError("another port's")
        # In this order: what is taken between the two looks counts as owed once more, never as one too few.
        (queued,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
        (taken,) = _BYTES_ACKED.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size))
        return int(taken), int(queued)
