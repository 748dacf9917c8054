"""What the router keeps per deployment: learnt templates, ready-made answer heads and counters."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from struct import unpack

from penstock.contracts.errors import ServingError
from penstock.oip.v2 import inference_pb2 as pb
from services.mesh.chunk import Template
from services.mesh.route_table import Deployment
from services.router.templates import TemplateBook, varint

HEADS_PER_TARGET = 1024
LATENCY_BOUNDS_SECONDS = tuple(0.0001 * 2**step for step in range(20))
"""Upper bounds of the latency histogram's buckets: 0.1 ms to 52 s, doubling."""


class Outcomes:
    """Counts what became of a deployment's requests; plain numbers, read by the metrics at scrape time."""

    __slots__ = ("by_tenant", "failures", "latency", "latency_seconds", "rows", "successes")

    def __init__(self) -> None:
        """Start at zero."""
        self.successes = 0
        self.rows = 0
        self.failures: dict[str, int] = {}
        self.by_tenant: dict[tuple[str, str], int] = {}
        self.latency = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
        self.latency_seconds = 0.0

    def succeed(self, requests: int, rows: int, seconds: float) -> None:
        """Count answers that took the same time."""
        self.successes += requests
        self.rows += rows
        self.latency_seconds += seconds * requests
        self.latency[bisect_left(LATENCY_BOUNDS_SECONDS, seconds)] += requests

    def fail(self, error: ServingError, tenant: str, requests: int = 1) -> None:
        """Count refusals and failures."""
        self.failures[error.reason] = self.failures.get(error.reason, 0) + requests
        self.count_tenant(tenant, error.reason, requests)

    def count_tenant(self, tenant: str, code: str, requests: int) -> None:
        """Count by tenant and code."""
        key = (tenant, code)
        self.by_tenant[key] = self.by_tenant.get(key, 0) + requests


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
