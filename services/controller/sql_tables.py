"""Reads and writes frozen dataclasses in a table whose columns are their fields."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Insert, Select, Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
ROWS_A_TURN = 64
"""After so many rows others may run: reading all routes of a thousand models takes longer than a write may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What every transaction needs to know of a table and its class: made once, because building a statement costs more than sending it."""

    names: tuple[str, ...]
    key: tuple[str, ...]
    query: Select[Any]
    insertion: Insert


@lru_cache(maxsize=64)
def shape_of(table: Table, kind: type) -> Shape:
    """Return the columns and statements of a table that is read as a class."""
    names = tuple(each.name for each in fields(kind))
    return Shape(
        names=names,
        key=tuple(column.name for column in table.primary_key.columns),
        query=select(*(table.c[name] for name in names)),
        insertion=insert(table),
    )


class Rows(Generic[T]):
    """One table as values of one class."""

    def __init__(self, connection: AsyncConnection, table: Table, kind: type[T]) -> None:
        """Keep the arguments; the class has a field for every column it is read from."""
        self.connection = connection
        self.table = table
        self._kind = kind
        self._shape = shape_of(table, kind)

    def query(self) -> Select[Any]:
        """Return a query for whole values."""
        return self._shape.query

    async def one(self, *conditions: ColumnElement[bool]) -> T | None:
        """Return the one value that meets the conditions."""
        row = (await self.connection.execute(self.query().where(*conditions))).one_or_none()
        return None if row is None else self._kind(**dict(zip(self._shape.names, row, strict=True)))

    async def many(self, query: Select[Any]) -> tuple[T, ...]:
        """Return the values of a query."""
        values: list[T] = []
        for row in await self.connection.execute(query):
            values.append(self._kind(**dict(zip(self._shape.names, row, strict=True))))
            if not len(values) % ROWS_A_TURN:
                await asyncio.sleep(0)
        return tuple(values)

    async def add(self, value: T) -> None:
        """Insert a value."""
        await self.connection.execute(self._shape.insertion, self._columns_of(value))

    async def replace(self, value: T) -> bool:
        """Write all fields of the row with the value's key; False when there is none."""
        row = self._columns_of(value)
        key = self._shape.key
        conditions = [self.table.c[name] == row[name] for name in key]
        rest = {name: held for name, held in row.items() if name not in key}
        result = await self.connection.execute(update(self.table).where(*conditions).values(rest))
        return result.rowcount > 0

    async def put(self, value: T) -> None:
        """Replace the row with the value's key, or insert it."""
        if not await self.replace(value):
            await self.add(value)

    def _columns_of(self, value: T) -> dict[str, Any]:
        return {name: getattr(value, name) for name in self._shape.names}
