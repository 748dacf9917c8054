"""Models' overrides as files that every worker follows: marks versions that are not to be loaded."""

from __future__ import annotations

import asyncio
from pathlib import Path

from penstock.v1.worker_pb2 import ModelOverride
from services.chassis.crash_ledger import GivenUp
from services.chassis.folder_table import FolderTable


class FolderFailedVersions:
    """Adds failed marks to overrides; what routers wrote into the same records stays."""

    def __init__(self, directory: Path) -> None:
        """Keep the folder."""
        self._table = FolderTable(directory, ModelOverride.SerializeToString, ModelOverride.FromString)

    async def give_up(self, version: GivenUp) -> None:
        """Mark a version as failed, with a new revision of its model's override."""
        await asyncio.to_thread(self._table.update, version.version.model, lambda held: _marked(held, version))


def _marked(held: ModelOverride | None, given_up: GivenUp) -> ModelOverride:
    marked = ModelOverride(model=given_up.version.model)
    if held is not None:
        marked.CopyFrom(held)
    marked.revision += 1
    marked.failed_versions[given_up.version.version] = given_up.reason
    return marked
