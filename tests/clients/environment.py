"""Environments that hold one third-party client each; their packages never meet ours.

An environment lies at `.cache/clients/<name>-<digest>`, where the digest covers the pinned requirements and the interpreter: changed pins
make a new environment, unchanged ones are found again. It is built aside and moved into place whole, so that two sessions at once, or
one that is killed, leave no half of one behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

REPO = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("environments")
CACHE = REPO / ".cache" / "clients"

_HIDDEN = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"})
"""Variables that would let our environment be found, or another one be changed."""
_SLOWING = frozenset({"PYTHONDONTWRITEBYTECODE"})
"""Without bytecode every script would compile its client again, which is most of its time."""
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment with one client in it."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    def run(self, *command: str | Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run its interpreter, outside of this checkout and without a way into our environment."""
        # Clients must reach 127.0.0.1 itself, and grpc's forks must not talk about it.
        variables = {name: value for name, value in clean_variables().items() if name.lower() not in _PROXIES}
        variables |= {"GRPC_VERBOSITY": "ERROR"}
        with tempfile.TemporaryDirectory(prefix="ps-client-") as folder:
            # -P: the folder of a script is not on the path, so that nothing beside it can be imported either.
            return subprocess.run(
                [self.python, "-P", *command],
                cwd=folder,
                env=variables,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )


def provide(name: str) -> Environment:
    """Return the environment of `environments/<name>.txt`; build it when it is not there."""
    requirements = REQUIREMENTS / f"{name}.txt"
    digest = sha256(requirements.read_bytes() + f"{sys.implementation.cache_tag} {sys.platform} {os.uname().machine}".encode()).hexdigest()
    place = Environment(root=CACHE / f"{name}-{digest[:16]}")
    if not place.python.exists():
        _build(place, requirements)
    return place


def _build(place: Environment, requirements: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.root.name}-", dir=CACHE) as aside:
        made = Environment(root=Path(aside) / "venv")
        _uv("venv", "--quiet", "--relocatable", "--python", sys.executable, made.root)
        _uv("pip", "install", "--quiet", "--no-deps", "--python", made.python, "--requirements", requirements)
        try:
            made.root.rename(place.root)
        except OSError:
            # Another session was quicker; an environment that is broken may be replaced by hand only.
            if not place.python.exists():
                raise


def clean_variables() -> dict[str, str]:
    """Return the variables of this process without those that lead into our environment."""
    return {name: value for name, value in os.environ.items() if name not in _HIDDEN | _SLOWING} | {"UV_PYTHON_DOWNLOADS": "never"}


def _uv(*arguments: str | Path) -> None:
    # Without the network first: a warm cache answers in a second, and a test run does not depend on an index being there.
    ours = REPO / ".cache" / "bin" / "uv"
    found = str(ours) if ours.exists() else shutil.which("uv")
    assert found, "uv is missing: run `make setup`"
    for way in (["--offline"], []):
        command = [found, *arguments, *way]
        ended = subprocess.run(command, cwd=CACHE, env=clean_variables(), capture_output=True, text=True, timeout=240, check=False)
        if ended.returncode == 0:
            return
    raise AssertionError(f"uv {' '.join(map(str, arguments))}\n{ended.stdout}\n{ended.stderr}")
