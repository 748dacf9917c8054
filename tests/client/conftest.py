"""Both clients, and a server for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from penstock import AsyncClient, Client, ClientOptions
from tests.client.far import Far, Together


@pytest.fixture
def far() -> Iterator[Far]:
    server = Far()
    yield server
    server.server.stop(0).wait()


@pytest.fixture(params=["threads", "asyncio"])
async def predict(request: pytest.FixtureRequest, far: Far):
    """`Client.predict` in a thread, or `AsyncClient.predict`."""
    options = ClientOptions(api_key="secret", timeout_seconds=5.0)
    if request.param == "threads":
        with Client(far.target, options) as client:
            yield lambda *args, **kwargs: asyncio.to_thread(client.predict, *args, **kwargs)
    else:
        async with AsyncClient(far.target, options) as client:
            yield client.predict


@pytest.fixture(params=["threads", "asyncio"])
def together(request: pytest.FixtureRequest, far: Far) -> Together:
    """Calls of either client that wait at the same time."""
    return Together(far, request.param)
