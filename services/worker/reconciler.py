"""Keeps what the worker holds at what is wanted: look → plan → act, again after every change.

One task looks; loads and unloads are tasks of their own and call back when they are over. All state is changed on the event loop, and
a step is written into the table before its task starts, so that no step is ever taken twice.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from penstock.contracts.errors import ArtifactCorrupt, Draining
from penstock.contracts.names import ModelVersion
from penstock.contracts.worker_status import ReplicaState
from services.chassis.clock import Clock
from services.worker.desired_state import DesiredState, Observation
from services.worker.loading import Loading
from services.worker.overrides import Override
from services.worker.reconciliation import Desire, Plan, is_settled, plan
from services.worker.replica import Replica
from services.worker.replica_state import COMING, ReplicaEvent
from services.worker.replicas import Replicas
from services.worker.settling import changed
from services.worker.status_board import StatusBoard
from services.worker.trials import Trials
from services.worker.unloading import Unloading

FIRST_SECONDS = 5.0
"""Versions that are still being copied this long after the start do not keep the worker from being settled."""

REST_SHARE = 20
"""Between two looks lies at least so many times the time of one: a repository of thousands of files is looked at less often."""

MAX_STEPS = 16
"""Most plans for one model in a row; each one brings it nearer to its end, so this is never reached."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the repository is looked at."""

    poll_seconds: float = 1.0
    settle_seconds: float = 0.25
    """While something is being copied."""


@dataclass(slots=True)
class _Wishes:
    """What was heard last."""

    overrides: dict[str, Override] = field(default_factory=dict[str, Override])
    observation: Observation | None = None
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])
    is_repository_lost: bool = False


class Reconciler:
    """Loads what is wanted and unloads what is not."""

    def __init__(self, desires: DesiredState, replicas: Replicas, board: StatusBoard, clock: Clock, pace: Pace) -> None:
        """Store the arguments; `loading` and `unloading` are set before `run`."""
        self._desires = desires
        self._replicas = replicas
        self._board = board
        self._clock = clock
        self._pace = pace
        self._wishes = _Wishes()
        self._look_now = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._loads: dict[int, asyncio.Task[None]] = {}
        self._unloads: set[asyncio.Task[None]] = set()
        self._is_stopped = False
        self._held_back: frozenset[ModelVersion] = frozenset()
        self._deadly: frozenset[ModelVersion] = frozenset()
        self._look_seconds = 0.0
        self._started_at = clock.now()

    def hold_back(self, versions: Iterable[ModelVersion]) -> None:
        """Load these versions only when everything else is settled: the last worker died of one of them."""
        self._held_back = self._deadly = frozenset(versions)
        for version in self._held_back:
            log.warning("version_held_back", model=version.model, version=version.version)

    def connect(self, loading: Loading, unloading: Unloading, trials: Trials) -> None:
        """Set who loads and unloads, and whose turn it is; they call back, so they are made after this."""
        self._trials = trials
        self._loading = loading
        self._unloading = unloading

    def look_now(self) -> None:
        """Look at once: something else is wanted."""
        self._look_now.set()

    def override_changed(self, override: Override | None, model: str) -> None:
        """Take the newest override of a model, None when there is none any more; older revisions are ignored."""
        known = self._wishes.overrides.get(model)
        if override is None:
            self._wishes.overrides.pop(model, None)
        elif known is None or known.revision <= override.revision:
            self._wishes.overrides[model] = override
        self._look_now.set()

    def wish(self, override: Override) -> int:
        """Take an override that is given here and gets a revision above all before it; return that revision.

        Raises:
            Draining: the worker is about to end.
        """
        if self._is_stopped:
            raise Draining("this worker is about to end: ask another one")
        known = self._wishes.overrides.get(override.model)
        revision = 1 + max(known.revision if known else 0, self._board.applied_overrides.get(override.model, 0))
        self._wishes.overrides[override.model] = replace(override, revision=revision)
        self._look_now.set()
        return revision

    async def make_room(self, replica: Replica) -> bool:
        """Retire what is not wanted any more for a load that lacks memory; True when something has left, False when nothing will."""
        replica.lacks_memory = True
        try:
            self.reconcile()
            if self._unloads:
                await asyncio.wait(tuple(self._unloads), return_when=asyncio.FIRST_COMPLETED)
                return True
            return False
        finally:
            replica.lacks_memory = False

    async def leave(self) -> None:
        """Begin nothing new, give up what loads, drain what is ready; return when everything is unloaded."""
        self._is_stopped = True
        for task in self._loads.values():
            task.cancel()
        for replica in self._replicas:
            if replica.life.state is ReplicaState.READY:
                self._retire(replica)
        self._board.publish()
        if self._unloads:
            await asyncio.wait(tuple(self._unloads))

    async def run(self) -> None:
        """Look, plan and act until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    await self._look()
                    self.reconcile()
                    await self._next_look()
        finally:
            self._is_stopped = True

    async def _look(self) -> None:
        self._look_now.clear()
        overrides = dict(self._wishes.overrides)
        started_at = self._clock.now()
        try:
            seen = await self._desires.seen(overrides, now=started_at, now_time=time.time())
        except OSError as error:
            if not self._wishes.is_repository_lost:
                log.error("repository_unreadable", reason=str(error), kept_models=len(self._replicas.models()))  # noqa: TRY400  a person's to repair, no trace
            self._wishes.is_repository_lost = True
            return
        self._look_seconds = self._clock.now() - started_at
        self._wishes.is_repository_lost = False
        for path, reason in changed(self._wishes.skipped, seen.skipped).items():
            log.info("entry_skipped", path=path, reason=reason)
        for model, reason in changed(self._wishes.unreadable, seen.unreadable).items():
            log.warning("model_unreadable", model=model, reason=reason)
        self._wishes.skipped, self._wishes.unreadable, self._wishes.observation = seen.skipped, seen.unreadable, seen

    async def _next_look(self) -> None:
        seen = self._wishes.observation
        is_waiting = seen is not None and seen.is_waiting
        seconds = min(self._pace.poll_seconds, self._pace.settle_seconds) if is_waiting else self._pace.poll_seconds
        timer = asyncio.ensure_future(self._clock.sleep(max(seconds, REST_SHARE * self._look_seconds)))
        asked = asyncio.ensure_future(self._look_now.wait())
        try:
            await asyncio.wait((timer, asked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            asked.cancel()

    def reconcile(self) -> None:
        """Do what the newest look asks for."""
        seen = self._wishes.observation
        if seen is None or self._is_stopped:
            return
        self._board.assignment_revision = seen.assignment_revision
        for model in (*seen.desires, *sorted(self._replicas.models() - seen.desires.keys())):
            if model in seen.unreadable:
                continue
            desire = self._careful(model, seen.desires.get(model, Desire()))
            self._reconcile(model, desire)
            revision = seen.revisions.get(model)
            if revision is not None and not desire.unsettled and is_settled(desire, self._replicas.held(model)):
                self._board.applied_overrides[model] = revision
        if self._board.is_settled and not any(replica.life.state in COMING for replica in self._replicas):
            self._trials.rest()
        self._note_settled(seen)
        self._board.change()

    def _careful(self, model: str, desire: Desire) -> Desire:
        held_back = frozenset(one.version for one in self._held_back if one.model == model)
        return replace(desire, held_back=held_back) if held_back else desire

    def _reconcile(self, model: str, desire: Desire) -> None:
        for _ in range(MAX_STEPS):
            steps = plan(desire, self._replicas.held(model))
            if steps.retire and not self._board.tell():
                # A disk that takes no status: routers know of the old version only, and would be left with nothing.
                steps = replace(steps, retire=())
            if steps.is_empty:
                return
            self._act(steps)
        log.error("plan_without_end", model=model, steps=MAX_STEPS)

    def _act(self, steps: Plan) -> None:
        for replica_id in steps.forget:
            self._replicas.forget(replica_id)
        for replica_id in steps.abandon:
            self._replicas[replica_id].step(ReplicaEvent.ABANDONED, now_time=time.time(), reason="abandoned: other files are wanted")
            self._loads[replica_id].cancel()
        for offer, reason in steps.give_up:
            self._replicas.add_ended(offer, ReplicaEvent.FAILED, reason).given_up = True
            log.error("replica_given_up", model=offer.artefact.model, version=offer.artefact.version, message=reason)
        for offer in steps.leave_unloaded:
            self._replicas.add_ended(offer, ReplicaEvent.ABANDONED, "unloaded")
        for replica_id in steps.retire:
            self._retire(self._replicas[replica_id])
        for offer in steps.load:
            replica = self._replicas.add(offer)
            log.info("replica_loading", model=replica.model, version=replica.version, replica_id=replica.replica_id)
            self._loads[replica.replica_id] = self._start(self._load(replica))

    def _retire(self, replica: Replica) -> None:
        replica.step(ReplicaEvent.RETIRED, now_time=time.time())
        log.info("replica_draining", model=replica.model, version=replica.version, replica_id=replica.replica_id)
        task = self._start(self._unload(replica))
        self._unloads.add(task)
        task.add_done_callback(self._unloads.discard)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._group is None:
            raise RuntimeError("the reconciler does not run")
        return self._group.create_task(work)

    async def _load(self, replica: Replica) -> None:
        try:
            if await self._loading.fetch(replica):  # before its turn: a store that is away must not hold up others
                await self._try_load(replica)
        except asyncio.CancelledError:
            if self._is_stopped or replica.life.state in COMING:
                raise
        finally:
            self._loads.pop(replica.replica_id, None)
        if replica.failure is not None:
            replica.is_passing = self._desires.will_retry(replica.offer, replica.failure, now=self._clock.now())
            if isinstance(replica.failure, ArtifactCorrupt):
                self._look_now.set()
        self.reconcile()

    async def _try_load(self, replica: Replica) -> None:
        async with self._trials.turn(replica.offer, is_suspect=replica.model_version in self._deadly):
            await self._loading.load(replica)
            if replica.life.state is ReplicaState.READY:
                self._trials.prove(replica.offer)

    async def _unload(self, replica: Replica) -> None:
        await self._unloading.unload(replica)
        self._replicas.forgive_memory()
        self.reconcile()

    def _note_settled(self, seen: Observation) -> None:
        if self._board.is_settled:
            return
        is_over = self._clock.now() - self._started_at > FIRST_SECONDS
        if (seen.is_waiting and not is_over) or any(replica.life.state in COMING for replica in self._replicas):
            return
        self._board.is_settled = True
        # What lives now lives long: later collections need not walk it.
        gc.collect()
        gc.freeze()
        ready = sum(replica.life.state is ReplicaState.READY for replica in self._replicas)
        log.info("worker_settled", ready=ready, failed=sum(replica.failure is not None for replica in self._replicas))
        if self._held_back:
            self._held_back = frozenset()
            self._look_now.set()
