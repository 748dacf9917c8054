"""What routers saw and did, as it travels to whoever judges versions: outcome windows and exposures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from google.protobuf.message import DecodeError

from penstock.contracts.errors import MalformedBody
from penstock.contracts.sketches import Sketch
from penstock.v1 import observations_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowComparison:
    """How a shadow's answers compare with those that callers got; field meanings are those of observations.proto."""

    against_version: str
    pairs: int = 0
    agreeing: int = 0
    distance_sum: float = 0.0
    distance_max: float = 0.0
    latency_difference_seconds_sum: float = 0.0
    failed: int = 0
    not_copied: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeWindow:
    """What one router saw of one version and segment in one window; field meanings and units are those of observations.proto."""

    router_instance_id: str
    model: str
    version: str
    start_time: float
    length_seconds: float
    segment: str = ""
    route_revision: int = 0
    requests: int = 0
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    latency: Sketch = field(default_factory=Sketch)
    scores: Sketch = field(default_factory=Sketch)
    degraded: int = 0
    shadow: bool = False
    comparison: ShadowComparison | None = None
    dropped_windows: int = 0

    def to_bytes(self) -> bytes:
        """Return the serialised wire form."""
        proto = pb.OutcomeWindow(
            router_instance_id=self.router_instance_id,
            model=self.model,
            version=self.version,
            segment=self.segment,
            start_time=self.start_time,
            length_seconds=self.length_seconds,
            route_revision=self.route_revision,
            requests=self.requests,
            errors=dict(self.errors),
            latency=self.latency.to_proto(),
            scores=self.scores.to_proto(),
            degraded=self.degraded,
            shadow=self.shadow,
            dropped_windows=self.dropped_windows,
        )
        if self.comparison is not None:
            compared = self.comparison
            proto.comparison.against_version = compared.against_version
            proto.comparison.pairs = compared.pairs
            proto.comparison.agreeing = compared.agreeing
            proto.comparison.distance_sum = compared.distance_sum
            proto.comparison.distance_max = compared.distance_max
            proto.comparison.latency_difference_seconds_sum = compared.latency_difference_seconds_sum
            proto.comparison.failed = compared.failed
            proto.comparison.not_copied = compared.not_copied
        return proto.SerializeToString()

    @classmethod
    def from_bytes(cls, raw: bytes) -> OutcomeWindow:
        """Read the serialised wire form.

        Raises:
            MalformedBody: the bytes are no OutcomeWindow.
        """
        try:
            proto = pb.OutcomeWindow.FromString(raw)
            latency, scores = Sketch.from_proto(proto.latency), Sketch.from_proto(proto.scores)
        except (DecodeError, ValueError):
            raise MalformedBody("the bytes are no OutcomeWindow") from None
        return cls(
            router_instance_id=proto.router_instance_id,
            model=proto.model,
            version=proto.version,
            segment=proto.segment,
            start_time=proto.start_time,
            length_seconds=proto.length_seconds,
            route_revision=proto.route_revision,
            requests=proto.requests,
            errors=dict(proto.errors),
            latency=latency,
            scores=scores,
            degraded=proto.degraded,
            shadow=proto.shadow,
            comparison=_comparison(proto.comparison) if proto.HasField("comparison") else None,
            dropped_windows=proto.dropped_windows,
        )


class AnswerSource(IntEnum):
    """Who made an answer; the value is its number on the wire (observations.proto)."""

    UNSPECIFIED = 0
    WORKER = 1
    RESULT_CACHE = 2
    STALE_CACHE = 3
    DECLARED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Who saw which version; `reason` is the number of an ExposureReason, `source` that of an AnswerSource."""

    time: float
    model: str
    version: str
    tenant: str
    unit: bytes
    reason: int
    route_revision: int
    request_id: str = ""
    source: int = 0
    sample_basis_points: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureBatch:
    """Exposures of one router, sent together."""

    router_instance_id: str
    exposures: tuple[Exposure, ...]
    dropped: int = 0

    def to_bytes(self) -> bytes:
        """Return the serialised wire form."""
        proto = pb.ExposureBatch(router_instance_id=self.router_instance_id, dropped=self.dropped)
        for one in self.exposures:
            proto.exposures.add(
                time=one.time,
                model=one.model,
                version=one.version,
                tenant=one.tenant,
                unit=one.unit,
                reason=one.reason,  # pyright: ignore[reportArgumentType]  # the stub wants the enum's own int type
                route_revision=one.route_revision,
                request_id=one.request_id,
                source=one.source,  # pyright: ignore[reportArgumentType]  # as above
                sample_basis_points=one.sample_basis_points,
            )
        return proto.SerializeToString()

    @classmethod
    def from_bytes(cls, raw: bytes) -> ExposureBatch:
        """Read the serialised wire form.

        Raises:
            MalformedBody: the bytes are no ExposureBatch.
        """
        try:
            proto = pb.ExposureBatch.FromString(raw)
        except DecodeError:
            raise MalformedBody("the bytes are no ExposureBatch") from None
        return cls(
            router_instance_id=proto.router_instance_id,
            exposures=tuple(
                Exposure(
                    time=one.time,
                    model=one.model,
                    version=one.version,
                    tenant=one.tenant,
                    unit=one.unit,
                    reason=one.reason,
                    route_revision=one.route_revision,
                    request_id=one.request_id,
                    source=one.source,
                    sample_basis_points=one.sample_basis_points,
                )
                for one in proto.exposures
            ),
            dropped=proto.dropped,
        )


def _comparison(proto: pb.ShadowComparison) -> ShadowComparison:
    return ShadowComparison(
        against_version=proto.against_version,
        pairs=proto.pairs,
        agreeing=proto.agreeing,
        distance_sum=proto.distance_sum,
        distance_max=proto.distance_max,
        latency_difference_seconds_sum=proto.latency_difference_seconds_sum,
        failed=proto.failed,
        not_copied=proto.not_copied,
    )
