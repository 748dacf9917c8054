"""Who runs together, and when. Pure: the caller passes `now`, and sleeps until `next_due` or `next_expiry`.

Theory. Batches form late: the shell asks (`take`) at the moment an executor is idle, and by default gets whatever waits, so batching
needs no delay: work queues while the previous batch runs. The class decides first (online, stream, bulk), then the level, both with
ageing: a level with work outranks everything else once it got nothing for `ageing_seconds` times its steps, and takes its place again
after one batch. Within a level tenants take turns (`levels.py`). The head decides what the batch is made of; every waiting request of
its class with the same group may join, from any place of the queue, so that a shape never blocks another one. A batch holds one class.

Deadlines are judged by prediction: what cannot be answered by its deadline, if it runs in the batch at hand, is dropped instead.
(Dropping only what has expired collapses under overload: 86 to 776 answers in time a second against 2,700 to 4,800, measured on the
sketch in 2026.) Two things keep a wrong prediction from refusing everybody: a batch shrinks until its latest deadline can be met, and
when no size would do, one request runs anyway every PROBE_SECONDS and teaches the cost model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.worker.batch_policy import BatchPolicy, TimeoutAction
from services.worker.levels import Entry, Level, Line
from services.worker.waiting_ends import Drop, DropCause, WaitingEnds
from services.worker.work import NO_DEADLINE, Batch, Part, PriorityClass, Work

LEVELS = 1 << 32
"""More than a chunk can name."""
PROBE_SECONDS = 1.0
PROBE_COSTS = 10.0
"""A hopeless request runs at most every PROBE_SECONDS and takes at most one part in PROBE_COSTS of the executor."""

Cost = Callable[[int, int], float | None]
"""(rows, bytes of a row) → expected seconds of an execution; None when nothing is known."""


def unknown_cost(_rows: int, _row_bytes: int) -> float | None:
    """Predict nothing."""
    return None


class BatchQueue:
    """The waiting requests of one deployment."""

    def __init__(self, policy: BatchPolicy, cost: Cost = unknown_cost) -> None:
        """Start empty; `cost` predicts executions."""
        self.is_closing = False
        """Whether no more work comes, so that nothing is worth waiting for."""
        self.rows = 0
        self.requests = 0
        self._policy = policy
        self._has_delay = policy.max_queue_delay_microseconds > 0
        self._cost = cost
        self._levels: dict[int, Level] = {}
        self._bytes = 0
        self._ends = WaitingEnds()
        self._dropped: list[Drop] = []
        self._taken_at = -PROBE_SECONDS

    def push(self, work: Work, now: float, positions: Sequence[int] | None = None) -> Sequence[int]:
        """Let a chunk, or some requests of it, wait; return the positions for which there is no room, normally none."""
        wanted = range(work.count) if positions is None else positions
        level = self._level_of(work)
        room = max(0, level.request_limit - level.requests)
        if self._bytes and self._bytes + work.payload_bytes > self._policy.max_queue_bytes:
            room = 0
        accepted = wanted if len(wanted) <= room else wanted[:room]
        if accepted:
            self._bytes += work.payload_bytes
            self._enter(work, accepted, level, now)
            self._ends.note(work, min(work.earliest_deadline, work.arrived_at + level.timeout_seconds), self.requests)
        return wanted[len(accepted) :]

    def take(self, now: float) -> Batch | None:
        """Remove and return the batch that is due; None while it pays to wait, or when nothing waits."""
        while self.rows:
            line = self._due_line(now)
            if line is None:
                return None
            parts = self._gather(line, now)
            if parts:
                self._taken_at = now
                return Batch(parts)
        return None

    def cancel(self, work: Work, position: int) -> bool:
        """Take one request back; False when it does not wait here (any more)."""
        for entry in work.waiting:
            if position in entry.positions:
                self._remove(entry, [position])
                return True
        return False

    def abandon(self, work: Work) -> int:
        """Take back all requests of a chunk that still wait; return how many."""
        entries = list(work.waiting)
        count = sum(len(entry.positions) for entry in entries)
        for entry in entries:
            self._remove(entry, entry.positions)
        return count

    def clear(self) -> list[Part]:
        """Remove and return everything that waits."""
        entries = [entry for level in self._levels.values() for line in level.lines.values() for entry in line.entries]
        parts = [Part(entry.work, entry.positions) for entry in entries if entry.positions]
        for entry in entries:
            self._remove(entry, entry.positions)
        return parts

    def expire(self, now: float) -> list[Drop]:
        """Remove what waited too long; return it together with what `take` gave up since the last call."""
        for work in self._ends.pop(now):
            self._expire_work(work, now)
        dropped, self._dropped = self._dropped, []
        return dropped

    @property
    def has_drops(self) -> bool:
        """Whether `take` gave requests up that `expire` has not returned yet."""
        return bool(self._dropped)

    @property
    def next_expiry(self) -> float:
        """When `expire` is to be called; infinite when no waiting request has a deadline or a timeout."""
        return self._ends.next_at

    @property
    def next_due(self) -> float:
        """When `take` has something for an idle executor; infinite when nothing waits."""
        lines = [line for level in self._levels.values() for line in level.lines.values()]
        return min([self._due_at(line) for line in lines], default=NO_DEADLINE)

    def _level_of(self, work: Work, *, is_parked: bool = False) -> Level:
        number = self._policy.level_of(work.priority_level)
        place = (work.priority_class * LEVELS + number) * 2 + is_parked
        level = self._levels.get(place)
        if level is None:
            level = self._levels[place] = Level(work.priority_class, number, self._policy, is_parked=is_parked)
        return level

    def _enter(self, work: Work, positions: Sequence[int], level: Level, now: float) -> None:
        level.add(work, positions, now)
        self.rows += len(positions) * work.rows
        self.requests += len(positions)

    def _remove(self, entry: Entry, positions: Sequence[int]) -> None:
        """Take requests out of an entry; the entry itself is swept up when its line is looked at."""
        gone = set(positions)
        count = len(entry.positions)
        entry.positions = [position for position in entry.positions if position not in gone]
        if not entry.positions:
            entry.work.waiting.remove(entry)
        entry.line.level.remove(entry, count - len(entry.positions))
        self._left(entry.work, count - len(entry.positions))

    def _left(self, work: Work, count: int) -> None:
        self.rows -= count * work.rows
        self.requests -= count
        if not work.waiting:
            self._bytes -= work.payload_bytes
        if not self.rows:
            self._ends.clear()

    def _due_line(self, now: float) -> Line | None:
        levels = [level for level in self._levels.values() if level.rows]
        if not self._has_delay or self.is_closing:
            return (levels[0] if len(levels) == 1 else min(levels, key=_rank)).next_line()
        lines = [line for level in sorted(levels, key=_rank) for line in sorted(level.lines.values(), key=_head_order)]
        return next((line for line in lines if self._due_at(line) <= now), None)

    def _due_at(self, line: Line) -> float:
        """Return when a line stops waiting for company."""
        company = self._company(line)
        available = sum(one.rows for one in company)
        oldest_at = min(one.oldest_at for one in company)
        if self.is_closing or available >= min((*self._policy.preferred_batch_size, self._policy.row_limit)):
            return oldest_at
        return min(oldest_at + self._policy.delay_seconds, self._ends.next_at - 2 * self._seconds(available, line))

    def _company(self, line: Line) -> list[Line]:
        """Return the lines whose requests may run with those of `line`, itself first."""
        if len(self._levels) == 1:
            return [line]
        group = line.head.work.template.group
        others = [level for level in self._levels.values() if level is not line.level and level.priority_class is line.level.priority_class]
        others.sort(key=_place)
        return [line, *[level.lines[group] for level in others if group in level.lines]]

    def _seconds(self, rows: int, line: Line) -> float:
        return self._cost(rows, line.head.work.row_bytes) or 0.0

    def _size(self, company: Sequence[Line], now: float) -> int:
        """Return how many rows the batch may have."""
        limit = self._limit(company[0])
        available = sum([line.rows for line in company])
        if available >= limit or not self._has_delay or self.is_closing:
            return min(available, limit)
        reached = [size for size in self._policy.preferred_batch_size if size <= available]
        is_overdue = min(line.oldest_at for line in company) + self._policy.delay_seconds <= now
        return max(reached) if reached and not is_overdue else available

    def _limit(self, line: Line) -> int:
        limit = self._policy.row_limit
        if line.level.priority_class is PriorityClass.BULK:
            while limit > 1 and self._seconds(limit, line) > self._policy.bulk_slice_seconds:
                limit //= 2
        return limit

    def _gather(self, line: Line, now: float) -> list[Part]:
        company = self._company(line)
        room, horizon = self._within_deadlines(company, self._size(company, now), now)
        parts: list[Part] = []
        for one in company:
            if room <= 0:
                break
            room = self._fill(parts, one, room, horizon)
            one.level.since = now
        return parts

    def _within_deadlines(self, company: Sequence[Line], rows: int, now: float) -> tuple[int, float]:
        """Return the rows that the batch may have, and the moment its answers come: who cannot wait so long is dropped."""
        line = company[0]
        cost = self._seconds(rows, line)
        if self._ends.next_at > now + cost:
            return rows, -NO_DEADLINE
        latest = max(entry.work.latest_deadline for one in company for entry in one.entries if entry.positions)
        while rows > 1 and now + cost >= latest:
            rows //= 2
            cost = self._seconds(rows, line)
        if now + cost >= latest and now - self._taken_at > max(PROBE_SECONDS, PROBE_COSTS * cost):
            return rows, now
        return rows, now + cost

    def _fill(self, parts: list[Part], line: Line, room: int, horizon: float) -> int:
        """Move requests from a line to the batch; return the room that is left, 0 when the next one does not fit."""
        while room > 0 and line.rows:
            entry = line.head
            work = entry.work
            if work.earliest_deadline <= horizon and self._drop_late(entry, horizon):
                continue
            count = room // work.rows
            if not count and parts:
                return 0
            count = min(len(entry.positions), max(1, count), line.turn_of(entry) if line.rows > room else room)
            parts.append(Part(work, line.level.take(entry, count)))
            self._left(work, count)
            room -= count * work.rows
        if line.rows and self._has_delay:
            line.oldest_at = min(entry.work.arrived_at for entry in line.entries if entry.positions)
        return room

    def _drop_late(self, entry: Entry, horizon: float, cause: DropCause = DropCause.HOPELESS) -> bool:
        """Drop the entry's requests whose deadlines lie before `horizon`; return whether nothing is left of it."""
        deadlines = entry.work.deadlines or ()
        late = [position for position in entry.positions if deadlines[position] <= horizon]
        if late:
            self._dropped.append(Drop(entry.work, late, cause))
            self._remove(entry, late)
        return not entry.positions

    def _expire_work(self, work: Work, now: float) -> None:
        if work.earliest_deadline <= now:
            for entry in list(work.waiting):
                self._drop_late(entry, now, DropCause.EXPIRED)
        timeout_at = work.arrived_at + self._level_of(work).timeout_seconds
        if timeout_at <= now:
            for entry in list(work.waiting):
                self._end_wait(entry, now)
            timeout_at = NO_DEADLINE
        if work.waiting:
            deadlines = work.deadlines
            still_open = [deadlines[position] for entry in work.waiting for position in entry.positions] if deadlines else []
            self._ends.note(work, min([timeout_at, *still_open]), self.requests)

    def _end_wait(self, entry: Entry, now: float) -> None:
        work, level, positions = entry.work, entry.line.level, entry.positions
        if level.is_parked:
            return
        self._remove(entry, positions)
        if level.timeout_action is TimeoutAction.REJECT:
            self._dropped.append(Drop(work, positions, DropCause.WAITED_TOO_LONG))
        else:
            self._bytes += 0 if work.waiting else work.payload_bytes
            self._enter(work, positions, self._level_of(work, is_parked=True), now)


def _rank(level: Level) -> tuple[float, float]:
    return level.rank


def _place(level: Level) -> float:
    return level.penalty_seconds


def _head_order(line: Line) -> tuple[float, int]:
    return line.head.order
