"""What the catalogue knows of models and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from penstock.contracts.names import check_model_name, check_version_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A name that clients ask for; `revision` grows with every change of it or of its aliases."""

    name: str
    description: str = ""
    framework: str = ""
    owner: str = ""
    """Tenant that may change it; empty for the operators alone."""
    revision: int = 1
    created_time: float = 0.0
    changed_time: float = 0.0

    def __post_init__(self) -> None:
        """Refuse names that are not valid."""
        check_model_name(self.name)


class VersionState(Enum):
    """Whether a version may be deployed."""

    REGISTERED = "registered"
    FAILED = "failed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable artefact of a model; only its state and the times beyond `created_time` ever change.

    `manifest`, `signature`, `metadata` and `lineage` are JSON objects as the registration wrote them.
    """

    model: str
    version: str
    """Empty until it is registered, when it is to get the next number."""
    digest: str
    """SHA-256 of the manifest, in hexadecimal: the address of the files."""
    state: VersionState = VersionState.REGISTERED
    manifest: Mapping[str, object] = field(default_factory=dict[str, object])
    signature: Mapping[str, object] = field(default_factory=dict[str, object])
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    lineage: Mapping[str, object] = field(default_factory=dict[str, object])
    feature_schema_hash: str = ""
    """Hash of the feature schema that the version was trained on; empty when it needs no features."""
    memory_bytes: int = 0
    """Memory measured at registration; 0 when it was not measured."""
    created_by: str = ""
    created_time: float = 0.0
    healthy_time: float | None = None
    """First time at which a replica of it was ready; None means that nothing may be rolled back to it."""
    reason: str = ""
    """Why it is not REGISTERED any more."""
    checked_time: float | None = None
    """Last time at which its files were read again and compared with its digest; None means never since it was registered."""
    damage: str = ""
    """What was wrong with them then; empty when nothing was."""
    version_signature: bytes | None = None
    """Ed25519 over the model's name and the digest, as it was registered; None when it was not signed, or before signatures were kept."""
    signed_by: str = ""
    """Name of the key of that signature."""

    def __post_init__(self) -> None:
        """Refuse names that are not valid."""
        check_model_name(self.model)
        if self.version:
            check_version_name(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Another name for a version of a model."""

    model: str
    alias: str
    version: str
    changed_time: float = 0.0
