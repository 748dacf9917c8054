"""SHA-256 digests of artefacts, read once per content."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

from penstock.contracts.artefacts import Manifest, ManifestFile, configured_digest
from penstock.contracts.errors import ArtifactCorrupt
from services.worker.artefacts import Artefact, FileMark

MAX_REMEMBERED = 65_536
"""Most files whose digest is remembered; the oldest are forgotten first."""

_FileContent = tuple[int, int, int, int, int]


@dataclass(slots=True)
class Digests:
    """Computes digests, and remembers those of files that look the same. Blocks on the disk; used by one thread at a time."""

    _by_content: dict[_FileContent, str] = field(default_factory=dict[_FileContent, str])

    def digest(self, artefact: Artefact, configuration: str = "") -> str:
        """Return the digest of an artefact's files and of a configuration that replaces theirs.

        Names count relative to the version's folder, so that the same files have one digest under every version name.

        Raises:
            ArtifactCorrupt: a file cannot be read, or changed while it was read; or they are not the files that were asked for.
        """
        if artefact.manifest_digest:
            return self._as_addressed(artefact, configuration)
        whole = hashlib.sha256()
        own = artefact.own_path("")
        for mark in artefact.files:
            name = mark.path.removeprefix(own) if mark.path.startswith(own) else f"../{mark.path}"
            whole.update(f"{name}\0{mark.size}\0{self._file_digest(artefact, mark)}\n".encode())
        if configuration:
            whole.update(f"\0{hashlib.sha256(configuration.encode()).hexdigest()}\n".encode())
        return whole.hexdigest()

    def _as_addressed(self, artefact: Artefact, configuration: str) -> str:
        """Return the address of a version that was asked for by it, after reading every file."""
        files = [ManifestFile(path=mark.path, size=mark.size, sha256=self._file_digest(artefact, mark)) for mark in artefact.files]
        found = Manifest.of(files).digest
        if found != artefact.manifest_digest:
            raise ArtifactCorrupt(
                f"{artefact}: its files are those of {found[:12]}, not of {artefact.manifest_digest[:12]}: fetch it again"
            )
        return configured_digest(found, configuration)

    def _file_digest(self, artefact: Artefact, mark: FileMark) -> str:
        content = (mark.device, mark.inode, mark.modified_ns, mark.changed_ns, mark.size)
        known = self._by_content.get(content)
        if known is None:
            known = _read_digest(artefact, mark)
            self._by_content[content] = known
            if len(self._by_content) > MAX_REMEMBERED:
                del self._by_content[next(iter(self._by_content))]
        return known


def _read_digest(artefact: Artefact, mark: FileMark) -> str:
    """Hash one file through one descriptor, and check by the same descriptor that it is the file that was looked at."""
    try:
        with (artefact.model_folder / mark.path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found = FileMark.of(mark.path, os.fstat(file.fileno()), is_symbolic=mark.is_symbolic)
    except OSError as error:
        raise ArtifactCorrupt(f"{artefact}: {mark.path} cannot be read: {error.strerror}") from error
    if found != mark:
        raise ArtifactCorrupt(f"{artefact}: {mark.path} changed while it was read; it is tried again when its files are quiet")
    return digest
