"""From a configuration to a running batcher."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.contracts.model_config import CompletedModel, DynamicBatching, ModelConfig, NonFiniteOutput
from penstock.contracts.model_config import QueuePolicy as ConfiguredQueuePolicy
from penstock.contracts.signature import Signature
from penstock.contracts.tensors import AnyArray
from penstock.contracts.worker_status import CostPoint
from services.worker.batch_policy import BatchPolicy, QueuePolicy, TimeoutAction
from services.worker.batcher import Batcher, BatcherConfig, BatcherPorts
from services.worker.cost_model import CostModel
from services.worker.execution import ExecutionRules
from services.worker.opening import Opened

_LENGTH_BYTES = 4
"""What the wire puts before each element of BYTES."""


def batcher_of(opened: Opened, costs: tuple[CostPoint, ...], row_bytes: int, ports: BatcherPorts) -> Batcher:
    """Return the batcher of a version; it has to be started on the event loop."""
    artefact, completed = opened.inspected.artefact, opened.completed
    config = BatcherConfig(
        model=artefact.model, version=artefact.version, policy=batch_policy_of(completed.config), rules=execution_rules_of(completed)
    )
    return Batcher(config, opened.sessions, CostModel(costs, row_bytes=row_bytes), ports)


def execution_rules_of(completed: CompletedModel) -> ExecutionRules:
    """Return what is checked around every execution."""
    policy = completed.config.non_finite_output
    return ExecutionRules(
        signature=completed.signature,
        reject_non_finite=completed.config.reject_non_finite,
        require_finite_output=policy is NonFiniteOutput.ERROR,
        count_non_finite_output=policy is NonFiniteOutput.COUNT,
    )


def batch_policy_of(config: ModelConfig) -> BatchPolicy:
    """Return how a completed configuration batches; without dynamic batching every request runs alone."""
    batching = config.batching
    if batching is None:
        return BatchPolicy(max_batch_size=config.max_batch_size or 0)
    return BatchPolicy(
        max_batch_size=config.max_batch_size or 0,
        preferred_batch_size=batching.preferred_batch_size,
        max_queue_delay_microseconds=batching.max_queue_delay_microseconds,
        queue=_queue_policy(batching.default_queue_policy),
        level_queues=_level_queues(batching),
        priority_levels=batching.priority_levels or 1,
        default_priority_level=batching.default_priority_level or 1,
    )


def wire_row_bytes(feeds: Mapping[str, AnyArray], signature: Signature) -> int:
    """Return the bytes that one row of these inputs has on the wire: what the cost of rows of variable size is kept by."""
    whole = sum(_wire_bytes(array) for array in feeds.values())
    rows = next((len(array) for array in feeds.values() if array.ndim), 1) if signature.has_batch_dimension else 1
    return whole // max(rows, 1)


def _wire_bytes(array: AnyArray) -> int:
    if array.dtype != object:
        return array.nbytes
    return sum(_LENGTH_BYTES + len(str(element).encode()) for element in array.ravel().tolist())


def _level_queues(batching: DynamicBatching) -> dict[int, QueuePolicy]:
    return {level: _queue_policy(policy) for level, policy in batching.priority_queue_policy.items()}


def _queue_policy(configured: ConfiguredQueuePolicy) -> QueuePolicy:
    return QueuePolicy(
        timeout_action=TimeoutAction[configured.timeout_action.name],
        default_timeout_microseconds=configured.default_timeout_microseconds or 0,
        max_queue_size=configured.max_queue_size or 0,
    )
