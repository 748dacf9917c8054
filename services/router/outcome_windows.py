"""Sums up, by version and tenant, what became of requests in a window of time. Pure: the caller passes the times.

A chunk costs a few additions: its requests have one latency, mostly one tenant, and the numbers of its answers are only kept as the
bytes they are until `settle` reads those of many chunks at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np

from penstock.contracts.observations import OutcomeWindow, ShadowComparison
from penstock.contracts.sketches import Sketch
from penstock.contracts.tensors import DataType
from services.mesh.chunk import Answered
from services.mesh.route_table import Deployment

SEGMENTS_LIMIT = 256
"""Most windows of single tenants at a time; requests of further ones count for everybody only."""
READ_BYTES = 4 << 20
"""Bytes of answers that are kept until they are read at the latest."""

WindowKey = tuple[str, str, str, bool]
"""Model, version, segment, whether it is of copies."""


@dataclass(slots=True)
class ComparisonSums:
    """What pairs of answers have so far."""

    against_version: str
    pairs: int = 0
    agreeing: int = 0
    distance_sum: float = 0.0
    distance_max: float = 0.0
    latency_difference_seconds_sum: float = 0.0
    failed: int = 0
    not_copied: int = 0

    def add_pair(self, *, agrees: bool, distance: float, latency_difference_seconds: float) -> None:
        """Count two answers to one request."""
        self.pairs += 1
        self.agreeing += agrees
        self.distance_sum += distance
        self.distance_max = max(self.distance_max, distance)
        self.latency_difference_seconds_sum += latency_difference_seconds

    def value(self) -> ShadowComparison:
        """Return the sums as they travel."""
        return ShadowComparison(**asdict(self))


@dataclass(slots=True)
class Sums:
    """What one window has so far."""

    requests: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])
    latency: Sketch = field(default_factory=Sketch)
    scores: Sketch = field(default_factory=Sketch)
    degraded: int = 0
    revision: int = 0
    comparison: ComparisonSums | None = None
    unread: dict[tuple[DataType, int], list[bytes]] = field(default_factory=dict[tuple[DataType, int], list[bytes]])

    def compared(self, against_version: str) -> ComparisonSums:
        """Return what is compared with a version; in the window in which a route changes, with the first of several."""
        self.comparison = self.comparison or ComparisonSums(against_version)
        return self.comparison

    def count(self, requests: int, seconds: float, error: str, *, degraded: bool) -> None:
        """Count requests that ended alike."""
        self.requests += requests
        self.latency.add(seconds, requests)
        if error:
            self.errors[error] += requests
        if degraded:
            self.degraded += requests


class Scored(NamedTuple):
    """Answers whose scores count in a window."""

    answer: Answered
    outputs: Sequence[int]
    """Positions of the answered outputs in the signature."""
    offsets: Sequence[int] | None = None
    """Requests within the answer; None means all of them."""


class OutcomeWindows:
    """The windows that are open."""

    def __init__(self, instance_id: str) -> None:
        """Start without windows."""
        self._instance_id = instance_id
        self._sums: dict[WindowKey, Sums] = {}
        self._segments = 0
        self._unread_bytes = 0

    def of(self, model: str, version: str, *, is_shadow: bool = False) -> Sums:
        """Return the sums of everybody's requests."""
        return self._at((model, version, "", is_shadow))

    def of_tenant(self, model: str, version: str, tenant: str) -> Sums | None:
        """Return the sums of one tenant's; None when there are too many tenants."""
        key = (model, version, tenant, False)
        if key not in self._sums:
            if self._segments >= SEGMENTS_LIMIT or not tenant:
                return None
            self._segments += 1
        return self._at(key)

    def keep_scores(self, sums: Sums, deployment: Deployment, scored: Scored) -> None:
        """Keep an answer's bytes to read the first number of every row of its first output, when it has such."""
        answer, outputs = scored.answer, scored.outputs
        if not outputs or not answer.outputs:
            return
        datatype, (shape, raw, lengths) = deployment.signature.outputs[outputs[0]].datatype, answer.outputs[0]
        if lengths or datatype.itemsize is None or datatype is DataType.BF16 or not raw:
            return
        rows = int.from_bytes(shape[:8], "little") if deployment.signature.has_batch_dimension and shape else 1
        stride = len(raw) // (answer.count * rows) if rows else 0
        if scored.offsets is not None:
            size = len(raw) // answer.count
            raw = b"".join(raw[offset * size : (offset + 1) * size] for offset in scored.offsets)
        if stride >= datatype.itemsize:
            sums.unread.setdefault((datatype, stride), []).append(raw)
            self._unread_bytes += len(raw)
            if self._unread_bytes > READ_BYTES:
                self.settle()

    def settle(self) -> None:
        """Read the bytes that were kept."""
        self._unread_bytes = 0
        for sums in self._sums.values():
            for (datatype, stride), raws in sums.unread.items():
                rows = np.frombuffer(b"".join(raws), dtype=datatype.dtype).reshape(-1, stride // datatype.dtype.itemsize)
                sums.scores.add_many(rows[:, 0])
            sums.unread = {}

    def close(self, start_time: float, length_seconds: float) -> list[OutcomeWindow]:
        """End the windows and return those that saw anything."""
        self.settle()
        ended, self._sums, self._segments = self._sums, {}, 0
        return [
            OutcomeWindow(
                router_instance_id=self._instance_id,
                model=model,
                version=version,
                segment=segment,
                start_time=start_time,
                length_seconds=length_seconds,
                route_revision=sums.revision,
                requests=sums.requests,
                errors=dict(sums.errors),
                latency=sums.latency,
                scores=sums.scores,
                degraded=sums.degraded,
                shadow=is_shadow,
                comparison=None if sums.comparison is None else sums.comparison.value(),
            )
            for (model, version, segment, is_shadow), sums in ended.items()
            if sums.requests or sums.comparison is not None
        ]

    def _at(self, key: WindowKey) -> Sums:
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = Sums()
        return sums
