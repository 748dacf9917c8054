from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from penstock.contracts.errors import Conflict, InvalidInput, Unavailable
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine
from services.controller.sql_migrations import migrate
from services.controller.sql_schema import metadata
from tests.controller.stand import ANN, Stand


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_the_migrated_tables_are_those_of_the_schema(stand: Stand):
    async with stand.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_column_that_no_migration_makes_is_found(stand: Stand):
    async with stand.engine.connect() as connection:
        await connection.execute(text("ALTER TABLE models DROP COLUMN description"))
        assert len(await connection.run_sync(differences)) == 1
        await connection.rollback()


async def test_controllers_that_start_together_migrate_once(empty_url: str):
    engines = [open_engine(empty_url) for _ in range(4)]
    try:
        await asyncio.gather(*(migrate(engine) for engine in engines))
        async with engines[0].connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        for engine in engines:
            await engine.dispose()


async def test_tables_of_a_later_release_are_left_alone(stand: Stand):
    await stand.sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(Conflict, match="later release"):
        await migrate(stand.engine)

    await stand.sql("UPDATE alembic_version SET version_num = '0003'")


async def test_what_is_written_is_there_after_a_restart(stand: Stand, database_url: str):
    await stand.registered("fraud", "1")
    await migrate(stand.engine)
    again = open_engine(database_url)
    try:
        async with SqlCatalogue(again).reading() as unit:
            assert await unit.models.get("fraud") is not None
    finally:
        await again.dispose()


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
async def test_the_database_refuses_to_change_the_audit(stand: Stand, statement: str):
    await stand.registered("fraud", "1")
    before = await stand.audit()

    with pytest.raises(DBAPIError, match="only grows"):
        await stand.sql(statement)

    assert await stand.audit() == before
    assert before[0].actor == ANN.actor


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path):
    engine = open_engine(f"sqlite+aiosqlite:///{tmp_path / 'no-such-folder' / 'catalogue.db'}")

    with pytest.raises(Unavailable) as refusal:
        await migrate(engine)

    await engine.dispose()
    # The driver's thread says goodbye to the loop after the refusal.
    while any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
        await asyncio.sleep(0.01)
    assert refusal.value.reason == "CATALOGUE_UNAVAILABLE"


def test_a_database_of_another_kind_is_refused():
    with pytest.raises(InvalidInput, match="mysql"):
        open_engine("mysql://localhost/x")


async def test_sqlite_writes_ahead_and_reaches_the_disk(tmp_path):
    engine = open_engine(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    await migrate(engine)
    async with engine.connect() as connection:
        mode = (await connection.execute(text("PRAGMA journal_mode"))).scalar()
        synchronous = (await connection.execute(text("PRAGMA synchronous"))).scalar()
    await engine.dispose()

    assert (mode, synchronous) == ("wal", 2)
