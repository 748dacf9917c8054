"""Learns how requests describe their inputs, so that the next request of the same shape needs one comparison.

The bytes of a request between its parameters and its tensors (names, data types, shapes, wanted outputs) are the same for all
requests of one shape. They are parsed and checked against the signature once; the `Learnt` that results recognises the next one by
`startswith` and knows where its tensors lie. Nothing is looser for it: what is recognised is byte for byte what was checked.
Only requests with raw contents of fixed size are learnt; the others are parsed every time.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.contracts.errors import InvalidInput, NotImplementedHere
from penstock.contracts.signature import GivenInput, Signature, TensorSpec, check_inputs, check_outputs
from penstock.contracts.tensors import DataType, check_byte_count
from penstock.contracts.varint import varint
from penstock.oip.v2 import inference_pb2 as pb
from services.mesh.chunk import CHUNK_BYTES, CHUNK_LIMIT, Template
from services.router.classification import check_count
from services.router.field_limits import INPUT_LIMIT
from services.router.typed_contents import raw_of

TEMPLATES_PER_TARGET = 1024
PREFIX_LIMIT_BYTES = 4096
"""Longest description that is remembered; a longer one is parsed every time, or callers could fill the memory with descriptions."""


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """One way of describing inputs. `eq` is identity: a chunk's requests share this very object."""

    prefix: bytes
    """Everything from the first input to the first tensor's bytes; empty when requests of this kind are always parsed."""
    segments: tuple[tuple[int, int, bytes], ...]
    """(offset behind the prefix, length, bytes that stand before it) of each tensor, in the order of the template's inputs."""
    tail_bytes: int
    """Bytes behind the prefix."""
    template: Template
    classes: tuple[int, ...]
    """Number of classes wanted of each wanted output; 0 means the tensor itself."""
    chunk_limit: int = field(init=False)
    """Most requests of a chunk."""

    def __post_init__(self) -> None:
        """Let large tensors travel in small chunks: what a chunk is copied to is then still in the processor's cache."""
        object.__setattr__(self, "chunk_limit", max(1, min(CHUNK_LIMIT, CHUNK_BYTES // max(1, self.tail_bytes))))

    def cut(self, payload: bytes, start: int) -> list[bytes] | None:
        """Return the tensors' bytes of a request whose inputs begin at `start`; None when it is of another kind."""
        if not payload.startswith(self.prefix, start):
            return None
        begin = start + len(self.prefix)
        if len(self.segments) == 1:
            return [payload[begin:]]
        parts: list[bytes] = []
        for offset, length, before in self.segments:
            at = begin + offset
            if before and not payload.startswith(before, at - len(before)):
                return None
            parts.append(payload[at : at + length])
        return parts


class TemplateBook:
    """The templates of one deployment."""

    __slots__ = ("_by_key", "_by_length", "_count", "_signature")

    def __init__(self, signature: Signature) -> None:
        """Start without templates."""
        self._signature = signature
        self._by_length: dict[int, tuple[Learnt, ...]] = {}
        self._by_key: dict[object, Learnt] = {}
        self._count = 0

    def recognise(self, payload: bytes, start: int) -> tuple[Learnt, list[bytes]] | None:
        """Return what was learnt of requests like this one and its tensors' bytes."""
        for learnt in self._by_length.get(len(payload) - start, ()):
            parts = learnt.cut(payload, start)
            if parts is not None:
                return learnt, parts
        return None

    def read(self, request: pb.ModelInferRequest, payload: bytes, start: int | None) -> tuple[Learnt, list[bytes]]:
        """Check a parsed request, learn from it if its layout allows, and return its tensors' bytes in signature order.

        Args:
            request: the whole request.
            payload: its bytes.
            start: where its inputs begin; None when its layout is not the usual one.

        Raises:
            InvalidInput: it breaks the signature; the message says where.
        """
        if len(request.inputs) > INPUT_LIMIT or len(request.outputs) > INPUT_LIMIT or len(request.raw_input_contents) > INPUT_LIMIT:
            raise InvalidInput(f"more than {INPUT_LIMIT} inputs or outputs are listed", reason="BAD_VALUE", field="inputs")
        given = [GivenInput(name=one.name, datatype=one.datatype, shape=tuple(one.shape)) for one in request.inputs]
        _refuse_shared_memory(request)
        positions, rows = check_inputs(self._signature, given)
        raws = _raw_contents(request, given)
        for one, raw in zip(given, raws, strict=True):
            check_byte_count(one.name, DataType(one.datatype), one.shape, raw)
        outputs, classes = _wanted(self._signature, request)
        order = sorted(range(len(positions)), key=positions.__getitem__)
        parts = [raws[index] for index in order]
        template = self._template(tuple(positions[i] for i in order), tuple(given[i].shape for i in order), rows, (outputs, classes))
        learnt = self._learn(request, payload, start, order, template)
        return learnt, parts

    def _template(
        self, positions: tuple[int, ...], shapes: tuple[tuple[int, ...], ...], rows: int, wanted: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> Learnt:
        key = (positions, shapes, wanted)
        known = self._by_key.get(key)
        if known is not None:
            return known
        outputs, classes = wanted
        template = Template(
            input_positions=positions,
            shapes=shapes,
            rows=rows,
            outputs=outputs,
            wire_inputs=tuple(
                (position, struct.pack(f"<{len(shape)}q", *shape)) for position, shape in zip(positions, shapes, strict=True)
            ),
            wire_outputs=b"" if outputs == tuple(range(len(self._signature.outputs))) else struct.pack(f"<{len(outputs)}I", *outputs),
        )
        learnt = Learnt(prefix=b"", segments=(), tail_bytes=0, template=template, classes=classes)
        if len(self._by_key) >= TEMPLATES_PER_TARGET:
            self._by_key.clear()
        self._by_key[key] = learnt
        return learnt

    def _learn(self, request: pb.ModelInferRequest, payload: bytes, start: int | None, order: Sequence[int], base: Learnt) -> Learnt:
        raws = request.raw_input_contents
        fixed = all(one.datatype != DataType.BYTES.value for one in request.inputs)
        if start is None or not raws or not fixed or self._count >= TEMPLATES_PER_TARGET:
            return base
        tags = [b"\x3a" + varint(len(raw)) for raw in raws]
        tail = b"".join(part for tag, raw in zip(tags, raws, strict=True) for part in (tag, raw))
        described = len(payload) - len(tail) - start
        if not payload.endswith(tail) or not 0 < described <= PREFIX_LIMIT_BYTES:
            return base
        prefix = payload[start : len(payload) - len(tail) + len(tags[0])]
        places: list[tuple[int, int, bytes]] = []
        offset = 0
        for index, raw in enumerate(raws):
            before = tags[index] if index else b""
            offset += len(before)
            places.append((offset, len(raw), before))
            offset += len(raw)
        learnt = Learnt(
            prefix=prefix, segments=tuple(places[i] for i in order), tail_bytes=offset, template=base.template, classes=base.classes
        )
        known = self._by_length.get(len(payload) - start, ())
        self._by_length[len(payload) - start] = (*known[:7], learnt)
        self._count += 1
        return learnt


def _raw_contents(request: pb.ModelInferRequest, given: Sequence[GivenInput]) -> list[bytes]:
    raws = request.raw_input_contents
    if not raws:
        return [raw_of(one, tensor.contents) for one, tensor in zip(given, request.inputs, strict=True)]
    if any(one.HasField("contents") for one in request.inputs):
        raise InvalidInput("raw_input_contents and contents must not both be set", reason="BAD_VALUE", field="raw_input_contents")
    if len(raws) != len(given):
        raise InvalidInput(
            f"{len(raws)} entries of raw_input_contents for {len(given)} inputs; there must be one an input, in their order",
            reason="BYTE_COUNT",
            field="raw_input_contents",
        )
    return list(raws)


def _refuse_shared_memory(request: pb.ModelInferRequest) -> None:
    for one in (*request.inputs, *request.outputs):
        if "shared_memory_region" in one.parameters:
            raise NotImplementedHere("shared memory is not offered here: send the tensor's bytes", reason="SHARED_MEMORY")


def _wanted(signature: Signature, request: pb.ModelInferRequest) -> tuple[tuple[int, ...], tuple[int, ...]]:
    outputs = check_outputs(signature, [one.name for one in request.outputs])
    if not request.outputs:
        return outputs, (0,) * len(outputs)
    rows = signature.has_batch_dimension
    specs = [signature.outputs[position] for position in outputs]
    classes = tuple(_classes(one, spec, has_batch_dimension=rows) for one, spec in zip(request.outputs, specs, strict=True))
    order = sorted(range(len(outputs)), key=outputs.__getitem__)
    return tuple(outputs[i] for i in order), tuple(classes[i] for i in order)


def _classes(output: pb.ModelInferRequest.InferRequestedOutputTensor, spec: TensorSpec, *, has_batch_dimension: bool) -> int:
    if "classification" not in output.parameters:
        return 0
    value = output.parameters["classification"]
    count = value.int64_param or value.uint64_param
    if value.WhichOneof("parameter_choice") not in {"int64_param", "uint64_param"} or count < 0 or count > 2**31:
        raise InvalidInput("parameter 'classification' must be a number of classes", reason="BAD_PARAMETER", field=output.name)
    return check_count(spec, count, has_batch_dimension=has_batch_dimension) if count else 0
