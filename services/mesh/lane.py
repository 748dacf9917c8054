"""A router's account of one replica: what it has sent there, and when an answer may be expected.

Pure: the caller passes `now`. Theory. A replica runs batches of up to `row_limit` rows one after the other, so what is ahead of a request
costs so many batches; the batch that runs has been running since the last answer came, or since the lane was idle. What a batch costs
is learnt from every answer (it says rows and time of its execution), and begins with the profile that the worker's status carries. Three
things that no profile knows are learnt as well: `others`, the rows that other routers have waiting there (an answer says how many wait in
all); the slowdown, seconds that pass for each second of execution while there is a backlog (links and loops, other models on the same
cores make it more than 1, several instances less); and that levels of higher priority do not wait for lower ones.

Whatever is learnt wrongly is learnt anew: a lane with nothing in flight is never refused to everybody (door.py), costs that fall are
believed sooner than costs that rise, and a slowdown that single requests on an idle lane contradict is given up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from penstock.contracts.worker_status import CostPoint, ReplicaStatus

WEIGHT = 0.1
"""Share of an observation in a mean."""
WEIGHT_OF_A_DROP = 0.5
"""The same for an observation below half of the mean."""
CHEAPER = 0.75
"""An observation below this share of the mean says that executions of all sizes became cheaper."""
FORGETTING = 0.9
"""What is kept of the sums behind the slowdown at every turn."""
PRIOR_TURNS = 4.0
"""Turns at a slowdown of 1 that a lane begins with, so that one odd turn does not decide."""
SLOWDOWNS = (0.125, 8.0)
"""Bounds of the slowdown: a worker that was stopped for a minute is not so slow."""


class Lane:
    """One replica as one router sees it."""

    __slots__ = (
        "_costs",
        "_elapsed",
        "_is_counted",
        "_is_fresh",
        "_last_execution",
        "_running",
        "_spent",
        "_turned_at",
        "calm_rows",
        "calm_seconds",
        "calm_until",
        "levels",
        "others",
        "refused_from",
        "refused_until",
        "row_limit",
        "rows",
        "shares",
        "shares_until",
    )

    def __init__(self, row_limit: int) -> None:
        """Start idle, and knowing nothing."""
        self.row_limit = row_limit
        self.rows = 0
        """Rows of this router that are sent and neither answered nor taken back."""
        self.levels: dict[int, int] = {}
        """The same by rank; a lower rank is served first."""
        self.others = 0
        """Rows of other routers that waited when the last answer came."""
        self.calm_until = self.calm_seconds = 0.0
        self.calm_rows = 0
        """Up to so many rows nobody with more patience than this needs to be looked at until then (door.py)."""
        self.refused_from = self.refused_until = 0.0
        """Since when requests are refused for this lane, and until when that counts as lasting (door.py)."""
        self.shares: Counter[int] = Counter()
        """Rows of this router by tenant, as counted last (door.py)."""
        self.shares_until = 0.0
        self._costs: dict[int, float] = {}
        self._elapsed = 0.0
        self._spent = 0.0
        self._turned_at = 0.0
        self._running = 0
        self._is_fresh = True
        self._is_counted = False
        self._last_execution = (0, 0)

    @property
    def slowdown(self) -> float:
        """Seconds that pass for each second of execution."""
        if not self._spent:
            return 1.0
        least, most = SLOWDOWNS
        return min(max(self._elapsed / self._spent, least), most)

    @property
    def turned_at(self) -> float:
        """When the batch that runs began, as far as this router can tell."""
        return self._turned_at

    def seed(self, profile: Iterable[CostPoint]) -> None:
        """Take what the worker measured for sizes that no answer told of yet."""
        for point in profile:
            self._costs.setdefault(_bucket(point.rows), point.seconds)

    def cost(self, rows: int) -> float:
        """Return the seconds of an execution; 0 while nothing is known, and what is known of the next smaller size rather than too much."""
        costs, bucket = self._costs, _bucket(rows)
        known = costs.get(bucket)
        if known is not None or not costs:
            return known or 0.0
        below = [size for size in costs if size < bucket]
        return costs[max(below)] if below else costs[min(costs)]

    def enter(self, rank: int, rows: int, now: float) -> None:
        """Note rows that were sent."""
        if not self.rows:
            self.others = self._others_left(now)
            self._turned_at = now
            self._is_fresh = True
        self.rows += rows
        if now == self._turned_at:
            self._running = min(self.row_limit, self.rows)
        self.levels[rank] = self.levels.get(rank, 0) + rows

    def leave(self, rank: int, rows: int) -> None:
        """Note rows that were answered, failed or taken back."""
        self.rows -= rows
        self.levels[rank] -= rows

    def clear(self) -> None:
        """Forget what is in flight: the link was lost."""
        self.rows = self.others = 0
        self.levels.clear()

    def learn(self, now: float, execution: tuple[int, int], waiting_rows: int) -> None:
        """Take what an answer says of its execution (rows, microseconds), after its rows have left."""
        self.others = waiting_rows - self.rows if waiting_rows > self.rows else 0
        self._running = min(self.row_limit, self.rows + self.others)
        if now == self._turned_at and execution == self._last_execution:
            return
        rows, microseconds = execution
        if not rows:
            return
        seconds = microseconds * 1e-6
        if now != self._turned_at:
            elapsed = min(now - self._turned_at, SLOWDOWNS[1] * seconds)
            # An execution on an idle lane had a link and a loop before it, so it says only that a slowdown above its own is too much.
            self._is_counted = not self._is_fresh or elapsed < seconds * self.slowdown
            if self._is_counted:
                if not self._spent:
                    self._elapsed = self._spent = PRIOR_TURNS * seconds
                self._elapsed = self._elapsed * FORGETTING + elapsed
                self._spent *= FORGETTING
                self._spent += seconds
            self._turned_at = now
            self._is_fresh = False
        elif self._is_counted:
            self._spent += seconds
        self._last_execution = execution
        self._observe(rows, seconds)

    def _observe(self, rows: int, seconds: float) -> None:
        bucket = _bucket(rows)
        mean = self._costs.get(bucket)
        if mean is None:
            self._costs[bucket] = seconds
            return
        moved = self._costs[bucket] = mean + (WEIGHT_OF_A_DROP if seconds < mean / 2 else WEIGHT) * (seconds - mean)
        if seconds < CHEAPER * mean:
            # Sizes that are refused for their cost are never seen again, so what is learnt of one must bring down the others.
            for size, cost in self._costs.items():
                if size != bucket:
                    self._costs[size] = max(cost * moved / mean, moved if size > bucket else 0.0)

    def ahead(self, rank: int) -> int:
        """Return the rows that are answered before a request of this rank: those of its own or a higher one, and a batch that runs."""
        if len(self.levels) <= 1:
            return self.rows
        before = sum([rows for level, rows in self.levels.items() if level <= rank])
        return before + min(self.row_limit, self.rows - before)

    def seconds(self, ahead: float, rows: int, now: float) -> float:
        """Return how long `rows` rows take that have `ahead` rows of this router before them."""
        before = ahead + (self.others * min(1.0, ahead / self.rows) if self.rows else self._others_left(now))
        running = min(self._running, int(before))
        full, rest = divmod(before - running + rows, self.row_limit)
        work = full * self.cost(self.row_limit) + (self.cost(int(rest) or 1) if rest else 0.0)
        seconds = work * self.slowdown
        if running:
            seconds += max(0.0, self.cost(running) * self.slowdown - (now - self._turned_at))
        return seconds

    def _others_left(self, now: float) -> int:
        if not self.others:
            return 0
        work = self.others / self.row_limit * self.cost(self.row_limit) * self.slowdown
        return int(self.others * max(0.0, 1.0 - (now - self._turned_at) / work)) if work else 0


def open_lane(lanes: dict[int, Lane], replica_id: int, row_limit: int, held: Iterable[ReplicaStatus]) -> Lane:
    """Add the lane of a replica to those of its worker, with the costs that the worker measured; drop lanes of replicas it gave up."""
    known = {replica.replica_id: replica for replica in held}
    for gone in [number for number in lanes if number not in known]:
        del lanes[gone]
    lane = lanes[replica_id] = Lane(row_limit)
    if replica_id in known:
        lane.seed(known[replica_id].costs)
    return lane


def _bucket(rows: int) -> int:
    """Return the exponent of the next power of two: 1 → 0, 2 → 1, 3 and 4 → 2."""
    return (rows - 1).bit_length() if rows > 1 else 0
