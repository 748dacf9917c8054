"""Where the servers' code is, and how a process of it is started.

A checkout has it beside `penstock`; the wheel carries it as one archive, which is unpacked into the user's cache when a server is started
for the first time. It is put on the path of the processes that run it and of nobody else, so no top-level package called `services` lands
in anyone's environment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import penstock
from penstock.cli.failure import Failure

NEEDED = ("onnxruntime", "orjson", "prometheus_client", "pydantic_settings", "structlog", "tokenizers", "uvloop", "uvicorn", "xxhash")
"""Modules without which `penstock serve` cannot run; the extra `serve` brings them."""

NEEDED_BY_STACK = ("aiokafka", "pydantic_settings", "structlog", "uvloop")
"""Modules without which `penstock up` cannot run; the extra `mesh` brings them."""

NEEDED_BY_EMERGENCY = ("aiokafka", "cryptography", "structlog", "pydantic_settings")
"""Modules without which the glass cannot be broken and no version signed; the extra `mesh` brings them."""


def services_folder() -> Path:
    """Return the folder that holds the package `services`.

    Raises:
        Failure: this installation carries no servers, or they cannot be unpacked.
    """
    package = Path(penstock.__file__).resolve().parent
    archive = package / "_services.zip"
    if archive.is_file():
        return _unpacked(archive)
    if (package.parent / "services" / "embedded" / "__main__.py").is_file():
        return package.parent
    raise Failure("this installation of penstock carries no servers", next_step="pip install --force-reinstall 'penstock[serve]'")


def _unpacked(archive: Path) -> Path:
    """Return the folder of an archive's content in the user's cache, named by its digest; unpack it when it is not there."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "penstock" / "services" / digest
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Beside the target and renamed: what was interrupted never looks whole, and of two who do it at once one wins.
        made = Path(tempfile.mkdtemp(prefix=f"{digest}.", dir=folder.parent))
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(made)
        with suppress(OSError):
            made.rename(folder)
        if made.exists():
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise Failure(
            f"the servers cannot be unpacked into {folder.parent}: {error.strerror}", next_step="set XDG_CACHE_HOME to a folder of yours"
        ) from None
    if not folder.is_dir():
        raise Failure(f"the servers cannot be unpacked into {folder.parent}", next_step="set XDG_CACHE_HOME to a folder of yours")
    return folder


def check_packages() -> None:
    """Raise Failure when packages that a serve needs are not installed."""
    _check("serving", NEEDED, "serve")


def check_stack_packages() -> None:
    """Raise Failure when packages that a stack needs are not installed."""
    _check("a stack", NEEDED_BY_STACK, "mesh")


def check_emergency_packages() -> None:
    """Raise Failure when packages that signed routes need are not installed."""
    _check("breaking the glass", NEEDED_BY_EMERGENCY, "mesh")


def check_signing_packages() -> None:
    """Raise Failure when packages that signatures of versions need are not installed."""
    _check("signing", NEEDED_BY_EMERGENCY, "mesh")


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
