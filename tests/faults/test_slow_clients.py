"""Clients that send byte by byte: HTTP ends them by its time-outs, gRPC bears them, and whoever else asks is served meanwhile.

gRPC has no time-out for a call that is still arriving, neither in pygrpc-native nor in grpcio: what such a caller costs is a connection.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.faults import oracle
from tests.faults.caller import Caller, request_of
from tests.faults.figures import record
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Plan, percentile
from tests.faults.truths import held_true
from tests.faults.world import World, held_by, world
from tests.hostile import http2

HEAD_SECONDS, BODY_SECONDS = 1.0, 1.6
SWEEP_SECONDS = 0.25
"""How often the router looks at its connections."""
SLACK_SECONDS = 1.5
"""For a machine that stumbles."""
CLIENTS = 25
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"
STARTS = {
    "headers": b"POST /v2/models/alpha/infer HTTP/1.1\r\nhost: a\r\nx-slow: ",
    "body": b'POST /v2/models/alpha/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 4000\r\n\r\n{"inputs": [{"name": "',
}


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a serve whose time-outs a test can wait for."""
    settings = {"http_head_timeout_seconds": HEAD_SECONDS, "http_body_timeout_seconds": BODY_SECONDS}
    options = [part for name, value in settings.items() for part in ("--set", f"router.{name}={value}")]
    with tempfile.TemporaryDirectory(prefix="ps-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        models = oracle.write_models(tmp_path_factory.mktemp("models"), ("alpha",))
        with world(Path(folder), models, *options, workers=1) as running:
            running.settle({"alpha": "1"})
            yield running


@asynccontextmanager
async def others_ask(running: World, ledger: Ledger) -> AsyncIterator[list[float]]:
    """Ask by gRPC and HTTP while the block lasts; the list gets the seconds of HTTP's answers."""
    seconds: list[float] = []
    async with Caller(running.served.grpc, ledger) as caller:
        load = Load(caller, Plan(rate=60.0, models=("alpha",)))
        tasks = [asyncio.create_task(load.run()), asyncio.create_task(_probe(running, seconds))]
        yield seconds
        load.stop()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _probe(running: World, seconds: list[float]) -> None:
    while True:
        started = time.monotonic()
        reader, writer = await opened(running)
        writer.write(LIVE)
        try:
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        finally:
            writer.transport.abort()
        seconds.append(time.monotonic() - started)
        await asyncio.sleep(0.02)


async def opened(running: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the HTTP port."""
    host, _, port = running.served.http.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def drip(running: World, start: bytes, gap_seconds: float) -> tuple[bytes, float]:
    """Send a start, then a byte at a time for as long as the server listens; return what it said and after how long it ended."""
    reader, writer = await opened(running)
    started = time.monotonic()
    writer.write(start)
    answer = asyncio.create_task(reader.read())
    with suppress(OSError):
        while not answer.done():
            writer.write(b"x")
            await writer.drain()
            await asyncio.wait([answer], timeout=gap_seconds)
    took = time.monotonic() - started
    said = await answer
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return said, took


async def dripped(running: World, ledger: Ledger, what: str, gap_seconds: float) -> tuple[float, float]:
    """Let clients drip while others ask; return the shortest and longest time that they were borne."""
    descriptors = held_by(running.served.child("router-0")).descriptors
    async with others_ask(running, ledger) as probes:
        ended = await asyncio.gather(*(drip(running, STARTS[what], gap_seconds) for _ in range(CLIENTS)))

    held_true(running, ledger)
    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    assert max(probes) < 1.0
    assert {said.partition(b"\r\n")[0] for said, _ in ended} == {b"HTTP/1.1 408 Request Timeout"}
    assert all(what.encode() in said for said, _ in ended)
    await asyncio.to_thread(running.served.until, lambda: held_by(running.served.child("router-0")).descriptors <= descriptors + 8)
    record(f"N8 {what}", borne_s=max(took for _, took in ended), others_p99_ms=1000 * percentile(ledger.entries(), 0.99))
    return min(took for _, took in ended), max(took for _, took in ended)


@pytest.mark.parametrize(("what", "limit"), [("headers", HEAD_SECONDS), ("body", BODY_SECONDS)])
async def test_n8_http_that_comes_byte_by_byte_is_ended_in_time(impatient: World, ledger: Ledger, what: str, limit: float):
    shortest, longest = await dripped(impatient, ledger, what, 0.05)

    assert limit <= shortest
    assert longest <= limit + SWEEP_SECONDS + SLACK_SECONDS


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("what", "limit"), [("headers", 10.0), ("body", 30.0)])
async def test_n8_without_a_word_headers_have_10_seconds_and_bodies_30(running: World, ledger: Ledger, what: str, limit: float):
    shortest, longest = await dripped(running, ledger, what, 1.0)

    assert limit <= shortest
    assert longest <= limit + SWEEP_SECONDS + SLACK_SECONDS


def whole_call() -> bytes:
    """Return all that a client sends for one call to `alpha`."""
    headers = http2.frame(http2.HEADERS, http2.grpc_headers(), flags=http2.END_HEADERS, stream=1)
    message = http2.grpc_message(request_of("alpha", oracle.rows_of(1, 1), 30.0))
    data = http2.frame(http2.DATA, message, flags=http2.END_STREAM, stream=1)
    settings = http2.frame(http2.SETTINGS, http2.NO_TABLE)
    return http2.PREFACE + settings + http2.frame(http2.SETTINGS, flags=http2.ACK) + headers + data


def byte_by_byte(address: str, sent: bytes, gap_seconds: float) -> int | None:
    """Send a call byte by byte; return its grpc-status, None when there is none."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = http2.Wire(connection)
        for number in range(len(sent)):
            wire.push(sent[number : number + 1])
            time.sleep(gap_seconds)
        wire.until(lambda: wire.status() is not None)
        return wire.status()


async def test_n8_a_grpc_call_that_comes_byte_by_byte_is_answered_and_others_too(impatient: World, ledger: Ledger):
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(12) as threads:
        async with others_ask(impatient, ledger) as probes:
            address, sent = impatient.served.grpc, whole_call()
            statuses = await asyncio.gather(*(loop.run_in_executor(threads, byte_by_byte, address, sent, 0.004) for _ in range(12)))

    held_true(impatient, ledger)
    assert statuses == [0] * 12
    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    assert max(probes) < 1.0


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9], ids=["in the headers' frame", "behind half the headers", "in the message"])
async def test_n8_half_sent_grpc_calls_cost_nobody_an_answer_and_leave_nothing_behind(impatient: World, ledger: Ledger, share: float):
    sent = whole_call()
    descriptors = held_by(impatient.served.child("router-0")).descriptors
    host, _, port = impatient.served.grpc.rpartition(":")
    async with others_ask(impatient, ledger) as probes:
        half = [await asyncio.open_connection(host, int(port)) for _ in range(60)]
        for _, writer in half:
            writer.write(sent[: int(share * len(sent))])
            await writer.drain()
        await asyncio.sleep(1.0)
        for _, writer in half:
            writer.close()

    held_true(impatient, ledger)
    assert len(ledger.entries()) >= 30
    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    assert max(probes) < 1.0
    await asyncio.to_thread(
        impatient.served.until, lambda: held_by(impatient.served.child("router-0")).descriptors <= descriptors + 8, seconds=10.0
    )
