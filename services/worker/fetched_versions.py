"""Versions that are assigned by digest: brought to this disk, checked, and shaped as what a worker loads.

    artefact = await versions.fetch(Assigned(model="churn", version="7", digest="ab12…"))
    Offer(artefact=artefact)             goes the way of a version found in a folder

`fetch` reads every file before it returns, and the load reads them again through `Digests`, so that what is opened is what was asked for. A
load that fails with `ArtifactCorrupt` has met files that were spoilt in between: call `fetch` again, which fetches them anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from penstock.contracts.artefacts import VERSION_FOLDER, check_digest
from penstock.contracts.errors import ArtifactCorrupt
from penstock.contracts.names import check_model_name, check_version_name
from services.worker.artefacts import Artefact, FileMark
from services.worker.background_thread import in_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """What a worker is told to serve."""

    model: str
    version: str
    digest: str
    """The address of the version's manifest."""

    def __post_init__(self) -> None:
        """Refuse names and digests that are none."""
        check_model_name(self.model)
        check_version_name(self.version)
        check_digest(self.digest)


class VersionFolders(Protocol):
    """Where versions lie on this disk; `services.chassis.artefact_cache.ArtefactCache` is one."""

    async def verified(self, digest: str) -> Path:
        """Return the folder of a version's files after reading all of them, fetching what is missing or spoilt."""
        ...


class FetchedVersions:
    """Turns assignments into artefacts."""

    def __init__(self, folders: VersionFolders) -> None:
        """Store the arguments."""
        self._folders = folders

    async def fetch(self, assigned: Assigned) -> Artefact:
        """Return an assigned version as files on this disk.

        The digest has to be among those that the cache protects from the moment of the call until the version is neither live nor one
        rollback away.

        Raises:
            NotFound: the store has no such version.
            ArtifactCorrupt: the store, or this disk, gives other bytes than the digest's, again.
            Unavailable: the store is away and the version is not on this disk; or the disk has no room for it.
        """
        folder = await self._folders.verified(assigned.digest)
        return await in_thread(lambda: _artefact(assigned, folder.resolve()), name=f"look-{assigned.model}-{assigned.version}")


def _artefact(assigned: Assigned, folder: Path) -> Artefact:
    try:
        paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
        files = tuple(FileMark.of(path, (folder / path).lstat()) for path in paths)
    except OSError as error:
        raise ArtifactCorrupt(f"{assigned.model}@{assigned.version}: its files cannot be listed: {error.strerror}") from error
    return Artefact(
        model=assigned.model,
        version=assigned.version,
        model_folder=folder,
        files=files,
        folder_name=VERSION_FOLDER,
        manifest_digest=assigned.digest,
    )
