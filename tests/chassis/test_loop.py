from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from services.chassis.lookup import Lookup, Question
from services.chassis.loop import Loop, is_name


def on(work: Callable[[Loop], Coroutine[Any, Any, Any]], resolve: Callable[[Question], tuple[Any, ...]]) -> Any:
    """Run `work` on a loop of services whose names mean what `resolve` says."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Loop)
        loop.lookup = Lookup(resolve, unknown_seconds=30)
        return runner.run(work(loop))


def places(*addresses: str) -> Callable[[Question], tuple[Any, ...]]:
    return lambda question: tuple((socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, question.port)) for address in addresses)


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def said(host: str, port: int, tls: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    line = await reader.readline()
    writer.close()
    return line


def test_a_name_is_connected_at_the_first_of_its_addresses_that_takes_it():
    async def work(_: Loop) -> bytes:
        async with listening() as port:
            return await said("db.test", port)

    assert on(work, places("127.0.0.2", "127.0.0.1")) == b"hello\n"


def test_a_name_is_connected_where_it_was_when_it_cannot_be_looked_up_any_more():
    fails = threading.Event()

    def resolve(question: Question) -> tuple[Any, ...]:
        if fails.is_set():
            raise socket.gaierror(socket.EAI_AGAIN, "no name server")
        return places("127.0.0.1")(question)

    async def work(loop: Loop) -> list[bytes]:
        async with listening() as port:
            first = await said("db.test", port)
            fails.set()
            with pytest.raises(socket.gaierror):
                await loop.getaddrinfo("other.test", port, type=socket.SOCK_STREAM)
            return [first, await said("db.test", port)]

    assert on(work, resolve) == [b"hello\n"] * 2


def test_a_certificate_has_to_be_that_of_the_name_and_not_of_the_address():
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("db.test").configure_cert(server)
    authority.configure_trust(client)

    async def work(_: Loop) -> bytes:
        async with listening(server) as port:
            with pytest.raises(ssl.SSLCertVerificationError):
                await said("other.test", port, client)
            return await said("db.test", port, client)

    assert on(work, places("127.0.0.1")) == b"hello\n"


def test_a_name_that_nobody_listens_at_is_refused_as_its_address_is():
    async def work(_: Loop) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await said("db.test", port)

    on(work, places("127.0.0.1"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "", None, b"name"])
def test_what_is_no_name_is_asked_of_nobody(host: Any):
    assert not is_name(host)
