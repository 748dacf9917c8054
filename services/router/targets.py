"""What the router keeps per deployment: learnt templates, ready-made answer heads and counters."""

from __future__ import annotations

from collections.abc import Sequence
from struct import unpack

from penstock.oip.v2 import inference_pb2 as pb
from services.mesh.chunk import Template
from services.mesh.route_table import Deployment
from services.router.outcomes import Outcomes
from services.router.templates import TemplateBook, varint

HEADS_PER_TARGET = 1024


class Target:
    """One deployment as the inference path sees it."""

    __slots__ = ("_heads", "book", "deployment", "outcomes", "prefix")

    def __init__(self, deployment: Deployment, outcomes: Outcomes) -> None:
        """Start without templates."""
        self.deployment = deployment
        self.outcomes = outcomes
        self.book = TemplateBook(deployment.signature)
        self.prefix = pb.ModelInferResponse(model_name=deployment.model, model_version=deployment.version).SerializeToString()
        self._heads: dict[object, list[bytes]] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self.deployment.model

    def heads(self, template: Template, shapes: tuple[bytes, ...], sizes: tuple[int, ...]) -> list[bytes]:
        """Return the constant bytes before each output of an answer: all descriptions before the first, then only tag and length."""
        key = (template.outputs, shapes, sizes)
        heads = self._heads.get(key)
        if heads is None:
            if len(self._heads) >= HEADS_PER_TARGET:
                self._heads.clear()
            heads = self._heads[key] = self._built(template.outputs, shapes, sizes)
        return heads

    def describe(self, outputs: Sequence[int], shapes: Sequence[bytes]) -> bytes:
        """Return model, version and output descriptions of an answer."""
        described = pb.ModelInferResponse()
        for position, shape in zip(outputs, shapes, strict=True):
            spec = self.deployment.signature.outputs[position]
            described.outputs.add(name=spec.name, datatype=spec.datatype.value, shape=unpack(f"<{len(shape) // 8}q", shape))
        return self.prefix + described.SerializeToString()

    def _built(self, outputs: Sequence[int], shapes: tuple[bytes, ...], sizes: tuple[int, ...]) -> list[bytes]:
        tags = [b"\x32" + varint(size) for size in sizes]
        return [self.describe(outputs, shapes) + tags[0], *tags[1:]]
