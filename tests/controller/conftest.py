"""A catalogue of its own for every test, on every database."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from services.controller.sql_engine import open_engine
from services.controller.sql_migrations import migrate
from services.controller.sql_schema import metadata
from tests.controller.stand import Stand, standing
from tests.integration.servers import SessionServers, postgres_url

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL, as the URL of its first database."""
    servers = SessionServers()
    try:
        servers.fetch(["postgres"])
        url = postgres_url(servers.start("postgres"))
        asyncio.run(_unsynced(url))
        yield url
    finally:
        servers.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, to be copied: a migration for every test would be most of its time."""
    path = tmp_path_factory.mktemp("catalogue") / "template.db"
    asyncio.run(_migrated(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_migrated(postgres_server: str) -> str:
    """A migrated database, to be emptied: making one takes seconds on a busy disk."""
    asyncio.run(_migrated(postgres_server))
    return postgres_server


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    return asyncio.run(_created(request.getfixturevalue("postgres_server")))


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database without rows."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{shutil.copy(request.getfixturevalue('sqlite_template'), tmp_path / 'catalogue.db')}"
    url: str = request.getfixturevalue("postgres_migrated")
    asyncio.run(_emptied(url))
    return url


@pytest.fixture
async def stand(database_url: str) -> AsyncIterator[Stand]:
    async with standing(database_url) as stand:
        yield stand


async def _unsynced(server: str) -> None:
    """No test cuts the power: nothing waits for the disk."""
    engine = open_engine(server).execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("ALTER SYSTEM SET fsync = off"))
        await connection.execute(text("SELECT pg_reload_conf()"))
    await engine.dispose()


async def _migrated(url: str) -> None:
    engine = open_engine(url)
    await migrate(engine)
    await engine.dispose()


async def _emptied(url: str) -> None:
    engine = open_engine(url)
    async with engine.begin() as connection:
        # Past the trigger that keeps the audit as it is.
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in metadata.tables.values():
            await connection.execute(table.delete())
        await connection.execute(metadata.tables["lease"].insert().values(id=1, holder="", epoch=0, expires_time=0))
    await engine.dispose()


async def _created(server: str) -> str:
    name = f"catalogue_{uuid.uuid4().hex}"
    engine = open_engine(server).execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return make_url(server).set(database=name).render_as_string()
