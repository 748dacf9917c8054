"""Brings the tables to the newest form, at every start and under a lock: of controllers that start together one migrates.

A migration is one transaction on both databases; a process killed in the middle leaves the form of before.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from penstock.contracts.errors import Conflict
from services.controller.sql_catalogue import translated
from services.controller.sql_engine import BUSY_SECONDS, WRITES

FOLDER = Path(__file__).parent / "migrations"

LOCK = 0x70656E73746F636B
"""Number of PostgreSQL's advisory lock: `penstock`."""

SWITCH_SECONDS = 0.1
"""Time between two attempts to switch SQLite to write-ahead logging."""


async def migrate(engine: AsyncEngine) -> None:
    """Make the tables those of this release; nothing is done when they are.

    Raises:
        Conflict: a later release has migrated them.
        Unavailable: the database cannot be reached.
    """
    async with translated(), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            await _write_ahead(connection)
        await connection.execution_options(**{WRITES: True})
        async with connection.begin():
            if connection.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})
            await connection.run_sync(_upgrade)


async def _write_ahead(connection: AsyncConnection) -> None:
    """Let readers read while one writes; the file remembers it. SQLite refuses the switch at once while another has the file open."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    attempts = int(BUSY_SECONDS / SWITCH_SECONDS)
    for attempt in range(attempts):
        try:
            # Closed at once: a statement that is left open keeps an old state of the file, and who has one is refused without a wait.
            async with driver.execute("PRAGMA journal_mode=WAL"):
                return
        except sqlite3.OperationalError:
            if attempt == attempts - 1:
                raise
            await asyncio.sleep(SWITCH_SECONDS)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise Conflict(f"the catalogue is of a later release (its tables are at {current}): run that release, or restore a copy of before")
    command.upgrade(config, "head")
