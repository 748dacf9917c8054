"""Copies a sample of the traffic to a version whose answers nobody sees, and compares them with those that callers got.

A copy is made after its request was sent, goes in the lowest class, is never sent twice, and takes at most half of a worker's credit: it
can neither delay nor fail a caller. It belongs to no tenant and counts in no caller's outcomes. Copies in flight are bounded by the route,
further ones are counted and not made. An answer that a caller got and its copy's meet here; they are compared later, by the task that
folds notes. A pair is dropped when the caller got none of the version's own answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from penstock.contracts.errors import ServingError
from penstock.contracts.observations import AnswerSource
from services.mesh.chunk import Answered, Chunk
from services.mesh.dispatch import Dispatch
from services.mesh.plan import Plan, Reason
from services.mesh.route_table import Deployment, RouteTable
from services.router.calls import Calls
from services.router.choosing import Unit
from services.router.copy_pairs import Copy
from services.router.exposing import Exposures, Seen
from services.router.outcome_windows import OutcomeWindows, Scored
from services.router.pair_comparison import Pair, compared

LOWEST_CLASS = 3
PAIRS_LIMIT = 512
"""Pairs that wait to be compared."""
SEEN_LIMIT = 20_000
"""Copies that a shadow has answered and that wait to be exposed."""
EXPOSED_AT_ONCE = 500
"""Of them, those that are exposed before other work of the loop gets its turn."""


class CopiesContext:
    """Context of a chunk of copies."""

    __slots__ = ("copies", "deployment")

    def __init__(self, deployment: Deployment, copies: list[Copy]) -> None:
        """Keep the copies; position i is request i of the chunk."""
        self.deployment = deployment
        self.copies = copies

    def part(self, positions: Sequence[int]) -> CopiesContext:
        """Return the copies at `positions` alone."""
        return CopiesContext(self.deployment, [self.copies[position] for position in positions])


class Shadowing:
    """Makes copies, and the sink of their answers."""

    def __init__(self, table: RouteTable, dispatch: Dispatch, clock: Callable[[], float]) -> None:
        """Keep the collaborators."""
        self._table = table
        self._dispatch = dispatch
        self._clock = clock
        self._in_flight = 0
        self._is_wanted = False
        self.dropped_pairs = 0
        """Pairs that were not compared because too many waited, since the start."""
        self._ended: deque[Copy] = deque()
        self._seen: deque[Seen] = deque()
        self._unseen = 0
        self._not_copied: dict[tuple[str, str, str], int] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether any route has a shadow."""
        return self._is_wanted

    def follow_routes(self, plans: Iterable[Plan]) -> None:
        """Take note of the routes in force."""
        self._is_wanted = any(plan.route.shadow is not None for plan in plans)

    def copy_all(self, chunks: Sequence[Chunk]) -> None:
        """Copy the sampled requests of chunks that were sent."""
        for chunk in chunks:
            if chunk.left:
                self._copy(chunk)
        self._dispatch.flush()

    def _copy(self, chunk: Chunk) -> None:
        calls = chunk.context
        assert isinstance(calls, Calls)  # noqa: S101 - the caller looked
        plan, target = calls.target.plan, calls.target
        shadow = plan.route.shadow if plan is not None else None
        if plan is None or shadow is None or target.deployment.version == shadow.version:
            return
        sampled = [position for position, unit in enumerate(calls.units) if unit.key and plan.is_shadowed(unit.key)]
        if not sampled:
            return
        allowed = [position for position in sampled if not plan.is_killed(shadow.version, calls.tenants[position].policy.name)]
        deployment = self._table.deployment(target.name, shadow.version)
        room = max(shadow.concurrency_limit - self._in_flight, 0)
        # The steps of a graph are requests like others: as copies they would stand in callers' way.
        is_possible = deployment is not None and deployment.graph is None and deployment.signature == target.deployment.signature
        if deployment is None or not is_possible or not self._has_room(deployment, len(allowed[:room]) * chunk.template.rows):
            room = 0
        copied = allowed[:room]
        if len(sampled) > len(copied):
            key = (target.name, shadow.version, target.deployment.version)
            self._not_copied[key] = self._not_copied.get(key, 0) + len(sampled) - len(copied)
        if copied and deployment is not None:
            self._send(chunk, calls, copied, deployment)

    def _send(self, chunk: Chunk, calls: Calls, positions: Sequence[int], deployment: Deployment) -> None:
        now = self._clock()
        copies = [self._made(calls, position, deployment, now) for position in positions]
        copied = Chunk(self, chunk.template, CopiesContext(deployment, copies), priority_class=LOWEST_CLASS)
        copied.columns = [[column[position] for position in positions] for column in chunk.columns]
        copied.deadlines = [chunk.deadlines[position] for position in positions]
        copied.tenants = [0] * len(positions)
        copied.is_idempotent = False
        copied.seal()
        calls.copies = calls.copies or {}
        calls.copies.update(zip(positions, copies, strict=True))
        self._in_flight += len(copies)
        self._dispatch.send(copied, deployment, now)

    @staticmethod
    def _made(calls: Calls, position: int, deployment: Deployment, now: float) -> Copy:
        plan = calls.target.plan
        assert plan is not None  # noqa: S101 - only a route has a shadow
        unit, tenant = Unit(Reason.SHADOW, calls.units[position].key), calls.tenants[position].policy.name
        return Copy(
            deployment=deployment,
            against=calls.deployment,
            sent_at=now,
            outputs=calls.learnt.template.outputs,
            revision=plan.route.revision,
            seen=Seen(plan, deployment.version, tenant, unit, calls.id_fields[position], AnswerSource.WORKER),
        )

    def _has_room(self, deployment: Deployment, rows: int) -> bool:
        """Whether every worker that a copy may go to keeps half of its credit for callers."""
        instances = {replica.instance_id for replica in deployment.replicas}
        reached = [link for link in self._dispatch.links if link.is_up and link.target.instance_id in instances]
        return bool(reached) and all((link.rows_in_flight + rows) * 2 <= link.credit_rows for link in reached)

    # --- what callers got --------------------------------------------------------------------------------------------------------

    def caller_answered(self, calls: Calls, positions: Sequence[int], answer: Answered, offsets: Sequence[int], seconds: float) -> None:
        """Note what callers were answered."""
        if calls.copies is None:
            return
        for position, offset in zip(positions, offsets, strict=True):
            copy = calls.copies.pop(position, None)
            if copy is not None:
                copy.caller, copy.caller_seconds = (answer, offset), seconds
                self._end(copy)

    def caller_failed(self, calls: Calls, positions: Sequence[int]) -> None:
        """Note that callers got no answer of their version."""
        if calls.copies is None:
            return
        for position in positions:
            copy = calls.copies.pop(position, None)
            if copy is not None:
                copy.has_caller_failed = True
                self._end(copy)

    # --- what copies got: the sink of their chunks -------------------------------------------------------------------------------

    def answered(self, chunk: Chunk, answer: Answered, released: Sequence[int] | None) -> None:
        """Take answers of copies."""
        context = chunk.context
        assert isinstance(context, CopiesContext)  # noqa: S101 - every chunk of this sink was made above
        positions, now = answer.positions(), self._clock()
        for offset in range(answer.count) if released is None else released:
            copy = context.copies[positions[offset]]
            copy.shadow, copy.shadow_seconds = (answer, offset), now - copy.sent_at
            if len(self._seen) < SEEN_LIMIT:
                self._seen.append(copy.seen)
            else:
                self._unseen += 1
            self._landed(copy)

    def failed(self, chunk: Chunk, positions: Sequence[int], error: ServingError) -> None:
        """Take failures of copies."""
        context = chunk.context
        assert isinstance(context, CopiesContext)  # noqa: S101 - as above
        now = self._clock()
        for position in positions:
            copy = context.copies[position]
            copy.error, copy.shadow_seconds = error.reason, now - copy.sent_at
            self._landed(copy)

    def fold(self, windows: OutcomeWindows, exposures: Exposures, wall_seconds: float) -> bool:
        """Compare what has ended, sum it up, and say what the shadow saw; return whether there is more to say."""
        for (model, version, against), count in self._not_copied.items():
            windows.of(model, version, is_shadow=True).compared(against).not_copied += count
        self._not_copied = {}
        while self._ended:
            self._fold(self._ended.popleft(), windows)
        exposures.lose(self._unseen)
        self._unseen = 0
        for _ in range(min(len(self._seen), EXPOSED_AT_ONCE)):
            exposures.add(self._seen.popleft(), wall_seconds)
        return bool(self._seen)

    @staticmethod
    def _fold(copy: Copy, windows: OutcomeWindows) -> None:
        sums = windows.of(copy.deployment.model, copy.deployment.version, is_shadow=True)
        sums.count(1, copy.shadow_seconds, copy.error, degraded=False)
        sums.revision = copy.revision
        if copy.shadow is not None:
            answer, offset = copy.shadow
            windows.keep_scores(sums, copy.deployment, Scored(answer, copy.outputs, (offset,)))
        if copy.caller is None:
            return
        comparison = sums.compared(copy.against.version)
        if copy.shadow is None:
            comparison.failed += 1
            return
        agrees, distance = compared(Pair(copy.deployment.signature, copy.outputs, copy.caller, copy.shadow))
        comparison.add_pair(agrees=agrees, distance=distance, latency_difference_seconds=copy.shadow_seconds - copy.caller_seconds)

    def _landed(self, copy: Copy) -> None:
        self._in_flight -= 1
        self._end(copy)

    def _end(self, copy: Copy) -> None:
        if copy.is_over and len(self._ended) >= PAIRS_LIMIT:
            self.dropped_pairs += 1
        elif copy.is_over:
            self._ended.append(copy)
