"""Descriptions of requests, checked against the signature once and then found again by their exact bytes."""

from __future__ import annotations

import struct
from array import array

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import GivenInput, Signature, check_inputs
from penstock.contracts.tensors import element_count
from services.worker.work import Template, TemplateInput

TEMPLATES = 1024
"""Most templates that are remembered; a model with more shapes than that learns them again."""

Key = tuple[tuple[tuple[int, bytes], ...], bytes, int]


class TemplateBook:
    """The templates of one deployment."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._known: dict[Key, Template] = {}
        self._groups: dict[object, int] = {}
        self._made = 0

    def template_of(self, inputs: tuple[tuple[int, bytes], ...], outputs: bytes, rows: int) -> Template:
        """Return the template of a chunk; equal descriptions give the same object.

        Args:
            inputs: position in the signature and packed int64 shape of each input that is present.
            outputs: positions of the wanted outputs, packed uint32; empty for all.
            rows: rows of one request.

        Raises:
            InvalidInput: the description does not fit the signature.
        """
        key = (inputs, outputs, rows)
        template = self._known.get(key)
        if template is None:
            template = self._checked(key)
            if len(self._known) >= TEMPLATES:
                self._known.clear()
                self._groups.clear()
            self._known[key] = template
        return template

    def _checked(self, key: Key) -> Template:
        inputs, outputs, rows = key
        specs = self._signature.inputs
        if any(index >= len(specs) for index, _ in inputs):
            raise InvalidInput(f"the chunk names an input beyond the {len(specs)} of the model", reason="UNKNOWN_INPUT")
        given = [
            GivenInput(name=specs[index].name, datatype=specs[index].datatype.value, shape=_unpacked(shape)) for index, shape in inputs
        ]
        _, counted = check_inputs(self._signature, given)
        if counted != rows or rows < 1:
            raise InvalidInput(f"the chunk announces {rows} rows a request, its shapes say {counted}; at least 1", reason="SHAPE_MISMATCH")
        described = tuple(_input(self._signature, index, one.shape) for (index, _), one in zip(inputs, given, strict=True))
        wanted = self._outputs(outputs)
        skipped = 1 if self._signature.has_batch_dimension else 0
        group = (tuple((one.name, one.shape[skipped:]) for one in described), wanted)
        self._made += 1  # numbers are not used again: work that waits with a forgotten one runs with its like and nobody else
        return Template(inputs=described, outputs=wanted, rows=rows, group=self._groups.setdefault(group, self._made))

    def _outputs(self, packed: bytes) -> tuple[int, ...]:
        count = len(self._signature.outputs)
        wanted = tuple(array("I", packed)) if len(packed) % 4 == 0 else (count,)
        if any(position >= count for position in wanted) or len(set(wanted)) != len(wanted):
            raise InvalidInput(f"the chunk asks for outputs beyond the {count} of the model, or twice for one", reason="UNKNOWN_OUTPUT")
        return wanted or tuple(range(count))


def _input(signature: Signature, index: int, shape: tuple[int, ...]) -> TemplateInput:
    spec = signature.inputs[index]
    itemsize = spec.datatype.itemsize
    request_bytes = None if itemsize is None else element_count(shape, name=spec.name) * itemsize
    return TemplateInput(name=spec.name, datatype=spec.datatype, shape=shape, request_bytes=request_bytes)


def _unpacked(shape: bytes) -> tuple[int, ...]:
    if len(shape) % 8:
        raise InvalidInput("the chunk carries a cut shape", reason="MALFORMED")
    return struct.unpack(f"<{len(shape) // 8}q", shape)
