"""Requests for which every worker that could answer them is silent, as when the machine of all of them stood still for a moment."""

from __future__ import annotations

from collections.abc import Callable

from services.mesh.chunk import Chunk


class WaitingRoom:
    """Holds chunks until somebody can take them or nobody is worth waiting for; used on the event loop."""

    def __init__(self, send: Callable[[Chunk], None], is_worthwhile: Callable[[Chunk], bool]) -> None:
        """Store the arguments; `send` places a chunk or refuses it, `is_worthwhile` says whether it is better held."""
        self.chunks: list[Chunk] = []
        self._send = send
        self._is_worthwhile = is_worthwhile

    def add(self, chunk: Chunk) -> None:
        """Hold a chunk; its deadlines are its owner's to enforce."""
        self.chunks.append(chunk)

    def release(self) -> None:
        """Send what need not wait any longer; call it often."""
        if not self.chunks:
            return
        held, self.chunks = self.chunks, []
        for chunk in held:
            if not chunk.left:
                continue
            if self._is_worthwhile(chunk):
                self.chunks.append(chunk)
            else:
                self._send(chunk)
