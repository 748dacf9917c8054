"""Keeps the black box: which versions this process is loading or running, so that its death can be put down to one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from penstock.contracts.names import ModelVersion
from services.chassis.blackbox import SLOTS, Blackbox, Phase, Slot, read_blackbox
from services.worker.instance import InstanceHooks, nothing

LOADING_SLOT = 0
"""Slot of the version that is loading; one loads at a time."""

log = structlog.get_logger(__name__)


def last_loading(path: Path) -> frozenset[ModelVersion]:
    """Return the versions that the process before this one was loading when it died, by its black box."""
    return frozenset(suspect.version for suspect in read_blackbox(path).suspects if suspect.phase in (Phase.LOADING, Phase.WARMING))


class Suspects:
    """Gives out the slots of a black box. When it is full, further versions run unrecorded, which is logged."""

    def __init__(self, box: Blackbox, *, slots: int = SLOTS) -> None:
        """Store the box; it has `slots` slots."""
        self._box = box
        self._free = list(range(slots - 1, LOADING_SLOT, -1))
        self._taken: dict[InstanceHooks, int] = {}
        self._users: Counter[ModelVersion] = Counter()

    @contextmanager
    def loading(self, version: ModelVersion) -> Generator[Slot | None]:
        """Record that a version is being loaded while the block runs; the slot takes the phase."""
        ordinal = self._acquire(version)
        if ordinal is None:
            yield None
            return
        slot = self._box.slot(LOADING_SLOT)
        slot.enter(Phase.LOADING, ordinal)
        try:
            yield slot
        finally:
            slot.leave()
            self._release(version)

    def warming(self, slot: Slot | None, version: ModelVersion) -> None:
        """Record that the version which is loading is being tried out."""
        if slot is not None:
            slot.enter(Phase.WARMING, self._box.register(version))

    def hooks(self, version: ModelVersion, count: int) -> tuple[InstanceHooks, ...]:
        """Return what records every execution of `count` instances of a version."""
        return tuple(self._hook(version) for _ in range(count))

    def release(self, version: ModelVersion, hooks: Sequence[InstanceHooks]) -> None:
        """Take the hooks of instances back that have ended."""
        for hook in hooks:
            index = self._taken.pop(hook, None)
            if index is not None:
                self._box.slot(index).leave()
                self._free.append(index)
                self._release(version)

    def blame(self, version: ModelVersion, reason: str) -> None:
        """Record that the process ends itself because of a version."""
        if self._users[version]:
            self._box.blame(self._box.register(version), reason)

    def _hook(self, version: ModelVersion) -> InstanceHooks:
        ordinal = self._acquire(version) if self._free else None
        if ordinal is None:
            log.warning("blackbox_full", model=version.model, version=version.version)
            return InstanceHooks(on_enter=nothing, on_leave=nothing)
        index = self._free.pop()
        slot = self._box.slot(index)
        hook = InstanceHooks(
            on_batch=lambda batch: slot.mark([part.work.mark for part in batch.parts]),
            on_enter=lambda: slot.enter(Phase.RUNNING, ordinal),
            on_leave=slot.leave,
        )
        self._taken[hook] = index
        return hook

    def _acquire(self, version: ModelVersion) -> int | None:
        try:
            ordinal = self._box.register(version)
        except RuntimeError:
            return None
        self._users[version] += 1
        return ordinal

    def _release(self, version: ModelVersion) -> None:
        self._users[version] -= 1
        if not self._users[version]:
            del self._users[version]
            self._box.release(version)
