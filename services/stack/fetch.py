"""`python -m services.stack.fetch [SERVER …]`: gets what `penstock up` would download or build, and starts nothing."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from services.chassis.process import CannotStart
from services.stack.recipe import Sources
from services.stack.recipes import RECIPES
from services.stack.server_cache import ServerCache


def cache_folder() -> Path:
    """Return where this user's servers are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "penstock"


def main(names: Sequence[str]) -> int:
    """Fetch the servers named, or all; return 1 when one cannot be had."""
    problems = 0
    with tempfile.TemporaryDirectory(prefix="penstock-fetch-") as logs:
        sources = Sources(cache=ServerCache(cache_folder(), _say), logs=Path(logs), say=_say)
        for recipe in RECIPES:
            if names and recipe.name not in names:
                continue
            try:
                found = asyncio.run(recipe.find(sources))
                _say(f"{recipe.name} {found.version} ({found.origin.value})")
            except CannotStart as problem:
                problems += 1
                _say(f"error: {problem}")
    return 1 if problems else 0


def _say(text: str) -> None:
    sys.stderr.write(f"servers: {text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
