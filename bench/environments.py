"""Environments of the peers: each its own, under .cache/peers, with every package pinned in bench/peers/<name>.txt."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = Path(__file__).resolve().parent / "peers"
PLACE = ROOT / ".cache" / "peers"
INSTALL_SECONDS = 300


class PeerAbsent(Exception):
    """A peer cannot take part; the text says why and goes into the table."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An installed environment."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return next((self.folder / "lib").glob("python3.*/site-packages"))


def environment(name: str) -> Environment:
    """Return the environment of a peer, made or made anew when its pins changed.

    Raises:
        PeerAbsent: uv is missing, or a package cannot be installed.
    """
    pins = PINS / f"{name}.txt"
    made = Environment(PLACE / name)
    stamp = made.folder / ".pins"
    wanted = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return made
    uv = _uv()
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(made.folder)])
    _run([uv, "pip", "install", "--quiet", "--python", str(made.python), "-r", str(pins)])
    stamp.write_text(wanted)
    return made


def _uv() -> str:
    ours = ROOT / ".cache" / "bin" / "uv"
    found = str(ours) if ours.exists() else shutil.which("uv")
    if found is None:
        raise PeerAbsent("uv is not there: run make setup")
    return found


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise PeerAbsent(f"{command[1]} took longer than {INSTALL_SECONDS} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise PeerAbsent(f"not installed: {' '.join(last)[:300]}")
