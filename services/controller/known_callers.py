"""Who calls the controller, by the keys of the catalogue: the same that open models, and only an administrator's change the mesh.

While no tenant with a key may change the mesh everybody may: there is nobody yet who could make the first key. The log says so.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable

import structlog

from penstock.contracts.errors import TenantForbidden, Unauthenticated
from services.controller.callers import Caller
from services.controller.key_making import hash_of, id_in
from services.controller.ports import Catalogue, Unit
from services.controller.tenant_values import Tenant

FRESH_SECONDS = 1.0
"""How long it is believed that there is, or is not, an administrator."""

ANONYMOUS = "anonymous"

log = structlog.get_logger(__name__)


class KnownCallers:
    """Recognises callers."""

    def __init__(self, catalogue: Catalogue, *, pepper: bytes = b"", now: Callable[[], float] = time.monotonic) -> None:
        """Keep the arguments."""
        self._catalogue = catalogue
        self._pepper = pepper
        self._now = now
        self._is_open = False
        self._looked_at = -FRESH_SECONDS

    async def of(self, key: str | None, *, writes: bool) -> Caller:
        """Return the caller of a presented key.

        Raises:
            Unauthenticated: no key where one is needed, or one that opens nothing.
            TenantForbidden: a tenant that may not change the mesh.
        """
        async with self._catalogue.reading() as unit:
            if await self._has_no_administrator(unit):
                return Caller(name=ANONYMOUS, tenant=ANONYMOUS, is_operator=True)
            caller = await self._known(unit, key)
        if writes and not caller.is_operator:
            raise TenantForbidden(f"tenant {caller.tenant!r} may call models but not change the mesh")
        return caller

    async def _known(self, unit: Unit, key: str | None) -> Caller:
        if key is None:
            raise Unauthenticated("an API key is needed: send it as 'x-api-key' or as 'authorization: Bearer …'")
        held = await unit.keys.get(id_in(key))
        is_right = held is not None and any(hmac.compare_digest(held.hash, hash_of(key, pepper)) for pepper in {b"", self._pepper})
        if held is None or not is_right or held.revoked_time is not None or (held.expires_time or unit.time + 1) <= unit.time:
            raise Unauthenticated("the API key is not known")
        tenant = await unit.tenants.get(held.tenant)
        if tenant is None or tenant.frozen:
            raise Unauthenticated("the API key is not known")
        return Caller(name=f"{tenant.name}/{held.key_id}", tenant=tenant.name, is_operator=is_operator(tenant))

    async def _has_no_administrator(self, unit: Unit) -> bool:
        if self._now() - self._looked_at < FRESH_SECONDS:
            return self._is_open
        administrators = [tenant for tenant in await unit.tenants.all() if is_operator(tenant)]
        keys = [key for tenant in administrators for key in await unit.keys.of(tenant.name) if key.revoked_time is None]
        if not keys and not self._is_open:
            log.warning("no_administrator", effect="everybody who reaches the controller may change the mesh")
        self._is_open, self._looked_at = not keys, self._now()
        return self._is_open


def is_operator(tenant: Tenant) -> bool:
    """Whether a tenant may change the mesh."""
    roles = tenant.settings.get("roles")
    return tenant.settings.get("admin") is True or (isinstance(roles, list | tuple) and "operator" in roles)
