"""Triton's `nv_cpu_*` gauges, and what the supervisor knows about its children."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client.metrics_core import Metric

from services.chassis.child import Child
from services.embedded.crash_watch import CrashWatch

_PROC = Path("/proc")


class MachineUse:
    """Use of processors and memory of the whole machine; nothing where there is no /proc."""

    def __init__(self) -> None:
        """Start without a former look."""
        self._former: tuple[int, int] | None = None

    def collect(self) -> Iterable[Metric]:
        """Read /proc; utilisation is that since the last look, and since the start of the machine at the first."""
        try:
            ticks = [int(field) for field in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
            memory = dict(line.split(":", 1) for line in (_PROC / "meminfo").read_text().splitlines())
            total, free = (int(memory[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
        except (OSError, ValueError, KeyError):
            return
        yield _gauge("nv_cpu_utilization", "CPU utilization rate [0.0 - 1.0]", self._utilization(sum(ticks), ticks[3] + ticks[4]))
        yield _gauge("nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes", total)
        yield _gauge("nv_cpu_memory_used_bytes", "CPU used memory (RAM), in bytes", total - free)

    def _utilization(self, total: int, idle: int) -> float:
        former_total, former_idle = self._former or (0, 0)
        self._former = (total, idle)
        passed = total - former_total
        return round(1.0 - (idle - former_idle) / passed, 4) if passed > 0 else 0.0


class ChildMetrics:
    """Lives and deaths of the children."""

    def __init__(self, children: Sequence[Child], watch: CrashWatch) -> None:
        """Store the arguments."""
        self._children = children
        self._watch = watch

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        up = Metric("penstock_child_up", "1 while the process runs.", "gauge")
        starts = Metric("penstock_child_starts", "How often the process was started.", "counter")
        deaths = Metric("penstock_child_deaths", "How often the process ended before the serve did, by cause.", "counter")
        for child in self._children:
            for death, count in child.deaths.items():
                deaths.add_sample("penstock_child_deaths_total", {"process": child.spec.name, "cause": death.name.lower()}, count)
            labels = {"process": child.spec.name}
            up.add_sample("penstock_child_up", labels, float(child.process_id is not None))
            starts.add_sample("penstock_child_starts_total", labels, child.lives)
        failed = Metric("penstock_versions_failed", "Versions given up because they crashed workers.", "counter")
        failed.add_sample("penstock_versions_failed_total", {}, self._watch.versions_failed)
        return (up, starts, deaths, failed)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    metric = Metric(name, documentation, "gauge")
    metric.add_sample(name, {}, value)
    return metric
