"""What is wanted of every model, as a controller assigned it: the adapter for a worker of the whole mesh.

    ACTIVE, STANDBY   are loaded and warm, in the order of the assignment; a standby takes no traffic because no route sends it any
    DRAINING          stays while it is ready, and is not loaded again; the assignment drops it when a replacement is ready
    not named         drains when everything of its model that is named and can be ready is ready, or at once when that lacks its memory

An offer names its version by digest alone; its files are fetched by the load. So it stays the same offer wherever the cache keeps them, and
however often they are fetched. Overrides of `penstock serve` mean nothing here, but for versions that were given up because they crashed
their workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from penstock.contracts.artefacts import VERSION_FOLDER
from penstock.contracts.assignments import AssignedReplica, Assignment, Holding
from penstock.contracts.errors import Conflict, ServingError
from penstock.contracts.model_config_scheduling import All
from services.worker.artefacts import Artefact
from services.worker.attempts import Attempts
from services.worker.desired_state import Observation
from services.worker.overrides import Override
from services.worker.reconciliation import Desire, Offer

HELD = (Holding.ACTIVE, Holding.STANDBY)
"""What is loaded; where one version is named twice, the first of these counts."""

log = structlog.get_logger(__name__)


class Crashes(Protocol):
    """Who knows which versions killed this worker again and again."""

    def of(self, model: str) -> Mapping[str, str]:
        """Return the versions of a model that are given up, with the reason."""
        ...

    def keep_only(self, replicas: Iterable[AssignedReplica]) -> None:
        """Forget what is not assigned any more, or not as it was."""
        ...


class AssignedDesires:
    """Keeps the newest assignment, and says what it asks for; used on the event loop only."""

    def __init__(self, worker_id: str, attempts: Attempts, crashes: Crashes | None = None) -> None:
        """Start without an assignment: nothing is wanted, and that is not known yet."""
        self._crashes = crashes
        self._worker_id = worker_id
        self._attempts = attempts
        self._assignment = Assignment(worker_id=worker_id, revision=0)
        self._is_known = False

    @property
    def assignment(self) -> Assignment:
        """The newest assignment."""
        return self._assignment

    @property
    def digests(self) -> frozenset[str]:
        """The versions that are assigned, for whatever purpose: they stay on the disk."""
        return frozenset(replica.digest for replica in self._assignment.replicas)

    def take(self, assignment: Assignment | None) -> None:
        """Take the assignment that is in force; None means that there is none any more, and nothing is wanted."""
        self._assignment = assignment or Assignment(worker_id=self._worker_id, revision=0)
        self._is_known = True
        if self._crashes is not None:
            self._crashes.keep_only(self._assignment.replicas)
        log.info(
            "assignment_taken",
            revision=self._assignment.revision,
            writer_epoch=self._assignment.writer_epoch,
            replicas=[f"{one.model}@{one.version} {one.holding.name.lower()}" for one in self._assignment.replicas],
        )

    def know(self) -> None:
        """Note that what has been taken until now is all there is, though it may be nothing."""
        self._is_known = True

    async def seen(self, overrides: Mapping[str, Override], *, now: float, now_time: float) -> Observation:
        """Return what is assigned now."""
        replicas = self._assignment.replicas
        self._attempts.keep_only((one.model, one.version) for one in replicas)
        models = dict.fromkeys(one.model for one in replicas)
        return Observation(
            desires={model: self._desire([one for one in replicas if one.model == model], overrides.get(model), now) for model in models},
            is_waiting=not self._is_known,
            assignment_revision=self._assignment.revision,
        )

    def will_retry(self, offer: Offer, error: ServingError, *, now: float) -> bool:
        """Note that an offer failed, and say whether it will be offered again."""
        return self._attempts.failed((offer.artefact.model, offer.artefact.version), offer.revision, error, now)

    def wish(self, override: Override) -> int:
        """Refuse a load or an unload past the controller.

        Raises:
            Conflict: always.
        """
        raise Conflict(
            f"what this worker holds of {override.model!r} is assigned by the controller: deploy it, or take the deployment down, there"
        )

    def _desire(self, replicas: list[AssignedReplica], override: Override | None, now: float) -> Desire:
        held = sorted((one for one in replicas if one.holding in HELD), key=lambda one: HELD.index(one.holding))
        chosen = {one.version: one for one in reversed(held)}
        offers = {one.version: self._offer(one, now) for one in replicas if chosen.get(one.version) is one}
        return Desire(
            offers=offers,
            unsettled=frozenset(one.version for one in replicas if one.holding is Holding.DRAINING) - offers.keys(),
            policy=All(),
            given_up=self._given_up(replicas[0].model, override),
        )

    def _given_up(self, model: str, override: Override | None) -> Mapping[str, str]:
        here = self._crashes.of(model) if self._crashes is not None else {}
        return {**(override.failed_versions if override is not None else {}), **here}

    def _offer(self, replica: AssignedReplica, now: float) -> Offer:
        identity = (replica.digest, replica.config_json, replica.deployment_id)
        return Offer(
            artefact=Artefact(
                model=replica.model,
                version=replica.version,
                model_folder=Path(),
                files=(),
                folder_name=VERSION_FOLDER,
                manifest_digest=replica.digest,
            ),
            settings_json=replica.config_json,
            revision=self._attempts.number((replica.model, replica.version), identity, now),
        )
