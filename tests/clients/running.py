"""Runs scripts in their clients' environments, each once a session, and keeps what came of it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from services.chassis.atomic_file import write_atomically
from tests.clients.environment import provide

HERE = Path(__file__).parent
SCRIPTS: Mapping[str, Mapping[str, Any]] = tomllib.loads((HERE / "scripts.toml").read_text())
SURFACES: Mapping[str, Mapping[str, Any]] = tomllib.loads((HERE / "surfaces.toml").read_text())
LEFT_OUT: Mapping[str, Mapping[str, str]] = tomllib.loads((HERE / "left_out.toml").read_text())
SCRIPT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a script ended, and the places of the code that it entered."""

    code: int
    printed: str
    entered: frozenset[tuple[str, int]] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The runs of a session."""

    folder: Path
    values: Mapping[str, Mapping[str, str]]
    """Arguments by name, by server."""
    ended: dict[str, Outcome] = field(default_factory=dict)

    def outcome_of(self, script: str) -> Outcome:
        """Return how a script ended; it runs when it has not yet."""
        if script not in self.ended:
            given = SCRIPTS[script]
            arguments = [self.values[given["server"]][name] for name in given["arguments"]]
            self.ended[script] = self.run(HERE / "scripts" / f"{script}.py", arguments, given["environment"])
        return self.ended[script]

    def run(self, script: Path, arguments: list[str], environment: str) -> Outcome:
        """Run a script in an environment."""
        record = self.folder / f"{script.stem}-record.json"
        ended = provide(environment).run(HERE / "recorder.py", record, script, *arguments, timeout=SCRIPT_SECONDS)
        entered = json.loads(record.read_text()) if record.exists() else []
        return Outcome(
            code=ended.returncode, printed=ended.stdout + ended.stderr, entered=frozenset((file, line) for file, line in entered)
        )


def public_methods(surface: str) -> dict[str, tuple[str, int]]:
    """Return the places of a client's public methods, by name; they are listed once an environment."""
    given = json.dumps(SURFACES[surface]["of"])
    environment = provide(SURFACES[surface]["environment"])
    lister = HERE / "surface.py"
    listing = environment.root / f"surface-{sha256(given.encode() + lister.read_bytes()).hexdigest()[:16]}.json"
    if not listing.exists():
        with NamedTemporaryFile("w", suffix=".json") as asked:
            asked.write(given)
            asked.flush()
            ended = environment.run(lister, asked.name, timeout=SCRIPT_SECONDS)
        assert ended.returncode == 0, ended.stderr
        write_atomically(listing, ended.stdout.encode())
    return {name: (file, line) for name, (file, line) in json.loads(listing.read_text()).items()}
