"""What has to be true of a version's files before ONNX Runtime opens them. Blocks on the disk.

ONNX Runtime refuses external data behind `..`, absolute paths and symbolic links, but follows hard links (measured on 1.31); an
operator of an unknown domain fails late and with a long text. Both are found here, by name.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from penstock.contracts.errors import ArtifactCorrupt, LoadFailed
from penstock.contracts.model_config import DEFAULT_MODEL_FILENAME, ModelConfig
from services.worker.artefacts import Artefact
from services.worker.configuration import configuration_of
from services.worker.digests import Digests
from services.worker.graph_scan import scan_graph
from services.worker.memory_budget import estimated_bytes
from services.worker.reconciliation import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """A version whose files may be opened."""

    artefact: Artefact
    config: ModelConfig
    """As configured, not completed."""
    digest: str
    model_file: Path
    file_bytes: int
    """Bytes of the model's file and its external data."""
    external_names: tuple[str, ...] = ()
    """Files of external data, in the folder of the model's file."""

    @property
    def estimated_bytes(self) -> int:
        """Memory that it will probably need."""
        return estimated_bytes(self.file_bytes)


def inspect(offer: Offer, digests: Digests) -> Inspected:
    """Check a version's files and read its configuration.

    Raises:
        LoadFailed: the files are refused, the model's file is missing, or it needs what is not served.
        ArtifactCorrupt: a file cannot be read or is no ONNX file.
        InvalidInput: the configuration is not valid.
        NotImplementedHere: the configuration asks for what is not served.
    """
    artefact = offer.artefact
    if artefact.refusal:
        raise LoadFailed(f"{artefact}: {artefact.refusal}")
    config = configuration_of(artefact, offer.config_json, offer.settings_json)
    model_file = _model_file(artefact, config)
    digest = digests.digest(artefact, offer.config_json + offer.settings_json)
    external = _checked_references(artefact, model_file)
    sizes = [path.stat().st_size for path in (model_file, *external)]
    return Inspected(
        artefact=artefact,
        config=config,
        digest=digest,
        model_file=model_file,
        file_bytes=sum(sizes),
        external_names=tuple(path.name for path in external),
    )


def _model_file(artefact: Artefact, config: ModelConfig) -> Path:
    name = config.default_model_filename or DEFAULT_MODEL_FILENAME
    if artefact.mark_of(artefact.own_path(name)) is None:
        others = sorted(mark.path for mark in artefact.files if mark.path.endswith(".onnx"))
        advice = f"found {', '.join(others[:3])}: rename it, or set default_model_filename" if others else "put the model's ONNX file there"
        raise LoadFailed(f"{artefact}: the version has no {name}; {advice}")
    return artefact.folder / name


def _checked_references(artefact: Artefact, model_file: Path) -> list[Path]:
    """Return the files of external data after checking them and the graph's operators."""
    try:
        facts = scan_graph(model_file)
    except OSError as error:
        raise ArtifactCorrupt(f"{artefact}: {model_file.name} cannot be read: {error.strerror}") from error
    if facts.foreign_operators:
        named = ", ".join(sorted(facts.foreign_operators)[:3])
        raise LoadFailed(f"{artefact}: the graph uses custom operators ({named}), which are not loaded: export it with standard operators")
    return [_external_file(artefact, model_file.parent, location) for location in sorted(facts.external_files)]


def _external_file(artefact: Artefact, folder: Path, location: str) -> Path:
    """Return the path of external data when it is a plain file of its own, beside the model."""
    where = f"{artefact}: external data {location[:80]!r}"
    if not location or "/" in location or "\\" in location or location in {".", ".."} or not location.isprintable():
        raise LoadFailed(f"{where} is not a plain file name: save the model with its data in the same folder")
    path = folder / location
    try:
        found = path.lstat()
    except OSError as error:
        raise LoadFailed(f"{where} is missing: copy it beside {DEFAULT_MODEL_FILENAME}") from error
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise LoadFailed(f"{where} is a link or no regular file: put the file itself there")
    if artefact.mark_of(path.relative_to(artefact.model_folder).as_posix()) is None:
        # What looks do not see has no part in the digest: other weights would be taken for the same version.
        raise LoadFailed(
            f"{where} has the name of a hidden or unfinished file, whose changes nobody would see: save the model with another name for it"
        )
    return path
