"""Models, their versions and aliases: what may be deployed, and under which names it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from penstock.contracts.errors import AlreadyExists, Conflict, InvalidInput, ModelNotFound, NotFound, VersionNotFound
from penstock.contracts.graphs import Graph
from penstock.contracts.names import check_version_name
from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing, check_revision
from services.controller.deployment_values import Deployment
from services.controller.graph_steps import check_graph_steps
from services.controller.model_values import Alias, Model, Version, VersionState
from services.controller.ports import Unit
from services.controller.route_writing import publish_route
from services.controller.traffic_plan import route_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is said of a model; None leaves it."""

    description: str | None = None
    framework: str | None = None
    owner: str | None = None


class Registry:
    """Registers versions and gives them names."""

    def __init__(self, changes: Changes) -> None:
        """Keep the way to write."""
        self._changes = changes

    async def describe(self, model: str, description: Description, intent: Intent) -> Outcome[Model]:
        """Say what a model is; a name that is not there becomes a model without versions."""

        async def work(writing: Writing) -> Made[Model]:
            held = await writing.unit.models.get(model)
            check_revision(intent, held.revision if held else 0, held)
            return await _describe(writing, held, model, description)

        command = Command(action="model.describe", answer=Model, subject=f"model/{model}", request=description)
        return await self._changes.make(intent, command, work)

    async def register(self, version: Version, description: Description, intent: Intent) -> Outcome[Version]:
        """Register a version; the same files under the same name again change nothing.

        A version without a name gets the next number; the same files have the number that they got first.

        Raises:
            AlreadyExists: the name has other files, or is an alias.
        """

        async def work(writing: Writing) -> Made[Version]:
            return await _register(writing, version, description)

        command = Command(
            action="version.register",
            answer=Version,
            subject=f"model/{version.model}",
            request=[version, description],
        )
        return await self._changes.make(intent, command, work)

    async def check_graph(self, model: str, graph: Graph) -> None:
        """Refuse a graph whose steps name what is not registered, or do not fit what is; raises what `check_graph_steps` raises."""
        async with self._changes.reading() as unit:
            await check_graph_steps(unit, model, graph)

    async def withdraw(self, model: str, version: str, state: VersionState, intent: Intent) -> Outcome[Version]:
        """Say that a version is failed or deleted: it is not deployed again; `intent.why` is kept with it.

        Raises:
            VersionNotFound: there is none.
            Conflict: a deployment, a route or an alias still needs it.
        """

        async def work(writing: Writing) -> Made[Version]:
            held = await known_version(writing.unit, model, version)
            await _check_unused(writing.unit, held)
            await writing.unit.versions.set_state(model, version, state, intent.why)
            return Made(value=replace(held, state=state, reason=intent.why), before=held.state, after=state)

        command = Command(action=f"version.{state.value}", answer=Version, subject=f"model/{model}/version/{version}", request=state.value)
        return await self._changes.make(intent, command, work)

    async def set_alias(self, model: str, alias: str, version: str, intent: Intent) -> Outcome[Model]:
        """Give a version another name, or take the name away when `version` is empty; the model's route learns it.

        Raises:
            ModelNotFound, VersionNotFound, NotFound: the model, the version, or the alias to take away.
            AlreadyExists: a version has that name.
        """

        async def work(writing: Writing) -> Made[Model]:
            held = await known_model(writing.unit, model)
            check_revision(intent, held.revision, held)
            before = await writing.unit.aliases.of(model)
            await _move_alias(writing, held, alias, version)
            after = await writing.unit.aliases.of(model)
            if after == before:
                return Made(value=held, before=before, after=after)
            await publish_route(writing, await writing.unit.routes.latest(model))
            changed = replace(held, revision=held.revision + 1, changed_time=writing.time)
            await writing.unit.models.replace(changed)
            return Made(value=changed, before=before, after=after, revision=changed.revision)

        command = Command(action="alias.set", answer=Model, subject=f"model/{model}", request={"alias": alias, "version": version})
        return await self._changes.make(intent, command, work)


async def known_model(unit: Unit, model: str) -> Model:
    """Return the model of that name.

    Raises:
        ModelNotFound: there is none.
    """
    held = await unit.models.get(model)
    if held is None:
        raise absent_model(model)
    return held


def absent_model(model: str) -> ModelNotFound:
    """Return the refusal of a model that is not there, or not the caller's: in the same words."""
    return ModelNotFound(f"there is no model {model[:80]!r}")


async def known_version(unit: Unit, model: str, version: str) -> Version:
    """Return the version of that name.

    Raises:
        ModelNotFound, VersionNotFound: there is none.
    """
    held = await unit.versions.get(model, version)
    if held is None:
        await known_model(unit, model)
        raise VersionNotFound(f"model {model!r} has no version {version[:80]!r}")
    return held


async def known_versions(unit: Unit, model: str, versions: Iterable[str]) -> Mapping[str, Version]:
    """Return the versions of those names, in the order of the names.

    Raises:
        ModelNotFound, VersionNotFound: one of them is not there.
    """
    names = sorted(set(versions))
    if not names:
        return {}
    held = await unit.versions.named(model, names)
    return {name: held.get(name) or await known_version(unit, model, name) for name in names}


async def _describe(writing: Writing, held: Model | None, name: str, description: Description) -> Made[Model]:
    old = held or Model(name=name, created_time=writing.time)
    new = replace(
        old,
        description=old.description if description.description is None else description.description,
        framework=old.framework if description.framework is None else description.framework,
        owner=old.owner if description.owner is None else description.owner,
        changed_time=writing.time,
    )
    if held is None:
        await writing.unit.models.add(new)
        return Made(value=new, before=None, after=new, revision=1)
    if replace(new, changed_time=held.changed_time) == held:
        return Made(value=held, before=held, after=held)
    new = replace(new, revision=held.revision + 1)
    await writing.unit.models.replace(new)
    return Made(value=new, before=held, after=new, revision=new.revision)


async def _register(writing: Writing, version: Version, description: Description) -> Made[Version]:
    unit = writing.unit
    if not version.version:
        version = await _named(unit, version)
    held = await unit.versions.get(version.model, version.version)
    if held is not None:
        if held.digest == version.digest and held.state is VersionState.REGISTERED:
            return Made(value=held, before=held.digest, after=held.digest)
        raise AlreadyExists(
            f"version {version.version!r} of model {version.model!r} is {held.state.value} with the digest {held.digest[:12]}: "
            "a version never changes, register another one"
        )
    if version.version in await unit.aliases.of(version.model):
        raise AlreadyExists(f"{version.version!r} is an alias of model {version.model!r}: choose another name")
    await _describe(writing, await unit.models.get(version.model), version.model, description)
    registered = replace(version, created_time=writing.time, created_by=version.created_by or writing.intent.actor, healthy_time=None)
    await unit.versions.add(registered)
    return Made(value=registered, before=None, after=registered)


async def _named(unit: Unit, version: Version) -> Version:
    versions = await unit.versions.of(version.model)
    same = next((held for held in versions if held.digest == version.digest and held.state is VersionState.REGISTERED), None)
    taken = [int(name) for name in (*(held.version for held in versions), *await unit.aliases.of(version.model)) if name.isdecimal()]
    return replace(version, version=same.version if same else str(max(taken, default=0) + 1))


async def _move_alias(writing: Writing, model: Model, alias: str, version: str) -> None:
    unit = writing.unit
    if not version:
        if alias not in await unit.aliases.of(model.name):
            raise NotFound(f"model {model.name!r} has no alias {alias[:80]!r}", reason="ALIAS_NOT_FOUND")
        await unit.aliases.remove(model.name, alias)
        return
    if check_version_name(alias) == "latest":
        raise InvalidInput(
            "'latest' is no alias: it would mean another version every day; name a version", reason="BAD_NAME", field="alias"
        )
    if await unit.versions.get(model.name, alias):
        raise AlreadyExists(f"model {model.name!r} has a version {alias!r}: choose another alias")
    held = await known_version(unit, model.name, version)
    check_deployable(held)
    await unit.aliases.put(Alias(model=model.name, alias=alias, version=version, changed_time=writing.time))


def check_deployable(version: Version) -> None:
    """Refuse a version that is failed, deleted or damaged.

    Raises:
        Conflict: it is.
    """
    if version.state is not VersionState.REGISTERED:
        raise Conflict(
            f"version {version.version!r} of model {version.model!r} is {version.state.value}: {version.reason or 'no reason is known'}",
            reason="VERSION_NOT_DEPLOYABLE",
        )
    if version.damage:
        raise Conflict(
            f"the files of version {version.version!r} of model {version.model!r} are not as they were registered: "
            "restore them in the store, or register another version",
            reason="VERSION_NOT_DEPLOYABLE",
        )


async def _check_unused(unit: Unit, version: Version) -> None:
    deployments: tuple[Deployment, ...] = await unit.deployments.of(version.model)
    running = [each.id for each in deployments if each.version == version.version and not each.is_over]
    aliases = [alias for alias, target in (await unit.aliases.of(version.model)).items() if target == version.version]
    route = await unit.routes.latest(version.model)
    routed = route is not None and route.route is not None and version.version in route_versions(route.route)
    if running or aliases or routed:
        where = [f"deployment {one}" for one in running] + [f"alias {one}" for one in aliases] + (["the route"] if routed else [])
        raise Conflict(f"version {version.version!r} of model {version.model!r} is in use: {', '.join(where)}", reason="IN_USE")
