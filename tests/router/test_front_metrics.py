"""Counts of the gRPC front as metrics."""

from __future__ import annotations

from services.router.front_metrics import FrontMetrics


def test_events_are_shown_by_kind_once_a_front_is_followed():
    metrics = FrontMetrics()
    [before] = metrics.collect()
    metrics.follow(lambda: {"calls": 7, "left": 2})
    [after] = metrics.collect()

    assert before.samples == []
    assert [(one.name, one.labels, one.value) for one in after.samples] == [
        ("penstock_grpc_front_events_total", {"event": "calls"}, 7),
        ("penstock_grpc_front_events_total", {"event": "left"}, 2),
    ]
