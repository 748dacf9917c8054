"""Where the servers' code is, and how a process of it is started.

The wheel carries it as package data under `penstock/_services`, a checkout has it beside `penstock`. It is put on the path of the
processes that run it and of nobody else, so no top-level package called `services` lands in anyone's environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import penstock
from penstock.cli.failure import Failure

NEEDED = ("onnxruntime", "orjson", "prometheus_client", "pydantic_settings", "structlog", "tokenizers", "uvloop", "uvicorn", "xxhash")
"""Modules without which `penstock serve` cannot run; the extra `serve` brings them."""

NEEDED_BY_STACK = ("aiokafka", "pydantic_settings", "structlog", "uvloop")
"""Modules without which `penstock up` cannot run; the extra `mesh` brings them."""

NEEDED_BY_EMERGENCY = ("aiokafka", "cryptography", "structlog", "pydantic_settings")
"""Modules without which the glass cannot be broken; the extra `mesh` brings them."""


def services_folder() -> Path:
    """Return the folder that holds the package `services`.

    Raises:
        Failure: this installation carries no servers.
    """
    package = Path(penstock.__file__).resolve().parent
    for folder in (package / "_services", package.parent):
        if (folder / "services" / "embedded" / "__main__.py").is_file():
            return folder
    raise Failure("this installation of penstock carries no servers", next_step="pip install --force-reinstall 'penstock[serve]'")


def check_packages() -> None:
    """Raise Failure when packages that a serve needs are not installed."""
    _check("serving", NEEDED, "serve")


def check_stack_packages() -> None:
    """Raise Failure when packages that a stack needs are not installed."""
    _check("a stack", NEEDED_BY_STACK, "mesh")


def check_emergency_packages() -> None:
    """Raise Failure when packages that signed routes need are not installed."""
    _check("breaking the glass", NEEDED_BY_EMERGENCY, "mesh")


def _check(what: str, names: Sequence[str], extra: str) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise Failure(f"{what} needs packages that are not installed: {', '.join(missing)}", next_step=f"pip install 'penstock[{extra}]'")


def server_command(service: str, *arguments: str) -> list[str]:
    """Return the command that runs a service; `-P` keeps the current folder off its path."""
    return [sys.executable, "-P", "-m", f"services.{service}", *arguments]


def server_environment() -> dict[str, str]:
    """Return the environment of a service: this one, with the servers' code before what PYTHONPATH names already."""
    own = str(services_folder())
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != own]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([own, *others])}
