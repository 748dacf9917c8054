"""Executes large rows one by one within a batch where that costs less.

What a convolution computes of a batch of images is larger than the caches, what it computes of one image is not. Which way is cheaper is
learnt by CPU time for each shape, from the batches themselves. With 16 images of 602 KB in flight a small network made
0.95 to 1.16 times as many, 1.08 in the middle (2026-11-22, eight turns, 2 x AMD EPYC that others used too); smaller batches made fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import thread_time

import numpy as np

from penstock.contracts.signature import Signature
from penstock.contracts.tensors import AnyArray
from services.worker.session import ModelSession, RunHandle

LARGE_BYTES = 64 << 10
"""Smallest row, by all inputs together, for which this is tried."""
SLOW_SECONDS = 0.0005
"""Rows that take less are not worth an execution each."""
GAIN = 0.98
"""One by one has to cost less than this share."""
TRIAL_ROWS = 4
"""Smallest batch in which the ways are compared."""
TRIALS = 8
"""So many batches of a shape are trials, before one way is taken."""
AGAIN = 8
"""Every so many batches there is a trial again where the ways are close, and every SELDOM ones where a row by itself costs DEAR."""
SELDOM = 128
DEAR = 1.1
WEIGHT = 0.1
"""Share of a trial in the mean."""
SHAPES = 64
"""So many shapes are told apart; further ones are executed whole."""

Shape = tuple[tuple[int, ...], ...]
Rest = tuple[Sequence[str], RunHandle | None]
"""What `run` takes beside feeds."""


@dataclass(slots=True)
class Pace:
    """What a row of one shape costs by itself, as a share of what it costs in a batch.

    Both are measured in the same batch, each with half of its rows: from one second to the next a shared machine changes by more.
    """

    share: float = 1.0
    trials: int = 0
    batches: int = 0

    @property
    def is_by_row(self) -> bool:
        """Whether rows are cheaper one by one."""
        return self.share < GAIN

    def is_trial(self, rows: int) -> bool:
        """Count a batch; return whether both ways are to be compared in it."""
        self.batches += 1
        return rows >= TRIAL_ROWS and (self.trials < TRIALS or self.batches % (SELDOM if self.share > DEAR else AGAIN) == 0)

    def observe(self, by_row: float, whole: float) -> None:
        """Learn what a row cost in a trial, in seconds."""
        self.trials += 1
        seen = by_row / whole if whole >= SLOW_SECONDS else 1.0
        self.share += max(WEIGHT, 1 / self.trials) * (seen - self.share)


def has_even_answers(signature: Signature) -> bool:
    """Pure: whether rows come in batches, and the answers to two rows have one shape whether they are executed together or not."""
    return signature.max_batch_size > 1 and all(size >= 0 for output in signature.outputs for size in output.shape[1:])


class RowByRowSession:
    """A session whose executions use one thread, so that its CPU time tells what they cost; the first dimension counts rows."""

    def __init__(self, session: ModelSession) -> None:
        """Wrap a session."""
        self._session = session
        self.paces: dict[Shape, Pace] = {}
        """What was learnt, by the shapes of a row."""

    @property
    def provider(self) -> str:
        """Name of the execution provider in use."""
        return self._session.provider

    def new_handle(self) -> RunHandle:
        """Return a brake for one batch."""
        return self._session.new_handle()

    def run(self, feeds: Mapping[str, AnyArray], outputs: Sequence[str], handle: RunHandle | None = None) -> list[AnyArray]:
        """Execute; see `ModelSession.run`."""
        arrays = feeds.values()
        rows = max([len(array) for array in arrays], default=0)
        pace = self._pace(feeds) if rows > 1 and sum([array.nbytes for array in arrays]) >= rows * LARGE_BYTES else None
        if pace is None:
            return self._session.run(feeds, outputs, handle)
        if pace.is_trial(rows):
            return self._both_ways(feeds, rows, pace, (outputs, handle))
        return self._one_by_one(feeds, range(rows), (outputs, handle)) if pace.is_by_row else self._session.run(feeds, outputs, handle)

    def _both_ways(self, feeds: Mapping[str, AnyArray], rows: int, pace: Pace, rest: Rest) -> list[AnyArray]:
        half = rows // 2
        began = thread_time()
        whole = self._session.run({name: array[:half] for name, array in feeds.items()}, *rest)
        between = thread_time()
        by_row = self._one_by_one(feeds, range(half, rows), rest)
        pace.observe((thread_time() - between) / (rows - half), (between - began) / half)
        return [np.concatenate(pair) for pair in zip(whole, by_row, strict=True)]

    def _one_by_one(self, feeds: Mapping[str, AnyArray], rows: range, rest: Rest) -> list[AnyArray]:
        answers = [self._session.run({name: array[row : row + 1] for name, array in feeds.items()}, *rest) for row in rows]
        return [np.concatenate(column) for column in zip(*answers, strict=True)]

    def _pace(self, feeds: Mapping[str, AnyArray]) -> Pace | None:
        shape = tuple([array.shape[1:] for array in feeds.values()])
        pace = self.paces.get(shape)
        if pace is None and len(self.paces) < SHAPES:
            pace = self.paces[shape] = Pace()
        return pace
