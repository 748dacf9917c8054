"""The wire form of assignments, and which of two is in force."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.assignments import AssignedReplica, Assignment, Holding
from penstock.contracts.errors import MalformedBody
from penstock.v1 import assignments_pb2

FULL = Assignment(
    worker_id="worker-0",
    revision=3,
    writer_epoch=2,
    sequence=11,
    replicas=(
        AssignedReplica(model="m", version="1", digest="ab", holding=Holding.STANDBY, config_json="{}", deployment_id="d"),
        AssignedReplica(model="m", version="2", digest="cd"),
    ),
)


def test_an_assignment_keeps_everything_over_the_wire():
    assert Assignment.from_bytes(FULL.to_bytes()) == FULL


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xff", assignments_pb2.Assignment(replicas=[assignments_pb2.AssignedReplica(model="m", version="1")]).SerializeToString()],
)
def test_bytes_that_are_no_assignment_are_refused(raw: bytes):
    with pytest.raises(MalformedBody):
        Assignment.from_bytes(raw)


@pytest.mark.parametrize(("revision", "epoch", "wins"), [(4, 2, True), (3, 2, False), (2, 3, True), (9, 1, False), (4, 3, True)])
def test_only_a_newer_one_of_a_writer_in_office_is_applied(revision: int, epoch: int, wins: bool):
    assert Assignment(worker_id="worker-0", revision=revision, writer_epoch=epoch).supersedes(FULL) is wins


def test_the_first_one_is_applied():
    assert FULL.supersedes(None)


def test_the_same_version_with_other_settings_is_reported_under_another_digest():
    plain, configured = FULL.replicas[1], FULL.replicas[0]

    assert plain.loaded_digest == "cd"
    assert configured.loaded_digest not in ("ab", replace(configured, config_json='{"max_batch_size": 4}').loaded_digest)
