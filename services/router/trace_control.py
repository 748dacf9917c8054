"""Lets Triton's trace settings decide how many requests are sampled."""

from __future__ import annotations

from penstock.contracts.errors import NotImplementedHere
from services.chassis.sampling import Sampler, SamplingRule
from services.chassis.telemetry import Telemetry


class SamplingControl:
    """Changes the sampling ratio of this process."""

    def __init__(self, traces: Telemetry) -> None:
        """Keep what decides now."""
        self._traces = traces

    def set_ratio(self, ratio: float) -> None:
        """Sample this share of the requests that no caller decided about, between 0 and 1.

        Raises:
            NotImplementedHere: there is nowhere to send traces to.
        """
        if ratio > 0 and not self._traces.is_exporting:
            raise NotImplementedHere("traces go nowhere: set OTEL_EXPORTER_OTLP_ENDPOINT and start again", field="trace_level")
        self._traces.sampler = Sampler(SamplingRule(root_ratio=ratio), self._traces.ids)
