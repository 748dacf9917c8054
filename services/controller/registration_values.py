"""What a registration is asked for, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock.contracts.artefacts import Manifest, ManifestFile, check_digest
from penstock.contracts.errors import InvalidInput
from penstock.contracts.names import check_model_name, check_version_name

MAX_LINEAGE = 64
MAX_LINEAGE_CHARACTERS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder on this machine: one version, or a model's folder with several. Only for callers who are trusted with its path."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive on this machine, `.tar`, `.tar.gz` or `.zip`; what it is, its first bytes say."""

    path: Path
    size: int | None = None
    """Its size, where its sender has said so."""
    sha256: str | None = None
    """Its digest, where its sender has said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """A prefix in an object store (`s3://bucket/folder/`) or an archive in one (`s3://bucket/model.tar.gz`)."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """Files that were uploaded one by one; each is named by its digest."""

    files: tuple[ManifestFile, ...]
    """Paths are those of a folder as its owner has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowModel:
    """A version in an MLflow registry: `models:/name/3` or `models:/name@champion`."""

    uri: str


Source = Folder | Archive | Url | Uploaded | MlflowModel


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationRequest:
    """What is to be registered, and under which name."""

    model: str
    version: str = ""
    """Empty: as the source names its versions."""
    source: Source
    lineage: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where it comes from: whatever its owner wants to say."""
    created_by: str = ""
    signature: bytes = b""
    """Ed25519 over `signed_text` of the model and the version's digest; empty when it is not signed."""
    key_id: str = ""
    """Name of the key that signed; empty leaves it to be found."""

    def __post_init__(self) -> None:
        """Refuse names that are not valid and lineage beyond its limits."""
        check_model_name(self.model)
        if self.version:
            check_version_name(self.version)
        longest = max((len(text) for pair in self.lineage.items() for text in pair), default=0)
        printable = all(text.isprintable() for pair in self.lineage.items() for text in pair)
        if len(self.lineage) > MAX_LINEAGE or longest > MAX_LINEAGE_CHARACTERS or not printable:
            message = f"lineage has at most {MAX_LINEAGE} printable entries of at most {MAX_LINEAGE_CHARACTERS} characters"
            raise InvalidInput(message, reason="BAD_VALUE", field="lineage")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """What the examination has found out."""

    signature: Mapping[str, object]
    """`inputs` and `outputs` (name, datatype, shape) and `max_batch_size`."""
    facts: Mapping[str, object]
    """Framework, producer, opsets, times, versions of the packages that judged."""
    known_files: tuple[str, ...]
    """Paths of the files that the model or its configuration names."""
    memory_bytes: int
    """Peak of the examining process."""
    features: Mapping[str, object] = field(default_factory=dict[str, object])
    """The feature columns that the version declares; empty when it declares none."""
    feature_hash: str = ""
    graph: str = ""
    """What a graph is, as `penstock.contracts.graph_text.from_json` reads it; empty for models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """A version whose files are in the store."""

    model: str
    version: str
    """Empty when nobody has named it: whoever catalogues it gives it the next number."""
    manifest: Manifest
    report: ModelReport
    lineage: Mapping[str, str]
    created_by: str
    created_time: float
    source: str
    """Where it came from, for people."""
    signed_by: str = ""
    """Name of the key that signed it; empty when it is not signed."""
    signature: bytes | None = None
    """What that key has signed it with."""

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        check_digest(self.digest)

    @property
    def digest(self) -> str:
        """The version's address."""
        return self.manifest.digest
