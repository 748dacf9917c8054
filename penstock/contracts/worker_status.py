"""What workers report: the observed state that routers follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from google.protobuf.message import DecodeError

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import datatype_named
from penstock.v1 import worker_pb2 as pb


class ReplicaState(Enum):
    """Life of a replica; the value is its number on the wire."""

    LOADING = 1
    WARMING = 2
    READY = 3
    DRAINING = 4
    UNLOADED = 5
    FAILED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPoint:
    """Measured cost of one execution."""

    rows: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """One version as one worker holds it; field meanings and units are those of worker.proto."""

    replica_id: int
    model: str
    version: str
    state: ReplicaState
    signature: Signature = field(default_factory=lambda: Signature(inputs=(), outputs=()))
    digest: str = ""
    reason: str = ""
    model_config: bytes = b""
    memory_bytes: int = 0
    costs: tuple[CostPoint, ...] = ()
    provider: str = ""
    changed_time: float = 0.0
    response_cache: bool = False
    response_cache_ttl_seconds: float = 0.0
    reject_non_finite: bool = False
    priority_levels: int = 0
    files_digest: str = ""
    given_up: bool = False
    unhealthy: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.state is ReplicaState.READY

    def to_proto(self) -> pb.Replica:
        """Return the wire form."""
        return pb.Replica(
            replica_id=self.replica_id,
            model=self.model,
            version=self.version,
            digest=self.digest,
            state=f"REPLICA_STATE_{self.state.name}",
            reason=self.reason,
            inputs=[spec_to_proto(spec) for spec in self.signature.inputs],
            outputs=[spec_to_proto(spec) for spec in self.signature.outputs],
            max_batch_size=self.signature.max_batch_size,
            model_config=self.model_config,
            memory_bytes=self.memory_bytes,
            costs=[pb.CostPoint(rows=point.rows, seconds=point.seconds) for point in self.costs],
            provider=self.provider,
            changed_time=self.changed_time,
            response_cache=self.response_cache,
            response_cache_ttl_seconds=self.response_cache_ttl_seconds,
            reject_non_finite=self.reject_non_finite,
            priority_levels=self.priority_levels,
            files_digest=self.files_digest,
            given_up=self.given_up,
            unhealthy=self.unhealthy,
        )

    @classmethod
    def from_proto(cls, proto: pb.Replica) -> ReplicaStatus:
        """Read the wire form.

        Raises:
            ValueError: the state is unspecified or unknown.
        """
        return cls(
            replica_id=proto.replica_id,
            model=proto.model,
            version=proto.version,
            state=ReplicaState(proto.state),
            signature=Signature(
                inputs=tuple(spec_from_proto(spec) for spec in proto.inputs),
                outputs=tuple(spec_from_proto(spec) for spec in proto.outputs),
                max_batch_size=proto.max_batch_size,
            ),
            digest=proto.digest,
            reason=proto.reason,
            model_config=proto.model_config,
            memory_bytes=proto.memory_bytes,
            costs=tuple(CostPoint(rows=point.rows, seconds=point.seconds) for point in proto.costs),
            provider=proto.provider,
            changed_time=proto.changed_time,
            response_cache=proto.response_cache,
            response_cache_ttl_seconds=proto.response_cache_ttl_seconds,
            reject_non_finite=proto.reject_non_finite,
            priority_levels=proto.priority_levels,
            files_digest=proto.files_digest,
            given_up=proto.given_up,
            unhealthy=proto.unhealthy,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """What one worker is and holds; field meanings are those of worker.proto."""

    worker_id: str
    instance_id: str
    link_address: str
    control_address: str = ""
    process_id: int = 0
    revision: int = 0
    draining: bool = False
    replicas: tuple[ReplicaStatus, ...] = ()
    settled: bool = False
    memory_budget_bytes: int = 0
    applied_overrides: dict[str, int] = field(default_factory=dict)
    assignment_revision: int = 0
    gpu_type: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    observed_time: float = 0.0

    def supersedes(self, held: WorkerStatus | None) -> bool:
        """Whether it says anything else than the one held: that of another process, or a newer one of the same.

        What a worker repeats to be heard of does not.
        """
        return held is None or self.instance_id != held.instance_id or self.revision > held.revision

    def to_bytes(self) -> bytes:
        """Return the serialised wire form."""
        return pb.WorkerStatus(
            worker_id=self.worker_id,
            instance_id=self.instance_id,
            link_address=self.link_address,
            control_address=self.control_address,
            process_id=self.process_id,
            revision=self.revision,
            draining=self.draining,
            replicas=[replica.to_proto() for replica in self.replicas],
            settled=self.settled,
            memory_budget_bytes=self.memory_budget_bytes,
            applied_overrides=self.applied_overrides,
            assignment_revision=self.assignment_revision,
            gpu_type=self.gpu_type,
            labels=self.labels,
            observed_time=self.observed_time,
        ).SerializeToString()

    @classmethod
    def from_bytes(cls, raw: bytes) -> WorkerStatus:
        """Read the serialised wire form.

        Raises:
            ValueError: the bytes are no WorkerStatus, or a state is unspecified.
        """
        try:
            proto = pb.WorkerStatus.FromString(raw)
        except DecodeError:
            raise ValueError("the bytes are no WorkerStatus") from None
        return cls.from_proto(proto)

    @classmethod
    def from_proto(cls, proto: pb.WorkerStatus) -> WorkerStatus:
        """Read the wire form."""
        return cls(
            worker_id=proto.worker_id,
            instance_id=proto.instance_id,
            link_address=proto.link_address,
            control_address=proto.control_address,
            process_id=proto.process_id,
            revision=proto.revision,
            draining=proto.draining,
            replicas=tuple(ReplicaStatus.from_proto(replica) for replica in proto.replicas),
            settled=proto.settled,
            memory_budget_bytes=proto.memory_budget_bytes,
            applied_overrides=dict(proto.applied_overrides),
            assignment_revision=proto.assignment_revision,
            gpu_type=proto.gpu_type,
            labels=dict(proto.labels),
            observed_time=proto.observed_time,
        )


def spec_to_proto(spec: TensorSpec) -> pb.TensorSpec:
    """Return the wire form of a tensor's specification."""
    return pb.TensorSpec(
        name=spec.name,
        datatype=spec.datatype.value,
        shape=spec.shape,
        symbols=spec.symbols,
        optional=spec.optional,
        is_text=spec.is_text,
        labels=spec.labels,
    )


def spec_from_proto(proto: pb.TensorSpec) -> TensorSpec:
    """Read the wire form of a tensor's specification."""
    return TensorSpec(
        name=proto.name,
        datatype=datatype_named(proto.datatype, field=proto.name),
        shape=tuple(proto.shape),
        symbols=tuple(proto.symbols),
        optional=proto.optional,
        is_text=proto.is_text,
        labels=tuple(proto.labels),
    )
