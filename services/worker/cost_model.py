"""What an execution will cost, learnt from what executions cost.

One exponentially weighted mean for each power of two of rows, and, where rows differ in size (text, images of any size), for each
power of two of a row's bytes. Seeded from the profile that is measured at load. An observation below half of the estimate counts
more: a phase in which the machine was slow must not make the batcher refuse what could be served.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.contracts.worker_status import CostPoint

WEIGHT = 0.1
"""Share of an observation in the new mean."""
WEIGHT_OF_A_DROP = 0.5
"""The same for an observation below half of the mean."""

Curve = dict[int, float]


class CostModel:
    """Predicts the seconds of an execution from its rows and the bytes of a row."""

    __slots__ = ("_curves",)

    def __init__(self, profile: Iterable[CostPoint] = (), *, row_bytes: int = 0) -> None:
        """Seed with a measured profile, taken with rows of `row_bytes` bytes."""
        self._curves: dict[int, Curve] = {}
        points = {_bucket(point.rows): point.seconds for point in profile}
        if points:
            self._curves[_bucket(row_bytes)] = points

    def predict(self, rows: int, row_bytes: int = 0) -> float | None:
        """Return the expected seconds; None when nothing was ever measured."""
        if not self._curves:
            return None
        curve = self._curves.get(_bucket(row_bytes))
        if curve is None:
            curve = self._nearest_curve(_bucket(row_bytes))
        bucket = _bucket(rows)
        known = curve.get(bucket)
        return _extended(curve, bucket) if known is None else known

    def observe(self, rows: int, row_bytes: int, seconds: float) -> None:
        """Learn from an execution."""
        bucket = _bucket(rows)
        curve = self._curves.get(_bucket(row_bytes))
        if curve is None:
            curve = self._curves[_bucket(row_bytes)] = self._scaled_curve(rows, row_bytes, seconds)
        mean = curve.get(bucket)
        if mean is None:
            curve[bucket] = seconds
        else:
            curve[bucket] = mean + (WEIGHT_OF_A_DROP if seconds < mean / 2 else WEIGHT) * (seconds - mean)

    def points(self) -> tuple[CostPoint, ...]:
        """Return the means by rows, the costliest row size counting."""
        worst: Curve = {}
        for curve in self._curves.values():
            for bucket, seconds in curve.items():
                worst[bucket] = max(seconds, worst.get(bucket, 0.0))
        return tuple(CostPoint(rows=1 << bucket, seconds=worst[bucket]) for bucket in sorted(worst))

    def _scaled_curve(self, rows: int, row_bytes: int, seconds: float) -> Curve:
        """Return the shape of the nearest known curve at the height of a first observation: how cost grows with rows carries over."""
        expected = self.predict(rows, row_bytes)
        if not expected:
            return {}
        return {bucket: mean * seconds / expected for bucket, mean in self._nearest_curve(_bucket(row_bytes)).items()}

    def _nearest_curve(self, bucket: int) -> Curve:
        return self._curves[min(self._curves, key=lambda known: (abs(known - bucket), known))]


def _bucket(size: int) -> int:
    """Return the exponent of the next power of two: 1 → 0, 2 → 1, 3 and 4 → 2."""
    return (size - 1).bit_length() if size > 1 else 0


def _extended(curve: Curve, bucket: int) -> float:
    """Guess between and beyond what was measured: a smaller batch costs no more, a larger one at most in proportion."""
    below = [known for known in curve if known < bucket]
    above = [known for known in curve if known > bucket]
    if not below:
        return curve[min(above)]
    proportional = curve[max(below)] * float(1 << (bucket - max(below)))
    return min(proportional, curve[min(above)]) if above else proportional
