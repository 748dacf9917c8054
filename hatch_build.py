"""Packs the servers' code into one compressed file of the wheel, so that client and command line alone stay small."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("services", "deploy/local")
"""What a server needs beside the package; `penstock/cli/_services.py` unpacks it."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every entry, so that the same code gives the same file."""


class ServersArchive(BuildHookInterface):
    """Adds `penstock/_services.zip` to wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the archive, unless the wheel is one that only points to the checkout."""
        if self.target_name != "wheel" or version == "editable":
            return
        path = Path(tempfile.mkdtemp(prefix="penstock-build-")) / "_services.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in sorted(self._files()):
                entry = zipfile.ZipInfo(file.relative_to(self.root).as_posix(), EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())
        build_data["force_include"][str(path)] = "penstock/_services.zip"

    def _files(self) -> list[Path]:
        found = [file for folder in FOLDERS for file in (Path(self.root) / folder).rglob("*") if file.is_file()]
        return [file for file in found if "__pycache__" not in file.parts]
