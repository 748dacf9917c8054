"""Asks whether what a graph is made of is registered, and fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from penstock.contracts.errors import Conflict, InvalidInput
from penstock.contracts.graphs import Graph
from penstock.contracts.signature import Signature
from services.controller.graph_fit import misfits, signature_in
from services.controller.model_values import Version, VersionState
from services.controller.ports import Unit

MOST_TOLD = 8
"""Problems that a refusal names."""
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
        f"step {step['step']!r} ({_named(step['model'], step['version'])})"
        for step in steps
        if not await _is_registered(unit, step["model"], step["version"])
    ]
    if missing:
        message = f"graph {version.model}@{version.version} cannot run: register first what is missing: {', '.join(missing)}"
        raise Conflict(message, reason="STEP_NOT_REGISTERED", field="version")


async def check_graph_steps(unit: Unit, model: str, graph: Graph) -> None:
    """Refuse a graph that could not run on what is registered now.

    Raises:
        Conflict: with every step that lacks its model or version (STEP_NOT_REGISTERED).
        InvalidInput: with the steps and tensors that do not fit (STEP_MISFIT).
    """
    candidates: dict[str, tuple[Version, ...]] = {}
    for step in (one for one in graph.steps if one.model):
        candidates[step.name] = await _candidates(unit, step.model, step.version)
    missing = [f"step {one.name!r} ({_named(one.model, one.version)})" for one in graph.steps if one.model and not candidates[one.name]]
    if missing:
        message = f"graph {model} is not registered: register first what its steps need: {', '.join(missing)}"
        raise Conflict(message, reason="STEP_NOT_REGISTERED", field="source")
    signatures = {name: _signatures(found, graph) for name, found in candidates.items()}
    if problems := misfits(graph, signatures):
        listed = "; ".join(problems[:MOST_TOLD])
        raise InvalidInput(f"graph {model} is not registered: {listed}", reason="STEP_MISFIT", field="source")


async def _candidates(unit: Unit, model: str, version: str) -> tuple[Version, ...]:
    """Return the registered versions that may answer a step, oldest first."""
    held = [one for one in await unit.versions.of(model) if one.state is VersionState.REGISTERED]
    wanted = (await unit.aliases.of(model)).get(version, version)
    return tuple(one for one in held if wanted in ("", one.version))


def _signatures(versions: Sequence[Version], graph: Graph) -> tuple[Signature, ...]:
    """Return what versions take and give; nothing when that is not known of one of them, for it may be the one that answers."""
    found = [signature_in(one.signature, graph.signature.max_batch_size) for one in versions]
    return () if None in found else tuple(one for one in found if one is not None)


async def _is_registered(unit: Unit, model: str, version: str) -> bool:
    held = await unit.versions.of(model)
    names = {one.version for one in held if one.state is VersionState.REGISTERED}
    if not version:
        return bool(names)
    return version in names or (await unit.aliases.of(model)).get(version) in names


def _named(model: str, version: str) -> str:
    return f"{model}@{version}" if version else model
