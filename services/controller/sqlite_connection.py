"""A connection to SQLite that goes to its thread once for a statement.

aiosqlite goes there for the cursor, for the statement, for its rows and for closing it, and each way there and back costs more than what is
done: of the CPU time of a change two thirds went into it. Here one way does all four. Rows are read at once, so none may be left to stream.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeVar

import aiosqlite

T = TypeVar("T")


class Statement:
    """A cursor with what SQLAlchemy asks of one; each `execute` has a cursor of SQLite's own, which is closed after it."""

    description: Any = None
    rowcount = -1
    lastrowid: int | None = None
    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        """Keep the connection; nothing is asked yet."""
        self._connection = connection
        self._rows: Sequence[Any] = ()

    async def __aenter__(self) -> Self:
        """Ask nothing yet."""
        return self

    async def execute(self, operation: str, parameters: Iterable[Any] = ()) -> Statement:
        """Run a statement and read its rows."""
        return await self._connection.there(lambda driver: self._run(driver.execute(operation, tuple(parameters))))

    async def executemany(self, operation: str, parameters: Iterable[Iterable[Any]]) -> Statement:
        """Run a statement with each row of parameters."""
        rows = [tuple(row) for row in parameters]
        return await self._connection.there(lambda driver: self._run(driver.executemany(operation, rows)))

    async def fetchall(self) -> Sequence[Any]:
        """Return the rows, which are here already."""
        return self._rows

    async def close(self) -> None:
        """Do nothing: it was closed when its rows were read."""

    def _run(self, cursor: sqlite3.Cursor) -> Statement:
        try:
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else ()
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()
        return self


class Connection(aiosqlite.Connection):
    """aiosqlite's connection, its thread and its queue, with other cursors."""

    def cursor(self) -> Statement:  # pyright: ignore[reportIncompatibleMethodOverride] - SQLAlchemy asks no more of it than Statement has
        """Return a cursor without asking the thread for one."""
        return Statement(self)

    async def there(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work in the connection's thread."""
        return await self._execute(work, self._conn)  # pyright: ignore[reportUnknownMemberType] - aiosqlite does not annotate it


def connected(database: str, **options: Any) -> Connection:
    """Return a connection that opens when it is awaited."""
    connection = Connection(lambda: sqlite3.connect(database, **options), iter_chunk_size=64)
    # As SQLAlchemy does with its own: a connection that nobody closed does not keep the process alive.
    connection._thread.daemon = True  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return connection
