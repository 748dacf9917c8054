"""Connections: order, pipelining, leaving, draining, sharing a port, TLS."""

import asyncio
import json
import socket
import ssl
import time
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import trustme

from services.router.http_front import HttpOptions
from services.router.http_head import HttpLimits
from services.router.tls_files import TlsFiles
from tests.router.http_stand import on_uvloop, serving

LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n"


def infer(number: float = 1, *, request_id: str = "", more: str = "", model: str = "echo") -> bytes:
    document = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [number, 0, 0]}]}
    body = json.dumps({"id": request_id, **document} if request_id else document)
    return f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: a\r\n{more}content-length: {len(body)}\r\n\r\n{body}".encode()


def bodies(received: bytes) -> list[bytes]:
    return [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 ")[1:]]


def ids(received: bytes) -> list[str]:
    return [json.loads(body)["id"] for body in bodies(received)]


async def until(condition, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


@on_uvloop
async def test_a_connection_serves_one_request_after_another():
    async with serving() as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        for number in range(5):
            writer.write(infer(number, request_id=f"r{number}"))
            received = await reader.readuntil(b"}]") + await reader.readuntil(b"}")
            assert json.loads(received.partition(b"\r\n\r\n")[2])["id"] == f"r{number}"
            assert b"connection: close" not in received
        writer.close()


@on_uvloop
async def test_a_thousand_pipelined_requests_are_answered_in_order():
    async with serving() as stand:
        sent = b"".join(infer(number, request_id=f"r{number}") for number in range(1000))
        received = await stand.raw(sent, until_close=False, answers=1000)

    assert ids(received) == [f"r{number}" for number in range(1000)]


@on_uvloop
async def test_pipelined_requests_of_all_kinds_keep_their_order():
    """At once, by the short way, by ASGI (a compressed body, statistics) and refused, one behind the other."""
    kinds = [LIVE, infer(request_id="a"), embeddings(), b"GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n", infer(request_id="b"), LIVE]
    async with serving() as stand:
        received = await stand.raw(b"".join(kinds * 20), until_close=False, answers=len(kinds) * 20)

    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"200", b"404", b"200", b"200"] * 20
    told = [json.loads(body) for body in bodies(received)]
    assert [one["id"] for one in told[1::6]] == ["a"] * 20
    assert [one["object"] for one in told[2::6]] == ["list"] * 20
    assert [one["id"] for one in told[4::6]] == ["b"] * 20


def embeddings() -> bytes:
    body = json.dumps({"model": "text", "input": "a"})
    return f"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


@on_uvloop
async def test_a_pipelining_caller_does_not_keep_others_waiting():
    async with serving() as stand:
        flood = asyncio.ensure_future(stand.raw(LIVE * 5000, until_close=False, answers=5000))
        await asyncio.sleep(0)
        slowest = 0.0
        while not flood.done():
            started_at = time.perf_counter()
            await stand.raw(LIVE, until_close=False)
            slowest = max(slowest, time.perf_counter() - started_at)
        received = await flood

    assert received.count(b"HTTP/1.1 200") == 5000
    assert slowest < 0.5


@on_uvloop
async def test_only_one_call_of_a_connection_is_in_flight_and_the_rest_waits_unread():
    async with serving() as stand:
        stand.loop.is_holding = True
        answered = asyncio.ensure_future(stand.raw(infer(request_id="a") + infer(request_id="b"), until_close=False, answers=2))
        await until(lambda: stand.loop.held)
        await stand.raw(LIVE, until_close=False)

        assert [request.id for _, request in stand.loop.held] == ["a"]
        stand.loop.release()
        assert ids(await answered) == ["a", "b"]


@on_uvloop
async def test_a_refusal_waits_for_the_answers_before_it():
    async with serving() as stand:
        stand.loop.is_holding = True
        answered = asyncio.ensure_future(stand.raw(infer(request_id="a") + b"NONSENSE\r\n\r\n" + infer(request_id="never")))
        await until(lambda: stand.loop.held)
        stand.loop.release()
        received = await answered

    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]
    assert len(stand.loop.seen) == 1


@on_uvloop
async def test_a_caller_who_leaves_takes_its_call_back():
    async with serving() as stand:
        stand.loop.is_holding = True
        _, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(infer(request_id="a"))
        await until(lambda: stand.loop.held)
        writer.close()

        await until(lambda: stand.loop.cancelled)
        assert stand.loop.cancelled == [stand.loop.held[0][0]]
        stand.loop.release()
        assert (await stand.raw(LIVE, until_close=False)).startswith(b"HTTP/1.1 200")


@on_uvloop
async def test_a_caller_of_several_calls_who_leaves_takes_all_of_them_back():
    texts = json.dumps({"model": "text", "input": ["a"] * 10})
    async with serving() as stand:
        stand.loop.is_holding = True
        _, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(f"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: {len(texts)}\r\n\r\n{texts}".encode())
        await until(lambda: len(stand.loop.held) == 3)
        writer.close()
        await until(lambda: len(stand.loop.cancelled) == 3)

    assert sorted(stand.loop.cancelled) == sorted(call_id for call_id, _ in stand.loop.held)


@on_uvloop
async def test_a_caller_who_does_not_read_its_answers_is_cut_off_and_holds_no_calls():
    limits = HttpLimits(write_seconds=0.1)
    rows = np.zeros((64, 4096)).tolist()
    body = json.dumps({"inputs": [{"name": "x", "shape": [64, 4096], "datatype": "FP32", "data": rows}]}).encode()
    request = b"POST /v2/models/wide/infer HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    async with serving(HttpOptions(port=0, limits=limits)) as stand:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", stand.port))
            deaf.setblocking(False)
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(deaf, request * 20))
            await until(lambda: stand.loop.seen)
            await until(lambda: not stand.front._connections())
            await asyncio.gather(sending, return_exceptions=True)

    assert len(stand.loop.seen) < 20


@on_uvloop
async def test_head_answers_like_get_without_a_body():
    async with serving() as stand:
        get = await stand.raw(b"GET /v2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        head = await stand.raw(b"HEAD /v2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")

    length = b"content-length: %d\r\n" % len(bodies(get)[0])
    assert length in get
    assert length in head
    assert bodies(head) == [b""]


@on_uvloop
async def test_what_comes_behind_connection_close_is_not_served():
    async with serving() as stand:
        received = await stand.raw(infer(request_id="a", more="connection: close\r\n") + infer(request_id="b"))

    assert ids(received) == ["a"]
    assert len(stand.loop.seen) == 1


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

        assert time.monotonic() - started_at < 5
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
        async with asyncio.timeout(10):
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
        blob.write_to_path(str(folder / f"{name}.new"))
        (folder / f"{name}.new").rename(folder / name)
    return TlsFiles(certificate_chain=folder / "chain.pem", private_key=folder / "key.pem")
