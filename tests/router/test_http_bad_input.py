"""Requests that must be refused: the rows of badinput/oip_http.yaml, and what is too large to be written into a file."""

import json
import zlib
from pathlib import Path

import pytest
import yaml

from tests.router.http_stand import Stand, on_uvloop, serving

ROWS = yaml.safe_load((Path(__file__).parent / "badinput" / "oip_http.yaml").read_text())
GOOD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}


def body_of(row) -> bytes:
    if "raw" in row:
        return row["raw"].encode("latin-1")
    document = json.loads(json.dumps(row.get("body", {**GOOD, **row.get("with", {})})))
    if "input" in row:
        document["inputs"][0] |= row["input"]
        if document["inputs"][0]["data"] == "MISSING":
            del document["inputs"][0]["data"]
    return json.dumps(document, ensure_ascii=False).encode()


def tail_of(row) -> bytes:
    tail = row.get("tail", 0)
    return tail.encode("latin-1") if isinstance(tail, str) else bytes(tail)


async def send(stand: Stand, row):
    body = body_of(row)
    headers = dict(row.get("headers", {}))
    if "length" in row:
        headers["inference-header-content-length"] = str(len(body)) if row["length"] == "EXACT" else row["length"]
    if "content_type" in row:
        headers["content-type"] = row["content_type"]
    version = f"/versions/{row['version']}" if "version" in row else ""
    return await stand.ask("POST", f"/v2/models/{row.get('model', 'echo')}{version}/infer", body + tail_of(row), headers)


def test_every_row_has_a_name_of_its_own():
    assert len({row["id"] for row in ROWS}) == len(ROWS)


@on_uvloop
async def test_every_bad_request_is_refused_with_its_reason_and_the_server_goes_on():
    failures = []
    async with serving() as stand:
        for row in ROWS:
            reply = await send(stand, row)
            allowed = row["status"] if isinstance(row["status"], list) else [row["status"]]
            told = reply.json
            is_right = (
                reply.status in allowed
                and told["reason"] == row.get("reason", told["reason"])
                and row.get("says", "") in told["error"]
                and len(told["error"]) <= 512
                and told["request_id"] == reply.headers["x-request-id"]
                and reply.headers["x-should-retry"] == "false"
            )
            if not is_right:
                failures.append((row["id"], row["claim"], reply.status, told))
            good = await stand.post("/v2/models/echo/infer", GOOD)
            assert good.status == 200, row

    assert failures == []


@on_uvloop
async def test_what_is_long_or_deep_is_refused_like_what_is_wrong():
    wide = {**GOOD, "parameters": {f"p{number}": 1 for number in range(10_000)}}
    outputs = {**GOOD, "outputs": [{"name": f"y{number}"} for number in range(10_000)]}
    rank = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1] * 1000, "data": [1]}]}
    cases = [
        (b"[" * 65 + b"]" * 65, 400, "BAD_JSON"),
        (b'{"a":' * 250_000, 400, "BAD_JSON"),
        (b'{"id":' + b"1" * 5000 + b"}", 400, "BAD_JSON"),
        (json.dumps(wide).encode(), 400, "BAD_PARAMETER"),
        (json.dumps(outputs).encode(), 400, "BAD_VALUE"),
        (json.dumps(rank).encode(), 400, "SHAPE_MISMATCH"),
        (json.dumps({**GOOD, "id": "a" * 10_240}).encode(), 400, "BAD_ID"),
        (json.dumps({"inputs": [{**GOOD["inputs"][0], "name": "x" * 10_240}]}).encode(), 400, "UNKNOWN_INPUT"),
        (json.dumps({**GOOD, "parameters": {"p" * 10_240: [1]}}).encode(), 400, "BAD_PARAMETER"),
    ]
    async with serving() as stand:
        for body, status, reason in cases:
            reply = await stand.ask("POST", "/v2/models/echo/infer", body)
            assert (reply.status, reply.json["reason"]) == (status, reason), body[:40]
            assert len(reply.body) < 2000
        long_name = await stand.ask("POST", f"/v2/models/{'m' * 300}/infer", json.dumps(GOOD))

    assert (long_name.status, long_name.json["reason"]) == (400, "BAD_NAME")


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (zlib.compress(bytes(70 * 1024 * 1024), 9, wbits=31), "gzip", 413),
        (zlib.compress(json.dumps(GOOD).encode(), wbits=31)[:-4], "gzip", 400),
        (zlib.compress(json.dumps(GOOD).encode(), wbits=31) + b"more", "gzip", 400),
        (b"no stream at all", "gzip", 400),
        (b"", "gzip", 400),
        (zlib.compress(json.dumps(GOOD).encode(), wbits=-15), "deflate", 400),
        (json.dumps(GOOD).encode(), "br", 415),
        (zlib.compress(zlib.compress(json.dumps(GOOD).encode(), wbits=31), wbits=31), "gzip, gzip", 415),
    ],
    ids=["IH16 bomb", "IH16 cut off", "IH16 something behind", "IH16 no gzip", "IH16 empty", "IH16 raw deflate", "IH16 br", "IH16 stacked"],
)
@on_uvloop
async def test_broken_compressed_bodies_are_refused(body, encoding, status):
    async with serving() as stand:
        reply = await stand.ask("POST", "/v2/models/echo/infer", body, {"content-encoding": encoding})

    assert reply.status == status


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "//v2/models", "/v2//models", "/v2/models/../../etc/passwd", "/v2/models/%2e%2e%2f%2e%2e/etc", "/v2/models/echo/infer/",
        "/v2/models/echo/", "/v2/models//infer", "/V2", "/.", "/%2e", "/v2%2fmodels", "/v2/models/echo%2finfer",
    ],
)  # fmt: skip
@on_uvloop
async def test_a_path_is_never_normalised_into_another_one(path):
    async with serving() as stand:
        reply = await stand.get(path)

    assert reply.status in (400, 404)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v2/models/echo/infer", "POST"), ("POST", "/v2/health/live", "GET, HEAD"), ("PUT", "/v2/models/echo", "GET, HEAD"),
        ("DELETE", "/v2", "GET, HEAD"), ("POST", "/healthz", "GET, HEAD"), ("GET", "/v1/embeddings", "POST"),
        ("GET", "/api/v1/models/echo/predict", "POST"), ("PATCH", "/v2/logging", "GET, HEAD, POST"), ("OPTIONS", "/v2", "GET, HEAD"),
        ("HEAD", "/v2/models/echo/infer", "POST"),
    ],
)  # fmt: skip
@on_uvloop
async def test_another_method_is_refused_with_those_that_are_served(method, path, allow):
    async with serving() as stand:
        reply = await stand.ask(method, path, headers={"origin": "http://elsewhere", "access-control-request-method": "POST"})

    assert (reply.status, reply.headers["allow"]) == (405, allow)
    assert "access-control-allow-origin" not in reply.headers


@on_uvloop
async def test_a_thousand_bad_requests_leave_no_memory_behind():
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    bad = b'POST /v2/models/echo/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 22\r\n\r\n{"inputs":[{"a":[1}]}]'
    async with serving() as stand:
        await stand.raw(bad * 200, until_close=False, answers=200)
        before = resident()
        for _ in range(5):
            received = await stand.raw(bad * 200, until_close=False, answers=200)
            assert received.count(b"HTTP/1.1 400") == 200
        after = resident()

    assert after - before < 8 * 1024 * 1024
