"""What the router keeps per deployment: learnt templates, ready-made answer heads and counters."""

from __future__ import annotations

from collections.abc import Sequence
from struct import unpack

from penstock.contracts.varint import varint
from penstock.oip.v2 import inference_pb2 as pb
from services.mesh.chunk import Template
from services.mesh.plan import Plan
from services.mesh.route_table import Deployment
from services.router.outcomes import Outcomes
from services.router.templates import TemplateBook

HEADS_PER_TARGET = 1024
SERVED_BY = "penstock.served_by"
ROUTE_REVISION = "penstock.route_revision"
DEGRADED = "penstock.degraded"


def told(plan: Plan | None, version: str, degraded: str) -> bytes:
    """Return the parameters of an answer as they go into any ModelInferResponse, where they replace those before them.

    They say who answered, by which revision of the route, and whether it is the answer that was meant (`no`) or what a fallback step
    gave in its place (`version`, `cached`, `declared`). Without a route there are none.
    """
    if plan is None:
        return b""
    response = pb.ModelInferResponse()
    response.parameters[SERVED_BY].string_param = version
    response.parameters[ROUTE_REVISION].int64_param = plan.route.revision
    response.parameters[DEGRADED].string_param = degraded
    return response.SerializeToString(deterministic=True)


class Target:
    """One deployment as the inference path sees it."""

    __slots__ = ("_heads", "book", "deployment", "outcomes", "plan", "prefix", "step", "told")

    def __init__(self, deployment: Deployment, outcomes: Outcomes, *, plan: Plan | None = None, step: int = 0) -> None:
        """Start without templates.

        Args:
            deployment: what answers.
            outcomes: the version's counters.
            plan: the route in force; None where nobody wrote one.
            step: -1 when it was named, 0 when the route chose it, n when the nth step of the fallback chain put it there.
        """
        self.deployment = deployment
        self.outcomes = outcomes
        self.plan = plan
        self.step = step
        self.book = TemplateBook(deployment.signature)
        self.told = told(plan, deployment.version, "version" if step > 0 else "no")
        """The answer's parameters, see `told`."""
        self.prefix = pb.ModelInferResponse(model_name=deployment.model, model_version=deployment.version).SerializeToString() + self.told
        self._heads: dict[object, list[bytes]] = {}

    def under(self, plan: Plan | None) -> Target:
        """Return the same deployment under another revision of its route; what was learnt of its requests is kept."""
        renewed = Target(self.deployment, self.outcomes, plan=plan, step=self.step)
        renewed.book = self.book
        return renewed

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
