"""Builds the wheel and installs it into environments of their own, in the versions of uv.lock and from uv's cache where it can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment with nothing in it but what the test installs."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def penstock(self) -> Path:
        return self.root / "bin" / "penstock"

    @property
    def site_packages(self) -> Path:
        return next((self.root / "lib").glob("python*/site-packages"))


def clean_environment() -> dict[str, str]:
    """Return variables that let nothing of this checkout or its environment be found."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command and return what it printed; a failure shows both streams."""
    ended = subprocess.run(command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, f"{' '.join(map(str, command))}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    _uv("build", "--wheel", "--quiet", "--out-dir", folder, REPO, cwd=folder)
    return next(folder.glob("penstock-*.whl"))


def install(wheel: Path, folder: Path, *extras: str) -> Environment:
    """Make an empty environment and install the wheel there with these extras."""
    environment = Environment(root=folder / "-".join(["base", *extras]))
    locked = folder / f"pylock.{environment.root.name}.toml"
    chosen = [word for extra in extras for word in ("--extra", extra)]
    _uv("venv", "--quiet", "--python", sys.executable, environment.root, cwd=folder)
    lock = ("--locked", "--no-default-groups", "--no-emit-project", "--format", "pylock.toml", "--quiet", "--output-file", locked)
    _uv("export", "--project", REPO, *lock, *chosen, cwd=folder)
    _uv("pip", "install", "--quiet", "--python", environment.python, "--requirements", locked, cwd=folder)
    _uv("pip", "install", "--quiet", "--python", environment.python, "--no-deps", wheel, cwd=folder)
    # The lock and the wheel's own requirements agree.
    _uv("pip", "check", "--quiet", "--python", environment.python, cwd=folder)
    return environment


def _uv(*arguments: str | Path, cwd: Path) -> None:
    # Without the network first: a warm cache answers in a second, and a test run does not depend on an index being there.
    uv = _find_uv()
    offline = subprocess.run([uv, *arguments, "--offline"], cwd=cwd, env=clean_environment(), capture_output=True, timeout=240, check=False)
    if offline.returncode != 0:
        run(uv, *arguments, cwd=cwd)


def _find_uv() -> str:
    ours = REPO / ".cache" / "bin" / "uv"
    found = str(ours) if ours.exists() else shutil.which("uv")
    assert found, "uv is missing: run `make setup`"
    return found
