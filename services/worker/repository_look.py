"""Looks at a model repository: names and stat, no content. Blocks on the file system.

The one file that is read is the config.pbtxt beside an empty version folder: ensembles have no files of their own.

Everything unusual (stray files, hidden, temporary or empty folders, names that are not valid) is skipped with its reason. A version
whose files cannot be trusted is kept with a refusal instead, so that whoever put it there is told: links that leave the repository,
hard links with a name outside (ONNX Runtime refuses external data behind symbolic links, but follows hard links), devices, pipes.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config_values import LATEST
from penstock.contracts.names import check_model_name, check_version_name, version_order
from services.worker.artefacts import Artefact, FileMark, ModelFolder, RepositoryLook
from services.worker.ensembles import ensemble_text

RESERVED_FOLDERS = frozenset({"configs", "golden", "initial_state", "warmup"})
"""Folders beside the versions that mean something else in Triton's layout or ours."""

TEMPORARY_SUFFIXES = (".tmp", ".temp", ".part", ".partial", ".swp", ".crdownload", ".download", "~")
"""Names of what is still being written."""

MAX_FILES = 10_000
"""Most files of one version."""

MAX_DEPTH = 8
"""Deepest folder inside a version."""


def look_at_repository(repository: Path) -> RepositoryLook:
    """Look at every model of a repository.

    Raises:
        OSError: the repository cannot be listed; nothing is known then, in particular not that models are gone.
    """
    root = repository.resolve(strict=True)
    skipped: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    models: dict[str, ModelFolder] = {}
    for name, folder in _folders(root, root, check_model_name, skipped):
        try:
            model = look_at_model(name, folder, root, skipped)
        except OSError as error:
            unreadable[name] = f"{error.strerror or 'cannot be listed'}: {error.filename}"
            continue
        if model.versions:
            models[name] = model
        else:
            skipped[str(folder)] = "no version folder with files in it"
    return RepositoryLook(models=_with_hard_links_refused(models), skipped=skipped, unreadable=unreadable)


def look_at_model(model: str, folder: Path, root: Path, skipped: dict[str, str]) -> ModelFolder:
    """Look at one model's folder; links may not leave `root`.

    Raises:
        OSError: it cannot be listed, or changes under the look.
    """
    beside = _FilesBelow(root)
    beside.add_shared(folder)
    versions: dict[str, Artefact] = {}
    for name, path in _folders(folder, root, _check_version_folder, skipped):
        if name in RESERVED_FOLDERS:
            continue
        own = _FilesBelow(root)
        own.add_folder(path, name)
        if not own.marks and not own.refusal and ensemble_text(folder, beside.marks) is None:
            skipped[str(path)] = "empty, as if it were still being copied"
            continue
        files = tuple(sorted((*beside.marks, *own.marks), key=lambda mark: mark.path))
        versions[name] = Artefact(model=model, version=name, model_folder=folder, files=files, refusal=own.refusal or beside.refusal)
    ordered = {name: versions[name] for name in sorted(versions, key=version_order)}
    return ModelFolder(model=model, folder=folder, versions=ordered)


def is_unchanged(artefact: Artefact) -> bool:
    """Say whether every file of an artefact still looks the same."""
    try:
        return all(_seen_again(artefact.model_folder, mark) == mark for mark in artefact.files)
    except OSError:
        return False


def _seen_again(folder: Path, mark: FileMark) -> FileMark:
    return FileMark.of(mark.path, (folder / mark.path).stat(), is_symbolic=mark.is_symbolic)


def is_hidden_or_temporary(name: str) -> bool:
    """Say whether a name means that its content is not there yet, or not meant."""
    return name.startswith(".") or name.lower().endswith(TEMPORARY_SUFFIXES)


def _folders(parent: Path, root: Path, check: Callable[[str], str], skipped: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """Yield the name and resolved path of every folder that could mean something."""
    for entry in _entries(parent):
        if is_hidden_or_temporary(entry.name):
            skipped[entry.path] = "hidden or temporary"
        elif not _is_folder(entry):
            if parent == root:
                skipped[entry.path] = "not a folder"
        elif not Path(entry.path).resolve().is_relative_to(root):
            skipped[entry.path] = "links out of the repository"
        elif refusal := _name_refusal(check, entry.name):
            skipped[entry.path] = refusal
        else:
            yield entry.name, Path(entry.path).resolve()


def _check_version_folder(name: str) -> str:
    if check_version_name(name) == LATEST:
        raise InvalidInput("'latest' always means the newest version with traffic: give the version another name", reason="BAD_NAME")
    return name


def _name_refusal(check: Callable[[str], str], name: str) -> str:
    try:
        check(name)
    except InvalidInput as error:
        return error.message
    return ""


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # a loop of links
        return entry.is_dir()
    return False


class _FilesBelow:
    """Collects the files of one version, or those beside the versions, and the first reason to refuse them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.marks: list[FileMark] = []
        self.refusal = ""

    def add_shared(self, folder: Path) -> None:
        """Add the files beside the versions and in the reserved folders; notes for readers (`*.md`) change nothing."""
        for entry in _entries(folder):
            if is_hidden_or_temporary(entry.name) or entry.name.endswith(".md"):
                continue
            if not _is_folder(entry):
                self._add(entry, entry.name)
            elif entry.name in RESERVED_FOLDERS:
                self.add_folder(entry.path, entry.name)

    def add_folder(self, folder: Path | str, prefix: str, depth: int = 0) -> None:
        """Add every file below a folder; `prefix` is its path inside the model's folder."""
        if depth > MAX_DEPTH:
            self._refuse(f"folders in {prefix} are nested deeper than {MAX_DEPTH}")
            return
        for entry in _entries(folder):
            if is_hidden_or_temporary(entry.name) or self.refusal:
                continue
            path = f"{prefix}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                self.add_folder(entry.path, path, depth + 1)
            else:
                self._add(entry, path)

    def _add(self, entry: os.DirEntry[str], path: str) -> None:
        try:
            if entry.is_symlink() and not Path(entry.path).resolve(strict=True).is_relative_to(self._root):
                self._refuse(f"{path} links out of the repository: put the file itself there")
                return
            found = entry.stat()
        except (OSError, RuntimeError):  # RuntimeError: a loop of links
            self._refuse(f"{path} cannot be read, or links to nothing")
            return
        if not stat.S_ISREG(found.st_mode):
            self._refuse(f"{path} is not a regular file")
        elif len(self.marks) >= MAX_FILES:
            self._refuse(f"more than {MAX_FILES} files")
        else:
            self.marks.append(FileMark.of(path, found, is_symbolic=entry.is_symlink()))

    def _refuse(self, reason: str) -> None:
        self.refusal = self.refusal or reason


def _with_hard_links_refused(models: dict[str, ModelFolder]) -> dict[str, ModelFolder]:
    """Refuse hard links with a name outside: all names of a file have to be found inside the repository."""
    names = {(mark.identity, f"{model.folder}/{mark.path}") for model in models.values() for mark in _marks(model) if not mark.is_symbolic}
    inside = Counter(identity for identity, _ in names)
    escaping = {mark.identity for model in models.values() for mark in _marks(model) if mark.links > max(inside[mark.identity], 1)}
    return {name: _refused(model, escaping) for name, model in models.items()} if escaping else models


def _marks(model: ModelFolder) -> Iterator[FileMark]:
    for artefact in model.versions.values():
        yield from artefact.files


def _refused(model: ModelFolder, escaping: set[tuple[int, int]]) -> ModelFolder:
    versions: Mapping[str, Artefact] = {name: _with_refusal(artefact, escaping) for name, artefact in model.versions.items()}
    return replace(model, versions=versions)


def _with_refusal(artefact: Artefact, escaping: set[tuple[int, int]]) -> Artefact:
    bad = next((mark.path for mark in artefact.files if mark.identity in escaping), None)
    if bad is None or artefact.refusal:
        return artefact
    return replace(artefact, refusal=f"{bad} is a hard link to a file outside the repository: copy the file")
