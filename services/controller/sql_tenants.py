"""Tenants, keys and settings in SQL."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.controller import sql_schema as schema
from services.controller.sql_tables import Rows
from services.controller.tenant_values import ApiKey, Setting, Tenant


class SqlTenants:
    """Tenants, by name."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.tenants, Tenant)

    async def get(self, name: str) -> Tenant | None:
        """Return the tenant of that name."""
        return await self._rows.one(schema.tenants.c.name == name)

    async def all(self) -> tuple[Tenant, ...]:
        """Return all tenants, by name."""
        return await self._rows.many(self._rows.query().order_by(schema.tenants.c.name))

    async def add(self, tenant: Tenant) -> None:
        """Add a new tenant."""
        await self._rows.add(tenant)

    async def replace(self, tenant: Tenant) -> None:
        """Write all fields of one that is there."""
        await self._rows.replace(tenant)


class SqlKeys:
    """API keys, by id."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.keys, ApiKey)

    async def get(self, key_id: str) -> ApiKey | None:
        """Return the key of that id."""
        return await self._rows.one(schema.keys.c.key_id == key_id)

    async def of(self, tenant: str) -> tuple[ApiKey, ...]:
        """Return a tenant's keys, oldest first."""
        columns = schema.keys.c
        return await self._rows.many(self._rows.query().where(columns.tenant == tenant).order_by(columns.created_time, columns.key_id))

    async def add(self, key: ApiKey) -> None:
        """Add a new key."""
        await self._rows.add(key)

    async def replace(self, key: ApiKey) -> None:
        """Write all fields of one that is there."""
        await self._rows.replace(key)


class SqlSettings:
    """Settings of the platform, by name."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.settings, Setting)

    async def get(self, name: str) -> Setting | None:
        """Return the setting of that name."""
        return await self._rows.one(schema.settings.c.name == name)

    async def all(self) -> tuple[Setting, ...]:
        """Return all settings, by name."""
        return await self._rows.many(self._rows.query().order_by(schema.settings.c.name))

    async def put(self, setting: Setting) -> None:
        """Add or replace one."""
        await self._rows.put(setting)
