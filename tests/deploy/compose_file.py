"""The compose file as its tests read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"


def compose_file() -> dict[str, Any]:
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


def command_of(service: dict[str, Any]) -> list[str]:
    """Return what a container of ours runs."""
    return [*service.get("entrypoint", ()), *service.get("command", ())]


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Give source, target and whether it may be written."""
    for mount in service.get("volumes", ()):
        source, target, *mode = mount.split(":")
        yield source, target, mode != ["ro"]


def on_this_machine(service: dict[str, Any], path: str) -> Path:
    """Return the file of the checkout that a container sees at `path`."""
    return next(COMPOSE / source for source, target, _ in mounts(service) if target == path)
