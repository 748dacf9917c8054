"""Makes the mesh be as a manifest says: all of its changes in one transaction, or none.

The same manifest again changes nothing; every change has its own audit record, as if it had been asked for by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from penstock.contracts.errors import InvalidInput, VersionNotFound
from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing
from services.controller.deployments import Deployments, Fleet
from services.controller.ledger_values import AuditRecord
from services.controller.manifest_steps import Deploy, HeldModel, Name, Pin, Scale, Shade, Share, Step, Update, Wait, steps_to
from services.controller.manifest_values import VersionWish, Wish
from services.controller.manifests import wishes_in
from services.controller.model_values import VersionState
from services.controller.ports import Unit
from services.controller.registry import Registry, known_model
from services.controller.traffic import RouteUpdate, Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a manifest took."""

    changes: tuple[AuditRecord, ...] = ()
    pending: tuple[str, ...] = ()
    """What waits for a version to be ready."""


class Applying:
    """Applies manifests."""

    def __init__(self, changes: Changes, fleet: Fleet) -> None:
        """Keep the way to write, and who could hold what is deployed."""
        self._changes = changes
        self._fleet = fleet

    async def apply(self, manifest: str, intent: Intent) -> Outcome[Applied]:
        """Make what a manifest names be as it says.

        Raises:
            RequestTooLarge, MalformedBody, InvalidSpec: the manifest cannot be read, or asks for what cannot be.
            InvalidInput: the caller names a revision, which a manifest has none of.
            ModelNotFound, VersionNotFound, NotFound: it names what is not registered.
            Conflict: the state of the mesh forbids it; nothing of the manifest was done.
        """
        if intent.expected_revision is not None:
            raise InvalidInput("a manifest has no revision of its own: leave it out", field="expected_revision")
        wishes = wishes_in(manifest)

        async def work(writing: Writing) -> Made[Applied]:
            parts = _Parts(self._changes.within(writing.unit), self._fleet, replace(intent, idempotency_key=""))
            for wish in wishes:
                await parts.fulfil(writing.unit, wish)
            # Every part has its audit record; the whole has none of its own.
            return Made(value=Applied(changes=tuple(parts.made), pending=tuple(parts.pending)), before=None, after=None)

        command = Command(action="manifest.apply", answer=Applied, subject="manifest", request=wishes)
        return await self._changes.make(intent, command, work)


class _Parts:
    """The changes of one manifest."""

    def __init__(self, changes: Changes, fleet: Fleet, intent: Intent) -> None:
        self._registry, self._deployments, self._traffic = Registry(changes), Deployments(changes, fleet), Traffic(changes)
        self._intent = intent
        self.made: list[AuditRecord] = []
        self.pending: list[str] = []

    async def fulfil(self, unit: Unit, wish: Wish) -> None:
        """Take the steps towards one wish."""
        await known_model(unit, wish.model)
        wish = replace(wish, versions=tuple([await _resolved(unit, wish.model, one) for one in wish.versions]))
        held = await unit.routes.latest(wish.model)
        steps = steps_to(
            wish,
            HeldModel(
                deployments=await unit.deployments.of(wish.model),
                route=held.route if held else None,
                aliases=await unit.aliases.of(wish.model),
            ),
        )
        for step in steps:
            if isinstance(step, Wait):
                self.pending.append(step.what)
            else:
                self._note(await self._take(wish.model, step))

    async def _take(self, model: str, step: Step) -> AuditRecord | None:
        intent = self._intent
        match step:
            case Deploy():
                return (await self._deployments.create(step.spec, intent)).change
            case Scale():
                return (await self._deployments.scale(step.deployment_id, step.scaling, intent)).change
            case Name():
                return (await self._registry.set_alias(model, step.alias, step.version, intent)).change
            case Share():
                return (await self._traffic.set_weights(model, step.weights, intent)).change
            case Update():
                update = RouteUpdate(routing_key=step.routing_key, fallback=step.fallback)
                return (await self._traffic.update(model, update, intent)).change
            case Shade():
                return (await self._traffic.set_shadow(model, step.shadow, intent)).change
            case Pin():
                return (await self._traffic.pin(model, step.tenant, step.version, intent)).change
            case Wait():
                return None

    def _note(self, change: AuditRecord | None) -> None:
        if change is not None:
            self.made.append(change)


async def _resolved(unit: Unit, model: str, wanted: VersionWish) -> VersionWish:
    if wanted.version or not wanted.source:
        return wanted
    versions = [one for one in await unit.versions.of(model) if one.state is VersionState.REGISTERED]
    found = [one.version for one in versions if _is_same(str(one.metadata.get("source", "")), wanted.source)]
    if not found:
        raise VersionNotFound(
            f"no version of model {model!r} was registered from {wanted.source[:200]!r}: "
            f"`penstock models register {model} {wanted.source[:200]}` does that"
        )
    return replace(wanted, version=found[-1])


def _is_same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")
