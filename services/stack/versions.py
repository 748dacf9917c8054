"""Versions that are asked for and allowed, from deploy/local/versions.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any


def deploy_folder() -> Path:
    """Return deploy/local: beside `services` in a checkout and in the wheel's package data alike."""
    return Path(__file__).absolute().parents[2] / "deploy" / "local"


def wanted(server: str) -> dict[str, Any]:
    """Return the server's table."""
    table: dict[str, Any] = tomllib.loads((deploy_folder() / "versions.toml").read_text(encoding="utf-8"))[server]
    return table


def version_in(text: str, pattern: str) -> str | None:
    """Return what the pattern's group finds in a program's words."""
    match = re.search(pattern, text)
    return match[1] if match else None


def is_at_least(version: str, oldest: str) -> bool:
    """Whether a dotted version is not older than another."""
    return _numbers(version) >= _numbers(oldest)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
