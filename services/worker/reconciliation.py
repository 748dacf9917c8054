"""What has to happen so that a worker holds of one model what is wanted. Pure: values in, a plan out; asked again after every change.

- A version is wanted when the version policy chooses it among those that have not failed: when version 5 of `latest` fails, version 4 is
  chosen instead, whether it is held already or has to be loaded.
- Load first, retire later: a held version that is not wanted any more goes when every wanted one is ready. A version whose folder is
  gone goes then too; one that the policy has dropped stays when nothing else could take its place.
- Where there is no room for both, a version that is not there any more goes first: else neither would ever be loaded.
- Changed files, or another configuration, make a new replica of the same version; the old one goes when the new one is ready, and stays
  when the new one fails.
- A failed attempt is repeated only for other files, another configuration or a newer revision of the wish. While one is about to be
  repeated, because what it failed for passes, its version counts as coming: nothing is given up for its sake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.contracts.artefacts import configured_digest
from penstock.contracts.model_config_scheduling import Latest, VersionPolicy
from penstock.contracts.worker_status import ReplicaState
from services.worker.artefacts import Artefact
from services.worker.replica_state import COMING, FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One version that could be loaded, and how."""

    artefact: Artefact
    config_json: str = ""
    """Configuration that replaces the folder's; empty for none."""
    settings_json: str = ""
    """Settings that replace those of the configuration one by one; empty for none."""
    revision: int = 0
    """Revision of the wish; a newer one tries again what failed."""

    @property
    def expected_digest(self) -> str:
        """The digest that it will have once loaded, where the offer says it; else empty."""
        address = self.artefact.manifest_digest
        return configured_digest(address, self.config_json + self.settings_json) if address else ""

    def is_same_content(self, other: Offer) -> bool:
        """Say whether loading the other would give the same."""
        configuration, others = (self.config_json, self.settings_json), (other.config_json, other.settings_json)
        return self.artefact == other.artefact and configuration == others

    def is_same_attempt(self, other: Offer) -> bool:
        """Say whether the other is the same content, asked for by the same wish."""
        return self.is_same_content(other) and self.revision == other.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Desire:
    """What is wanted of one model."""

    offers: Mapping[str, Offer] = field(default_factory=dict[str, Offer])
    """Versions that could be loaded now."""
    unsettled: frozenset[str] = frozenset()
    """Versions that are there, but still changing."""
    policy: VersionPolicy = field(default_factory=Latest)
    is_unloaded: bool = False
    given_up: Mapping[str, str] = field(default_factory=dict[str, str])
    """Versions that are not to be loaded, with the reason."""
    held_back: frozenset[str] = frozenset()
    """Versions that are not to be loaded yet: this worker died while it loaded them, so what else there is comes first."""

    @property
    def existing(self) -> frozenset[str]:
        """All versions that are there."""
        return frozenset(self.offers) | self.unsettled


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One replica, as far as planning goes."""

    replica_id: int
    offer: Offer
    state: ReplicaState
    is_passing: bool = False
    """It failed for a cause that passes, and will be tried again."""
    lacks_memory: bool = False
    """Its load waits for others to leave."""

    @property
    def version(self) -> str:
        """Name of its version."""
        return self.offer.artefact.version

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.state is ReplicaState.READY

    @property
    def is_coming(self) -> bool:
        """Whether it is on the way to ready."""
        return self.state in COMING


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next steps for one model; replicas by their ids."""

    load: tuple[Offer, ...] = ()
    abandon: tuple[int, ...] = ()
    """Loads that nobody wants any more."""
    retire: tuple[int, ...] = ()
    """Ready replicas that are to drain."""
    forget: tuple[int, ...] = ()
    """Ended replicas that say nothing any more."""
    give_up: tuple[tuple[Offer, str], ...] = ()
    """Versions to be reported as failed without an attempt, with the reason."""
    leave_unloaded: tuple[Offer, ...] = ()
    """Versions to be reported as unloaded without ever having been loaded."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to happen."""
        return self == Plan()


def plan(desire: Desire, held: Sequence[Held]) -> Plan:
    """Return the next steps for one model."""
    forget = tuple(one.replica_id for one in held if _says_nothing(one, desire, held))
    if desire.is_unloaded:
        return Plan(
            abandon=tuple(one.replica_id for one in held if one.is_coming),
            retire=tuple(one.replica_id for one in held if one.is_ready),
            forget=forget,
            leave_unloaded=_never_loaded(desire, held),
        )
    wanted = frozenset(wanted_versions(desire, held))
    load = tuple(offer for version, offer in desire.offers.items() if version in wanted and _has_to_be_loaded(version, desire, held))
    return Plan(
        load=load,
        abandon=tuple(one.replica_id for one in held if one.is_coming and not _is_still_wanted(one, desire, wanted)),
        retire=_retired(desire, held, wanted),
        forget=forget,
        give_up=_given_up(desire, held),
    )


def wanted_versions(desire: Desire, held: Sequence[Held]) -> tuple[str, ...]:
    """Return what the policy chooses among the versions that have not failed, oldest first."""
    ready = frozenset(one.version for one in held if one.is_ready)
    candidates = (frozenset(desire.offers) - desire.held_back) | (desire.unsettled & ready)
    return desire.policy.choose(version for version in candidates if version not in desire.given_up and not _failed(version, desire, held))


def is_settled(desire: Desire, held: Sequence[Held]) -> bool:
    """Say whether everything that can be ready is ready, and everything that has to go is on its way out."""
    steps = plan(desire, held)
    return not (steps.load or steps.abandon or steps.retire or steps.give_up) and not any(one.is_coming for one in held)


def _attempted(version: str, desire: Desire, held: Sequence[Held]) -> bool:
    """Say whether the offer of a version has failed already."""
    offer = desire.offers.get(version)
    return offer is not None and any(one.state is ReplicaState.FAILED and one.offer.is_same_attempt(offer) for one in held)


def _failed(version: str, desire: Desire, held: Sequence[Held]) -> bool:
    """Say whether a version failed for good and none of its older contents is ready either."""
    if not _attempted(version, desire, held):
        return False
    return not any(one.version == version and (one.is_ready or one.is_passing) for one in held)


def _has_to_be_loaded(version: str, desire: Desire, held: Sequence[Held]) -> bool:
    offer = desire.offers.get(version)
    if offer is None or _attempted(version, desire, held):
        return False
    return not any((one.is_coming or one.is_ready) and one.offer.is_same_content(offer) for one in held)


def _is_still_wanted(one: Held, desire: Desire, wanted: frozenset[str]) -> bool:
    offer = desire.offers.get(one.version)
    return one.version in wanted and offer is not None and one.offer.is_same_content(offer)


def _retired(desire: Desire, held: Sequence[Held], wanted: frozenset[str]) -> tuple[int, ...]:
    is_complete = all(_is_served(version, desire, held) for version in wanted)
    is_short = any(one.lacks_memory and one.is_coming and one.version in wanted for one in held)
    newest = {one.version: one.replica_id for one in sorted(held, key=lambda one: one.replica_id) if one.is_ready}
    retired: list[int] = []
    for one in held:
        if not one.is_ready:
            continue
        if one.replica_id != newest[one.version] or (is_short and one.version not in desire.existing):
            retired.append(one.replica_id)
        elif one.version not in wanted and is_complete:
            is_needless = bool(wanted) or one.version in desire.given_up or one.version not in desire.existing
            retired.extend([one.replica_id] if is_needless else [])
    return tuple(retired)


def _is_served(version: str, desire: Desire, held: Sequence[Held]) -> bool:
    """Say whether a version is ready in the content that is offered, or in an older one if that is all there can be now."""
    offer = desire.offers.get(version)
    return any(
        one.is_ready and one.version == version and (offer is None or one.offer.is_same_content(offer) or _attempted(version, desire, held))
        for one in held
    )


def _given_up(desire: Desire, held: Sequence[Held]) -> tuple[tuple[Offer, str], ...]:
    return tuple(
        (desire.offers[version], reason)
        for version, reason in sorted(desire.given_up.items())
        if version in desire.offers and not _attempted(version, desire, held)
    )


def _never_loaded(desire: Desire, held: Sequence[Held]) -> tuple[Offer, ...]:
    known = frozenset(one.version for one in held)
    return tuple(desire.offers[version] for version in desire.policy.choose(desire.offers) if version not in known)


def _says_nothing(one: Held, desire: Desire, held: Sequence[Held]) -> bool:
    """Say whether an ended replica is superseded: the version is gone, was tried again, or is ready in what is offered now."""
    if one.state not in FINAL:
        return False
    if one.version not in desire.existing:
        return True
    if any(other.version == one.version and other.replica_id > one.replica_id for other in held):
        return True
    offer = desire.offers.get(one.version)
    return offer is not None and any(
        other.is_ready and other.offer.is_same_content(offer) for other in held if other.version == one.version
    )
