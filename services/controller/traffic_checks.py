"""Refuses routes that would send somebody to what cannot answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.contracts.errors import Conflict, InvalidInput, NotFound
from penstock.contracts.routes import WHOLE, FallbackKind, Route
from services.controller.model_values import Version
from services.controller.ports import Unit
from services.controller.registry import check_deployable, known_versions
from services.controller.signature_gaps import signature_gaps

SYSTEM_TENANT = ""
"""Tenant of a kill switch that is meant for all."""


async def check_answering(unit: Unit, model: str, versions: Iterable[str]) -> None:
    """Refuse versions that nobody could answer for; all of them are named at once.

    Raises:
        VersionNotFound: one is not registered.
        Conflict: one is failed or deleted, or has no active deployment.
    """
    if known := await known_versions(unit, model, versions):
        await check_deployed(unit, model, known)


async def check_deployed(unit: Unit, model: str, versions: Mapping[str, Version]) -> None:
    """Refuse registered versions that nobody could answer for; all that have no deployment are named at once.

    Raises:
        Conflict: one is failed or deleted, or has no active deployment.
    """
    for version in versions.values():
        check_deployable(version)
    active = {each.version for each in await unit.deployments.of(model) if each.may_answer}
    missing = [name for name in versions if name not in active]
    if missing:
        raise Conflict(
            f"no deployment of model {model!r} is active for {', '.join(map(repr, missing))}: deploy it and wait until it is ready",
            reason="VERSION_NOT_READY",
            details=missing,
        )


async def check_known(unit: Unit, model: str, versions: Iterable[str]) -> None:
    """Refuse versions that are not registered; failed ones are: a kill switch may name them.

    Raises:
        ModelNotFound, VersionNotFound: one is not registered.
    """
    await known_versions(unit, model, versions)


async def check_tenants(unit: Unit, tenants: Iterable[str]) -> None:
    """Refuse tenants that the catalogue does not know.

    Raises:
        NotFound: there is no such tenant.
    """
    for name in sorted(set(tenants) - {SYSTEM_TENANT}):
        if await unit.tenants.get(name) is None:
            raise NotFound(f"there is no tenant {name[:80]!r}", reason="TENANT_NOT_FOUND")


async def check_fallback(unit: Unit, route: Route) -> None:
    """Refuse a chain that leads back to where it came from, or to a version that answers something else.

    Raises:
        InvalidInput: a step is the version that has all the traffic.
        Conflict: a step's version is not ready, or its signature differs.
    """
    steps = [step.version for step in route.fallback if step.kind is FallbackKind.VERSION]
    whole = [backend.version for backend in route.backends if backend.weight_basis_points == WHOLE]
    if back := [version for version in steps if version in whole]:
        raise InvalidInput(f"version {back[0]!r} has all the traffic and cannot be its own fallback", field="fallback")
    if not steps:
        return
    await check_answering(unit, route.model, steps)
    known = await known_versions(unit, route.model, [*steps, *(backend.version for backend in route.backends)])
    for version in steps:
        for backend in route.backends:
            if gaps := signature_gaps(known[backend.version].signature, known[version].signature):
                raise Conflict(
                    f"version {version!r} cannot stand in for {backend.version!r} of model {route.model!r}: {'; '.join(gaps)}",
                    details=gaps,
                )
