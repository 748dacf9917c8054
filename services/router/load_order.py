"""What a caller may say when a model is to be loaded. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.contracts.errors import InvalidInput
from penstock.contracts.names import check_model_name, check_version_name

FILE_PREFIX = "file:"
CONFIG = "config"
UNLOAD_DEPENDENTS = "unload_dependents"
PATH_LIMIT = 255
DEPTH_LIMIT = 4

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)

Parameter = str | bytes | bool | int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOrder:
    """A model to load, with what replaces the folder's configuration and files."""

    model: str
    config_json: str = ""
    """Configuration in JSON; empty leaves the folder's."""
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Content by path inside the model's folder, for example `1/model.onnx`; they replace the folder's versions."""

    @property
    def has_overrides(self) -> bool:
        """Whether it says anything beyond the folder."""
        return bool(self.config_json or self.files)


def load_order(model: str, parameters: Mapping[str, Parameter]) -> LoadOrder:
    """Return the order that a request's parameters stand for: `config` (JSON text) and `file:<version>/<name>` (bytes).

    Raises:
        InvalidInput: a name is not valid or would leave the model's folder, the configuration is no JSON object, or a parameter
            is unknown or of the wrong type.
    """
    check_model_name(model)
    config_json = ""
    files: dict[str, bytes] = {}
    for name, value in parameters.items():
        if name == CONFIG:
            config_json = _config(value)
        elif name.startswith(FILE_PREFIX):
            if not isinstance(value, bytes):
                raise InvalidInput(f"parameter {name[:64]!r} must hold bytes", reason="BAD_PARAMETER", field=name[:64])
            files[_path(name.removeprefix(FILE_PREFIX))] = value
        else:
            raise InvalidInput(
                f"load parameter {name[:64]!r} is unknown: use 'config' or 'file:<version>/<name>'",
                reason="BAD_PARAMETER",
                field=name[:64],
            )
    return LoadOrder(model=model, config_json=config_json, files=files)


def check_unload(model: str, parameters: Mapping[str, Parameter]) -> None:
    """Refuse an unload with a name or parameters that are not valid; `unload_dependents` changes nothing, as no model has any.

    Raises:
        InvalidInput: see above.
    """
    check_model_name(model)
    for name, value in parameters.items():
        if name != UNLOAD_DEPENDENTS or not isinstance(value, bool):
            raise InvalidInput(
                f"unload parameter {name[:64]!r} is not valid: use 'unload_dependents' with true or false",
                reason="BAD_PARAMETER",
                field=name[:64],
            )


def _config(value: Parameter) -> str:
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, dict):
            return value
    raise InvalidInput("parameter 'config' must hold a JSON object as text", reason="BAD_PARAMETER", field=CONFIG)


def _path(path: str) -> str:
    version, *rest = path.split("/")
    is_safe = len(path) <= PATH_LIMIT and 1 <= len(rest) <= DEPTH_LIMIT and all(_PART.fullmatch(part) and ".." not in part for part in rest)
    if not is_safe:
        raise InvalidInput(
            f"file {path[:64]!r} is not valid: use 'file:<version>/<name>' with names of letters, digits, '.', '_' or '-'",
            reason="BAD_NAME",
            field=FILE_PREFIX,
        )
    check_version_name(version)
    return path
