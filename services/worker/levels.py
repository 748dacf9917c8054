"""The order in which requests of one priority level wait: tenants take turns, shapes do not block one another.

Tenant order is start-time fair queueing (Goyal, Vin, Cheng 1996), counted in rows: a request's tag is the later of the level's virtual
time and the point up to which its tenant has been served already; the lowest tag goes first, for a turn of a TURNS-th of a batch.
So two tenants that both wait differ in service by about one turn and one request, whatever their shapes, and a tenant that was idle
saves nothing up. While everything that waits fits one execution nobody has to give way, and chunks are not looked into.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable, Sequence

from services.worker.batch_policy import BatchPolicy
from services.worker.work import NO_DEADLINE, PriorityClass, Work

TURNS = 8
"""Turns that fit into one batch."""


class Entry:
    """Requests of one chunk, and of one tenant where that matters, that wait."""

    __slots__ = ("is_mixed", "line", "order", "positions", "work")

    def __init__(self, work: Work, positions: Sequence[int], line: Line, order: tuple[float, int], *, is_mixed: bool) -> None:
        self.work = work
        self.positions = positions
        self.line = line
        self.order = order
        """(tag, number of arrival)."""
        self.is_mixed = is_mixed
        """Whether it was let in whole although its requests belong to several tenants."""


class Line:
    """Entries of one level that may run together, lowest order first."""

    __slots__ = ("entries", "level", "oldest_at", "rows")

    def __init__(self, level: Level, now: float) -> None:
        self.level = level
        self.entries: list[Entry] = []
        self.rows = 0
        self.oldest_at = now
        """Arrival of the entry that waits longest."""

    @property
    def head(self) -> Entry:
        """The entry that is next; only for lines with rows."""
        entries = self.entries
        empty = 0
        while not entries[empty].positions:
            empty += 1
        del entries[:empty]
        return entries[0]

    def turn_of(self, head: Entry) -> int:
        """Return how many requests of the head go before it is another entry's turn."""
        if len(self.entries) == 1 or head.is_mixed:
            return len(head.positions)
        lead = self.entries[1].order[0] - head.order[0]
        return max(1, int(lead + self.level.quantum_rows) // head.work.rows)

    def add(self, entry: Entry) -> None:
        """Let an entry wait at its place."""
        if self.entries and entry.order < self.entries[-1].order:
            insort(self.entries, entry, key=_order)
        else:
            self.entries.append(entry)


class Level:
    """What waits at one priority."""

    __slots__ = (
        "_arrivals",
        "_policy",
        "_served",
        "_time",
        "is_parked",
        "lines",
        "number",
        "penalty_seconds",
        "priority_class",
        "quantum_rows",
        "request_limit",
        "requests",
        "rows",
        "since",
        "timeout_action",
        "timeout_seconds",
    )

    def __init__(self, priority_class: PriorityClass, number: int, policy: BatchPolicy, *, is_parked: bool = False) -> None:
        self.priority_class = priority_class
        self.number = number
        self.is_parked = is_parked
        """Whether it holds requests that waited longer than their level allows."""
        steps = (priority_class - 1) * max(1, policy.priority_levels) + number - 1
        self.penalty_seconds = policy.ageing_seconds * (2 * steps + is_parked) / 2
        self.quantum_rows = max(1, policy.row_limit // TURNS)
        queue = policy.queue_of(number)
        self.request_limit = policy.request_limit(number)
        self.timeout_action = queue.timeout_action
        self.timeout_seconds = queue.default_timeout_microseconds * 1e-6 or NO_DEADLINE
        self.lines: dict[Hashable, Line] = {}
        self.rows = 0
        self.requests = 0
        self.since = 0.0
        """When it last got a batch, or got work after having none."""
        self._policy = policy
        self._time = 0.0
        self._served: dict[int, float] = {}
        self._arrivals = 0

    @property
    def rank(self) -> tuple[float, float]:
        """The level with the lowest rank is next; each is, some time after it was served last."""
        return self.since + self.penalty_seconds, self.penalty_seconds

    def add(self, work: Work, positions: Sequence[int], now: float) -> None:
        """Let requests wait."""
        rows = len(positions) * work.rows
        line = self._line(work.template.group, now)
        if work.tenants is not None and self.rows + rows <= self._policy.row_limit:
            self._enter(line, work, positions, self._time, is_mixed=True)
        else:
            for tenant, share in tenant_shares(work, positions):
                self._enter(line, work, share, self._charge(tenant, len(share) * work.rows))
        line.oldest_at = min(line.oldest_at, work.arrived_at)
        line.rows += rows
        self.rows += rows
        self.requests += len(positions)

    def next_line(self) -> Line:
        """Return the line whose head is next; only for levels with rows."""
        if len(self.lines) == 1:
            return next(iter(self.lines.values()))
        return min(self.lines.values(), key=lambda line: line.head.order)

    def remove(self, entry: Entry, count: int) -> None:
        """Count `count` requests of an entry as gone; the entry's positions are the caller's."""
        line, rows = entry.line, count * entry.work.rows
        line.rows -= rows
        self.rows -= rows
        self.requests -= count
        if not line.rows:
            del self.lines[entry.work.template.group]
            if not self.rows:
                self._served.clear()

    def take(self, entry: Entry, count: int) -> Sequence[int]:
        """Remove the first `count` requests of its line's head and return their positions."""
        positions = entry.positions
        tag, arrival = entry.order
        self._time = max(self._time, tag)
        if count == len(positions):
            entry.positions = ()
            entry.work.waiting.remove(entry)
        else:
            positions, entry.positions = positions[:count], positions[count:]
            entry.order = (tag + count * entry.work.rows, arrival)
            entry.line.entries.pop(0)
            entry.line.add(entry)
        self.remove(entry, count)
        return positions

    def _line(self, group: Hashable, now: float) -> Line:
        if not self.rows:
            self.since = now
        line = self.lines.get(group)
        if line is None:
            line = self.lines[group] = Line(self, now)
        return line

    def _enter(self, line: Line, work: Work, positions: Sequence[int], tag: float, *, is_mixed: bool = False) -> None:
        self._arrivals += 1
        entry = Entry(work, positions, line, (tag, self._arrivals), is_mixed=is_mixed)
        work.waiting.append(entry)
        line.add(entry)

    def _charge(self, tenant: int, rows: int) -> float:
        tag = max(self._time, self._served.get(tenant, 0.0))
        self._served[tenant] = tag + rows
        return tag


def tenant_shares(work: Work, positions: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
    """Return the positions of each tenant, in the order of their first requests."""
    tenants = work.tenants
    if tenants is None:
        return [(work.tenant, positions)]
    shares: dict[int, list[int]] = {}
    for position in positions:
        shares.setdefault(tenants[position], []).append(position)
    if len(shares) == 1:
        return [(tenants[positions[0]], positions)]
    return list(shares.items())


def _order(entry: Entry) -> tuple[float, int]:
    return entry.order
