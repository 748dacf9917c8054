"""Real servers by name: a test that asks for `kafka`, `redis`, `temporal` or `postgres` gets one that answers.

They are shared by the whole session: a test takes names of its own (topics, keys, workflow ids, databases). Nothing is skipped where a
server is missing: the test fails, and its error says which command installs it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

import pytest

from services.chassis.process import CannotStart
from tests.integration.servers import BY_NAME, ServerAddress, SessionServers

_SERVERS = pytest.StashKey[SessionServers]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Fetch what the collected tests need before the first of them runs: no test's time covers a build of minutes."""
    servers = session.config.stash[_SERVERS] = SessionServers()
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ()) if name in BY_NAME}
    try:
        if wanted and not session.config.option.collectonly:
            with suppress(CannotStart):  # the tests that need it fail, and say why
                servers.fetch(sorted(wanted))
        return (yield)
    finally:
        servers.close()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> SessionServers:
    """The session's servers; stopped when it ends."""
    return request.config.stash[_SERVERS]


@pytest.fixture(scope="session")
def redis(servers: SessionServers) -> ServerAddress:
    """A real Redis."""
    return servers.start("redis")


@pytest.fixture(scope="session")
def postgres(servers: SessionServers) -> ServerAddress:
    """A real PostgreSQL; `servers.postgres_url` is what SQLAlchemy takes."""
    return servers.start("postgres")


@pytest.fixture(scope="session")
def kafka(servers: SessionServers) -> ServerAddress:
    """A real Kafka broker without topics; `servers.make_topics` makes those of the catalogue."""
    return servers.start("kafka")


@pytest.fixture(scope="session")
def temporal(servers: SessionServers) -> ServerAddress:
    """A real Temporal server with the namespace `default`."""
    return servers.start("temporal")
