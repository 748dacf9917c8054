"""Graphs as a worker sees them: versions without a model of their own, which routers run. Blocks on the disk.

A worker reads a graph, checks it, and reports it as a ready replica, so that its life is that of any version: it comes and goes with its
folder, is loaded and unloaded by name, has a digest, and fails with a reason that callers are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from penstock.contracts.declared_graphs import graph_config
from penstock.contracts.ensembles import ENSEMBLE_FILE, from_ensemble
from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, LoadFailed
from penstock.contracts.graph_text import GRAPH_FILE, LARGEST_BYTES, GraphVersion, from_toml
from penstock.contracts.model_config import CompletedModel, VersionPolicy
from services.worker.artefacts import Artefact
from services.worker.digests import Digests
from services.worker.ensembles import ensemble_text
from services.worker.reconciliation import Offer
from services.worker.replica import Loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldGraph:
    """A graph that may be run."""

    digest: str
    loaded: Loaded


def is_graph(artefact: Artefact) -> bool:
    """Whether a version is a graph: by its graph.toml, or as one of Triton's ensembles."""
    return artefact.mark_of(artefact.own_path(GRAPH_FILE)) is not None or _ensemble(artefact) is not None


def graph_file(artefact: Artefact) -> str:
    """Return the path, inside the model's folder, of what makes a version a graph."""
    own = artefact.own_path(GRAPH_FILE)
    return own if artefact.mark_of(own) is not None else ENSEMBLE_FILE


def ensemble_policy(artefact: Artefact) -> VersionPolicy | None:
    """Return the version policy of a model that is an ensemble; None for every other.

    Raises:
        ServingError: the ensemble is not valid.
    """
    text = _ensemble(artefact)
    return None if text is None else from_ensemble(text).config.version_policy


def read_graph(offer: Offer, digests: Digests) -> HeldGraph:
    """Read and check a graph, and its files; raises what `read_version` raises."""
    version = read_version(offer)
    completed = CompletedModel(config=version.config, signature=version.graph.signature)
    digest = digests.digest(offer.artefact, offer.config_json + offer.settings_json)
    return HeldGraph(digest=digest, loaded=_loaded(completed, version))


def read_version(offer: Offer) -> GraphVersion:
    """Read and check a graph.

    Raises:
        LoadFailed: its files are refused, or there is a model beside it.
        InvalidInput: it is not valid, or somebody wants it configured otherwise.
        ArtifactCorrupt: it cannot be read.
        NotImplementedHere: it asks for what is not served.
    """
    artefact = offer.artefact
    if artefact.refusal:
        raise LoadFailed(f"{artefact}: {artefact.refusal}")
    source = graph_file(artefact)
    name = source.rpartition("/")[2]
    models = [mark.path for mark in artefact.files if mark.path.endswith(".onnx")]
    if models:
        raise LoadFailed(f"{artefact}: a version is a graph or a model, and has both {name} and {models[0]}: remove one")
    if offer.config_json or offer.settings_json not in ("", "{}"):
        raise InvalidInput(f"{artefact}: a graph is configured by its {name} alone", reason="BAD_VALUE", field="config")
    ensemble = _ensemble(artefact)
    if ensemble is not None and source != ENSEMBLE_FILE:
        raise LoadFailed(f"{artefact}: a version has one graph, and is described by both {name} and {ENSEMBLE_FILE}: remove one")
    version = from_toml(_text(artefact)) if ensemble is None else from_ensemble(ensemble)
    if version.config.name not in ("", artefact.model):
        raise InvalidInput(f"{artefact}: {name} is for {version.config.name!r}", reason="BAD_VALUE", field="name")
    return replace(version, config=replace(version.config, name=artefact.model))


def _text(artefact: Artefact) -> str:
    mark = artefact.mark_of(artefact.own_path(GRAPH_FILE))
    if mark is None or mark.size > LARGEST_BYTES:
        raise InvalidInput(f"{artefact}: {GRAPH_FILE} is larger than {LARGEST_BYTES} bytes", reason="BAD_VALUE", field=GRAPH_FILE)
    try:
        return (artefact.folder / GRAPH_FILE).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{artefact}: {GRAPH_FILE} is not UTF-8 text", reason="BAD_VALUE", field=GRAPH_FILE) from error
    except OSError as error:
        raise ArtifactCorrupt(f"{artefact}: {GRAPH_FILE} cannot be read: {error.strerror}") from error


def _ensemble(artefact: Artefact) -> str | None:
    return ensemble_text(artefact.model_folder, artefact.files)


def _loaded(completed: CompletedModel, version: GraphVersion) -> Loaded:
    return Loaded(completed=completed, provider="", memory_bytes=0, costs=(), model_config=graph_config(version))
