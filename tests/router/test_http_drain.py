"""Draining, sharing a port, TLS."""

import asyncio
import socket
import ssl
import time
from contextlib import AsyncExitStack
from pathlib import Path

import trustme

from services.chassis.tls_files import TlsFiles
from services.router.http_front import HttpOptions
from tests.authority import write_key
from tests.router.http_raw import LIVE, ids, infer, until
from tests.router.http_stand import on_uvloop, serving


@on_uvloop
async def test_a_drain_answers_what_is_in_flight_and_then_closes():
    async with serving() as stand:
        stand.loop.is_holding = True
        answered = asyncio.ensure_future(stand.raw(infer(request_id="a")))
        await until(lambda: stand.loop.held)
        drained = asyncio.ensure_future(stand.front.drain(time.monotonic() + 10))
        await asyncio.sleep(0)
        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", stand.port)) != 0
        assert not drained.done()
        stand.loop.release()
        received = await answered
        await drained

    assert ids(received) == ["a"]
    assert b"connection: close" in received


@on_uvloop
async def test_requests_sent_before_a_caller_could_know_of_the_drain_are_answered():
    async with serving() as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(LIVE)
        await reader.readuntil(b"}")
        drained = asyncio.ensure_future(stand.front.drain(time.monotonic() + 10))
        await asyncio.sleep(0)
        writer.write(infer(request_id="a") + infer(request_id="b"))
        received = await reader.read()
        writer.close()
        await drained

    assert ids(received) == ["a", "b"]
    assert received.count(b"connection: close") == 1


@on_uvloop
async def test_connections_that_wait_to_be_accepted_when_the_drain_begins_are_served():
    async with serving() as stand:
        waiting = [socket.create_connection(("127.0.0.1", stand.port)) for _ in range(50)]
        for one in waiting:
            one.sendall(infer(request_id="a"))
        # The loop has not run since: all fifty are in the listening socket's queue.
        drained = asyncio.ensure_future(stand.front.drain(time.monotonic() + 10))
        answers = await asyncio.gather(*(asyncio.to_thread(read_all, one) for one in waiting))
        await drained

    assert [ids(answer) for answer in answers] == [["a"]] * 50


def read_all(connection: socket.socket) -> bytes:
    connection.settimeout(10)
    received = b""
    while piece := connection.recv(65536):
        received += piece
    connection.close()
    return received


@on_uvloop
async def test_a_drain_under_load_fails_no_request_when_another_process_has_the_port():
    """Two fronts share a port; one drains while callers open connections as fast as they can."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(HttpOptions(port=0, reuse_port=True, quiet_seconds=0.05)))
        second = await stack.enter_async_context(serving(HttpOptions(port=first.port, reuse_port=True)))
        stop = asyncio.Event()
        failures: list[BaseException] = []
        answered = 0

        async def call_again_and_again() -> None:
            nonlocal answered
            while not stop.is_set():
                try:
                    received = await second.raw(infer(request_id="a", more="connection: close\r\n"))
                    assert ids(received) == ["a"]
                    answered += 1
                except (OSError, AssertionError) as error:
                    failures.append(error)

        callers = [asyncio.ensure_future(call_again_and_again()) for _ in range(8)]
        await until(lambda: first.loop.seen and second.loop.seen)
        await first.front.drain(time.monotonic() + 10)
        before = len(second.loop.seen)
        await until(lambda: len(second.loop.seen) > before + 50)
        stop.set()
        await asyncio.gather(*callers)

    assert answered > 50
    assert failures == []


@on_uvloop
async def test_a_drain_gives_up_at_its_deadline():
    async with serving() as stand:
        stand.loop.is_holding = True
        answered = asyncio.ensure_future(stand.raw(infer()))
        await until(lambda: stand.loop.held)
        started_at = time.monotonic()
        await stand.front.drain(started_at + 0.1)

        assert time.monotonic() - started_at < 20
        answered.cancel()


@on_uvloop
async def test_tls_serves_with_the_given_files_and_refuses_plain_http(short_dir):
    files = certificate(short_dir)
    async with serving(HttpOptions(port=0, tls=files)) as stand:
        context = ssl.create_default_context(cafile=str(short_dir / "ca.pem"))
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port, ssl=context, server_hostname="localhost")
        writer.write(infer(request_id="a", more="connection: close\r\n"))
        received = await reader.read()
        writer.close()
        plain = await asyncio.gather(stand.raw(LIVE), return_exceptions=True)

    assert ids(received) == ["a"]
    assert not isinstance(plain[0], bytes) or b"200" not in plain[0]


@on_uvloop
async def test_a_renewed_certificate_is_used_for_new_connections(short_dir):
    files = certificate(short_dir)
    async with serving(HttpOptions(port=0, tls=files)) as stand:
        before = await presented(stand.port)
        certificate(short_dir)
        async with asyncio.timeout(30):
            while await presented(stand.port) == before:
                await asyncio.sleep(0.05)


async def presented(port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


def certificate(folder: Path) -> TlsFiles:
    """Write a fresh key and certificate for localhost."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    for name, blob in (("key.pem", issued.private_key_pem), ("chain.pem", issued.cert_chain_pems[0]), ("ca.pem", authority.cert_pem)):
        write_key(folder / name, blob.bytes())
    return TlsFiles(certificate_chain=folder / "chain.pem", private_key=folder / "key.pem")
