"""The files of a version as values: what one look at a model repository found.

    <repository>/<model>/config.pbtxt | model.toml      how to run it (optional)
    <repository>/<model>/labels.txt, warmup/…           what the configuration names
    <repository>/<model>/<version>/model.onnx           the model, with what belongs to it: external data, tokenizer.json,
                                                        golden.json, a model.toml of its own

A version is addressed by the digest of these files, those beside the versions included: rolling back moves all of it together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMark:
    """What tells one content of a file from another without reading it."""

    path: str
    """Relative to the model's folder, with `/`."""
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    links: int
    """Names that the file has anywhere on its file system."""
    is_symbolic: bool = False
    """The name is a symbolic link; everything else describes its target."""

    @classmethod
    def of(cls, path: str, found: os.stat_result, *, is_symbolic: bool = False) -> FileMark:
        """Describe a file by what stat says about it."""
        return cls(
            path=path,
            device=found.st_dev,
            inode=found.st_ino,
            size=found.st_size,
            modified_ns=found.st_mtime_ns,
            changed_ns=found.st_ctime_ns,
            links=found.st_nlink,
            is_symbolic=is_symbolic,
        )

    @property
    def identity(self) -> tuple[int, int]:
        """The file behind the name."""
        return (self.device, self.inode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One version as its files looked at one moment; equal artefacts have the same content."""

    model: str
    version: str
    model_folder: Path
    """Absolute, without symbolic links."""
    files: tuple[FileMark, ...]
    """The version's files and those beside the versions, sorted by path."""
    refusal: str = ""
    """Why it must not be opened; empty when it may."""
    folder_name: str = ""
    """Name of the version's own folder; empty when it is the version's."""
    manifest_digest: str = ""
    """What its files have to add up to, where somebody has said so: the address of its manifest."""

    def __str__(self) -> str:
        """Return `model@version`."""
        return f"{self.model}@{self.version}"

    @property
    def folder(self) -> Path:
        """The version's own folder."""
        return self.model_folder / (self.folder_name or self.version)

    @property
    def changed_time(self) -> float:
        """Time of the last change of any of its files, in seconds since the Unix epoch."""
        return max((mark.changed_ns for mark in self.files), default=0) / 1e9

    def own_path(self, name: str) -> str:
        """Return the path, inside the model's folder, of a file in the version's own."""
        return f"{self.folder_name or self.version}/{name}"

    def mark_of(self, path: str) -> FileMark | None:
        """Return the mark of a file, by its path inside the model's folder."""
        return next((mark for mark in self.files if mark.path == path), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """One model's versions, ordered from oldest to newest."""

    model: str
    folder: Path
    versions: Mapping[str, Artefact]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryLook:
    """Everything that one look found."""

    models: Mapping[str, ModelFolder] = field(default_factory=dict[str, ModelFolder])
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    """Reason by path, for what is no model and no version."""
    unsettled: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Versions by model that are there but still changing; not among `models`."""
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])
    """Reason by model, for what could not be listed: nothing is known about it, in particular not that it is gone."""
