"""Which configuration a version is loaded with.

The most specific one that is there, as a whole: JSON that a client sent with the load, else `model.toml` in the version's folder, else
`config.pbtxt` or `model.toml` beside the versions, else nothing: then everything is completed from the graph. Settings of a deployment are
laid over what that gives. The version policy is the model's: one in a version's folder says nothing about the others and is not asked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput
from penstock.contracts.model_config_text import from_json, from_pbtxt, from_toml
from penstock.contracts.model_config_values import ModelConfig
from services.worker.artefacts import Artefact, FileMark

MAX_BYTES = 4 << 20
"""Largest configuration file."""

TRITONS, OURS = "config.pbtxt", "model.toml"


def configuration_of(artefact: Artefact, config_json: str = "", settings_json: str = "") -> ModelConfig:
    """Read the configuration that a version is loaded with.

    Args:
        artefact: the version.
        config_json: what replaces all that its files say; empty for nothing.
        settings_json: what replaces, setting by setting, what that or its files say; empty for nothing.

    Raises:
        InvalidInput: it is not valid; the message names the file.
        ArtifactCorrupt: it cannot be read.
    """
    own = artefact.mark_of(artefact.own_path(OURS))
    if own is not None and not config_json:
        return _checked(artefact, _read(artefact.model_folder, own, lambda text: from_toml(text, settings_json)), own.path)
    return model_configuration_of(artefact, config_json, settings_json)


def model_configuration_of(artefact: Artefact, config_json: str = "", settings_json: str = "") -> ModelConfig:
    """Read the configuration that all versions of a model share; the arguments are those of `configuration_of`.

    Raises:
        InvalidInput: it is not valid, or there are two; the message names the file.
        ArtifactCorrupt: it cannot be read.
    """
    if config_json:
        return _checked(artefact, from_json(config_json, settings_json), "the configuration of the load request")
    tritons, ours = artefact.mark_of(TRITONS), artefact.mark_of(OURS)
    if tritons is not None and ours is not None:
        raise InvalidInput(f"{artefact.model} has both {TRITONS} and {OURS}: remove one of them", reason="BAD_VALUE", field=OURS)
    if tritons is not None:
        return _checked(artefact, _read(artefact.model_folder, tritons, lambda text: from_pbtxt(text, settings_json)), TRITONS)
    if ours is not None:
        return _checked(artefact, _read(artefact.model_folder, ours, lambda text: from_toml(text, settings_json)), OURS)
    if settings_json:
        return _checked(artefact, from_json(settings_json), "the deployment's configuration")
    return ModelConfig(name=artefact.model)


def shared_marks(artefact: Artefact) -> tuple[FileMark, ...]:
    """Return the marks of the files that `model_configuration_of` reads; equal marks give an equal configuration."""
    return tuple(mark for mark in artefact.files if mark.path in (TRITONS, OURS))


def _read(folder: Path, mark: FileMark, parse: Callable[[str], ModelConfig]) -> ModelConfig:
    if mark.size > MAX_BYTES:
        raise InvalidInput(f"{mark.path} has {mark.size} bytes, more than the limit of {MAX_BYTES}", reason="BAD_VALUE", field=mark.path)
    try:
        text = (folder / mark.path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{mark.path} is not UTF-8 text (byte {error.start})", reason="BAD_VALUE", field=mark.path) from error
    except OSError as error:
        raise ArtifactCorrupt(f"{mark.path} cannot be read: {error.strerror}") from error
    return parse(text)


def _checked(artefact: Artefact, config: ModelConfig, where: str) -> ModelConfig:
    if config.name and config.name != artefact.model:
        message = f"{where} is for a model named {config.name!r}, but the folder is {artefact.model!r}: make them equal, or remove the name"
        raise InvalidInput(message, reason="BAD_VALUE", field="name")
    return config
