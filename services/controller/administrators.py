"""Administrators: whether there ever was one, and that the mesh does not lose the last.

    nobody yet      the controller is open: there is nobody who could make the first key
    one was made    closed, for ever: a setting remembers it, whatever becomes of the key

A change that would leave no administrator's key in force is refused, for nobody could take it back from afar; `way_back.py` can, on the
controller's machine.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.contracts.errors import InvalidTransition
from services.controller.changes import Writing
from services.controller.ports import Unit
from services.controller.tenant_values import ApiKey, Setting, Tenant

ADMINISTRATOR_MADE = "administrator_made"
"""Setting that says that an administrator had a key once."""


def is_operator(tenant: Tenant) -> bool:
    """Whether a tenant may change the mesh."""
    return tenant.settings.get("admin") is True or has_role(tenant, "operator")


def has_role(tenant: Tenant, role: str) -> bool:
    """Whether a tenant has a role."""
    roles = tenant.settings.get("roles")
    return isinstance(roles, list | tuple) and role in roles


def is_in_force(key: ApiKey, now: float) -> bool:
    """Whether a key is neither revoked nor expired at `now`, in seconds since the Unix epoch."""
    return key.revoked_time is None and (key.expires_time is None or key.expires_time > now)


async def ever_was(unit: Unit) -> bool:
    """Whether an administrator had a key once."""
    if await unit.settings.get(ADMINISTRATOR_MADE) is not None:
        return True
    # A catalogue that is older than the setting.
    return bool(await _keys(unit, [one for one in await unit.tenants.all() if is_operator(one)]))


async def can_act(unit: Unit) -> bool:
    """Whether an administrator has a key in force now."""
    acting = [one for one in await unit.tenants.all() if is_operator(one) and not one.frozen]
    return any(is_in_force(key, unit.time) for key in await _keys(unit, acting))


async def remember(writing: Writing, tenant: Tenant) -> None:
    """Note, once and for ever, that an administrator has a key."""
    unit = writing.unit
    if is_operator(tenant) and await unit.settings.get(ADMINISTRATOR_MADE) is None and await unit.keys.of(tenant.name):
        await unit.settings.put(Setting(name=ADMINISTRATOR_MADE, value=True, changed_time=writing.time))


async def check_one_stays(unit: Unit, *, could_act: bool, what: str) -> None:
    """Refuse to lose the last administrator.

    Args:
        unit: what would stand.
        could_act: whether an administrator could act before.
        what: the change, for the message.

    Raises:
        InvalidTransition: no administrator's key would be in force any more.
    """
    if could_act and not await can_act(unit):
        raise InvalidTransition(
            f"{what} would leave no administrator's key in force, and nobody could change the mesh: make another administrator's key "
            "first (`penstock tenants create-key`), or say `force`; afterwards only `penstock keys administrator` on the controller's "
            "machine leads back",
            reason="LAST_ADMINISTRATOR",
        )


async def _keys(unit: Unit, tenants: Iterable[Tenant]) -> list[ApiKey]:
    return [key for one in tenants for key in await unit.keys.of(one.name)]
