"""Log lines to a file descriptor, without ever waiting for whoever reads it.

A thread writes; callers append to a bounded queue. When the reader stops reading, the thread waits in `write`, the queue fills, and
further lines are counted and dropped, never waited for. (The descriptor itself stays blocking: O_NONBLOCK would be shared with every
process that inherited it.) When the reader is back, one line tells how many are missing.

A disk that is full, read-only or broken costs lines in the same way: what it does not take is dropped and counted, and the number follows
the first line that it takes again.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

QUEUE_BYTES = 4 << 20
"""Most bytes that wait for the reader."""

_CHUNK_BYTES = 4096
"""Most bytes of a write, unless one line has more: Linux takes so much into a pipe as one piece (PIPE_BUF), so that lines of processes that
share a pipe stay whole."""


_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
"""What may be over some day."""


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
        self._is_torn = False
        """Whether the disk took only a part of the last line."""
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
            is_refused = False
            while (chunk := self._next_chunk(may_report=not is_refused)).content:
                written = _write_fully(self._descriptor, chunk.content)
                if written is None:
                    self._is_closing = True
                    return
                is_refused = written < len(chunk.content)
                if is_refused:
                    self._lose(chunk, is_torn=written > 0)

    def _lose(self, chunk: _Chunk, *, is_torn: bool) -> None:
        with self._lock:
            self.dropped += 0 if chunk.is_report else chunk.lines
            self._unreported += chunk.lines
            self._is_torn = is_torn

    def _next_chunk(self, *, may_report: bool) -> _Chunk:
        with self._lock:
            taken: list[bytes] = []
            size = 0
            while self._lines and (not taken or size + len(self._lines[0]) <= _CHUNK_BYTES):
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self._waiting_bytes -= size
            if not taken and may_report and self._unreported and self._dropped_line is not None:
                lines, self._unreported = self._unreported, 0
                return _Chunk(content=self._dropped_line(lines), lines=lines, is_report=True)
            if not taken:
                self._idle.set()
            elif self._is_torn:
                taken[0], self._is_torn = b"\n" + taken[0], False
            return _Chunk(content=b"".join(taken), lines=len(taken))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    content: bytes
    lines: int
    """How many it holds, or, in a report, how many it tells of."""
    is_report: bool = False


def _write_fully(descriptor: int, content: bytes) -> int | None:
    """Write all bytes; return how many the disk took, None when nobody will ever read them."""
    left = memoryview(content)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Somebody else made the shared descriptor non-blocking: wait for it here, in the thread.
            _wait_writable(descriptor)
        except OSError as error:
            return len(content) - len(left) if error.errno in _DISK_ERRORS else None
    return len(content)


def _wait_writable(descriptor: int) -> None:
    import select  # noqa: PLC0415  needed by hardly any process

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll(1000)
