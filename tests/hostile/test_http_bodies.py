"""Hostile HTTP against a whole serve: the rows that tests/router holds against the front alone, and what needs models and workers."""

from __future__ import annotations

import http.client
import json
import socket
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

import pytest

from tests.hostile.stand import MESSAGE_LIMIT_BYTES, Target, attacked
from tests.router.test_http_bad_input import GOOD, ROWS, body_of, tail_of
from tests.router.test_http_framing import ROWS as FRAMING

CPU_SECONDS = 0.3
"""What refusing the worst 4 MB of JSON may take; 0.13 s on a machine of our own."""
Row = Mapping[str, Any]
INFER = "/v2/models/echo/infer"
GOOD_BODY = json.dumps(GOOD).encode()
CHUNKED = b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
ANNOUNCED = b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
BOMB = zlib.compress(bytes(64 << 20), 9, wbits=31)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with attacked(tmp_path_factory.mktemp("h")) as running:
        yield running


@pytest.fixture
def http_client(target: Target) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(target.served.record["http"], timeout=10)) as opened:
        yield opened


def address(target: Target) -> tuple[str, int]:
    host, _, port = str(target.served.record["http"]).rpartition(":")
    return host, int(port)


def ask(client: http.client.HTTPConnection, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    client.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    with client.getresponse() as answer:
        return answer.status, json.loads(answer.read())


def send(client: http.client.HTTPConnection, row: Row) -> tuple[int, dict[str, Any]]:
    """Send a row of badinput/oip_http.yaml; its model `types` is here one model for each data type."""
    body, headers = body_of(row), dict(row.get("headers", {}))
    if "length" in row:
        headers["inference-header-content-length"] = str(len(body)) if row["length"] == "EXACT" else row["length"]
    if "content_type" in row:
        headers["content-type"] = row["content_type"]
    model = row.get("model", "echo")
    if model == "types":
        model = f"types_{row['body']['inputs'][0]['name'].lower()}"
    version = f"/versions/{row['version']}" if "version" in row else ""
    return ask(client, f"/v2/models/{model}{version}/infer", body + tail_of(row), **headers)


def good_is_answered(client: http.client.HTTPConnection) -> None:
    status, answer = ask(client, INFER, GOOD_BODY)
    assert (status, answer["outputs"][0]["data"]) == (200, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['id']} {row['claim']}")
def test_a_bad_body_is_refused_by_status_and_reason(row: Row, target: Target, http_client: http.client.HTTPConnection):
    status, told = send(http_client, row)

    assert status in (row["status"] if isinstance(row["status"], list) else [row["status"]])
    assert told["reason"] == row.get("reason", told["reason"])
    assert row.get("says", "") in told["error"]
    assert len(told["error"]) <= 512
    good_is_answered(http_client)
    target.assert_unharmed()


def raw(target: Target, sent: bytes, *, seconds: float = 5.0) -> bytes:
    """Send bytes; return what comes until the other side closes, or is quiet for so long."""
    with socket.create_connection(address(target), timeout=seconds) as opened:
        received = bytearray()
        with suppress(OSError):  # refused while it was being sent: the answer is there
            opened.sendall(sent)
        with suppress(TimeoutError, ConnectionResetError):
            while came := opened.recv(65_536):
                received += came
    return bytes(received)


def status_of(received: bytes) -> int:
    return int(received.split(b" ", 2)[1])


@pytest.mark.parametrize("row", FRAMING, ids=lambda row: f"{row['id']} {row['claim']}")
def test_bytes_that_are_no_request_are_refused_and_the_next_connection_is_served(
    row: Row, target: Target, http_client: http.client.HTTPConnection
):
    received = raw(target, row["send"].encode("latin-1"), seconds=5.0 if row.get("closes", True) else 0.3)

    assert status_of(received) == row["status"]
    assert (b"connection: close" in received) == row.get("closes", True)
    assert row.get("reason", "").encode() in received
    good_is_answered(http_client)
    target.assert_unharmed()


def chunk(size: int) -> bytes:
    return b"%x\r\n" % size + b"a" * size + b"\r\n"


HEAVY = {
    "IH7 250,000 levels": (b'{"a":' * 250_000, {}, 400),
    "IH7 65 levels": (b"[" * 65 + b"]" * 65, {}, 400),
    "IH6 integer of 5,000 digits": (b'{"id":' + b"1" * 5000 + b"}", {}, 400),
    "IH16 gzip bomb": (BOMB, {"content_encoding": "gzip"}, 413),
    "IH16 gzip cut off": (zlib.compress(GOOD_BODY, wbits=31)[:-4], {"content_encoding": "gzip"}, 400),
    "IH16 br": (GOOD_BODY, {"content_encoding": "br"}, 415),
    "IH16 gzip in gzip": (zlib.compress(zlib.compress(GOOD_BODY, wbits=31), wbits=31), {"content_encoding": "gzip, gzip"}, 415),
    "IH9 300,000 inputs": (b'{"inputs":[' + b'{"name":"x"},' * 300_000 + b"{}]}", {}, 413),
    "IH10 numbers of two bytes that become four": (
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[700000,3],"data":[' + b"1," * 2_099_999 + b"1]}]}",
        {},
        413,
    ),
    "IH34 id of 10 KB": (json.dumps({**GOOD, "id": "a" * 10_240}).encode(), {}, 400),
    "V28 10,000 parameters": (json.dumps({**GOOD, "parameters": {f"p{n}": 1 for n in range(10_000)}}).encode(), {}, 400),
}


@pytest.mark.parametrize("name", HEAVY)
def test_what_is_deep_long_or_blows_up_is_refused_and_costs_no_memory(name: str, target: Target, http_client: http.client.HTTPConnection):
    body, headers, status = HEAVY[name]
    ask(http_client, INFER, body, **headers)
    memory, cpu = target.resident_bytes(), target.router_cpu_seconds()
    for _ in range(5):
        assert ask(http_client, INFER, body, **headers)[0] == status

    assert (target.router_cpu_seconds() - cpu) / 5 < CPU_SECONDS
    target.assert_memory_returns_to(memory)
    good_is_answered(http_client)
    target.assert_unharmed()


@pytest.mark.parametrize(
    ("more", "headers"),
    [
        ({"parameters": {"timeout": 10**12}}, {}),
        ({}, {"accept": "text/html"}),
        ({}, {"accept": "application/octet-stream;q=0.5, image/*"}),
    ],
    ids=["IH32 timeout of 11 days", "IH35 Accept of pages", "IH35 Accept of pictures"],
)
def test_what_asks_for_too_much_time_or_another_form_is_answered_in_json(
    more: Mapping[str, Any], headers: Mapping[str, str], target: Target, http_client: http.client.HTTPConnection
):
    status, answer = ask(http_client, INFER, json.dumps({**GOOD, **more}).encode(), **headers)

    assert (status, answer["outputs"][0]["data"]) == (200, [1.0, 2.0, 3.0])
    target.assert_unharmed()


WIRE = {
    "IH11 body announced too large": b"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
    % (INFER.encode(), MESSAGE_LIMIT_BYTES + 1),
    "IH12 chunked body too large": CHUNKED + chunk(65_536) * (MESSAGE_LIMIT_BYTES // 65_536 + 1),
    "IH13 65,537 chunks of one byte": CHUNKED + chunk(1) * 65_537,
}


@pytest.mark.parametrize("name", WIRE)
def test_a_body_too_large_is_refused_before_or_while_it_is_read(name: str, target: Target, http_client: http.client.HTTPConnection):
    received = raw(target, WIRE[name])
    memory = target.resident_bytes()
    for _ in range(10):
        raw(target, WIRE[name])

    assert status_of(received) == 413
    assert b"connection: close" in received
    target.assert_memory_returns_to(memory)
    good_is_answered(http_client)


def test_ih30_a_thousand_requests_in_one_breath_are_answered_in_order_while_others_are_served(target: Target):
    def one(number: int) -> bytes:
        body = json.dumps({**GOOD, "id": str(number)}).encode()
        return ANNOUNCED % len(body) + body

    with socket.create_connection(address(target), timeout=10) as opened:
        opened.sendall(b"".join(map(one, range(1000))))
        target.assert_unharmed()
        received = bytearray()
        while received.count(b"HTTP/1.1 200") < 1000 or not received.endswith(b"}"):
            came = opened.recv(65_536)
            assert came, "closed before all were answered"
            received += came

    ids = [json.loads(part.partition(b"\r\n\r\n")[2])["id"] for part in bytes(received).split(b"HTTP/1.1 ")[1:]]
    assert ids == [str(number) for number in range(1000)]


def test_ih15_ih31_slow_callers_hold_nobody_else_up(target: Target, http_client: http.client.HTTPConnection):
    slow = [b"G", b"GET /v2 HTTP/1.1\r\nhost: a\r\n", ANNOUNCED % 100 + b"{"]
    opened = [socket.create_connection(address(target)) for _ in range(200)]
    memory = target.resident_bytes()
    try:
        for number, connection in enumerate(opened):
            connection.sendall(slow[number % len(slow)])
        for _ in range(20):
            good_is_answered(http_client)
        target.assert_memory_returns_to(memory)
    finally:
        for connection in opened:
            connection.close()
    # That they are answered 408 after 10 and 30 s, tests/router/test_http_framing.py shows with shorter limits.
    target.assert_unharmed()


def test_a_thousand_bad_requests_leave_memory_as_it_was(target: Target, http_client: http.client.HTTPConnection):
    rows = [row for row in ROWS if row.get("reason")]

    def bombard(count: int) -> None:
        for number in range(count):
            assert send(http_client, rows[number % len(rows)])[0] >= 400

    bombard(300)
    memory = target.resident_bytes()
    bombard(1000)

    target.assert_memory_returns_to(memory)
    good_is_answered(http_client)
    target.assert_unharmed()


def test_a_thousand_connections_that_are_no_http_leave_memory_as_it_was(target: Target, http_client: http.client.HTTPConnection):
    rows = [row["send"].encode("latin-1") for row in FRAMING if row.get("closes", True)]

    def bombard(count: int) -> None:
        for number in range(count):
            raw(target, rows[number % len(rows)])

    bombard(200)
    memory = target.resident_bytes()
    bombard(1000)

    target.assert_memory_returns_to(memory)
    good_is_answered(http_client)
