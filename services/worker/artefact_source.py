"""Where versions come from: an object store that may be away, also when the worker starts."""

from __future__ import annotations

from penstock.contracts.artefacts import Manifest, ManifestFile
from penstock.contracts.errors import Unavailable
from services.chassis.artefact_store import ArtefactStore, Target
from services.chassis.disk_threads import DiskThreads
from services.chassis.object_store import open_objects
from services.worker.config import ArtefactSettings


class ArtefactSource:
    """An artefact store that is opened when it can be; implements `services.chassis.artefact_cache.VersionSource`."""

    def __init__(self, settings: ArtefactSettings, threads: DiskThreads) -> None:
        """Store the arguments, and open the store if it is there.

        Raises:
            InvalidInput: the address or an option is not valid.
        """
        self._settings = settings
        self._threads = threads
        self._store: ArtefactStore | None = None
        try:
            self._opened()
        except Unavailable:  # what is on this disk is served meanwhile
            self._store = None

    async def manifest(self, digest: str) -> Manifest:
        """Return what a version is."""
        return await self._opened().manifest(digest)

    async def fetch(self, file: ManifestFile, target: Target) -> None:
        """Write a file's content to `target`, checked."""
        await self._opened().fetch(file, target)

    def _opened(self) -> ArtefactStore:
        if self._store is None:
            self._store = ArtefactStore(open_objects(self._settings.store, self._settings.store_options), self._threads)
        return self._store
