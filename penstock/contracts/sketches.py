"""Counts of numbers in logarithmic bins, from which any quantile follows with a relative error of 1 %.

Sketches of different processes and times are added up bin by bin, which no set of ready-made quantiles can be.

Source: C. Masson, J. Rim, H. Lee, "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.v1 import observations_pb2 as pb

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
SMALLEST = 1e-9
"""Numbers that are smaller in absolute value count as zero."""

_LOG_GAMMA = math.log(GAMMA)


class Sketch:
    """A sketch that grows; numbers that are not finite are not counted."""

    __slots__ = ("count", "maximum", "minimum", "negative", "positive", "total", "zeros")

    def __init__(self) -> None:
        """Start empty."""
        self.positive: Counter[int] = Counter()
        self.negative: Counter[int] = Counter()
        self.zeros = 0
        self.count = 0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf

    def add(self, number: float, times: int = 1) -> None:
        """Count a number."""
        if not math.isfinite(number):
            return
        if abs(number) < SMALLEST:
            self.zeros += times
        else:
            (self.positive if number > 0 else self.negative)[math.ceil(math.log(abs(number)) / _LOG_GAMMA)] += times
        self.count += times
        self.total += number * times
        self.minimum, self.maximum = min(self.minimum, number), max(self.maximum, number)

    def add_many(self, numbers: NDArray[Any]) -> None:
        """Count an array of numbers; 20 ns a number."""
        values = np.asarray(numbers, dtype=np.float64).reshape(-1)
        values = values[np.isfinite(values)]
        if not values.size:
            return
        sizes = np.abs(values)
        is_counted = sizes >= SMALLEST
        bins = np.ceil(np.log(sizes[is_counted]) / _LOG_GAMMA).astype(np.int64)
        is_negative = values[is_counted] < 0
        for side, chosen in ((self.positive, bins[~is_negative]), (self.negative, bins[is_negative])):
            found, counts = np.unique(chosen, return_counts=True)
            for index, count in zip(found.tolist(), counts.tolist(), strict=True):
                side[index] += count
        self.zeros += int(values.size - is_counted.sum())
        self.count += int(values.size)
        self.total += float(values.sum())
        self.minimum, self.maximum = min(self.minimum, float(values.min())), max(self.maximum, float(values.max()))

    def merge(self, other: Sketch) -> None:
        """Add another sketch's counts."""
        self.positive.update(other.positive)
        self.negative.update(other.negative)
        self.zeros += other.zeros
        self.count += other.count
        self.total += other.total
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)

    def quantile(self, share: float) -> float | None:
        """Return the number below which a share of them lies, within RELATIVE_ERROR; None when there are none."""
        if not self.count:
            return None
        rank, seen = share * (self.count - 1), 0
        for index in sorted(self.negative, reverse=True):
            seen += self.negative[index]
            if seen > rank:
                return -_middle(index)
        seen += self.zeros
        if seen > rank:
            return 0.0
        for index in sorted(self.positive):
            seen += self.positive[index]
            if seen > rank:
                return _middle(index)
        return self.maximum

    def to_proto(self) -> pb.Sketch:
        """Return the wire form."""
        positive, negative = sorted(self.positive.items()), sorted(self.negative.items())
        return pb.Sketch(
            gamma=GAMMA,
            indexes=[index for index, _ in positive],
            counts=[count for _, count in positive],
            negative_indexes=[index for index, _ in negative],
            negative_counts=[count for _, count in negative],
            zeros=self.zeros,
            count=self.count,
            sum=self.total,
            minimum=self.minimum if self.count else 0.0,
            maximum=self.maximum if self.count else 0.0,
        )

    @classmethod
    def from_proto(cls, proto: pb.Sketch) -> Sketch:
        """Read the wire form; only sketches of GAMMA can be added up."""
        sketch = cls()
        sketch.positive.update(dict(zip(proto.indexes, proto.counts, strict=True)))
        sketch.negative.update(dict(zip(proto.negative_indexes, proto.negative_counts, strict=True)))
        sketch.zeros, sketch.count, sketch.total = proto.zeros, proto.count, proto.sum
        if proto.count:
            sketch.minimum, sketch.maximum = proto.minimum, proto.maximum
        return sketch


def _middle(index: int) -> float:
    return 2 * GAMMA**index / (GAMMA + 1)
