"""One `/metrics` for several processes: ask each over its Unix socket, add up equal series, keep exemplars.

Counters, histograms and Triton's series are added; a gauge is added, or follows the rule that its help text is marked with (`Merge`).
When a process was started again (its `process_start_time_seconds` differs), what its former lives had counted is kept, so that sums
do not fall and no rate shows a spike. A process that does not answer in time is shown as it was last seen:
`penstock_scrape_stale` marks it, and `penstock_scrape_failures_total` counts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar, Sample

from services.chassis.metrics import Merge

SCRAPE_SECONDS = 0.5
"""Longest wait for one process."""

STALE_SCRAPE_SECONDS = 0.1
"""Longest wait for one that did not answer the last time: a process that hangs is not to slow down every scrape."""

ANSWER_BYTES = 64 << 20
"""Longest answer of one process."""

_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: penstock\r\nAccept: application/openmetrics-text; version=1.0.0\r\nConnection: close\r\n\r\n"
_STARTED = "process_start_time_seconds"
_GROWING = frozenset({"counter", "histogram", "summary", "unknown"})

SeriesKey = tuple[str, tuple[tuple[str, str], ...]]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Counted:
    """A growing series of one process name, over all its lives."""

    before: float = 0.0
    """What earlier lives had counted."""
    last: float = 0.0
    """What the present life has counted."""

    def seen(self, value: float, *, is_new_life: bool) -> float:
        if is_new_life:
            self.before += self.last
        self.last = value
        return self.before + value


@dataclass(slots=True)
class _Source:
    """What one process has shown."""

    path: Path
    metrics: tuple[Metric, ...] = ()
    started_time: float | None = None
    counted: dict[SeriesKey, _Counted] = field(default_factory=dict[SeriesKey, _Counted])
    failures: int = 0
    is_stale: bool = False
    """Whether it did not answer the last time."""


class Aggregate:
    """Shows the metrics of several processes as those of one."""

    def __init__(self, sockets: Mapping[str, Path]) -> None:
        """Store where each process answers, by its name."""
        self._sources = {name: _Source(path) for name, path in sockets.items()}
        self._one_at_a_time = asyncio.Lock()

    async def collect(self, own: Mapping[str, Iterable[Metric]] | None = None) -> list[Metric]:
        """Ask all processes and return their metrics as one, together with those of this process, by its name, when given."""
        async with self._one_at_a_time:
            await asyncio.gather(*(self._ask(name, source) for name, source in self._sources.items()))
            merged = merge({**(own or {}), **{name: source.metrics for name, source in self._sources.items()}})
        failures = Metric("penstock_scrape_failures", "Scrapes of a process that failed.", "counter")
        stale = Metric("penstock_scrape_stale", "1 while a process is shown as it was last seen, because it does not answer.", "gauge")
        for name, source in self._sources.items():
            failures.add_sample("penstock_scrape_failures_total", {"process": name}, source.failures)
            stale.add_sample("penstock_scrape_stale", {"process": name}, float(source.is_stale))
        return [*merged, failures, stale]

    async def _ask(self, name: str, source: _Source) -> None:
        try:
            async with asyncio.timeout(STALE_SCRAPE_SECONDS if source.is_stale else SCRAPE_SECONDS):
                text = await scrape(source.path)
            metrics = await asyncio.to_thread(lambda: tuple(text_string_to_metric_families(text)))
        except (OSError, ValueError, TimeoutError) as error:
            if not source.is_stale:
                log.warning("scrape_failed", process=name, reason=f"{type(error).__name__}: {error}")
            source.failures += 1
            source.is_stale = True
            return
        source.is_stale = False
        _continue(source, metrics)


async def scrape(path: Path) -> str:
    """Return the OpenMetrics text that a process shows at a Unix socket.

    Raises:
        OSError: nobody listens there.
        ValueError: the answer is no success, or too long.
    """
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(_REQUEST)
        answer = bytearray()
        while part := await reader.read(1 << 16):
            answer += part
            if len(answer) > ANSWER_BYTES:
                raise ValueError(f"{path} answers with more than {ANSWER_BYTES} bytes")
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"{path} answers {bytes(head[:40])!r}")
    return body.decode()


def merge(shown: Mapping[str, Iterable[Metric]]) -> list[Metric]:
    """Return the families of several processes, by process name, as one list of families."""
    families: dict[str, _Family] = {}
    for name, metrics in shown.items():
        for metric in metrics:
            family = families.setdefault(metric.name, _Family(metric))
            for sample in metric.samples:
                family.add(name, sample)
    return [family.metric() for family in families.values()]


class _Family:
    """One family while it is put together."""

    def __init__(self, first: Metric) -> None:
        self._first = first
        self._merge = Merge.of(first.documentation) if first.type == "gauge" else Merge.SUM
        self._samples: dict[SeriesKey, Sample] = {}

    def add(self, process: str, sample: Sample) -> None:
        labels = {**sample.labels, "process": process} if self._merge is Merge.EACH else sample.labels
        key = _key(sample.name, labels)
        known = self._samples.get(key)
        exemplar = sample.exemplar if known is None else _newer(known.exemplar, sample.exemplar)
        value = sample.value if known is None else self._together(known.value, sample.value)
        self._samples[key] = Sample(sample.name, labels, value, None, exemplar)

    def metric(self) -> Metric:
        metric = Metric(self._first.name, self._first.documentation, self._first.type)
        metric.samples = list(self._samples.values())
        return metric

    def _together(self, one: float, other: float) -> float:
        return max(one, other) if self._merge is Merge.LARGEST else one + other


def _continue(source: _Source, metrics: tuple[Metric, ...]) -> None:
    """Take what a process shows, its growing series as what all its lives have counted; forget the series that are no longer shown."""
    started_time = next((metric.samples[0].value for metric in metrics if metric.name == _STARTED and metric.samples), None)
    is_new_life = source.started_time is not None and started_time != source.started_time
    counted: dict[SeriesKey, _Counted] = {}
    for metric in metrics:
        if metric.type in _GROWING:
            for index, sample in enumerate(metric.samples):
                key = _key(sample.name, sample.labels)
                entry = counted[key] = source.counted.get(key) or _Counted()
                metric.samples[index] = sample._replace(value=entry.seen(sample.value, is_new_life=is_new_life))
    source.metrics, source.counted, source.started_time = metrics, counted, started_time


def _key(name: str, labels: Mapping[str, str]) -> SeriesKey:
    return name, tuple(sorted(labels.items()))


def _newer(one: Exemplar | None, other: Exemplar | None) -> Exemplar | None:
    if one is None or other is None:
        return one or other
    return one if float(one.timestamp or 0) >= float(other.timestamp or 0) else other
