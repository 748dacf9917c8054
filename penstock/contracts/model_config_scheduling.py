"""What a model configuration says about versions, instances, queues and batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from penstock.contracts.model_config_checks import require
from penstock.contracts.names import check_version_name, version_order


class InstanceKind(Enum):
    """Where instances run; the value is Triton's number."""

    AUTO = 0
    GPU = 1
    CPU = 2
    MODEL = 3


class TimeoutAction(Enum):
    """What happens to a request that waited too long: it fails, or it runs after all others. The value is Triton's number."""

    REJECT = 0
    DELAY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """Serve the newest versions."""

    count: int = 1

    def __post_init__(self) -> None:
        """Refuse a count below 1."""
        require(self.count >= 1, "version_policy.latest.num_versions", f"must be at least 1, got {self.count}")

    def choose(self, versions: Iterable[str]) -> tuple[str, ...]:
        """Return the versions to serve, oldest first."""
        return tuple(sorted(versions, key=version_order)[-self.count :])


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    """Serve every version."""

    def choose(self, versions: Iterable[str]) -> tuple[str, ...]:
        """Return the versions to serve, oldest first."""
        return tuple(sorted(versions, key=version_order))


@dataclass(frozen=True, slots=True, kw_only=True)
class Specific:
    """Serve the named versions."""

    versions: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list and names that are not valid."""
        require(bool(self.versions), "version_policy.specific.versions", "must name at least one version")
        for version in self.versions:
            check_version_name(version)

    def choose(self, versions: Iterable[str]) -> tuple[str, ...]:
        """Return the versions to serve, oldest first; named ones that do not exist are left out."""
        return tuple(sorted((version for version in versions if version in self.versions), key=version_order))


VersionPolicy = Latest | All | Specific


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    """Instances that run side by side; on GPUs `count` is per GPU."""

    count: int = 1
    kind: InstanceKind = InstanceKind.AUTO
    gpus: tuple[int, ...] = ()
    """Numbers of the GPUs; empty means all."""
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse a count below 1 and GPUs on the CPU."""
        require(self.count >= 1, "instance_group.count", f"must be at least 1, got {self.count}")
        require(
            not self.gpus or self.kind in (InstanceKind.AUTO, InstanceKind.GPU),
            "instance_group.gpus",
            f"cannot go with KIND_{self.kind.name}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """What happens to requests that wait."""

    timeout_action: TimeoutAction = TimeoutAction.REJECT
    default_timeout_microseconds: int | None = None
    """Longest wait; None means no limit but the request's own deadline."""
    allow_timeout_override: bool = False
    """A request's `timeout` parameter may shorten the limit."""
    max_queue_size: int | None = None
    """Most waiting requests; None means the server's own bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicBatching:
    """How requests of several callers run together."""

    preferred_batch_size: tuple[int, ...] = ()
    """Rows worth waiting for; empty means max_batch_size alone."""
    max_queue_delay_microseconds: int = 0
    preserve_ordering: bool = False
    priority_levels: int = 0
    """Number of levels, 1 is the highest; 0 means that the model has none."""
    default_priority_level: int = 0
    default_queue_policy: QueuePolicy = QueuePolicy()
    priority_queue_policy: Mapping[int, QueuePolicy] = field(default_factory=dict[int, QueuePolicy])

    def __post_init__(self) -> None:
        """Refuse levels out of range, and orders that cannot be kept."""
        where, levels = "dynamic_batching", self.priority_levels
        require(all(size > 0 for size in self.preferred_batch_size), f"{where}.preferred_batch_size", "sizes are at least 1")
        if levels:
            known = 1 <= self.default_priority_level <= levels
            require(known, f"{where}.default_priority_level", f"must be 1 to {levels} (priority_levels), got {self.default_priority_level}")
        for level in self.priority_queue_policy:
            require(1 <= level <= levels, f"{where}.priority_queue_policy", f"level {level} is not within priority_levels {levels}")
        if self.preserve_ordering:
            require(levels <= 1, f"{where}.preserve_ordering", f"cannot go with priority_levels {levels}")
            policies = (self.default_queue_policy, *self.priority_queue_policy.values())
            delays = any(one.timeout_action is TimeoutAction.DELAY for one in policies)
            require(not delays, f"{where}.preserve_ordering", "cannot go with timeout_action DELAY")

    def queue_policy(self, level: int) -> QueuePolicy:
        """Return the policy of a priority level."""
        return self.priority_queue_policy.get(level, self.default_queue_policy)
