"""What servers tell about models, as values, and as the documents that `-o json` prints. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.contracts.signature import Signature, TensorSpec

ALIAS_PREFIX = "penstock.alias."
TRAFFIC_PREFIX = "penstock.traffic."

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerIdentity:
    """What a server says of itself."""

    name: str
    version: str
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionEntry:
    """One version in the server's list."""

    model: str
    version: str
    state: str
    """READY, LOADING, UNLOADING, UNAVAILABLE or UNKNOWN."""
    reason: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.state == "READY"

    def document(self) -> Document:
        """Return it for printing."""
        return {"model": self.model, "version": self.version, "state": self.state, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How often something was done, and how long it took in sum."""

    count: int = 0
    nanoseconds: int = 0

    @property
    def mean_ms(self) -> float | None:
        """Mean duration in milliseconds; None when it was never done."""
        return self.nanoseconds / self.count / 1e6 if self.count else None

    def document(self) -> Document:
        """Return it for printing."""
        return {"count": self.count, "total_ms": self.nanoseconds / 1e6, "mean_ms": self.mean_ms}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCost:
    """What executions of one size have cost."""

    rows: int
    executions: int
    mean_ms: float | None

    def document(self) -> Document:
        """Return it for printing."""
        return {"rows": self.rows, "executions": self.executions, "mean_ms": self.mean_ms}


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatistics:
    """Counts and times of one version since it was loaded."""

    model: str
    version: str
    rows: int
    executions: int
    steps: Mapping[str, Step]
    """By name: success, fail, queue, compute_input, compute_infer, compute_output, cache_hit, cache_miss."""
    costs: tuple[BatchCost, ...] = ()
    memory_bytes: int | None = None
    last_inference_time: float | None = None
    """Seconds since the epoch."""

    @property
    def mean_rows(self) -> float | None:
        """Mean rows of an execution; None before the first."""
        return self.rows / self.executions if self.executions else None

    def document(self) -> Document:
        """Return it for printing."""
        return {
            "model": self.model,
            "version": self.version,
            "rows": self.rows,
            "executions": self.executions,
            "mean_rows": self.mean_rows,
            "last_inference_time": self.last_inference_time,
            "memory_bytes": self.memory_bytes,
            "steps": {name: step.document() for name, step in self.steps.items()},
            "costs": [cost.document() for cost in self.costs],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """Everything a server tells about one model."""

    model: str
    platform: str
    signature: Signature
    """Of the version that answers."""
    configuration: Document = field(default_factory=dict[str, Any])
    """Fields of the model configuration that are set, by their names in config.pbtxt."""

    @property
    def aliases(self) -> dict[str, str]:
        """Versions by their other names."""
        return _with_prefix(self.configuration, ALIAS_PREFIX)

    @property
    def traffic(self) -> dict[str, str]:
        """Declared shares in basis points, by version."""
        return _with_prefix(self.configuration, TRAFFIC_PREFIX)


def signature_document(signature: Signature) -> Document:
    """Return a signature for printing."""
    return {
        "inputs": [_tensor_document(spec) for spec in signature.inputs],
        "outputs": [_tensor_document(spec) for spec in signature.outputs],
        "max_batch_size": signature.max_batch_size,
    }


def _tensor_document(spec: TensorSpec) -> Document:
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": list(spec.shape)}


def _with_prefix(configuration: Document, prefix: str) -> dict[str, str]:
    parameters: Mapping[str, Mapping[str, str]] = configuration.get("parameters", {})
    return {name.removeprefix(prefix): value.get("string_value", "") for name, value in parameters.items() if name.startswith(prefix)}
