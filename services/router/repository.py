"""Loading and unloading on demand: desired state goes down as an override, observed state comes back in the workers' statuses.

The router changes nothing itself. It writes the model's override with a higher revision and then watches until every live worker
reports that it has applied that revision and that no replica of the model is on its way any more. So a load also reaches workers that
other routers talk to, and a worker that restarts later finds the same wish. Revisions are wall-clock microseconds, or one more than
the highest known: they keep growing although an override may be removed and written again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from penstock.contracts.errors import Conflict, DeadlineExceeded, LoadFailed, ModelNotFound, NoReadyReplica
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from penstock.v1.worker_pb2 import ModelOverride
from services.chassis.clock import Clock
from services.router.load_order import LoadOrder

WAIT_SECONDS = 60.0
"""Longest wait for the workers."""

LOOK_SECONDS = 0.02
"""Time between two looks at the statuses."""

UNSETTLED = frozenset({ReplicaState.LOADING, ReplicaState.WARMING})
HELD = frozenset({ReplicaState.LOADING, ReplicaState.WARMING, ReplicaState.READY, ReplicaState.DRAINING})

Change = Callable[[ModelOverride | None], ModelOverride | None]

log = structlog.get_logger(__name__)


class Overrides(Protocol):
    """Holds the override of every model, for all processes."""

    async def update(self, model: str, change: Change) -> ModelOverride | None:
        """Replace a model's override by `change(override)`, with no other change in between; None is no override.

        Raises:
            OSError: it could not be written; the old one stands. (TimeoutError, when others hold it too long, is one.)
        """
        ...


class Repository:
    """Loads and unloads models on all workers."""

    def __init__(
        self,
        overrides: Overrides,
        statuses: Callable[[], Mapping[str, WorkerStatus]],
        clock: Clock,
        *,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        """Keep the collaborators; `statuses` gives the newest status of every live worker."""
        self._overrides = overrides
        self._statuses = statuses
        self._clock = clock
        self._wall_seconds = wall_seconds

    async def load(self, order: LoadOrder, deadline: float) -> None:
        """Load a model, or load it again, and return when it serves on every live worker.

        Args:
            order: what to load.
            deadline: monotonic seconds; at most WAIT_SECONDS from now counts.

        Raises:
            LoadFailed: a worker says why; what served before goes on serving.
            ModelNotFound: no worker finds the model.
            Conflict: somebody had the model unloaded meanwhile.
            NoReadyReplica: there is no worker.
            DeadlineExceeded: not settled in time; it goes on loading.
        """
        started_time = self._wall_seconds()
        wish = ModelOverride(model=order.model, config_json=order.config_json, files=order.files)
        previous, revision = await self._publish(wish)
        await self._settled(order.model, revision, UNSETTLED, deadline)
        replicas = list(self._replicas(order.model))
        is_served = self._is_served(order.model)
        if failure := _failure(replicas, started_time if is_served else 0.0):
            if order.has_overrides:
                await self._restore(order.model, revision, previous or ModelOverride(model=order.model), deadline)
            raise failure
        if not is_served and self._is_overtaken(order.model, revision):
            raise _overtaken(order.model, "unloaded")
        if not is_served:
            await self._take_back(order.model, revision, previous)
            raise ModelNotFound(f"no version of model {order.model!r} is in the model repository", field="model_name")

    async def unload(self, model: str, deadline: float) -> None:
        """Unload a model and return when no live worker holds it; a model that is not loaded stays so.

        Raises:
            ModelNotFound: no worker has ever held the model.
            Conflict: somebody had the model loaded meanwhile.
            NoReadyReplica: there is no worker.
            DeadlineExceeded: not gone in time; it goes on unloading.
        """
        if self._live() and not any(True for _ in self._replicas(model)):
            raise ModelNotFound(f"model {model!r} is not known here (penstock models list)", field="model_name")
        _, revision = await self._publish(ModelOverride(model=model, unloaded=True))
        await self._settled(model, revision, HELD, deadline)

    async def _publish(self, wish: ModelOverride) -> tuple[ModelOverride | None, int]:
        """Write an override; return the one before it, and the revision it got. An order to load forgives what failed before."""
        if not self._live():
            raise NoReadyReplica("no worker is running", retry_after_seconds=1.0)
        applied = [status.applied_overrides.get(wish.model, 0) for status in self._statuses().values()]
        previous: list[ModelOverride | None] = []

        def change(held: ModelOverride | None) -> ModelOverride:
            previous.append(held)
            wish.revision = max(int(self._wall_seconds() * 1e6), held.revision + 1 if held else 0, *(one + 1 for one in applied))
            if wish.unloaded and held is not None:
                wish.failed_versions.update(held.failed_versions)
            return wish

        await self._overrides.update(wish.model, change)
        log.info("model_override_written", model=wish.model, revision=wish.revision, unloaded=wish.unloaded, files=len(wish.files))
        return previous[-1], wish.revision

    async def _restore(self, model: str, revision: int, previous: ModelOverride, deadline: float) -> None:
        """Take a wish back and wait until the workers hold again what they held before it."""
        await self._take_back(model, revision, previous)
        with suppress(DeadlineExceeded):
            await self._settled(model, revision + 1, UNSETTLED, deadline)

    async def _take_back(self, model: str, revision: int, previous: ModelOverride | None) -> None:
        """Restore what was wished for before, unless somebody has wished for something else meanwhile.

        Without this a worker that restarts would find only the configuration or files that cannot be loaded.
        """

        def change(held: ModelOverride | None) -> ModelOverride | None:
            if held is None or held.revision != revision:
                return held
            if previous is None:
                return None
            restored = ModelOverride()
            restored.CopyFrom(previous)
            restored.revision = revision + 1
            return restored

        await self._overrides.update(model, change)
        log.info("model_override_taken_back", model=model, revision=revision)

    async def _settled(self, model: str, revision: int, moving: frozenset[ReplicaState], deadline: float) -> None:
        """Return when every live worker has applied the revision and none of its replicas is in a moving state."""
        started_at = self._clock.now()
        give_up_at = min(deadline, started_at + WAIT_SECONDS)
        while waiting := self._waiting_for(model, revision, moving):
            if ReplicaState.READY in moving and self._is_loaded_again(model, revision):
                raise _overtaken(model, "loaded")
            left = give_up_at - self._clock.now()
            if left <= 0:
                raise DeadlineExceeded(
                    f"model {model!r} is not settled on {', '.join(waiting)} after {self._clock.now() - started_at:.1f} s; "
                    "it goes on (penstock models list)"
                )
            await self._clock.sleep(min(LOOK_SECONDS, left))

    def _waiting_for(self, model: str, revision: int, moving: frozenset[ReplicaState]) -> list[str]:
        live = self._live()
        return ["any worker"] if not live else [one for one, status in live.items() if not _is_settled(status, model, revision, moving)]

    def _is_overtaken(self, model: str, revision: int) -> bool:
        """Whether a worker has applied a newer wish: what this one asks for will not come true there any more."""
        return any(status.applied_overrides.get(model, 0) > revision for status in self._live().values())

    def _is_loaded_again(self, model: str, revision: int) -> bool:
        """Whether a worker serves the model by a newer wish than the one to unload it."""
        newer = [status for status in self._live().values() if status.applied_overrides.get(model, 0) > revision]
        return any(replica.model == model and replica.is_ready for status in newer for replica in status.replicas)

    def _is_served(self, model: str) -> bool:
        return any(replica.is_ready for _, replica in self._replicas(model))

    def _live(self) -> dict[str, WorkerStatus]:
        return {worker_id: status for worker_id, status in sorted(self._statuses().items()) if not status.draining}

    def _replicas(self, model: str) -> Iterator[tuple[str, ReplicaStatus]]:
        for worker_id, status in self._live().items():
            for replica in status.replicas:
                if replica.model == model:
                    yield worker_id, replica


def _failure(replicas: Sequence[tuple[str, ReplicaStatus]], since_time: float) -> LoadFailed | None:
    """Return the first failure since a wall-clock time; what failed before, and was not wanted now, is no news."""
    for worker_id, replica in replicas:
        if replica.state is ReplicaState.FAILED and replica.changed_time >= since_time:
            message = f"model {replica.model!r} version {replica.version!r} failed to load on {worker_id}: {replica.reason}"
            return LoadFailed(message, field="model_name")
    return None


def _overtaken(model: str, done: str) -> Conflict:
    message = f"somebody else had model {model!r} {done} meanwhile: see what is wanted now (penstock models list), and ask again if need be"
    return Conflict(message, field="model_name")


def _is_settled(status: WorkerStatus, model: str, revision: int, moving: frozenset[ReplicaState]) -> bool:
    return status.applied_overrides.get(model, 0) >= revision and not any(
        replica.model == model and replica.state in moving for replica in status.replicas
    )
