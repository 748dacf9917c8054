"""Bytes that are no acceptable HTTP: the rows of badinput/http_framing.yaml, and what is too large to be written into a file."""

import asyncio
import time
from pathlib import Path

import pytest
import yaml

from services.router.http_front import HttpOptions
from services.router.http_head import HttpLimits
from tests.router.http_stand import on_uvloop, serving

ROWS = yaml.safe_load((Path(__file__).parent / "badinput" / "http_framing.yaml").read_text())
GOOD = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
MEBIBYTE = 1024 * 1024


def head(*lines: str, method: str = "POST", path: str = "/v2/models/echo/infer") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: a", *lines, "", ""]).encode()


def status_of(received: bytes) -> int:
    return int(received.split(b" ", 2)[1])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['id']} {row['claim']}")
@on_uvloop
async def test_framing(row):
    async with serving() as stand:
        closes = row.get("closes", True)
        received = await stand.raw(row["send"].encode("latin-1"), until_close=closes)
        started_at = time.perf_counter()
        next_one = await stand.raw(GOOD)

    assert status_of(received) == row["status"]
    assert (b"connection: close" in received) == closes
    assert row.get("reason", "").encode() in received
    assert status_of(next_one) == 200
    assert time.perf_counter() - started_at < 1.0


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (head(method="GET", path="/v2?" + "a" * 16_384), 414, b"URI_TOO_LONG"),
        (head(*[f"x-{number}: 1" for number in range(100)], method="GET"), 431, b"HEADERS_TOO_LARGE"),
        (head("x: " + "a" * 65_536, method="GET"), 431, b"HEADERS_TOO_LARGE"),
        (head(f"content-length: {64 * MEBIBYTE + 1}"), 413, b"REQUEST_TOO_LARGE"),
        (b"GET /" + b"a" * 100_000, 414, b"URI_TOO_LONG"),
    ],
    ids=["IH26 target of 16 KiB", "IH26 101 headers", "IH26 header of 64 KiB", "IH11 body announced too large", "IH26 target without end"],
)
@on_uvloop
async def test_heads_over_a_limit_are_refused_before_any_body_is_read(sent, status, reason):
    async with serving() as stand:
        received = await stand.raw(sent)

    assert status_of(received) == status
    assert reason in received
    assert b"connection: close" in received


@on_uvloop
async def test_a_hundred_headers_and_a_target_just_under_the_limit_are_served():
    many = [f"x-{number}: 1" for number in range(98)]
    async with serving() as stand:
        received = await stand.raw(head(*many, "connection: close", method="GET", path="/v2?" + "a" * 16_000))

    assert status_of(received) == 200


@on_uvloop
async def test_headers_that_never_end_are_refused_at_the_limit():
    async with serving() as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(head(method="GET")[:-2])
        received = asyncio.ensure_future(reader.read())
        sent = 0
        while not received.done() and sent < 4 * MEBIBYTE:
            writer.write(b"x: " + b"a" * 8_000)
            sent += 8_000
            await asyncio.sleep(0)
        answer = await asyncio.wait_for(received, 10)
        writer.close()

    assert status_of(answer) == 431


@on_uvloop
async def test_a_chunked_body_over_the_limit_is_refused_while_it_is_read():
    async with serving(HttpOptions(port=0, limits=HttpLimits(body_bytes=MEBIBYTE))) as stand:
        chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
        received = await stand.raw(head("transfer-encoding: chunked") + chunk * 17)

    assert status_of(received) == 413
    assert b"REQUEST_TOO_LARGE" in received


@on_uvloop
async def test_an_announced_body_over_a_small_limit_is_refused_before_it_is_sent():
    async with serving(HttpOptions(port=0, limits=HttpLimits(body_bytes=1000))) as stand:
        received = await stand.raw(head("content-length: 1001"))

    assert status_of(received) == 413


@on_uvloop
async def test_a_body_of_many_tiny_chunks_is_refused():
    async with serving(HttpOptions(port=0, limits=HttpLimits(chunks=1000))) as stand:
        received = await stand.raw(head("transfer-encoding: chunked") + b"1\r\n{\r\n" * 1001)

    assert status_of(received) == 413


@on_uvloop
async def test_a_chunked_body_within_the_limits_is_served():
    body = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    async with serving() as stand:
        received = await stand.raw(head("transfer-encoding: chunked", "connection: close") + chunks)

    assert status_of(received) == 200
    assert b"[2.0,4.0,6.0]" in received


@on_uvloop
async def test_the_refusal_reaches_a_caller_who_is_still_sending():
    async with serving(HttpOptions(port=0, limits=HttpLimits(body_bytes=1000))) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(head("content-length: 8000000"))
        for _ in range(20):
            writer.write(b"a" * 100_000)
        received = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert status_of(received) == 413


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        (b"GET /v2 HTTP/1.1\r\nhost: a\r\n", b"headers"),
        (b"G", b"headers"),
        (head("content-length: 100") + b"{", b"body"),
        (head("transfer-encoding: chunked") + b"2\r\n{", b"body"),
    ],
    ids=["IH31 headers stop", "IH31 first byte only", "IH15 body shorter than announced", "IH31 chunk stops"],
)
@on_uvloop
async def test_a_request_that_does_not_arrive_in_time_is_answered_408_and_frees_its_connection(sent, what):
    limits = HttpLimits(head_seconds=0.1, body_seconds=0.1, body_bytes_per_second=10**9)
    async with serving(HttpOptions(port=0, limits=limits)) as stand:
        received = await stand.raw(sent)

        assert status_of(received) == 408
        assert what in received
        assert b"connection: close" in received


@on_uvloop
async def test_a_connection_without_a_request_is_closed_in_silence():
    async with serving(HttpOptions(port=0, limits=HttpLimits(idle_seconds=0.1))) as stand:
        assert await stand.raw(b"") == b""
        received = await stand.raw(b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n")

    assert received.count(b"HTTP/1.1") == 1


@on_uvloop
async def test_a_caller_who_waits_for_100_continue_is_told_to_go_on():
    body = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'
    async with serving() as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(head("expect: 100-continue", f"content-length: {len(body)}", "connection: close"))
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.write(body)
        received = await asyncio.wait_for(reader.read(), 5)
        writer.close()

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert status_of(received) == 200


@on_uvloop
async def test_a_body_that_will_be_too_large_is_refused_instead_of_welcomed():
    async with serving() as stand:
        received = await stand.raw(head("expect: 100-continue", "content-length: 99999999"))

    assert status_of(received) == 413


@on_uvloop
async def test_connections_beyond_the_limit_are_refused_with_when_to_come_back():
    async with serving(HttpOptions(port=0, limits=HttpLimits(connections=1))) as stand:
        reader, first = await asyncio.open_connection("127.0.0.1", stand.port)
        first.write(b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"}")
        received = await stand.raw(b"")
        first.close()

    assert status_of(received) == 429
    assert b"retry-after: 1" in received


@on_uvloop
async def test_bodies_of_all_connections_together_are_bounded_and_given_back():
    limits = HttpLimits(all_bodies_bytes=10_000)
    async with serving(HttpOptions(port=0, limits=limits)) as stand:
        _, holder = await asyncio.open_connection("127.0.0.1", stand.port)
        holder.write(head("content-length: 9001") + b"a" * 9_000)
        while stand.front.service.budget.held_bytes < 9_000:
            await asyncio.sleep(0.001)
        refused = await stand.raw(head("content-length: 2000") + b"a" * 2_000)
        holder.close()
        while stand.front.service.budget.held_bytes:
            await asyncio.sleep(0.001)
        served = await stand.raw((head("content-length: 2000") + b"a" * 2_000) * 20, until_close=False, answers=20)
        held = stand.front.service.budget.held_bytes

    assert status_of(refused) == 429
    assert b"retry-after: 1" in refused
    assert served.count(b"HTTP/1.1 400") == 20
    assert held == 0
