"""Tenants and their keys. Every change publishes the whole tenant: routers refuse a revoked key as soon as they have read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from penstock.contracts.api_keys import DEFAULT_ENVIRONMENT
from penstock.contracts.errors import InvalidInput, InvalidSpec, NotFound
from penstock.contracts.names import check_name
from penstock.contracts.tenant_records import KeyRecord, TenantRecord
from penstock.contracts.topics import TENANTS
from services.controller import administrators
from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing, check_revision
from services.controller.documents import canonical, to_document
from services.controller.key_making import hash_of, new_key
from services.controller.ports import Unit
from services.controller.secrecy import redacted_text
from services.controller.tenant_checks import settings_problems
from services.controller.tenant_values import ApiKey, Tenant

LONGEST_TENANT = 200
"""Characters of a tenant's name: with the id of a key it is an actor of the audit, which has 255."""

LONGEST_LIFE_SECONDS = 100 * 365 * 86_400.0
"""The longest life of a key that ends at all: what lies far beyond has no date that could be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUpdate:
    """What is to change of a tenant; None leaves it."""

    settings: Mapping[str, object] | None = None
    frozen: bool | None = None
    force: bool = False
    """Even if no administrator's key stays in force."""

    @property
    def is_emergency(self) -> bool:
        """Whether it only freezes or thaws, and so is done while writes are frozen."""
        return self.settings is None and self.frozen is not None


class Tenancy:
    """Makes and changes tenants and keys."""

    def __init__(self, changes: Changes, *, pepper: bytes = b"", environment: str = DEFAULT_ENVIRONMENT) -> None:
        """Keep the way to write, the secret that keys are hashed under, which the routers have too, and the environment that keys name."""
        self._environment = environment
        self._changes = changes
        self._pepper = pepper

    async def set_tenant(self, name: str, update: TenantUpdate, intent: Intent) -> Outcome[Tenant]:
        """Make a tenant, or change one; only who is there is frozen or thawed.

        Raises:
            InvalidInput, InvalidSpec: the name or the settings are not valid.
            NotFound: there is nobody of that name to freeze or thaw.
            Conflict: the revision is stale, or no administrator would be left.
        """
        check_tenant_name(name)
        if problems := settings_problems(update.settings or {}):
            listed = "; ".join(f"{pointer} {problem}" for pointer, problem in problems)
            raise InvalidSpec(f"tenant {name}: {listed}", details=problems, field=problems[0][0])

        async def work(writing: Writing) -> Made[Tenant]:
            held = await known_tenant(writing.unit, name) if update.is_emergency else await writing.unit.tenants.get(name)
            check_revision(intent, held.revision if held else 0, held)
            old = held or Tenant(name=name, revision=0, created_time=writing.time)
            new = replace(
                old,
                settings=old.settings if update.settings is None else update.settings,
                frozen=old.frozen if update.frozen is None else update.frozen,
            )
            if new == held:
                return Made(value=new, before=held, after=new)
            could_act = not update.force and await administrators.can_act(writing.unit)
            made = await written(writing, held, new)
            await administrators.check_one_stays(writing.unit, could_act=could_act, what=f"this change of tenant {name!r}")
            return made

        command = Command(action="tenant.set", answer=Tenant, subject=f"tenant/{name}", request=update, is_emergency=update.is_emergency)
        return await self._changes.make(intent, command, work)

    async def create_key(self, tenant: str, life_seconds: float | None, intent: Intent) -> tuple[str, Outcome[ApiKey]]:
        """Make a key and return it, this once; what is kept is its hash.

        Returns:
            The key, empty when the request is repeated or a dry run: it was shown already, or does not exist.

        Raises:
            NotFound: there is no such tenant.
            InvalidInput: its life is none.
            Conflict: the tenant's revision is stale.
        """
        check_life(life_seconds)
        key_id, key = new_key(self._environment)

        async def work(writing: Writing) -> Made[ApiKey]:
            held = await known_tenant(writing.unit, tenant)
            check_revision(intent, held.revision, held)
            made = ApiKey(
                key_id=key_id,
                tenant=tenant,
                hash=hash_of(key, self._pepper),
                created_by=writing.intent.actor,
                created_time=writing.time,
                expires_time=None if life_seconds is None else writing.time + life_seconds,
            )
            await writing.unit.keys.add(made)
            owner = await written(writing, held, held)
            return Made(value=made, before=None, after=shown(made), revision=owner.revision)

        command = Command(action="key.create", answer=ApiKey, subject=f"tenant/{tenant}", request={"life_seconds": life_seconds})
        outcome = await self._changes.make(intent, command, work)
        return "" if outcome.is_repeat or outcome.is_dry_run else key, outcome

    async def revoke_key(self, tenant: str, key_id: str, intent: Intent, *, force: bool = False) -> Outcome[ApiKey]:
        """Refuse a key from now on; once is for ever, and revoking it again changes nothing.

        Raises:
            NotFound: the tenant has no such key.
            Conflict: it is the last key of an administrator, and `force` is not said; the tenant's revision is stale.
        """

        async def work(writing: Writing) -> Made[ApiKey]:
            owner = await known_tenant(writing.unit, tenant)
            held = await writing.unit.keys.get(key_id)
            if held is None or held.tenant != tenant:
                raise NotFound(f"tenant {tenant!r} has no key {redacted_text(key_id)[:40]!r}", reason="KEY_NOT_FOUND")
            if held.revoked_time is not None:
                return Made(value=held, before=held.key_id, after=held.key_id)
            check_revision(intent, owner.revision, owner)
            could_act = not force and await administrators.can_act(writing.unit)
            revoked = replace(held, revoked_time=writing.time)
            await writing.unit.keys.replace(revoked)
            await administrators.check_one_stays(writing.unit, could_act=could_act, what=f"revoking {key_id!r}")
            made = await written(writing, owner, owner)
            return Made(value=revoked, before=shown(held), after=shown(revoked), revision=made.revision)

        asked = {"key_id": key_id, "force": force}
        command = Command(action="key.revoke", answer=ApiKey, subject=f"tenant/{tenant}", request=asked, is_emergency=True)
        return await self._changes.make(intent, command, work)


def check_tenant_name(name: str) -> str:
    """Return the name when it is valid.

    Raises:
        InvalidInput: it is not, or longer than LONGEST_TENANT.
    """
    return check_name("tenant", name, limit=LONGEST_TENANT, field="tenant")


def check_life(life_seconds: float | None) -> None:
    """Refuse a life of a key that is none; None is for ever.

    Raises:
        InvalidInput: it would be over before it begins, or end after LONGEST_LIFE_SECONDS.
    """
    if life_seconds is not None and not 0 < life_seconds <= LONGEST_LIFE_SECONDS:
        limit = f"longer than 0 seconds and at most {LONGEST_LIFE_SECONDS:.0f} (100 years)"
        raise InvalidInput(f"a key lives {limit}, not {life_seconds:g}: leave it out for a key that never expires", field="life_seconds")


async def known_tenant(unit: Unit, name: str) -> Tenant:
    """Return the tenant of that name.

    Raises:
        NotFound: there is none.
    """
    held = await unit.tenants.get(name)
    if held is None:
        raise NotFound(f"there is no tenant {name[:80]!r}", reason="TENANT_NOT_FOUND")
    return held


def tenant_record(tenant: Tenant, keys: Iterable[ApiKey], epoch: int) -> TenantRecord:
    """Return what routers are told of a tenant."""
    return TenantRecord(
        tenant=tenant.name,
        revision=tenant.revision,
        keys=tuple(
            KeyRecord(key_id=key.key_id, hash=key.hash, expires_time=key.expires_time or 0.0, revoked=key.revoked_time is not None)
            for key in keys
        ),
        settings_json=canonical(tenant.settings) if tenant.settings else "",
        frozen=tenant.frozen,
        writer_epoch=epoch,
    )


async def written(writing: Writing, held: Tenant | None, new: Tenant) -> Made[Tenant]:
    """Write a tenant down under its next revision, and publish it with its keys as they stand now."""
    new = replace(new, revision=new.revision + 1, changed_time=writing.time)
    await (writing.unit.tenants.add(new) if held is None else writing.unit.tenants.replace(new))
    await administrators.remember(writing, new)
    record = tenant_record(new, await writing.unit.keys.of(new.name), writing.epoch)
    await writing.publish(TENANTS, new.name, lambda number: replace(record, sequence=number).to_bytes())
    return Made(value=new, before=held, after=new, revision=new.revision)


def shown(key: ApiKey) -> Mapping[str, object]:
    """Return what the audit keeps of a key: more people read it than the table of keys, so not even the hash."""
    return {name: held for name, held in to_document(key).items() if name != "hash"}
