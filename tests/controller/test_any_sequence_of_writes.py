"""Any sequence of writes, each shown first, then done, then repeated: what a route, the audit and the outbox have to be after every one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from penstock.contracts.errors import Conflict, RevisionConflict, ServingError
from penstock.contracts.route_records import RouteRecord, route_to_bytes
from penstock.contracts.routes import WHOLE, FallbackKind, FallbackStep, KillSwitch, Route, Shadow
from services.controller.break_glass import BreakGlass
from services.controller.changes import Intent
from services.controller.deployment_values import DeploymentSpec, DeploymentStatus
from services.controller.route_values import RouteRevision
from services.controller.tenant_values import Tenant
from services.controller.traffic import RouteUpdate
from services.controller.traffic_plan import previous, route_versions, shares
from services.emergency.next_route import given_back, given_to
from tests.controller.stand import ANN, Stand, standing

Write = Callable[[Stand, Intent], Awaitable[Any]]

VERSIONS = ("1", "2", "3")
version = st.sampled_from(VERSIONS)


class AnySignature:
    def check(self, record: RouteRecord) -> None:
        """Take every signature."""


@dataclass(frozen=True)
class Step:
    """One write, with the words that Hypothesis shows."""

    words: tuple[object, ...]
    write: Write = field(compare=False, repr=False)


def weights(parts: dict[str, int]) -> dict[str, int]:
    total = sum(parts.values()) or 1
    points = {name: WHOLE * part // total for name, part in parts.items()}
    first = next(iter(points), "1")
    return points | {first: points.get(first, 0) + WHOLE - sum(points.values())}


def set_weights(parts: dict[str, int]) -> Step:
    wanted = weights(parts)
    return Step(("set", wanted), lambda stand, intent: stand.traffic.set_weights("m", wanted, intent))


def pin(name: str) -> Step:
    return Step(("pin", name), lambda stand, intent: stand.traffic.pin("m", "acme", name, intent))


def shadow(name: str) -> Step:
    wanted = Shadow(version=name, sample_basis_points=100) if name else None
    return Step(("shadow", name), lambda stand, intent: stand.traffic.set_shadow("m", wanted, intent))


def fallback(names: list[str]) -> Step:
    wanted = RouteUpdate(fallback=tuple(FallbackStep(kind=FallbackKind.VERSION, version=name) for name in names))
    return Step(("fallback", names), lambda stand, intent: stand.traffic.update("m", wanted, intent))


def kill(names: list[str]) -> Step:
    wanted = RouteUpdate(kill_switches=tuple(KillSwitch(version=name) for name in names))
    return Step(("kill", names), lambda stand, intent: stand.traffic.update("m", wanted, intent))


def roll_back(name: str) -> Step:
    return Step(("rollback", name), lambda stand, intent: stand.roll_back("m", name, intent))


def alias(name: str) -> Step:
    return Step(("alias", name), lambda stand, intent: stand.registry.set_alias("m", "stable", name, intent))


def delete(name: str, force: bool) -> Step:
    async def write(stand: Stand, intent: Intent) -> Any:
        async with stand.catalogue.reading() as unit:
            held = [one for one in await unit.deployments.of("m") if one.version == name]
        newest = max(held, key=lambda one: (not one.is_over, one.created_time))
        return await stand.deployments.delete(newest.id, intent, force=force)

    return Step(("delete", name, force), write)


STEPS = st.one_of(
    st.dictionaries(version, st.integers(0, 5), min_size=1).map(set_weights),
    st.sampled_from(("", *VERSIONS)).map(pin),
    st.sampled_from(("", *VERSIONS)).map(shadow),
    st.lists(version, max_size=2).map(fallback),
    st.lists(version, max_size=2, unique=True).map(kill),
    st.sampled_from(("", "", *VERSIONS)).map(roll_back),
    st.sampled_from(("", *VERSIONS)).map(alias),
    st.builds(delete, version, st.booleans()),
    version.map(lambda name: Step(("deploy", name), lambda stand, _: redeployed(stand, name))),
    st.sampled_from(("", *VERSIONS)).map(lambda name: Step(("glass", name), lambda stand, _: broken(stand, name))),
)


async def redeployed(stand: Stand, name: str) -> None:
    """Retire what drains, and have a version run again."""
    async with stand.catalogue.writing() as unit:
        held = [one for one in await unit.deployments.of("m") if one.version == name and not one.is_over]
        for one in held:
            if one.status is DeploymentStatus.DRAINING:
                await unit.deployments.replace(replace(one, status=DeploymentStatus.RETIRED))
    if all(one.status is DeploymentStatus.DRAINING for one in held):
        made = (await stand.deployments.create(DeploymentSpec(model="m", version=name), ANN)).value
        async with stand.catalogue.writing() as unit:
            await unit.deployments.replace(replace(made, status=DeploymentStatus.ACTIVE, ready_time=unit.time))


async def broken(stand: Stand, name: str) -> None:
    """Adopt, twice, what an operator signed over the route in force."""
    held = await newest(stand)
    if held is None or held.route is None or (name and name not in await answering(stand)):
        return
    if not name and (not held.route.previous or not shares(held.route.previous).keys() <= await answering(stand)):
        return
    made = (given_to(held.route, name, change_id="c", now=0.0)) if name else given_back(held.route, change_id="c", now=0.0)
    record = RouteRecord(route=made, route_bytes=route_to_bytes(made), break_glass=True, signature=b"s", key_id="alice")
    adoption = BreakGlass(stand.changes, AnySignature())
    first, second = await adoption.adopt(record), await adoption.adopt(record)
    assert (first.value.revision, second.value.revision, second.change) == (held.revision + 2, held.revision + 2, None)
    assert shares((await stand.route("m")).backends) == shares(made.backends)


async def newest(stand: Stand) -> RouteRevision | None:
    async with stand.catalogue.reading() as unit:
        return await unit.routes.latest("m")


async def answering(stand: Stand) -> set[str]:
    async with stand.catalogue.reading() as unit:
        return {one.version for one in await unit.deployments.of("m") if one.may_answer}


async def everything(stand: Stand) -> tuple[object, ...]:
    return await newest(stand), await stand.audit(), await stand.outbox(), await answering(stand)


async def outcome_of(write: Awaitable[Any]) -> Any:
    try:
        return await write
    except ServingError as refusal:
        return refusal


async def taken(stand: Stand, step: Step, number: int) -> None:
    """Show a write, do it, repeat it, and look at what each has left."""
    if step.words[0] in ("deploy", "glass"):
        await step.write(stand, ANN)
        return
    before, held = await everything(stand), await newest(stand)
    shown = await outcome_of(step.write(stand, replace(ANN, dry_run=True)))
    assert await everything(stand) == before

    intent = replace(ANN, idempotency_key=f"k{number}")
    done = await outcome_of(step.write(stand, intent))
    after = await everything(stand)
    assert type(done) is type(shown)
    audited, published = len(after[1]) - len(before[1]), len(after[2]) - len(before[2])  # type: ignore[arg-type]
    if isinstance(done, ServingError):
        assert step.words[0] != "delete" or not step.words[-1]
        assert (str(done), audited, published) == (str(shown), int(isinstance(done, Conflict)), 0)
        return
    assert [one for one in done.differences if "time" not in one.pointer] == [one for one in shown.differences if "time" not in one.pointer]
    assert audited == int(done.change is not None)
    now = await newest(stand)
    assert published == (now.revision if now else 0) - (held.revision if held else 0) <= 1
    repeated = await outcome_of(step.write(stand, intent))
    assert (repeated.value, repeated.is_repeat, await everything(stand)) == (done.value, True, after)


async def check_route(stand: Stand) -> None:
    """Look whether the route is one that can be: whole, leading nobody to what is not there, and with the way back that history has."""
    async with stand.catalogue.reading() as unit:
        history = await unit.routes.history("m", 1_000)
    assert [one.revision for one in history] == list(range(history[0].revision, 0, -1)) or any(one.break_glass for one in history)
    route = history[0].route
    if route is None:
        return
    assert sum(shares(route.backends).values()) == WHOLE
    backends_of_nobody = {one.version for one in route.backends if not one.weight_basis_points}
    assert route_versions(route) - backends_of_nobody <= await answering(stand)
    before = previous(history[1:], route)
    if route.previous:
        assert before is not None
        assert before.route is not None
        assert shares(route.previous) == shares(before.route.backends)


async def check_way_back(stand: Stand, route: Route) -> None:
    """Look whether two rollbacks lead where they began."""
    await stand.traffic.update("m", RouteUpdate(kill_switches=()), ANN)
    held = await newest(stand)
    assert held is not None
    first = await outcome_of(stand.roll_back("m", "", replace(ANN, expected_revision=held.revision)))
    if isinstance(first, ServingError):
        assert first.reason in ("ROLLBACK_TARGET", "VERSION_NOT_READY")
        return
    stale = await outcome_of(stand.traffic.set_weights("m", {"1": WHOLE}, replace(ANN, expected_revision=held.revision)))
    assert isinstance(stale, RevisionConflict)
    await stand.roll_back("m")
    assert (await stand.route("m")).backends == route.backends


async def walked(url: str, steps: list[Step]) -> None:
    async with standing(url) as stand:
        await stand.active("m", *VERSIONS)
        async with stand.catalogue.writing() as unit:
            await unit.tenants.add(Tenant(name="acme"))
        await stand.traffic.set_weights("m", {"1": 6_000, "2": 4_000}, ANN)
        await stand.traffic.pin("m", "acme", "2", ANN)
        await stand.traffic.set_shadow("m", Shadow(version="1", sample_basis_points=100), ANN)
        for number, step in enumerate(steps):
            await taken(stand, step, number)
            await check_route(stand)
        held = await newest(stand)
        if held is not None and held.route is not None:
            await check_way_back(stand, held.route)


@settings(max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=5, max_size=12))
def test_after_any_sequence_of_writes_everything_is_as_the_writes_said(sqlite_template: Path, tmp_path: Path, steps: list[Step]):
    file = shutil.copy(sqlite_template, tmp_path / "catalogue.db")
    for rest in ("-wal", "-shm"):
        (tmp_path / f"catalogue.db{rest}").unlink(missing_ok=True)

    asyncio.run(walked(f"sqlite+aiosqlite:///{file}", steps))
