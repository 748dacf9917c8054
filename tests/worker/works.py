"""Work, sinks and sessions for tests of the hot path."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from penstock.contracts.errors import ExecutionFailed, ServingError
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import AnyArray, DataType, join_bytes
from services.worker.session import Terminated
from services.worker.work import Column, OutputPart, PriorityClass, Template, TemplateInput, Timing, Work

FP32 = DataType.FP32


@dataclass
class RecordingSink:
    """Remembers what was reported, request by request."""

    answers: dict[tuple[int, int], tuple[bytes, ...]] = field(default_factory=dict)
    errors: dict[tuple[int, int], ServingError] = field(default_factory=dict)
    reports: list[tuple[int, int]] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    on_report: Callable[[], None] = lambda: None

    def answer(self, work: Work, positions: Sequence[int], outputs: Sequence[OutputPart], timing: Timing) -> None:
        shares = [_shares(output, len(positions)) for output in outputs]
        for offset, position in enumerate(positions):
            self.reports.append((work.chunk_id, position))
            self.answers[work.chunk_id, position] = tuple(share[offset] for share in shares)
        self.timings.append(timing)
        self.on_report()

    def fail(self, work: Work, positions: Sequence[int], error: ServingError) -> None:
        for position in positions:
            self.reports.append((work.chunk_id, position))
            self.errors[work.chunk_id, position] = error
        self.on_report()

    def array(self, chunk_id: int, position: int = 0, output: int = 0) -> list[float]:
        return np.frombuffer(self.answers[chunk_id, position][output], dtype=np.float32).tolist()


def _shares(output: OutputPart, count: int) -> list[bytes]:
    if output.lengths:
        ends = np.cumsum(np.frombuffer(output.lengths, dtype=np.uint32)).tolist()
        return [output.raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    size = len(output.raw) // count
    return [output.raw[at * size : (at + 1) * size] for at in range(count)]


@dataclass
class FakeHandle:
    is_terminated: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)

    def terminate(self) -> None:
        self.is_terminated = True
        self.stopped.set()


class FakeSession:
    """Doubles `x`; waits for `gate`, fails where `poison` is an element, ignores or obeys its brake."""

    provider = "FakeExecutionProvider"

    def __init__(self, *, poison: float | None = None, output: Callable[[AnyArray], AnyArray] = lambda x: x * 2) -> None:
        self.poison = poison
        self.output = output
        self.gate: threading.Event | None = None
        self.is_endless = False
        self.ignores_brake = False
        self.entered = threading.Event()
        self.runs: list[int] = []
        self.release = threading.Event()

    def new_handle(self) -> FakeHandle:
        return FakeHandle()

    def run(self, feeds: Mapping[str, AnyArray], outputs: Sequence[str], handle: Any = None) -> list[AnyArray]:
        (array,) = feeds.values()
        if handle is not None and handle.is_terminated:
            raise Terminated
        self.runs.append(len(array))
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.is_endless:
            assert (self.release if self.ignores_brake else handle.stopped).wait(30)
            raise Terminated
        if self.poison is not None and (array == self.poison).any():
            raise ExecutionFailed("the model's execution failed; the worker's log says why")
        return [self.output(array)]


def signature(width: int = 1, *, max_batch_size: int = 8, datatype: DataType = FP32) -> Signature:
    """`x` and `y` of shape [-1, width]."""
    return Signature(
        inputs=(TensorSpec(name="x", datatype=datatype, shape=(-1, width)),),
        outputs=(TensorSpec(name="y", datatype=datatype, shape=(-1, width)),),
        max_batch_size=max_batch_size,
    )


def template(
    *, rows: int = 1, width: int = 1, datatype: DataType = FP32, name: str = "x", outputs: tuple[int, ...] = (0,), group: object = None
) -> Template:
    """One input of shape [rows, width]; requests of equal widths run together."""
    size = None if datatype.itemsize is None else rows * width * datatype.itemsize
    one = TemplateInput(name=name, datatype=datatype, shape=(rows, width), request_bytes=size)
    return Template(inputs=(one,), outputs=outputs, rows=rows, group=(width, outputs) if group is None else group)


def work(
    chunk_id: int,
    values: Sequence[Sequence[float]] | None = None,
    *,
    count: int = 1,
    rows: int = 1,
    sink: RecordingSink | None = None,
    at: float = 0.0,
    priority_class: PriorityClass = PriorityClass.ONLINE,
    **rest: Any,
) -> Work:
    """A chunk of FP32 requests; `values` has one flat list a request, by default `count` requests of zeros."""
    flat = values if values is not None else [[0.0] * rows] * count
    width = len(flat[0]) // rows
    raw = np.array(flat, dtype=np.float32).tobytes()
    return Work(
        chunk_id=chunk_id,
        count=len(flat),
        template=template(rows=rows, width=width),
        columns=(Column(raw, None, len(raw) // len(flat)),),
        sink=sink or RecordingSink(),
        arrived_at=at,
        priority_class=priority_class,
        **rest,
    )


def raw_work(chunk_id: int, shares: Sequence[bytes], shape: Template, *, sink: RecordingSink | None = None, **rest: Any) -> Work:
    """A chunk of one input whose requests' bytes are given."""
    ends = np.cumsum([len(share) for share in shares]).tolist()
    column = Column(b"".join(shares), ends, 0)
    return Work(
        chunk_id=chunk_id, count=len(shares), template=shape, columns=(column,), sink=sink or RecordingSink(), arrived_at=0.0, **rest
    )


def text_share(*texts: bytes | str) -> bytes:
    """The bytes of one BYTES tensor."""
    return join_bytes([text.encode() if isinstance(text, str) else text for text in texts])


def packed_shape(*sizes: int) -> bytes:
    return struct.pack(f"<{len(sizes)}q", *sizes)
