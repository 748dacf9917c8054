"""Tenants and keys over the wire."""

from __future__ import annotations

from penstock.v1 import controller_pb2 as pb
from services.controller.callers import Caller
from services.controller.deployments_servicer import settings_of
from services.controller.ports import Catalogue
from services.controller.servicer_messages import asked, change_message, key_message, tenant_message
from services.controller.tenancy import Tenancy, TenantUpdate, known_tenant


class TenantsServicer:
    """Answers what is about tenants."""

    def __init__(self, tenancy: Tenancy, catalogue: Catalogue) -> None:
        """Keep the use case and what it has written."""
        self._tenancy = tenancy
        self._catalogue = catalogue

    async def set_tenant(self, caller: Caller, request: pb.SetTenantRequest) -> pb.SetTenantResponse:
        """Make or change a tenant."""
        update = TenantUpdate(
            settings=settings_of(request.settings_json) if request.settings_json else None,
            frozen=request.frozen if request.HasField("frozen") else None,
            force=request.force,
        )
        outcome = await self._tenancy.set_tenant(request.tenant, update, caller.intent(asked(request.options)))
        async with self._catalogue.reading() as unit:
            keys = await unit.keys.of(request.tenant)
        return pb.SetTenantResponse(tenant=tenant_message(outcome.value, keys), change=change_message(outcome))

    async def list_tenants(self, _: Caller, __: pb.ListTenantsRequest) -> pb.ListTenantsResponse:
        """List the tenants by name."""
        async with self._catalogue.reading() as unit:
            found = [tenant_message(tenant, await unit.keys.of(tenant.name)) for tenant in await unit.tenants.all()]
        return pb.ListTenantsResponse(tenants=found)

    async def create_key(self, caller: Caller, request: pb.CreateKeyRequest) -> pb.CreateKeyResponse:
        """Make a key."""
        intent = caller.intent(asked(request.options))
        secret, outcome = await self._tenancy.create_key(request.tenant, request.life_seconds or None, intent)
        return pb.CreateKeyResponse(key=secret, record=key_message(outcome.value), change=change_message(outcome))

    async def revoke_key(self, caller: Caller, request: pb.RevokeKeyRequest) -> pb.RevokeKeyResponse:
        """Refuse a key from now on."""
        intent = caller.intent(asked(request.options))
        outcome = await self._tenancy.revoke_key(request.tenant, request.key_id, intent, force=request.force)
        async with self._catalogue.reading() as unit:
            tenant = await known_tenant(unit, request.tenant)
            keys = await unit.keys.of(request.tenant)
        return pb.RevokeKeyResponse(tenant=tenant_message(tenant, keys), change=change_message(outcome))
