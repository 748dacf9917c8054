"""Models' overrides as files of a folder that every process of the host follows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from penstock.v1.worker_pb2 import ModelOverride
from services.chassis.folder_table import FolderTable
from services.router.repository import Change


class FolderOverrides:
    """Changes overrides, one file a model, so that no concurrent change of another router is lost."""

    def __init__(self, directory: Path) -> None:
        """Keep the folder; it is made at the first change."""
        self._table = FolderTable(directory, ModelOverride.SerializeToString, ModelOverride.FromString)

    async def update(self, model: str, change: Change) -> ModelOverride | None:
        """Replace a model's override by `change(override)`; raises OSError when that cannot be written."""
        return await asyncio.to_thread(self._table.update, model, change)
