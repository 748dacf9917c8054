"""What the gRPC front counts outside the interpreter, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import Metric

Counted = Callable[[], Mapping[str, int]]


class FrontMetrics:
    """One counter by event; empty for fronts that count nothing."""

    def __init__(self) -> None:
        """Follow nobody yet: metrics are shown before the fronts open."""
        self._counted: Counted | None = None

    def follow(self, counted: Counted | None) -> None:
        """Ask for these counts from now on."""
        self._counted = counted

    def collect(self) -> Iterable[Metric]:
        """Return the family."""
        events = Metric("penstock_grpc_front_events", "What happened at the gRPC front, by kind.", "counter")
        for event, count in (self._counted() if self._counted is not None else {}).items():
            events.add_sample(f"{events.name}_total", {"event": event}, count)
        return (events,)
