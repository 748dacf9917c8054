"""Inference by OIP v2 over HTTP."""

import gzip
import json
import zlib

import numpy as np
import pytest

from penstock.contracts.errors import Overloaded, QuotaExceeded
from penstock.contracts.tensors import DataType
from tests.router.http_stand import on_uvloop, serving

VALUES = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)

RAW = VALUES.tobytes()


def tensor(**more):
    return {"name": "x", "datatype": "FP32", "shape": [2, 3], **more}


def binary(document, tail=RAW):
    head = json.dumps(document).encode()
    return head + tail, {"inference-header-content-length": str(len(head))}


ASKED = {"inputs": [tensor(parameters={"binary_data_size": 24})], "parameters": {"binary_data_output": True}}


@on_uvloop
async def test_json_in_json_out():
    async with serving() as stand:
        reply = await stand.post("/v2/models/echo/versions/1/infer", {"id": "a-1", "inputs": [tensor(data=VALUES.tolist())]})

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json == {
        "id": "a-1",
        "model_name": "echo",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 3], "data": [2, 4, 6, 8, 10, 12]}],
    }


@on_uvloop
async def test_binary_in_binary_out_without_a_content_type():
    body, headers = binary(ASKED)
    async with serving() as stand:
        reply = await stand.ask("POST", "/v2/models/echo/infer", body, headers)

    length = int(reply.headers["inference-header-content-length"])
    assert (reply.status, reply.headers["content-type"]) == (200, "application/octet-stream")
    assert json.loads(reply.body[:length])["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
    ]
    assert np.frombuffer(reply.body[length:], dtype=np.float32).tolist() == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/octet-stream", "application/json; charset=utf-8", "APPLICATION/JSON"]
)
@on_uvloop
async def test_media_types_that_clients_send_are_taken(content_type):
    body, headers = binary(ASKED)
    async with serving() as stand:
        reply = await stand.ask("POST", "/v2/models/echo/infer?any=query", body, {**headers, "content-type": content_type})

    assert reply.status == 200


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@on_uvloop
async def test_compressed_bodies_are_read_and_lengths_count_plain_json(encoding, compress):
    body, headers = binary(ASKED)
    async with serving() as stand:
        reply = await stand.ask("POST", "/v2/models/echo/infer", compress(body), {**headers, "content-encoding": encoding})

    assert reply.status == 200
    assert np.frombuffer(reply.body[-24:], dtype=np.float32).tolist() == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize(("encoding", "decompress"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
@pytest.mark.parametrize("columns", [1000, 100_000], ids=["in place", "beside the loop"])
@on_uvloop
async def test_answers_are_compressed_for_who_asks(encoding, decompress, columns):
    values = np.arange(columns, dtype=np.float32).reshape(1, columns)
    document = {
        "inputs": [tensor(shape=[1, columns], parameters={"binary_data_size": columns * 4})],
        "parameters": {"binary_data_output": True},
    }
    body, headers = binary(document, values.tobytes())
    async with serving() as stand:
        reply = await stand.ask("POST", "/v2/models/wide/infer", body, {**headers, "accept-encoding": encoding})

    assert (reply.headers["content-encoding"], reply.headers["vary"]) == (encoding, "accept-encoding")
    assert len(reply.body) < columns * 4
    plain = decompress(reply.body)
    length = int(reply.headers["inference-header-content-length"])
    assert np.frombuffer(plain[length:], dtype=np.float32).tolist() == (values * 2).ravel().tolist()


@pytest.mark.parametrize("accept", ["identity", "br", "gzip;q=0", ""])
@on_uvloop
async def test_answers_stay_plain_for_who_does_not(accept):
    document = {"inputs": [tensor(shape=[1, 3000], data=[1.5] * 3000)]}
    async with serving() as stand:
        reply = await stand.post("/v2/models/wide/infer", document, {"accept-encoding": accept})

    assert "content-encoding" not in reply.headers
    assert reply.json["outputs"][0]["data"] == [3.0] * 3000


@pytest.mark.parametrize("kind", list(DataType))
@pytest.mark.parametrize("is_binary", [True, False], ids=["binary", "json"])
@on_uvloop
async def test_every_data_type_goes_in_and_out(kind, is_binary):
    values = ["ab", "ü"] if kind is DataType.BYTES else [True, False] if kind is DataType.BOOL else [1, 2]
    document = {"inputs": [{"name": kind.value, "datatype": kind.value, "shape": [1, 2], "data": values}]}
    document["parameters"] = {"binary_data_output": is_binary}
    async with serving() as stand:
        reply = await stand.post("/v2/models/types/infer", document)
        if is_binary:
            raw = reply.body[int(reply.headers["inference-header-content-length"]) :]
            size = {"binary_data_size": len(raw)}
            back, headers = binary({"inputs": [{"name": kind.value, "datatype": kind.value, "shape": [1, 2], "parameters": size}]}, raw)
            reply = await stand.ask("POST", "/v2/models/types/infer", back, headers)

    assert reply.json["outputs"] == [{"name": kind.value + "_out", "datatype": kind.value, "shape": [1, 2], "data": values}]


@on_uvloop
async def test_empty_tensors_give_empty_results():
    async with serving() as stand:
        reply = await stand.post("/v2/models/wide/infer", {"inputs": [tensor(shape=[0, 4], data=[])]})

    assert reply.json["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [0, 4], "data": []}]


@on_uvloop
async def test_requested_outputs_and_classes():
    pair = {
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": [1, 1], "data": [3]},
            {"name": "b", "datatype": "INT64", "shape": [1, 1], "data": [5]},
        ],
        "outputs": [{"name": "product"}],
    }
    classes = {"inputs": [tensor(data=VALUES.tolist())], "outputs": [{"name": "y", "parameters": {"classification": 2}}]}
    async with serving() as stand:
        one = await stand.post("/v2/models/pair/infer", pair)
        best = await stand.post("/v2/models/echo/infer", classes)

    assert [(output["name"], output["data"]) for output in one.json["outputs"]] == [("product", [15])]
    assert best.json["outputs"][0] == {
        "name": "y",
        "datatype": "BYTES",
        "shape": [2, 2],
        "data": ["6.000000:2:owl", "4.000000:1:dog", "12.000000:2:owl", "10.000000:1:dog"],
    }


@on_uvloop
async def test_numbers_that_json_has_not_are_null_in_json_and_exact_in_binary():
    document = {"inputs": [tensor(shape=[3, 1], data=[1, -1, 0])]}
    async with serving() as stand:
        as_json = await stand.post("/v2/models/nan/infer", document)
        as_bytes = await stand.post("/v2/models/nan/infer", {**document, "parameters": {"binary_data_output": True}})

    assert as_json.json["outputs"][0]["data"] == [None, None, None]
    assert np.array_equal(np.frombuffer(as_bytes.body[-12:], dtype=np.float32), [np.inf, -np.inf, np.nan], equal_nan=True)


@on_uvloop
async def test_key_trace_and_budget_travel_with_the_call():
    headers = {"x-api-key": "k", "traceparent": "00-aa-bb-01", "x-request-timeout-ms": "5000", "x-request-id": "mine"}
    async with serving() as stand:
        reply = await stand.post("/v2/models/echo/infer", {"inputs": [tensor(data=VALUES.tolist())]}, headers)
        await stand.post("/v2/models/echo/infer", {"inputs": [tensor(data=VALUES.tolist())]}, {"authorization": "Bearer b"})
        await stand.post("/v2/models/echo/infer", {"inputs": [tensor(data=VALUES.tolist())]}, {"authorization": "Basic b"})

    first = stand.loop.waves[0]
    assert reply.headers["x-request-id"] == "mine"
    assert (first.keys, first.traces) == (["k"], ["00-aa-bb-01"])
    assert 0 < first.deadlines[0] < float("inf")
    assert [wave.keys[0] for wave in stand.loop.waves[1:]] == ["b", None]
    assert stand.loop.waves[1].deadlines == [float("inf")]


@on_uvloop
async def test_an_unusable_request_id_is_replaced():
    async with serving() as stand:
        replies = [await stand.get("/v2", {"x-request-id": given}) for given in ("a b", "x" * 200, "ü".encode().decode("latin-1"))]

    assert len({reply.headers["x-request-id"] for reply in replies}) == 3
    assert all(reply.headers["x-request-id"].isascii() and len(reply.headers["x-request-id"]) < 40 for reply in replies)


@on_uvloop
async def test_a_budget_of_nothing_is_a_passed_deadline():
    async with serving() as stand:
        reply = await stand.post("/v2/models/echo/infer", {"inputs": [tensor(data=VALUES.tolist())]}, {"x-request-timeout-ms": "0"})

    assert (reply.status, reply.json["reason"]) == (504, "DEADLINE_EXCEEDED")


@on_uvloop
async def test_errors_of_the_router_are_told_with_when_to_come_back():
    document = {"inputs": [tensor(data=VALUES.tolist())]}
    async with serving() as stand:
        stand.loop.failure = QuotaExceeded("enough for now", retry_after_seconds=2.5)
        quota = await stand.post("/v2/models/echo/infer", document)
        stand.loop.failure = Overloaded("full")
        overload = await stand.post("/v2/models/echo/infer", document)

    assert (quota.status, quota.json["error"], quota.json["reason"]) == (429, "enough for now", "QUOTA")
    assert [quota.headers[name] for name in ("retry-after", "retry-after-ms", "x-should-retry")] == ["3", "2500", "true"]
    assert (overload.status, overload.headers["retry-after"], overload.headers["x-should-retry"]) == (429, "1", "true")


@on_uvloop
async def test_a_mistake_of_ours_says_nothing_but_the_request_id():
    async with serving() as stand:
        stand.front.service._calls = None  # type: ignore[assignment]
        reply = await stand.post("/v2/models/echo/infer", {"inputs": [tensor(data=VALUES.tolist())]}, {"x-request-id": "q-7"})

    assert reply.status == 500
    assert reply.json == {"error": "internal error; request id q-7", "reason": "INTERNAL", "request_id": "q-7"}
