"""Worker statuses survive the wire."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import CostPoint, ReplicaState, ReplicaStatus, WorkerStatus

STATUS = WorkerStatus(
    worker_id="worker-0",
    instance_id="i",
    link_address="unix:/x",
    control_address="unix:/y",
    process_id=3,
    revision=9,
    draining=True,
    settled=True,
    memory_budget_bytes=7,
    applied_overrides={"m": 4},
    assignment_revision=12,
    gpu_type="nvidia-l4",
    labels={"zone": "a"},
    observed_time=17.5,
    replicas=(
        ReplicaStatus(
            replica_id=1,
            model="m",
            version="2",
            state=ReplicaState.FAILED,
            reason="because",
            digest="d",
            signature=Signature(
                inputs=(TensorSpec(name="t", datatype=DataType.BYTES, shape=(-1, 1), symbols=("n", ""), is_text=True, optional=True),),
                outputs=(TensorSpec(name="y", datatype=DataType.FP32, shape=(-1, 3), labels=("a", "b", "c")),),
                max_batch_size=8,
            ),
            model_config=b"\x01",
            memory_bytes=5,
            costs=(CostPoint(rows=1, seconds=0.5),),
            provider="CPUExecutionProvider",
            changed_time=1.5,
            response_cache=True,
            response_cache_ttl_seconds=3.0,
            reject_non_finite=True,
            priority_levels=4,
            unhealthy=True,
        ),
    ),
)


def test_a_status_survives_the_wire():
    assert WorkerStatus.from_bytes(STATUS.to_bytes()) == STATUS


def test_what_is_no_status_is_a_value_error():
    with pytest.raises(ValueError, match="no WorkerStatus"):
        WorkerStatus.from_bytes(b"\xff\xff\xff")


def test_a_repetition_is_no_news_and_another_revision_or_process_is():
    assert not replace(STATUS, observed_time=99.0).supersedes(STATUS)
    assert not replace(STATUS, revision=8).supersedes(STATUS)
    assert replace(STATUS, revision=10).supersedes(STATUS)
    assert replace(STATUS, revision=1, instance_id="j").supersedes(STATUS)
    assert STATUS.supersedes(None)
