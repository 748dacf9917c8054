"""TLS towards PostgreSQL: a real server with a certificate, and who is believed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from penstock.contracts.errors import InvalidInput
from services.controller.sql_engine import open_engine
from services.controller.sql_tls import without_tls_words

pytestmark = pytest.mark.timeout(180)


async def asked(engine: AsyncEngine, statement: str) -> object:
    try:
        async with engine.connect() as connection:
            return (await connection.execute(text(statement))).scalar()
    finally:
        await engine.dispose()


async def is_tls(url: str, **words: object) -> object:
    query = {name: str(value) for name, value in words.items()}
    address = make_url(url).update_query_dict(query).render_as_string(hide_password=False)
    return await asked(open_engine(address), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def tls_server(postgres_server: str, authority: trustme.CA, tmp_path: Path) -> AsyncIterator[str]:
    """The session's PostgreSQL, which speaks TLS for as long as the test lasts."""
    folder = Path(str(await asked(open_engine(postgres_server), "SHOW data_directory")))
    certify(folder, authority)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    await altered(postgres_server, "ssl_cert_file = 'test.crt'", "ssl_key_file = 'test.key'", "ssl = 'on'")
    yield postgres_server
    await altered(postgres_server, "ssl = 'off'")


def certify(folder: Path, authority: trustme.CA) -> None:
    """Put a certificate where the server, which is another user than root, reads it."""
    leaf, owner = authority.issue_cert("127.0.0.1"), folder.stat()
    for name, pem in (("test.crt", leaf.cert_chain_pems[0]), ("test.key", leaf.private_key_pem)):
        (folder / name).write_bytes(pem.bytes())
        (folder / name).chmod(0o600)
        os.chown(folder / name, owner.st_uid, owner.st_gid)


async def altered(url: str, *settings: str) -> None:
    engine = open_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for setting in settings:
            await connection.execute(text(f"ALTER SYSTEM SET {setting}"))
        await connection.execute(text("SELECT pg_reload_conf()"))
    await engine.dispose()
    # The server takes its settings in by and by; a new session tells which it has.
    wanted = settings[-1].split("'")[1]
    while await asked(open_engine(url), "SHOW ssl") != wanted:
        pass


async def test_the_server_is_believed_by_its_authority_and_its_name(tls_server: str, tmp_path: Path):
    assert await is_tls(tls_server, sslmode="verify-full", sslrootcert=tmp_path / "ca.pem") is True
    assert await is_tls(tls_server, sslrootcert=tmp_path / "ca.pem") is True
    assert await is_tls(tls_server, sslmode="require") is True
    assert await is_tls(tls_server, sslmode="disable") is False
    for mode in ("verify-ca", "verify-full"):
        with pytest.raises(OSError, match="certificate verify failed"):
            await is_tls(tls_server, sslmode=mode, sslrootcert=tmp_path / "stranger.pem")

    elsewhere = tls_server.replace("127.0.0.1", "localhost")
    assert await is_tls(elsewhere, sslmode="verify-ca", sslrootcert=tmp_path / "ca.pem") is True
    with pytest.raises(OSError, match="certificate verify failed"):
        await is_tls(elsewhere, sslmode="verify-full", sslrootcert=tmp_path / "ca.pem")


async def test_nothing_is_said_in_the_clear_where_tls_is_required(postgres_server: str):
    with pytest.raises(ConnectionError, match="SSL"):
        await is_tls(postgres_server, sslmode="require")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sslmode=prefer", "none of disable"),
        ("sslmode=verify-full&sslrootcert=/absent.pem", "certificates of the database"),
        ("sslcert=/c.pem", "go together"),
    ],
)
def test_words_that_mean_nothing_are_refused(query: str, says: str):
    with pytest.raises(InvalidInput, match=says):
        without_tls_words(make_url(f"postgresql+asyncpg://penstock@db/penstock?{query}"))


def test_a_url_without_such_words_is_left_as_it_is():
    url = make_url("postgresql+asyncpg://penstock@db/penstock?application_name=x")

    assert without_tls_words(url) == (url, {})
