"""From the wire's chunk to work, every count of bytes checked: whatever a router sends, the worst it gets is a refusal."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate

from penstock.contracts.errors import InvalidInput, MalformedBody, ServingError
from penstock.v1 import link_pb2 as pb
from services.mesh.large_frames import LargeChunk, LargeColumn
from services.worker.templates import TemplateBook
from services.worker.work import NO_DEADLINE, AnswerSink, Column, PriorityClass, TemplateInput, Work

_CLASSES = {one.value: one for one in PriorityClass}


def decode(
    carried: pb.Chunk | LargeChunk, templates: TemplateBook, sink: AnswerSink, arrived_at: float, clock_offset_seconds: float
) -> tuple[Work, list[tuple[int, ServingError]]]:
    """Return the work and the requests of it that are refused already, each with its error.

    Args:
        carried: the chunk as it came.
        templates: those of its deployment.
        sink: who waits for it.
        arrived_at: monotonic seconds.
        clock_offset_seconds: what has to be added to the router's clock to get this process's.

    Raises:
        InvalidInput: no request of the chunk can be read or run.
    """
    chunk = carried.head if isinstance(carried, LargeChunk) else carried
    described = tuple([(one.input_index, one.shape) for one in chunk.inputs])
    template = templates.template_of(described, chunk.outputs, chunk.rows_per_request)
    if len(carried.columns) != len(template.inputs):
        raise MalformedBody(f"the chunk carries {len(carried.columns)} columns for {len(template.inputs)} inputs")
    priority_class = _CLASSES.get(chunk.priority_class)
    if priority_class is None:
        raise InvalidInput("the chunk has no priority class", reason="BAD_PARAMETER")
    count, deadlines, packed_tenants, traces = chunk.count, chunk.deadlines, chunk.tenants, chunk.traces
    tenants = _numbers("I", packed_tenants, count) if packed_tenants else None
    has_one_tenant = tenants is None or packed_tenants == packed_tenants[:4] * count
    columns = tuple([_column(column, one, count) for column, one in zip(carried.columns, template.inputs, strict=True)])
    work = Work(
        chunk_id=chunk.chunk_id,
        count=count,
        template=template,
        columns=columns,
        sink=sink,
        arrived_at=arrived_at,
        priority_class=priority_class,
        priority_level=chunk.priority_level,
        deadlines=_deadlines(deadlines, count, clock_offset_seconds) if deadlines else None,
        tenants=None if has_one_tenant else tenants,
        tenant=tenants[0] if tenants and has_one_tenant else 0,
        traces=tuple([(one.index, one.traceparent) for one in traces]) if traces else (),
    )
    return work, [refusal for column, one in zip(columns, template.inputs, strict=True) if column.ends for refusal in _wrong(column, one)]


def _column(column: pb.InputColumn | LargeColumn, one: TemplateInput, count: int) -> Column:
    raw, lengths = column.raw, column.lengths
    if one.is_text or one.is_checked:
        raw = bytes(raw)  # what looks into them wants bytes
    if not lengths:
        size, rest = divmod(len(raw), count)
        if rest or one.request_bytes not in (None, size):
            raise _byte_count(one, f"carries {len(raw)} bytes for {count} requests")
        return Column(raw, None, size)
    ends = list(accumulate(_numbers("I", lengths, count)))
    if ends[-1] != len(raw):
        raise _byte_count(one, f"carries {len(raw)} bytes, its lengths say {ends[-1]}")
    return Column(raw, ends, 0)


def _wrong(column: Column, one: TemplateInput) -> list[tuple[int, ServingError]]:
    """Return the requests whose own share has the wrong length."""
    if one.request_bytes is None:
        return []
    sizes = [end - start for start, end in zip([0, *(column.ends or ())], column.ends or (), strict=False)]
    return [(position, _byte_count(one, f"carries {size} bytes")) for position, size in enumerate(sizes) if size != one.request_bytes]


def _byte_count(one: TemplateInput, what: str) -> InvalidInput:
    wanted = f"{one.request_bytes} bytes a request" if one.request_bytes is not None else "equal shares or their lengths"
    return InvalidInput(
        f"input {one.name!r} {what}; {one.datatype.value}{list(one.shape)} needs {wanted}", reason="BYTE_COUNT", field=one.name
    )


def _deadlines(packed: bytes, count: int, offset: float) -> Sequence[float]:
    return [at * 1e-6 + offset if at else NO_DEADLINE for at in _numbers("Q", packed, count)]


def _numbers(kind: str, packed: bytes, count: int) -> Sequence[int]:
    numbers: array[int] = array(kind)
    if len(packed) != numbers.itemsize * count:
        raise MalformedBody(f"a column of the chunk has {len(packed)} bytes, {count} requests need {numbers.itemsize * count}")
    numbers.frombytes(packed)
    return numbers
