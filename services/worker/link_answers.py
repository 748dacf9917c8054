"""What a worker owes one router: the frame that grows during a turn of the event loop and leaves at its end."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from penstock.contracts.errors import RequestTooLarge, ServingError
from penstock.v1 import link_pb2 as pb
from services.mesh.frames import FRAME_LIMIT_BYTES, framed
from services.worker.work import OutputPart, Timing

ANSWER_BYTES = FRAME_LIMIT_BYTES // 4
"""Longest answer that travels in one piece."""
UINT32_MAX = 0xFFFFFFFF


class AnswerFrame:
    """A WorkerFrame under construction."""

    __slots__ = ("_answer_bytes", "_frame", "_frame_bytes", "_sealed", "bytes", "is_empty")

    def __init__(self, *, answer_bytes: int = ANSWER_BYTES, frame_bytes: int = FRAME_LIMIT_BYTES) -> None:
        """Answers above `answer_bytes` are split; a single request's answer that does not fit `frame_bytes` fails."""
        self._answer_bytes = answer_bytes
        self._frame_bytes = frame_bytes
        self._frame = pb.WorkerFrame()
        self._sealed: list[bytes] = []
        self.is_empty = True
        self.bytes = 0
        """Bytes of outputs in it, about what it will weigh."""

    def welcome(self, instance_id: str, protocol_version: int, credit_rows: int) -> None:
        """Answer a Hello."""
        self._frame.welcome.worker_instance_id = instance_id
        self._frame.welcome.protocol_version = protocol_version
        self._frame.welcome.credit_rows = credit_rows
        self.is_empty = False

    def pong(self, number: int) -> None:
        """Answer a ping."""
        self._frame.pong = number
        self.is_empty = False

    def announce(self, *, draining: bool, credit_rows: int) -> None:
        """Tell that no new work is taken, or that the limit changed."""
        self._frame.draining = draining
        self._frame.credit_rows = credit_rows
        self.is_empty = False

    def answer(self, chunk_id: int, positions: Sequence[int], outputs: Sequence[OutputPart], timing: Timing) -> None:
        """Add answers; what is too long for one frame is spread over several."""
        size = sum([len(output.raw) for output in outputs])
        if size > self._answer_bytes and len(positions) > 1:
            for piece, shares in _halves(positions, outputs):
                self.answer(chunk_id, piece, shares, timing)
            return
        if size > self._frame_bytes - self._answer_bytes:
            error = RequestTooLarge(
                f"the answer has {size} bytes, more than a frame of the worker link holds: ask for fewer rows or outputs"
            )
            self.fail(chunk_id, positions, error)
            return
        if self.bytes + size > self._answer_bytes:
            self._seal()
        answer = self._frame.answers.add(
            chunk_id=chunk_id,
            start=positions[0],
            count=len(positions),
            queue_microseconds=min(timing.queue_microseconds, UINT32_MAX),
            compute_microseconds=min(timing.compute_microseconds, UINT32_MAX),
            execution_rows=timing.execution_rows,
            waiting_rows=timing.waiting_rows,
        )
        if not isinstance(positions, range):
            answer.indices = array("I", positions).tobytes()
        for output in outputs:
            answer.outputs.add(shape=output.shape, raw=output.raw, lengths=output.lengths)
        self.bytes += size
        self.is_empty = False

    def fail(self, chunk_id: int, positions: Sequence[int], error: ServingError) -> None:
        """Add failures."""
        answer = self._frame.answers.add(chunk_id=chunk_id)
        reason, message = error.reason, error.message
        for position in positions:
            answer.failures.add(index=position, reason=reason, message=message)
        self.is_empty = False

    def take(self) -> bytes:
        """Return the frame with its length in front, and start anew."""
        sealed, self._sealed = self._sealed, []
        body = framed(self._frame)
        self._frame = pb.WorkerFrame()
        self.bytes = 0
        self.is_empty = True
        return b"".join([*sealed, body]) if sealed else body

    def _seal(self) -> None:
        if not self.is_empty:
            self._sealed.append(framed(self._frame))
            self._frame = pb.WorkerFrame()


def _halves(
    positions: Sequence[int], outputs: Sequence[OutputPart]
) -> tuple[tuple[Sequence[int], list[OutputPart]], tuple[Sequence[int], list[OutputPart]]]:
    """Split answers into those of the first and of the second half of the requests."""
    middle = len(positions) // 2
    left: list[OutputPart] = []
    right: list[OutputPart] = []
    for output in outputs:
        lengths = array("I", output.lengths)
        cut = sum(lengths[:middle]) if lengths else len(output.raw) // len(positions) * middle
        left.append(OutputPart(output.shape, output.raw[:cut], lengths[:middle].tobytes()))
        right.append(OutputPart(output.shape, output.raw[cut:], lengths[middle:].tobytes()))
    return (positions[:middle], left), (positions[middle:], right)
