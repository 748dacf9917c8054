"""Asks whether what a graph is made of is registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from penstock.contracts.errors import Conflict
from services.controller.model_values import Version, VersionState
from services.controller.ports import Unit

STEPS = "steps"
"""Where a graph's registration wrote its steps."""


async def check_steps(unit: Unit, version: Version) -> None:
    """Refuse a graph whose steps name what is not registered; other versions have no steps.

    Raises:
        Conflict: with every step that lacks its model or version (STEP_NOT_REGISTERED).
    """
    listed = version.metadata.get(STEPS, ())
    steps = cast("Sequence[Mapping[str, str]]", listed if isinstance(listed, list | tuple) else ())
    missing = [
        f"step {step['step']!r} ({_named(step)})" for step in steps if not await _is_registered(unit, step["model"], step["version"])
    ]
    if missing:
        message = f"graph {version.model}@{version.version} cannot run: register first what is missing: {', '.join(missing)}"
        raise Conflict(message, reason="STEP_NOT_REGISTERED", field="version")


async def _is_registered(unit: Unit, model: str, version: str) -> bool:
    held = await unit.versions.of(model)
    names = {one.version for one in held if one.state is VersionState.REGISTERED}
    if not version:
        return bool(names)
    return version in names or (await unit.aliases.of(model)).get(version) in names


def _named(step: Mapping[str, str]) -> str:
    return f"{step['model']}@{step['version']}" if step["version"] else step["model"]
