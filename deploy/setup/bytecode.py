"""Leave bytecode of all that our processes import: `.venv/bin/python deploy/setup/bytecode.py`.

uv installs packages without it, and where PYTHONDONTWRITEBYTECODE is set Python never adds it: every process then compiles everything it
imports, half of a cold start (docs/decisions). Importing each module of ours once writes what is missing or older than its source, for
packages and for us, in a sixth of the time that compiling whole packages takes. What packages import only when they are used is named.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("penstock", "services")
PROGRAMS = ("__main__", "env")
"""Modules that do their work when they are imported: programs, and the script that alembic runs."""
LATE = (
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "pydantic.v1",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "uvicorn.lifespan.off",
)
"""What packages import only when they are used: in a controller that starts, the better part of a second."""


def modules(root: Path, packages: Sequence[str]) -> Iterator[str]:
    """Yield the names of the modules of packages, but for programs."""
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if all(part.isidentifier() for part in parts) and parts[-1] not in PROGRAMS:
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def leave(root: Path, packages: Sequence[str], late: Sequence[str] = ()) -> None:
    """Import every module and write the bytecode of all that comes with it; one whose packages are not installed is left out."""
    sys.dont_write_bytecode = False
    sys.path.insert(0, str(root))
    for name in (*modules(root, packages), *late):
        try:
            importlib.import_module(name)
        except ImportError as error:
            sys.stderr.write(f"setup: no bytecode of {name}: {error}\n")


if __name__ == "__main__":
    leave(ROOT, OURS, LATE)
