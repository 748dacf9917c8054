"""Opens the database of a URL: SQLite by default, PostgreSQL by the same code.

    sqlite+aiosqlite:////var/lib/penstock/catalogue.db       a file; every commit reaches the disk
    postgresql+asyncpg://penstock@127.0.0.1:5432/penstock    `?sslmode=…` and its kin: sql_tls.py

A process that is stopped in the middle of a write holds the write lock. PostgreSQL takes it away; the file lock of SQLite stays until the
process goes on or is killed, as whoever shares one file between two controllers has to know.

SQLite's driver begins transactions late and of its own accord; here they begin when the block is entered, and a writing one takes the
write lock at once (`BEGIN IMMEDIATE`), so that nothing it has read can change before it writes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from penstock.contracts.errors import InvalidInput
from services.controller.sql_tls import without_tls_words
from services.controller.sqlite_connection import connected

WRITES = "penstock_writes"
"""Execution option of a connection whose transaction is to write."""

BUSY_SECONDS = 5.0
"""How long a transaction waits for another process's write lock, and a connection for the server."""

POOL_SIZE = 5

_PRAGMAS = (
    f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}",
    "PRAGMA synchronous=FULL",  # an acknowledged write survives a power cut
    "PRAGMA foreign_keys=ON",
)


def open_engine(url: str, password: str = "") -> AsyncEngine:
    """Return an engine that connects at its first use; `password` stands in for one that the URL does not hold.

    Raises:
        InvalidInput: the URL names no database that is supported, or certificates that cannot be used.
    """
    parsed = make_url(url)
    if password and not parsed.password:
        parsed = parsed.set(password=password)
    if parsed.drivername == "sqlite+aiosqlite":
        return _sqlite(parsed)
    if parsed.drivername == "postgresql+asyncpg":
        parsed, tls = without_tls_words(parsed)
        return create_async_engine(
            parsed,
            pool_size=POOL_SIZE,
            pool_pre_ping=True,
            pool_timeout=BUSY_SECONDS,
            connect_args={
                **tls,
                "timeout": BUSY_SECONDS,
                "command_timeout": BUSY_SECONDS,
                # A process that is stopped inside a transaction holds the writers' lock: the server ends it, and the next one may write.
                "server_settings": {"idle_in_transaction_session_timeout": str(int(BUSY_SECONDS * 1000))},
            },
        )
    raise InvalidInput(f"{parsed.drivername!r} is no database of the catalogue: use sqlite+aiosqlite or postgresql+asyncpg", field="url")


def _sqlite(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=POOL_SIZE, pool_timeout=BUSY_SECONDS, connect_args={"async_creator_fn": connected})
    event.listen(engine.sync_engine, "connect", _configure)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    driver: Any = connection
    driver.isolation_level = None
    cursor = driver.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
