"""Families of metrics as plain counters, shown by prometheus_client.

A hot path keeps the cell of its labels and adds to an integer; nothing is locked, looked up or formatted until somebody asks.

    requests = CounterFamily("penstock_requests", "Requests by outcome.", ("model", "code"))
    requests.of("digits", "OK").value += 3

The number of label sets of a family is bounded: further ones are counted under `other`. Across processes equal series are added up
(`aggregate`); a gauge that must not be says so by its `Merge`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar as PrometheusExemplar
from prometheus_client.utils import floatToGoString

from services.chassis.buckets import Buckets, BucketScale

SERIES_LIMIT = 1000
"""Most label sets of one family."""

OTHER = "other"
"""Value of every label of the series that takes what is over the limit."""

SECONDS = BucketScale(lowest=64, highest=1 << 26, bits=1, unit=1e-6)
"""Latency from 64 microseconds to 67 seconds in 41 buckets, counted in microseconds, shown in seconds."""

ROWS = BucketScale(lowest=1, highest=1 << 12, bits=0)
"""Sizes from 1 to 4096 in powers of two."""

C = TypeVar("C")


class Collected(Protocol):
    """Anything that can be asked for its metrics."""

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now; may be called from another thread."""
        ...


class Cell:
    """One number of one series."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        """Start at 0."""
        self.value: float = 0


class Merge(Enum):
    """How the gauges of several processes become one; the value marks the family's help text."""

    SUM = ""
    LARGEST = " [largest of all processes]"
    EACH = " [by process]"

    @classmethod
    def of(cls, documentation: str) -> Merge:
        """Return the rule that a help text is marked with."""
        return next(merge for merge in (cls.LARGEST, cls.EACH, cls.SUM) if documentation.endswith(merge.value))


class Family(Generic[C]):
    """Series of one name, by label values."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...] = (), *, limit: int = SERIES_LIMIT) -> None:
        """Store the arguments."""
        self.name = name
        self.documentation = documentation
        self.labels = labels
        self._limit = limit
        self._cells: dict[tuple[str, ...], C] = {}

    def of(self, *values: str) -> C:
        """Return the cell of these label values; keep it, and add to it as often as you like.

        Raises:
            ValueError: another number of values than labels.
        """
        cell = self._cells.get(values)
        return cell if cell is not None else self._added(values)

    def forget(self, *values: str) -> None:
        """Drop the series of these label values, and with fewer values all series that begin so."""
        for known in [known for known in self._cells if known[: len(values)] == values]:
            del self._cells[known]

    def _added(self, values: tuple[str, ...]) -> C:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {len(values)}")
        if len(self._cells) >= self._limit:
            values = (OTHER,) * len(values)
        return self._cells.setdefault(values, self._new())

    def _new(self) -> C:
        raise NotImplementedError

    def _series(self) -> Iterator[tuple[dict[str, str], C]]:
        # A copy made in one step: the loop's thread may add series while another thread collects.
        for values, cell in list(self._cells.items()):
            yield dict(zip(self.labels, values, strict=True)), cell


class CounterFamily(Family[Cell]):
    """Numbers that only grow; `_total` is added to the name where the format wants it."""

    def _new(self) -> Cell:
        return Cell()

    def collect(self) -> Iterable[Metric]:
        """Return the family."""
        metric = Metric(self.name.removesuffix("_total"), self.documentation, "counter")
        for labels, cell in self._series():
            metric.add_sample(metric.name + "_total", labels, cell.value)
        yield metric


class GaugeFamily(Family[Cell]):
    """Numbers that go up and down."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...] = (), *, merge: Merge = Merge.SUM) -> None:
        """Store the arguments; `merge` says what becomes of equal series of several processes."""
        super().__init__(name, documentation + merge.value, labels)

    def _new(self) -> Cell:
        return Cell()

    def collect(self) -> Iterable[Metric]:
        """Return the family."""
        metric = Metric(self.name, self.documentation, "gauge")
        for labels, cell in self._series():
            metric.add_sample(self.name, labels, cell.value)
        yield metric


class HistogramFamily(Family[Buckets]):
    """Distributions over a logarithmic scale."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...] = (), *, scale: BucketScale = SECONDS) -> None:
        """Store the arguments."""
        super().__init__(name, documentation, labels)
        self._scale = scale
        self._bounds = [floatToGoString(bound * scale.unit) for bound in scale.bounds()] + ["+Inf"]

    def _new(self) -> Buckets:
        return Buckets(self._scale)

    def collect(self) -> Iterable[Metric]:
        """Return the family."""
        metric = Metric(self.name, self.documentation, "histogram")
        for labels, buckets in self._series():
            self._add_samples(metric, labels, buckets)
        yield metric

    def _add_samples(self, metric: Metric, labels: dict[str, str], buckets: Buckets) -> None:
        counts, exemplars = buckets.cumulative(), dict(buckets.exemplars)
        for index, (bound, count) in enumerate(zip(self._bounds, counts, strict=True)):
            kept = exemplars.get(index)
            exemplar = PrometheusExemplar(kept.labels, kept.units * self._scale.unit, kept.time) if kept else None
            metric.add_sample(self.name + "_bucket", {**labels, "le": bound}, count, exemplar=exemplar)
        metric.add_sample(self.name + "_count", labels, counts[-1])
        metric.add_sample(self.name + "_sum", labels, buckets.units * self._scale.unit)


class Asked:
    """A gauge or counter whose value is asked for when it is shown."""

    def __init__(
        self, name: str, documentation: str, ask: Callable[[], float], *, is_counter: bool = False, merge: Merge = Merge.SUM
    ) -> None:
        """Store the arguments; `ask` may be called from another thread."""
        self._name = name.removesuffix("_total") if is_counter else name
        self._documentation = documentation + merge.value
        self._ask = ask
        self._is_counter = is_counter

    def collect(self) -> Iterable[Metric]:
        """Return the metric."""
        metric = Metric(self._name, self._documentation, "counter" if self._is_counter else "gauge")
        metric.add_sample(self._name + "_total" if self._is_counter else self._name, {}, self._ask())
        yield metric


def registry(*collectors: Collected) -> CollectorRegistry:
    """Return a registry of these collectors, without `_created` series, which would double every scrape."""
    disable_created_metrics()
    made = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        made.register(collector)  # pyright: ignore[reportArgumentType]  Collected is Collector without the base class
    return made
