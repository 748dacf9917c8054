"""Histograms with logarithmic buckets, counted in plain integers. Pure.

A value is an integer number of small units (microseconds, rows, bytes); its bucket follows from its bit length, so counting costs two
shifts and one list item, whatever the number of buckets. Each octave is cut into `2**bits` buckets of equal width (as in HdrHistogram),
which bounds the relative error of a quantile by `2**-bits`. An upper bound belongs to its bucket, as Prometheus's `le` wants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketScale:
    """Which values share a bucket.

    Args:
        lowest: upper bound of the first bucket, in units; 1 or more. Cut down to a bound of the scale.
        highest: the last finite bound, in units. Cut up to a bound of the scale.
        bits: buckets an octave, as a power of two.
        unit: size of one unit in the unit that is shown, for example 1e-6 for microseconds shown as seconds.
    """

    lowest: int
    highest: int
    bits: int = 1
    unit: float = 1.0

    def __post_init__(self) -> None:
        """Refuse scales that hold nothing."""
        if not 1 <= self.lowest < self.highest or self.bits < 0:
            raise ValueError("a scale needs 1 <= lowest < highest and bits >= 0")

    @property
    def first(self) -> int:
        """Position of the first bucket on the unlimited scale."""
        return self.position(self.lowest)

    @property
    def size(self) -> int:
        """Number of finite buckets."""
        return self.position(self.highest) - self.first + 1

    def position(self, value: int) -> int:
        """Return the position of a value on the unlimited scale."""
        below = value - 1 if value > 1 else 0
        shift = below.bit_length() - self.bits - 1
        return (shift << self.bits) + (below >> shift) if shift > 0 else below

    def bound(self, position: int) -> int:
        """Return the largest value of a position."""
        shift = max((position >> self.bits) - 1, 0)
        return (position - (shift << self.bits) + 1) << shift

    def bounds(self) -> list[int]:
        """Return the finite upper bounds in units, ascending."""
        return [self.bound(self.first + index) for index in range(self.size)]


@dataclass(slots=True)
class Exemplar:
    """One value of a bucket with the ids by which it can be looked at."""

    labels: dict[str, str]
    units: int
    time: float
    """Wall clock, in seconds since the epoch."""


class Buckets:
    """Counts values of one series."""

    __slots__ = ("_bits", "_first", "_last", "counts", "exemplars", "scale", "units")

    def __init__(self, scale: BucketScale) -> None:
        """Start with nothing counted."""
        self.scale = scale
        self._bits = scale.bits
        self._first = scale.first
        self._last = scale.size
        self.counts = [0] * (scale.size + 1)
        """By bucket; the last one holds what is over the highest bound."""
        self.units = 0
        """Sum of all values."""
        self.exemplars: dict[int, Exemplar] = {}
        """The newest of each bucket that has one."""

    def add(self, value: int, count: int = 1) -> int:
        """Count a value, `count` times; negative ones count as 0. Returns the bucket's index."""
        # `BucketScale.position`, written out: this line is paid for every request.
        below = value - 1 if value > 1 else 0
        shift = below.bit_length() - self._bits - 1
        index = ((shift << self._bits) + (below >> shift) if shift > 0 else below) - self._first
        if index < 0:
            index = 0
        elif index > self._last:
            index = self._last
        self.counts[index] += count
        if value > 0:
            self.units += value * count
        return index

    def add_traced(self, value: int, labels: dict[str, str], time: float) -> None:
        """Count a value of a sampled call and keep it as its bucket's exemplar.

        Args:
            value: in units.
            labels: for example `{"trace_id": …}`; names and values together at most 128 characters.
            time: wall clock, in seconds since the epoch.
        """
        self.exemplars[self.add(value)] = Exemplar(labels, value, time)

    def exemplify(self, value: int, labels: dict[str, str], time: float) -> None:
        """Keep a value that is counted elsewhere as its bucket's exemplar; arguments as in `add_traced`."""
        self.exemplars[self.add(value, 0)] = Exemplar(labels, value, time)

    def cumulative(self) -> Sequence[int]:
        """Return the counts of values up to each bound; the last one is the number of all values."""
        return list(accumulate(self.counts))
