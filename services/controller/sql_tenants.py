"""Tenants, keys and settings in SQL."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Double, bindparam, or_, update
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

    async def used(self, uses: Mapping[str, float]) -> None:
        """Note when keys were last used, by id; an earlier time than the one that is there, and an id that nobody has, change nothing."""
        columns, used_time = schema.keys.c, bindparam("used_time", type_=Double)
        is_later = or_(columns.last_used_time.is_(None), columns.last_used_time < used_time)
        statement = update(schema.keys).where(columns.key_id == bindparam("of_key"), is_later).values(last_used_time=used_time)
        rows = [{"of_key": key_id, "used_time": time} for key_id, time in sorted(uses.items())]
        await self._rows.connection.execute(statement, rows)


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
