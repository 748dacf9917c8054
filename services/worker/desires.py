"""What is wanted of every model now: the repository's folder, and the overrides on top of it. Blocks on the file system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from penstock.contracts.errors import ServingError
from penstock.contracts.model_config_scheduling import Latest, VersionPolicy
from penstock.contracts.names import version_order
from services.worker.artefacts import Artefact, FileMark, ModelFolder, RepositoryLook
from services.worker.background_thread import in_thread
from services.worker.configuration import model_configuration_of, shared_marks
from services.worker.desired_state import Observation
from services.worker.graph_versions import ensemble_policy
from services.worker.overrides import Override, write_files
from services.worker.reconciliation import Desire, Offer
from services.worker.repository_look import look_at_model, look_at_repository
from services.worker.settling import Settling

_PolicyKey = tuple[str, tuple[FileMark, ...], str]


class Desires:
    """Looks at the repository and puts the overrides on top; used by one thread at a time."""

    def __init__(self, repository: Path, override_files: Path, settling: Settling) -> None:
        """Store the arguments.

        Args:
            repository: the model repository.
            override_files: folder in which files of overrides are written.
            settling: decides which versions are complete.
        """
        self._repository = repository
        self._override_files = override_files
        self._settling = settling
        self._policies: dict[_PolicyKey, VersionPolicy] = {}
        self._last_policies: dict[str, VersionPolicy] = {}

    async def seen(self, overrides: Mapping[str, Override], *, now: float, now_time: float) -> Observation:
        """Look once, in a thread; the arguments are those of `observe`, and so are the errors."""
        return await in_thread(lambda: self.observe(overrides, now=now, now_time=now_time), name="look-at-repository")

    def will_retry(self, offer: Offer, error: ServingError, *, now: float) -> bool:
        """Say that nothing is tried again by itself: other files are, whenever they are seen."""
        return False

    def observe(self, overrides: Mapping[str, Override], *, now: float, now_time: float) -> Observation:
        """Look once.

        Args:
            overrides: by model.
            now: monotonic seconds.
            now_time: seconds since the Unix epoch.

        Raises:
            OSError: the repository cannot be listed; nothing is known then.
        """
        look = self._settling.settled(look_at_repository(self._repository), now=now, now_time=now_time)
        desires: dict[str, Desire] = {}
        unreadable = dict(look.unreadable)
        for model in sorted(look.models.keys() | overrides.keys()):
            if model in look.unreadable:
                continue
            try:
                desires[model] = self._desire(model, look, overrides.get(model))
            except (OSError, ServingError) as error:
                unreadable[model] = str(error)
        self._forget_all_but(desires)
        return Observation(
            desires=desires,
            unreadable=unreadable,
            skipped={**look.skipped, **_passed_over(look, desires)},
            revisions={model: override.revision for model, override in overrides.items()},
            is_waiting=bool(look.unsettled),
        )

    def _desire(self, model: str, look: RepositoryLook, override: Override | None) -> Desire:
        folder = look.models.get(model)
        if override is not None and override.files:
            written = write_files(override, self._override_files)
            folder = look_at_model(model, written, written, {})
            return self._from_folder(folder, frozenset(), override)
        if folder is None:
            return Desire(unsettled=look.unsettled.get(model, frozenset()))
        return self._from_folder(folder, look.unsettled.get(model, frozenset()), override)

    def _from_folder(self, folder: ModelFolder, unsettled: frozenset[str], override: Override | None) -> Desire:
        if override is None:
            override = Override(model=folder.model, revision=0)
        offers = {
            version: Offer(artefact=artefact, config_json=override.config_json, revision=override.revision)
            for version, artefact in folder.versions.items()
        }
        given_up = {
            version: reason
            for version, reason in override.failed_versions.items()
            if version not in offers or offers[version].artefact.changed_time <= override.changed_time
        }
        policy = self._policy(folder, override.config_json)
        return Desire(offers=offers, unsettled=unsettled, policy=policy, is_unloaded=override.is_unloaded, given_up=given_up)

    def _policy(self, folder: ModelFolder, config_json: str) -> VersionPolicy:
        """Return the model's version policy; a configuration that is not valid leaves the last valid one in force."""
        versions = tuple(folder.versions.values())
        if not versions:
            return self._last_policies.get(folder.model, Latest())
        newest = versions[-1]
        key = (folder.model, shared_marks(newest), config_json)
        if key not in self._policies:
            self._policies[key] = self._read_policy(newest, config_json)
        self._last_policies[folder.model] = self._policies[key]
        return self._policies[key]

    def _read_policy(self, artefact: Artefact, config_json: str) -> VersionPolicy:
        try:
            ensemble = None if config_json else ensemble_policy(artefact)
            return ensemble or model_configuration_of(artefact, config_json).version_policy
        except ServingError:  # the load of each version fails by it, and says so
            return self._last_policies.get(artefact.model, Latest())

    def _forget_all_but(self, desires: Mapping[str, Desire]) -> None:
        self._last_policies = {model: policy for model, policy in self._last_policies.items() if model in desires}
        if len(self._policies) > 2 * len(desires) + 64:
            self._policies.clear()


def _passed_over(look: RepositoryLook, desires: Mapping[str, Desire]) -> dict[str, str]:
    """Return the folders of models of which the policy chooses none of the versions that are there, with the reason."""
    return {
        str(
            look.models[model].folder
        ): f"version_policy chooses none of its versions: {', '.join(sorted(desire.existing, key=version_order))}"
        for model, desire in desires.items()
        if model in look.models and desire.existing and not desire.policy.choose(desire.existing)
    }
