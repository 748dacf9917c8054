"""What a process tells about itself: use of the machine, and whatever it had to drop or refuse to keep serving."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client.metrics_core import Metric

from services.chassis.entry import S, Start
from services.chassis.metrics import Asked, Collected, Merge
from services.chassis.telemetry import Telemetry

_SELF = Path("/proc/self")


class ProcessUse:
    """Memory, descriptors and time of this process, under prometheus_client's usual names; nothing where there is no /proc."""

    def __init__(self) -> None:
        """Start without having looked."""
        # Looked up once: whoever adds up processes tells their lives apart by it, so the wall clock must not move it.
        self._started_time: float | None = None

    def collect(self) -> Iterable[Metric]:
        """Read /proc."""
        try:
            resident = int((_SELF / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            descriptors = sum(1 for _ in (_SELF / "fd").iterdir())
            self._started_time = self._started_time or _started_time()
        except OSError:
            return
        used = os.times()
        yield _gauge("process_resident_memory_bytes", "Resident memory, in bytes.", resident)
        yield _gauge("process_open_fds", "Open file descriptors.", descriptors)
        yield _gauge("process_start_time_seconds", "Start, in seconds since the epoch.", self._started_time)
        seconds = Metric("process_cpu_seconds", "User and system time, in seconds.", "counter")
        seconds.add_sample("process_cpu_seconds_total", {}, used.user + used.system)
        yield seconds


def process_metrics(start: Start[S], traces: Telemetry) -> tuple[Collected, ...]:
    """Return the collectors that every service shows."""
    pipeline = start.logs
    return (
        ProcessUse(),
        _count("penstock_log_lines_dropped", "Log lines that nobody read in time.", lambda: pipeline.dropped if pipeline else 0),
        _count("penstock_spans_dropped", "Spans that were not exported.", lambda: traces.dropped),
        _count("penstock_spans_exported", "Spans that the collector took.", lambda: traces.exported),
        _count("penstock_config_rejected", "Reloads whose settings were invalid.", lambda: start.config.rejected),
    )


def _count(name: str, documentation: str, ask: Callable[[], float]) -> Asked:
    return Asked(name, documentation, ask, is_counter=True)


def _started_time() -> float:
    booted_time = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted_time + int((_SELF / "stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def _gauge(name: str, documentation: str, value: float) -> Metric:
    metric = Metric(name, documentation + Merge.EACH.value, "gauge")
    metric.add_sample(name, {}, value)
    return metric
