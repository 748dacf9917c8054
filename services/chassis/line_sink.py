"""Log lines to a file descriptor, without ever waiting for whoever reads it.

A thread writes; callers append to a bounded queue. When the reader stops reading, the thread waits in `write`, the queue fills, and
further lines are counted and dropped, never waited for. (The descriptor itself stays blocking: O_NONBLOCK would be shared with every
process that inherited it.) When the reader is back, one line tells how many are missing.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

QUEUE_BYTES = 4 << 20
"""Most bytes that wait for the reader."""

_CHUNK_BYTES = 64 << 10


class LineSink:
    """Writes lines in order, or drops and counts them."""

    def __init__(self, descriptor: int, *, queue_bytes: int = QUEUE_BYTES, dropped_line: Callable[[int], bytes] | None = None) -> None:
        """Store the arguments; `dropped_line` makes the line that reports how many were dropped."""
        self._descriptor = descriptor
        self._queue_bytes = queue_bytes
        self._dropped_line = dropped_line
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._unreported = 0
        self.dropped = 0
        """Lines dropped since the start."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._is_closing = False
        self._thread = threading.Thread(target=self._write_all, name="log-lines", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Append one line, its newline included. Safe from any thread; never waits for the reader."""
        with self._lock:
            if self._waiting_bytes + len(line) > self._queue_bytes:
                self.dropped += 1
                self._unreported += 1
                return
            self._waiting_bytes += len(line)
            self._lines.append(line)
            self._idle.clear()
        self._wake.set()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything is written, but no longer than told; say whether it was."""
        return self._idle.wait(timeout_seconds)

    def close(self, timeout_seconds: float = 1.0) -> bool:
        """Write what waits, but no longer than told; say whether it was. Later lines are lost."""
        written = self.flush(timeout_seconds)
        self._is_closing = True
        self._wake.set()
        if written:
            self._thread.join(timeout_seconds)
        return written

    def _write_all(self) -> None:
        while not self._is_closing:
            self._wake.wait()
            self._wake.clear()
            while chunk := self._next_chunk():
                if not _write_fully(self._descriptor, chunk):
                    self._is_closing = True
                    return

    def _next_chunk(self) -> bytes:
        with self._lock:
            taken: list[bytes] = []
            size = 0
            while self._lines and size < _CHUNK_BYTES:
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self._waiting_bytes -= size
            if taken and self._unreported and not self._lines and self._dropped_line is not None:
                taken.append(self._dropped_line(self._unreported))
                self._unreported = 0
            if not taken:
                self._idle.set()
            return b"".join(taken)


def _write_fully(descriptor: int, content: bytes) -> bool:
    """Write all bytes; False when nobody will ever read them."""
    left = memoryview(content)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Somebody else made the shared descriptor non-blocking: wait for it here, in the thread.
            _wait_writable(descriptor)
        except OSError:
            return False
    return True


def _wait_writable(descriptor: int) -> None:
    import select  # noqa: PLC0415  needed by hardly any process

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll(1000)
