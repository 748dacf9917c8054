"""The last good state on disk, so that a process starts with what it served although everything it follows is away.

File: a magic of 8 bytes, the CRC-32 of the body as 4 bytes big-endian, the body. A file that is cut short, mixed up or of another
kind is no state at all: it is logged, kept for a look under `.unreadable`, and the process starts empty.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from services.chassis.atomic_file import write_atomically

V = TypeVar("V")

_MAGIC = b"penstok1"
_HEAD_BYTES = len(_MAGIC) + 4

log = structlog.get_logger(__name__)


class Snapshot(Generic[V]):
    """Keeps one value on disk across restarts and power cuts."""

    def __init__(self, path: Path, encode: Callable[[V], bytes], decode: Callable[[bytes], V]) -> None:
        """Store the arguments; `decode` may raise anything for bytes that it does not know."""
        self._path = path
        self._encode = encode
        self._decode = decode

    def save(self, value: V) -> None:
        """Replace the state; when this returns, it survives a power cut.

        Raises:
            OSError: it could not be written; the previous state is still there.
        """
        body = self._encode(value)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, _MAGIC + zlib.crc32(body).to_bytes(4, "big") + body, durable=True)

    def load(self) -> V | None:
        """Return the last saved state; None when there is none or it cannot be read."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("snapshot_unreadable", path=str(self._path), reason=str(error))
            return None
        return self._decoded(content)

    def _decoded(self, content: bytes) -> V | None:
        body = content[_HEAD_BYTES:]
        if content[:_HEAD_BYTES] != _MAGIC + zlib.crc32(body).to_bytes(4, "big"):
            return self._set_aside("checksum or kind differs")
        try:
            return self._decode(body)
        except Exception as error:  # noqa: BLE001  the decoder is a stranger's, and no content may stop the process from starting
            return self._set_aside(f"{type(error).__name__}: {error}")

    def _set_aside(self, reason: str) -> None:
        log.warning("snapshot_unreadable", path=str(self._path), reason=reason)
        with suppress(OSError):
            self._path.replace(self._path.with_name(self._path.name + ".unreadable"))
