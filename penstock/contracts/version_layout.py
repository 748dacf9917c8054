"""Finds the versions among staged files. Pure: paths in, plans out.

    model.onnx …                     one version: the files of a version's folder
    1/model.onnx  2/model.onnx …     a model's folder as Triton has it, with what its versions share beside them
    churn/1/model.onnx …             the same inside folders that hold nothing else

A version is an ONNX model, or a graph of other versions: graph.toml in its folder instead of the model, or Triton's config.pbtxt of an
ensemble, with nothing else that makes a version.
What no version needs (hidden and temporary files, notes) is left out; what nobody knows is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from penstock.contracts.artefacts import VERSION_FOLDER, check_paths
from penstock.contracts.ensembles import ENSEMBLE_FILE
from penstock.contracts.errors import InvalidInput
from penstock.contracts.graph_text import GRAPH_FILE
from penstock.contracts.names import check_version_name, version_order

SHARED_FOLDERS = frozenset({"configs", "golden", "initial_state", "warmup"})
"""Folders beside the versions that mean something else than a version."""

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
"""How the name of an archive of versions ends."""

TEMPORARY_SUFFIXES = (".tmp", ".temp", ".part", ".partial", ".swp", ".crdownload", ".download", "~")

_FOREIGN = (
    "pkl pickle joblib dill pt pth ckpt npy npz keras h5 hdf5 pb tflite mlmodel pmml cbm ubj safetensors gguf",
    "py pyc pyo pyd ipynb so dll dylib exe sh bash bat ps1 js wasm class",
    "ort engine plan trt enc gpg",
    "zip tar tgz gz bz2 xz zst 7z rar jar whl egg",
    "yaml yml",
)
CODE_AND_FOREIGN = frozenset(ending for line in _FOREIGN for ending in line.split())
"""Endings of what is never opened: code, formats that carry code or belong to other runtimes, archives in archives."""

PLAIN = frozenset({"json", "txt", "toml", "pbtxt", "csv", "vocab", "merges"})
"""Endings of what may lie with a model although nobody names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPlan:
    """One version that was found."""

    name: str
    """Name of its folder; empty when the source is one version without a name."""
    files: Mapping[str, str]
    """Where each of the manifest's paths lies among the staged files."""


def plan_versions(paths: Iterable[str], ensembles: Collection[str] = ()) -> tuple[VersionPlan, ...]:
    """Return the versions among the paths, oldest first.

    Args:
        paths: the files that were staged.
        ensembles: those of them that are the configuration of an ensemble.

    Raises:
        InvalidInput: no version, or files that a version must not have.
    """
    kept = [path for path in paths if _is_meant(path)]
    for path in kept:
        _check_ending(path)
    meant = sorted(set(ensembles).intersection(kept))
    if meant and not any(_is_main(path) for path in kept):
        return (_ensemble(kept, meant),)
    prefix = ""
    while not _models(kept, prefix) and (not (names := _version_folders(kept, prefix)) or _is_wrapper(kept, prefix, names)):
        folders = {path[len(prefix) :].split("/", 1)[0] for path in kept}
        if len(folders) != 1 or not any("/" in path[len(prefix) :] for path in kept):
            raise _unsupported("there is no ONNX model in it: send model.onnx, with what belongs to it, in one folder")
        prefix += f"{folders.pop()}/"
    within = [path for path in kept if path.startswith(prefix)]
    plans = [_single(within, prefix)] if _models(within, prefix) else _several(within, prefix)
    for plan in plans:
        check_paths(plan.files)
    return tuple(plans)


def unknown_files(paths: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the manifest's paths that nobody knows: neither known, nor notes, configuration, or a warm-up's."""
    named = frozenset(known)
    return tuple(path for path in paths if path not in named and path.split("/")[0] not in SHARED_FOLDERS and _ending(path) not in PLAIN)


def _ensemble(paths: list[str], ensembles: list[str]) -> VersionPlan:
    """Return the one version of an ensemble: the folder of its configuration, whose version folders hold nothing that is needed."""
    prefix = ensembles[0][: -len(ENSEMBLE_FILE)]
    strangers = [path for path in paths if not path.startswith(prefix)]
    if len(ensembles) > 1 or strangers:
        other = strangers[0] if strangers else ensembles[-1]
        raise _unsupported(f"{ensembles[0][:80]!r} is an ensemble, and {other[:80]!r} does not belong to it: send one model at a time")
    plan = _single(paths, prefix)
    check_paths(plan.files)
    return plan


def _single(paths: list[str], prefix: str) -> VersionPlan:
    """Return the one version of a folder: what a model has beside its versions goes there, all else is the version's own."""
    files: dict[str, str] = {}
    for path in paths:
        name = path[len(prefix) :]
        is_beside = "/" not in name and name != GRAPH_FILE and _ending(name) in {"toml", "pbtxt", "txt"}
        is_shared = name.split("/", 1)[0] in SHARED_FOLDERS or is_beside
        files[name if is_shared else f"{VERSION_FOLDER}/{name}"] = path
    return VersionPlan(name="", files=files)


def _several(paths: list[str], prefix: str) -> list[VersionPlan]:
    names = _version_folders(paths, prefix)
    shared: dict[str, str] = {}
    own: dict[str, dict[str, str]] = {name: {} for name in names}
    for path in paths:
        folder, _, rest = path[len(prefix) :].partition("/")
        if folder in names and rest:
            own[folder][f"{VERSION_FOLDER}/{rest}"] = path
        elif not rest or folder in SHARED_FOLDERS:
            shared[path[len(prefix) :]] = path
        else:
            raise _unsupported(f"the folder {folder[:80]!r} is no version: it has no ONNX model in it")
    return [VersionPlan(name=name, files=shared | own[name]) for name in sorted(names, key=version_order)]


def _models(paths: Iterable[str], prefix: str) -> list[str]:
    return [path for path in paths if path.startswith(prefix) and "/" not in path[len(prefix) :] and _is_main(path)]


def _version_folders(paths: Iterable[str], prefix: str) -> frozenset[str]:
    parts = [path[len(prefix) :].split("/") for path in paths if path.startswith(prefix)]
    found = {one[0] for one in parts if len(one) == 2 and _is_main(one[1]) and one[0] not in SHARED_FOLDERS}
    return frozenset(check_version_name(name) for name in found)


def _is_main(path: str) -> bool:
    """Say whether a file makes its folder a version."""
    return _ending(path) == "onnx" or path.rsplit("/", 1)[-1] == GRAPH_FILE


def _is_wrapper(paths: Iterable[str], prefix: str, names: frozenset[str]) -> bool:
    """Say whether the one version folder is none, but what an archive was packed with: no number, and nothing beside it."""
    name = next(iter(names))
    return len(names) == 1 and version_order(name)[0] == 0 and all(path.startswith(f"{prefix}{name}/") for path in paths)


def _is_meant(path: str) -> bool:
    names = path.split("/")
    hidden = any(name.startswith(".") or name == "__MACOSX" or name.lower().endswith(TEMPORARY_SUFFIXES) for name in names)
    return not hidden and _ending(path) != "md"


def _check_ending(path: str) -> None:
    ending = _ending(path)
    if ending in CODE_AND_FOREIGN:
        raise _unsupported(f"{path[:80]!r}: files of the format .{ending} are not taken, and were not opened; models are ONNX files")


def _ending(path: str) -> str:
    return path.rsplit("/", 1)[-1].rpartition(".")[2].lower() if "." in path.rsplit("/", 1)[-1] else ""


def _unsupported(message: str) -> InvalidInput:
    return InvalidInput(message, reason="UNSUPPORTED_FORMAT", field="source")
