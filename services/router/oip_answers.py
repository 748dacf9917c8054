"""Writes OIP answers of kinds that were seen before without parsing them.

Answers to requests of one shape differ in their id and in the bytes of their tensors, nothing else. The first one of a kind is parsed
(oip_answer) and, if all its tensors have fixed sizes, remembered: the bytes in front of and between its tensors, and the JSON that goes
around their values. The next one is recognised by those bytes, wherever they stand. What is not recognised is parsed, every time.
A JSON answer of 8 numbers costs 3.2 instead of 8.0 µs, a binary one 2.2 instead of 4.5 µs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson

from penstock.contracts.tensors import DataType
from penstock.contracts.varint import varint
from services.router.json_tensors import dumps
from services.router.oip_answer import Response, parse, render
from services.router.oip_json import AnswerForm

_KINDS_LIMIT = 1024
_ALIKE_LIMIT = 8
_VARYING = frozenset({DataType.BYTES.value, DataType.BF16.value})
"""Tensors without a fixed size, or that JSON needs converted."""
_PLACE = orjson.Fragment(b"\x00")
"""Stands for the values of a tensor while the JSON around them is written; no JSON text holds this byte."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where the bytes of an output lie."""

    offset: int
    """Behind the id."""
    size: int
    before: bytes
    """What stands right in front of them."""
    dtype: np.dtype[np.generic]
    begin: int
    """Behind the id: where `before` stands."""
    count: int
    """Of elements."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """All answers that differ in id and values only."""

    names: tuple[str, ...]
    tensors: tuple[_Tensor, ...]
    texts: dict[tuple[bool, ...], tuple[bytes, ...]]
    """The JSON around the values, by which outputs are binary; it ends in front of the closing brace."""
    sample: bytes
    """The answer from which this was learnt, without its id."""

    def is_of(self, payload: bytes, start: int) -> bool:
        """Whether an answer whose id ends at `start` is of this kind."""
        for one in self.tensors:  # noqa: SIM110 - a generator costs as much as three comparisons
            if not payload.startswith(one.before, start + one.begin):
                return False
        return True


class OipAnswers:
    """Renders answers and remembers their kinds."""

    def __init__(self) -> None:
        """Start with nothing remembered."""
        self._kinds: dict[int, list[_Kind]] = {}
        self._count = 0

    def render(self, payload: bytes, form: AnswerForm) -> tuple[bytes, int | None]:
        """Return the body of an answer, and the length of its JSON when tensors follow it; raises what oip_answer.render raises."""
        start = 0
        identity = b""
        if payload[:1] == b"\x1a" and payload[1] < 0x80:
            start = 2 + payload[1]
            identity = payload[2:start]
        for kind in self._kinds.get(len(payload) - start, ()):
            if kind.is_of(payload, start):
                return _written(kind, payload, start, identity, form)
        self._learn(payload, start)
        return render(payload, form)

    def _learn(self, payload: bytes, start: int) -> None:
        rest = payload[start:]
        kind = _kind_of(parse(rest), rest)
        if kind is None:
            return
        if self._count >= _KINDS_LIMIT:
            self._kinds.clear()
            self._count = 0
        alike = self._kinds.setdefault(len(payload) - start, [])
        if len(alike) < _ALIKE_LIMIT:
            alike.append(kind)
            self._count += 1


def _head(raw: bytes) -> bytes:
    """Return what stands in front of an output's bytes: field 6."""
    return b"\x32" + varint(len(raw))


def _kind_of(response: Response, rest: bytes) -> _Kind | None:
    """Return the kind of an answer; None for one that is better parsed each time."""
    raws = response.raw_output_contents
    if response.id or response.parameters or not response.outputs or len(raws) != len(response.outputs):
        return None
    if any(one.datatype in _VARYING or one.parameters for one in response.outputs):
        return None
    tail = b"".join([piece for raw in raws for piece in (_head(raw), raw)])
    if not rest.endswith(tail):
        return None
    before, offset = rest[: len(rest) - len(tail)], len(rest) - len(tail)
    tensors: list[_Tensor] = []
    for output, raw in zip(response.outputs, raws, strict=True):
        before += _head(raw)
        offset += len(_head(raw))
        dtype = DataType(output.datatype).dtype
        tensors.append(_Tensor(offset, len(raw), before, dtype, offset - len(before), len(raw) // dtype.itemsize))
        offset += len(raw)
        before = b""
    return _Kind(tuple(one.name for one in response.outputs), tuple(tensors), {}, rest)


def _written(kind: _Kind, payload: bytes, start: int, identity: bytes, form: AnswerForm) -> tuple[bytes, int | None]:
    binary = tuple([form.is_binary(name) for name in kind.names])
    texts = kind.texts.get(binary)
    if texts is None:
        texts = kind.texts[binary] = _texts(kind, binary)
    pieces = [texts[0]]
    blobs: list[bytes] = []
    following = 1
    for is_binary, one in zip(binary, kind.tensors, strict=True):
        at = start + one.offset
        if is_binary:
            blobs.append(payload[at : at + one.size])
        else:
            values = np.frombuffer(payload, one.dtype, one.count, at)
            pieces += (dumps(values), texts[following])
            following += 1
    pieces.append(b',"id":%s}' % orjson.dumps(identity.decode()) if identity else b"}")
    document = b"".join(pieces)
    return (b"".join([document, *blobs]), len(document)) if blobs else (document, None)


def _texts(kind: _Kind, binary: tuple[bool, ...]) -> tuple[bytes, ...]:
    response = parse(kind.sample)
    outputs: list[dict[str, object]] = []
    for is_binary, output, raw in zip(binary, response.outputs, response.raw_output_contents, strict=True):
        described: dict[str, object] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        described |= {"parameters": {"binary_data_size": len(raw)}} if is_binary else {"data": _PLACE}
        outputs.append(described)
    document = dumps({"model_name": response.model_name, "model_version": response.model_version, "outputs": outputs})
    return tuple(document[:-1].split(b"\x00"))
