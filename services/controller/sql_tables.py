"""Reads and writes frozen dataclasses in a table whose columns are their fields."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


class Rows(Generic[T]):
    """One table as values of one class."""

    def __init__(self, connection: AsyncConnection, table: Table, kind: type[T]) -> None:
        """Keep the arguments; the class has a field for every column it is read from."""
        self.connection = connection
        self.table = table
        self._kind = kind
        self._names = tuple(each.name for each in fields(kind))  # pyright: ignore[reportArgumentType] - every kind is a dataclass
        self._columns = tuple(table.c[name] for name in self._names)
        self._key = tuple(column.name for column in table.primary_key.columns)

    def query(self) -> Select[Any]:
        """Return a query for whole values."""
        return select(*self._columns)

    async def one(self, *conditions: ColumnElement[bool]) -> T | None:
        """Return the one value that meets the conditions."""
        row = (await self.connection.execute(self.query().where(*conditions))).one_or_none()
        return None if row is None else self._kind(**dict(zip(self._names, row, strict=True)))

    async def many(self, query: Select[Any]) -> tuple[T, ...]:
        """Return the values of a query."""
        rows = await self.connection.execute(query)
        return tuple(self._kind(**dict(zip(self._names, row, strict=True))) for row in rows)

    async def add(self, value: T) -> None:
        """Insert a value."""
        await self.connection.execute(insert(self.table).values(self._columns_of(value)))

    async def replace(self, value: T) -> bool:
        """Write all fields of the row with the value's key; False when there is none."""
        row = self._columns_of(value)
        conditions = [self.table.c[name] == row[name] for name in self._key]
        rest = {name: held for name, held in row.items() if name not in self._key}
        result = await self.connection.execute(update(self.table).where(*conditions).values(rest))
        return result.rowcount > 0

    async def put(self, value: T) -> None:
        """Replace the row with the value's key, or insert it."""
        if not await self.replace(value):
            await self.add(value)

    def _columns_of(self, value: T) -> dict[str, Any]:
        return {name: getattr(value, name) for name in self._names}
