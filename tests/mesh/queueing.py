"""Routers, their door and a worker's real queue in virtual time: what becomes of requests that come faster than they can be answered."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from penstock.contracts.errors import ServingError
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import CostPoint
from services.mesh import door
from services.mesh.chunk import Answered, Chunk
from services.mesh.lane import Lane
from services.mesh.route_table import Deployment
from services.worker.batch_policy import BatchPolicy
from services.worker.batching import BatchQueue
from services.worker.cost_model import CostModel
from services.worker.work import Batch, Part, Work
from tests.mesh.ledger import ONE_ROW
from tests.worker.works import work

LINK_SECONDS = 0.0002
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 2)),),
    outputs=(TensorSpec(name="y", datatype=DataType.FP32, shape=(-1, 2)),),
    max_batch_size=4,
)
DEPLOYMENT = Deployment(
    model="m", version="1", digest="d", signature=SIGNATURE, model_config=b"", replicas=(), priority_levels=3, default_priority_level=2
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is served, and what is asked."""

    fixed_seconds: float = 0.001
    row_seconds: float = 0.0015
    """An execution takes the first, and the second for every row."""
    row_limit: int = 4
    jitter: float = 0.1
    """Executions take up to this share more or less."""
    believed: float = 1.0
    """What the worker's profile says is this many times the truth."""
    routers: int = 1
    deadline_seconds: float = 0.03
    has_door: bool = True
    seed: int = 0

    def cost(self, rows: int) -> float:
        """Return the seconds of an execution without its jitter."""
        return self.fixed_seconds + self.row_seconds * rows

    @property
    def capacity(self) -> float:
        """Requests a second, of one row, when all batches are full."""
        return self.row_limit / self.cost(self.row_limit)


@dataclass
class Asked:
    """One request."""

    at: float
    tenant: int = 0
    level: int = 0
    ended_at: float = float("inf")
    is_answered: bool = False
    is_refused_at_the_door: bool = False


@dataclass(repr=False)
class Play:
    """One run: `ask` what is wanted, then `run`."""

    scene: Scene
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Set up the routers' lanes and the worker."""
        scene = self.scene
        self.random = Random(scene.seed)
        profile = [CostPoint(rows=1 << power, seconds=scene.cost(1 << power) * scene.believed) for power in range(3)]
        self.lanes = [Lane(scene.row_limit) for _ in range(scene.routers)]
        self.open: list[dict[int, Chunk]] = [{} for _ in self.lanes]
        for lane in self.lanes:
            lane.seed(profile)
        self.costs = CostModel(profile)
        self.queue = BatchQueue(
            BatchPolicy(max_batch_size=scene.row_limit, priority_levels=3, default_priority_level=2), self.costs.predict
        )
        self.is_busy = False
        self.now = 0.0
        self._stall = (0.0, 0.0)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._members: dict[int, tuple[int, Chunk, list[Asked]]] = {}

    def ask(self, rate: float, seconds: float, *, start: float = 0.0, tenant: int = 0, level: int = 0) -> None:
        """Let requests arrive at random, so many a second."""
        at = start
        while (at := at + self.random.expovariate(rate)) < start + seconds:
            self.ask_together([Asked(at=at, tenant=tenant, level=level)])

    def ask_together(self, requests: list[Asked]) -> None:
        """Let requests arrive in one wave, at the time of the first."""
        self.asked += requests
        self._at(requests[0].at, lambda: self._arrive(requests))

    def stall(self, start: float, seconds: float) -> None:
        """Stop the worker for so long; its executions know nothing of that."""
        self._stall = (start, start + seconds)

    def run(self) -> None:
        """Go on until nothing happens any more."""
        while self._events:
            self.now, _, happens = heapq.heappop(self._events)
            happens()

    def in_time(self, start: float = 0.0, end: float = float("inf"), *, tenant: int | None = None, level: int | None = None) -> int:
        """Count what arrived then and was answered before its deadline."""
        patience = self.scene.deadline_seconds
        return sum(one.is_answered and one.ended_at - one.at <= patience for one in self.of(start, end, tenant=tenant, level=level))

    def of(self, start: float = 0.0, end: float = float("inf"), *, tenant: int | None = None, level: int | None = None) -> list[Asked]:
        """Return what arrived then."""
        return [one for one in self.asked if start <= one.at < end and tenant in {None, one.tenant} and level in {None, one.level}]

    def _at(self, at: float, happens: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, happens))

    # The router.

    def _arrive(self, requests: list[Asked]) -> None:
        router = self.random.randrange(len(self.lanes))
        lane = self.lanes[router]
        chunk = Chunk(self, ONE_ROW, Numbered(requests), priority_level=requests[0].level)
        for one in requests:
            chunk.columns[0].append(b"12345678")
            chunk.deadlines.append(one.at + self.scene.deadline_seconds)
            chunk.tenants.append(one.tenant)
        chunk.seal()
        if self.scene.has_door and door.is_pressed(chunk, lane, self.now):
            door.count_shares(lane, self.open[router].values(), self.now)
            kept = door.split(chunk, door.fitting(chunk, lane, self.now))
            if kept is not chunk:
                door.note_refusal(lane, self.now)
            for position in chunk.open_positions() if kept is not chunk else ():
                requests[position].ended_at, requests[position].is_refused_at_the_door = self.now, True
            if kept is None:
                return
            chunk = kept
        self._count += 1
        chunk.chunk_id, chunk.lane = self._count, lane
        self.open[router][chunk.chunk_id] = chunk
        lane.enter(chunk.rank, chunk.rows_left, self.now)
        self._members[chunk.chunk_id] = (router, chunk, chunk.context.requests)  # type: ignore[attr-defined]
        self._at(self.now + LINK_SECONDS, lambda: self._take(chunk))

    def answered(self, chunk: Chunk, answer: Answered, released: Sequence[int] | None) -> None:
        """Play the sink, which nobody calls here."""

    def failed(self, chunk: Chunk, positions: Sequence[int], error: ServingError) -> None:
        """Play the sink, which nobody calls here."""

    def _leave(self, work: Work, positions: Sequence[int], execution: tuple[int, int, int] | None) -> None:
        router, chunk, requests = self._members[work.chunk_id]
        lane = self.lanes[router]
        for position in positions:
            assert chunk.take(position)
            requests[position].ended_at, requests[position].is_answered = self.now, execution is not None
        lane.leave(chunk.rank, len(positions))
        if execution is not None:
            lane.learn(self.now, execution[:2], execution[2])
        if not chunk.left:
            del self.open[router][chunk.chunk_id]

    # The worker.

    def _take(self, chunk: Chunk) -> None:
        made = work(
            chunk.chunk_id,
            count=chunk.size,
            at=self.now,
            deadlines=chunk.deadlines,
            priority_level=chunk.priority_level,
            tenants=list(chunk.tenants) if len(set(chunk.tenants)) > 1 else None,
            tenant=chunk.tenants[0],
        )
        assert not self.queue.push(made, self.now, range(chunk.size))
        self._turn()

    def _turn(self) -> None:
        if self.is_busy:
            return
        batch = self.queue.take(self.now)
        dropped = [Part(drop.work, drop.positions) for drop in self.queue.expire(self.now)]
        if dropped:
            self._at(self.now + LINK_SECONDS, lambda: [self._leave(part.work, part.positions, None) for part in dropped])
        if batch is not None:
            self.is_busy = True
            seconds = self.scene.cost(batch.rows) * (1 + self.scene.jitter * self.random.uniform(-1, 1))
            ends_at, (start, end) = self.now + seconds, self._stall
            self._at(end if start <= ends_at < end else ends_at, lambda: self._finish(batch, seconds))

    def _finish(self, batch: Batch, seconds: float) -> None:
        self.is_busy = False
        self.costs.observe(batch.rows, batch.row_bytes, seconds)
        execution = (batch.rows, int(seconds * 1e6), self.queue.rows)
        self._at(self.now + LINK_SECONDS, lambda: [self._leave(part.work, part.positions, execution) for part in batch.parts])
        self._turn()


class Numbered:
    """The context of a chunk: its requests."""

    deployment = DEPLOYMENT

    def __init__(self, requests: list[Asked]) -> None:
        self.requests = requests

    def part(self, positions: Sequence[int]) -> Numbered:
        return Numbered([self.requests[position] for position in positions])
