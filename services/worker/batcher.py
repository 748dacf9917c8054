"""The shell around a deployment's queue: asks it for batches, runs them, and sends the answers home.

Each deployment has its own queue and its own instances, so that deployments do not wait for one another. A batch whose measured cost
is below `inline_seconds` runs on the loop at once, which saves two thread switches; anything else runs in an instance's thread while
the loop goes on reading frames and answering pings. Nothing here happens once a request: a wave of chunks is one turn of `_turn`.

Measured in November 2026 (`python -m tests.worker.measure_batcher`; 2 vCPU EPYC that others used as well; tiny model, one-row requests
with deadlines, from the bytes of a frame to those of its answers without sockets): 68, 17, 4.6, 1.4, 1.1 CPU-microseconds a request at 1,
4, 16, 64, 256 in flight, of which ONNX Runtime takes 4.7, 1.2, 0.3, 0.1, 0.1. What is left of a wave of one is spread thin: about 10 to
read it, 10 to queue and take it, 12 around the model, 8 to report, 15 for three turns of the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from penstock.contracts.errors import Draining, ExecutionFailed, Internal, ReplicaOverloaded, ServingError
from services.worker.batch_policy import BatchPolicy
from services.worker.batching import BatchQueue
from services.worker.cost_model import CostModel
from services.worker.execution import Execution, ExecutionRules, Outcome
from services.worker.inline_guard import LIMIT_SECONDS, InlineGuard
from services.worker.instance import Instance, InstanceHooks, nothing
from services.worker.memory_shortage import OUT_OF_MEMORY
from services.worker.reporting import Reporter
from services.worker.running import STUCK_SECONDS, RunMode, RunningBatch
from services.worker.session import ModelSession, Terminated
from services.worker.statistics import DeploymentStatistics
from services.worker.templates import TemplateBook
from services.worker.tracing import ExecutionTracer
from services.worker.work import NO_DEADLINE, Batch, Work

log = structlog.get_logger(__name__)

TURN_SECONDS = 0.0005
"""Longest stretch of executions on the loop before it looks at its sockets again."""
JOIN_SECONDS = 0.5
"""Patience with threads that have been told to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherConfig:
    """What a deployment's batcher has to know."""

    model: str
    version: str
    policy: BatchPolicy
    rules: ExecutionRules
    inline_seconds: float = 0.0005
    """Batches that cost less run on the event loop; 0 means none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherPorts:
    """Whom a batcher talks to."""

    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    tracer: ExecutionTracer | None = None
    on_stuck: Callable[[], None] = nothing
    """Called when an execution ignores its brake: only the end of the process stops it."""
    guard: InlineGuard | None = None
    soon: Callable[[Callable[[], object]], object] | None = None
    """Puts a call off; without one the loop's `call_soon`."""
    hooks: Sequence[InstanceHooks] = field(default_factory=tuple[InstanceHooks, ...])
    """One an instance; none means that nothing is called."""


class Batcher:
    """Takes work for one deployment and reports every request of it exactly once."""

    def __init__(self, config: BatcherConfig, sessions: Sequence[ModelSession], costs: CostModel, ports: BatcherPorts) -> None:
        """One instance a session; call `start` on the event loop."""
        self.config = config
        self.costs = costs
        self.templates = TemplateBook(config.rules.signature)
        self._ports = ports
        self._clock = ports.clock
        self._soon = ports.soon
        self._reporter = Reporter(config.model, config.version, costs, ports.tracer, ports.wall_clock)
        self._queue = BatchQueue(config.policy, costs.predict)
        hooks = ports.hooks or [InstanceHooks()] * len(sessions)
        self._instances = [
            Instance(Execution(session, config.rules), hook, name=f"{config.model}-{config.version}-{number}")
            for number, (session, hook) in enumerate(zip(sessions, hooks, strict=True))
        ]
        self._free = list(self._instances)
        self._running: list[RunningBatch] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NO_DEADLINE
        self._is_scheduled = False
        self._is_draining = False
        self._settled = asyncio.Event()

    def start(self) -> None:
        """Start the instances; call on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._soon = self._soon or self._loop.call_soon
        for instance in self._instances:
            instance.start(self._loop, self._done)

    @property
    def statistics(self) -> DeploymentStatistics:
        """What it did since it was made."""
        return self._reporter.statistics

    @property
    def is_healthy(self) -> bool:
        """Whether the version has kept its own signature of late."""
        return self._reporter.soundness.is_healthy(self._clock())

    @property
    def waiting_requests(self) -> int:
        """Requests in the queue."""
        return self._queue.requests

    def submit(self, work: Work, positions: Sequence[int] | None = None) -> None:
        """Take a chunk, or some requests of it; its sink hears of each of them."""
        wanted = range(work.count) if positions is None else positions
        if self._is_draining:
            self._fail(work, wanted, Draining(f"{self.config.model} {self.config.version} takes no new work here"))
            return
        refused = self._queue.push(work, self._clock(), wanted)
        if refused:
            self._fail(work, refused, self._overloaded())
        if self._free:
            self._schedule()
        else:
            self._arm()

    def cancel(self, work: Work, position: int) -> bool:
        """Take one request back; True when it had not started: its sink will then hear nothing more of it."""
        if self._queue.cancel(work, position):
            self.statistics.cancelled += 1
            self._arm()
            return True
        if any(running.leave(work, position) for running in self._running):
            self._arm()
        return False

    def abandon(self, work: Work) -> None:
        """Take a whole chunk back because its sink is gone."""
        self.statistics.cancelled += self._queue.abandon(work)
        for running in self._running:
            running.leave_all(work)
        self._arm()

    async def drain(self, deadline: float) -> bool:
        """Refuse new work and finish what is there; return whether all was done by `deadline` (monotonic seconds)."""
        self._is_draining = self._queue.is_closing = True
        self._schedule()
        return await self._all_done(deadline)

    async def close(self) -> None:
        """Fail what still waits, stop what still runs, end the threads; returns when they ended or one is reported as stuck."""
        self._is_draining = True
        now = self._clock()
        for part in self._queue.clear():
            self._fail(part.work, part.positions, Draining("the replica was unloaded before the request ran"))
        for running in self._running:
            running.is_closing = True
            running.stop(now)
        for instance in self._instances:
            instance.stop()
        self._arm()
        await self._all_done(now + STUCK_SECONDS + JOIN_SECONDS)
        for instance in self._instances:
            instance.join(JOIN_SECONDS if not self._running else 0.0)
        if self._timer is not None:
            self._timer.cancel()

    # The turn: from waiting to running.

    def _schedule(self) -> None:
        if not self._is_scheduled and self._soon is not None:
            self._is_scheduled = True
            self._soon(self._turn)

    def _turn(self) -> None:
        """Give every free instance its batch."""
        self._is_scheduled = False
        queue, until = self._queue, self._clock() + TURN_SECONDS
        while self._free and queue.rows:
            now = self._clock()
            if now > until:
                self._schedule()
                break
            batch = queue.take(now)
            if queue.has_drops:
                self._reporter.dropped(queue.expire(now), now)
            if batch is None:
                break
            self._begin(batch, now)
        self._arm()

    def _begin(self, batch: Batch, now: float) -> None:
        instance = self._free.pop()
        running = RunningBatch(batch, instance.execution.new_handle(), now)
        self._running.append(running)
        cost = self.costs.predict(batch.rows, batch.row_bytes)
        if cost is not None and cost < self.config.inline_seconds:
            self._run_here(instance, running)
        else:
            instance.run(running)

    def _run_here(self, instance: Instance, running: RunningBatch) -> None:
        guard = self._ports.guard
        if guard is not None:
            guard.begin(running.handle)
        try:
            outcome = instance.attempt(running)
        except ExecutionFailed as error:
            running.mode = RunMode.HALVED if error.reason == OUT_OF_MEMORY else RunMode.APART
            instance.run(running)
        except Terminated:
            self.costs.observe(running.batch.rows, running.batch.row_bytes, LIMIT_SECONDS)
            running.handle = instance.execution.new_handle()
            instance.run(running)
        except Exception:
            log.exception("inline_execution_broke", model=self.config.model)
            error = Internal("internal error in the worker")
            self._finish(instance, running, Outcome(failed=[(part, error) for part in running.batch.parts]))
        else:
            self._finish(instance, running, outcome)
        finally:
            if guard is not None:
                guard.end()

    def _done(self, instance: Instance, running: RunningBatch, outcome: Outcome) -> None:
        self._finish(instance, running, outcome)
        self._turn()

    def _finish(self, instance: Instance, running: RunningBatch, outcome: Outcome) -> None:
        self._running.remove(running)
        self._free.append(instance)
        self._reporter.finished(running, outcome, self._clock(), self._queue.rows)

    # Time: deadlines of what waits, brakes of what runs.

    def _arm(self) -> None:
        """See to it that `_tick` is called when time alone changes something, and that whoever waits for the end hears of it."""
        queue = self._queue
        if self._is_draining and not queue.rows and not self._running:
            self._settled.set()
        at = queue.next_expiry
        if queue.rows and self._free and not self._is_scheduled:
            at = min(at, queue.next_due)
        for running in self._running:
            at = min(at, running.next_check_at)
        if at >= self._timer_at or self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - self._clock()), self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, NO_DEADLINE
        now = self._clock()
        self._reporter.dropped(self._queue.expire(now), now)
        for running in self._running:
            if running.is_dead(now):
                running.stop(now)
            elif running.is_stuck(now):
                running.is_reported = True
                log.error("execution_stuck", model=self.config.model, version=self.config.version, rows=running.batch.rows)
                self._ports.on_stuck()
        self._turn()

    async def _all_done(self, deadline: float) -> bool:
        self._arm()
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                await self._settled.wait()
        except TimeoutError:
            return False
        return True

    def _fail(self, work: Work, positions: Sequence[int], error: ServingError) -> None:
        self._reporter.failed(work, positions, error, self._clock())

    def _overloaded(self) -> ReplicaOverloaded:
        return ReplicaOverloaded(
            f"{self.waiting_requests} requests wait for {self.config.model} {self.config.version}: its queue is full, come back later",
        )
