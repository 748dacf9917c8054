"""How requests wait and which of them run together: the settings of a deployment's queue, in Triton's vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

LEAST_QUEUE_SIZE = 1024
QUEUE_BATCHES = 64
"""A queue without a bound of its own holds this many full batches, and at least LEAST_QUEUE_SIZE requests."""


class TimeoutAction(Enum):
    """What becomes of a request that waited longer than its queue allows."""

    REJECT = "REJECT"
    DELAY = "DELAY"
    """It is parked behind all requests of its level that did not wait too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """How one priority level waits.

    A request's own deadline always counts beside the level's timeout, and whichever comes first ends the wait; Triton's
    `allow_timeout_override` therefore decides nothing here. The router has turned a `timeout` parameter into a deadline.
    """

    timeout_action: TimeoutAction = TimeoutAction.REJECT
    default_timeout_microseconds: int = 0
    """Longest wait; 0 means none."""
    max_queue_size: int = 0
    """Most requests that wait; 0 means a bound derived from `max_batch_size`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How one deployment batches."""

    max_batch_size: int
    """Most rows of one execution; 0 means that the model has no batch dimension and runs one request at a time."""
    preferred_batch_size: tuple[int, ...] = ()
    """Sizes for which it pays to stop waiting; empty means `max_batch_size`."""
    max_queue_delay_microseconds: int = 0
    """How long the oldest request may wait for company while an executor is idle."""
    queue: QueuePolicy = field(default_factory=QueuePolicy)
    level_queues: Mapping[int, QueuePolicy] = field(default_factory=dict[int, QueuePolicy])
    """Levels that wait differently."""
    priority_levels: int = 1
    """Number of levels. Routers refuse requests beyond it; what one sends that knew of more levels counts as the lowest."""
    default_priority_level: int = 1
    ageing_seconds: float = 0.25
    """A class or level with work gets a batch at least this long, times its steps below the highest, after its last one."""
    bulk_slice_seconds: float = 0.001
    """Longest execution of bulk work; longer ones would triple the 99th percentile of online calls beside them."""
    max_queue_bytes: int = 256 * 1024 * 1024
    """Most bytes of inputs that wait; a single chunk is let in whatever its size."""

    @property
    def row_limit(self) -> int:
        """Most rows of one execution, 1 for models without a batch dimension."""
        return self.max_batch_size or 1

    @property
    def delay_seconds(self) -> float:
        """`max_queue_delay_microseconds` in seconds."""
        return self.max_queue_delay_microseconds * 1e-6

    def queue_of(self, level: int) -> QueuePolicy:
        """Return how a level waits."""
        return self.level_queues.get(level, self.queue)

    def request_limit(self, level: int) -> int:
        """Return how many requests of a level may wait."""
        return self.queue_of(level).max_queue_size or max(LEAST_QUEUE_SIZE, QUEUE_BATCHES * self.row_limit)

    def level_of(self, wanted: int) -> int:
        """Return the level of a request that asks for `wanted`; 0 means the default."""
        return min(wanted or self.default_priority_level, max(1, self.priority_levels))
