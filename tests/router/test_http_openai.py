"""OpenAI's embeddings and errors."""

import base64

import numpy as np
import pytest

from penstock.contracts.errors import Overloaded, QuotaExceeded
from services.router.http_front import HttpOptions
from tests.router.http_stand import on_uvloop, serving


@on_uvloop
async def test_a_text_becomes_numbers():
    async with serving() as stand:
        reply = await stand.post("/v1/embeddings", {"model": "text", "input": "here we are"})

    assert reply.json == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [11.0, 4.0, 1.0]}],
        "model": "text",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


@on_uvloop
async def test_base64_is_little_endian_float32():
    async with serving() as stand:
        reply = await stand.post("/openai/v1/embeddings", {"model": "text", "input": ["a", "ee"], "encoding_format": "base64"})

    vectors = [np.frombuffer(base64.b64decode(one["embedding"]), dtype="<f4").tolist() for one in reply.json["data"]]
    assert vectors == [[1, 0, 1], [2, 2, 1]]


@on_uvloop
async def test_more_texts_than_a_batch_are_split_and_keep_their_order():
    texts = ["x" * (1 + number) for number in range(23)]
    async with serving() as stand:
        reply = await stand.post("/v1/embeddings", {"model": "text", "input": texts})

    assert [one["embedding"][0] for one in reply.json["data"]] == [1 + number for number in range(23)]
    assert [one["index"] for one in reply.json["data"]] == list(range(23))
    assert reply.json["usage"]["total_tokens"] == 23
    assert [request.inputs[0].shape[0] for request in stand.loop.seen] == [4, 4, 4, 4, 4, 3]


@on_uvloop
async def test_what_was_begun_is_called_off_when_the_rest_cannot_be():
    async with serving(HttpOptions(port=0, open_calls_limit=2)) as stand:
        stand.loop.is_holding = True
        reply = await stand.post("/v1/embeddings", {"model": "text", "input": ["a"] * 12})
        stand.loop.is_holding = False
        following = await stand.post("/v1/embeddings", {"model": "text", "input": "a"})

    assert (reply.status, following.status) == (429, 200)


@on_uvloop
async def test_cut_embeddings_have_length_one():
    async with serving() as stand:
        reply = await stand.post("/v1/embeddings", {"model": "text", "input": "eee", "dimensions": 2})
        zero = await stand.post("/v1/embeddings", {"model": "text", "input": "eee", "dimensions": 4})

    assert reply.json["data"][0]["embedding"] == pytest.approx([2**-0.5, 2**-0.5])
    assert (zero.status, zero.json["error"]["param"]) == (400, "dimensions")


@pytest.mark.parametrize(
    ("document", "status", "param"),
    [
        ({"input": "a"}, 400, "model"), ({"model": "", "input": "a"}, 400, "model"), ({"model": 7, "input": "a"}, 400, "model"),
        ({"model": "text"}, 400, "input"), ({"model": "text", "input": []}, 400, "input"), ({"model": "text", "input": ""}, 400, "input"),
        ({"model": "text", "input": ["a", ""]}, 400, "input"), ({"model": "text", "input": ["a", None]}, 400, "input"),
        ({"model": "text", "input": {"a": 1}}, 400, "input"), ({"model": "text", "input": ["a"] * 2049}, 400, "input"),
        ({"model": "text", "input": [1, 2]}, 501, "input"), ({"model": "text", "input": [[1, 2]]}, 501, "input"),
        ({"model": "text", "input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"model": "text", "input": "a", "dimensions": 0}, 400, "dimensions"),
        ({"model": "text", "input": "a", "dimensions": 1.5}, 400, "dimensions"),
        ({"model": "text", "input": "a", "user": "a\nb"}, 400, "user"), ({"model": "fraud", "input": "a"}, 400, "model"),
        ({"model": "nobody", "input": "a"}, 404, "model"), ({"model": "../x", "input": "a"}, 400, "model"),
    ],
)  # fmt: skip
@on_uvloop
async def test_what_breaks_the_schema_names_its_parameter(document, status, param):
    async with serving() as stand:
        reply = await stand.post("/v1/embeddings", document)

    assert (reply.status, reply.json["error"]["param"]) == (status, param)
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}


@on_uvloop
async def test_errors_have_openais_types_and_codes():
    async with serving() as stand:
        unknown = await stand.post("/v1/embeddings", {"model": "nobody", "input": "a"})
        stand.loop.failure = QuotaExceeded("enough", retry_after_seconds=1)
        quota = await stand.post("/v1/embeddings", {"model": "text", "input": ["a"] * 20})
        stand.loop.failure = Overloaded("full")
        full = await stand.post("/v1/embeddings", {"model": "text", "input": "a"})
        broken = await stand.ask("POST", "/v1/embeddings", "{", {"content-type": "application/json"})
        later = await stand.post("/v1/chat/completions", {})

    errors = [reply.json["error"] for reply in (unknown, quota, full, broken, later)]
    assert [(one["type"], one["code"]) for one in errors] == [
        ("invalid_request_error", "model_not_found"),
        ("rate_limit_error", "rate_limit_exceeded"),
        ("server_error", "overloaded"),
        ("invalid_request_error", "bad_json"),
        ("server_error", "not_implemented"),
    ]
    assert (quota.headers["retry-after-ms"], quota.headers["x-should-retry"]) == ("1000", "true")
    assert later.headers["x-should-retry"] == "false"


@on_uvloop
async def test_a_budget_in_a_header_reaches_every_call():
    async with serving() as stand:
        await stand.post("/v1/embeddings", {"model": "text", "input": ["a"] * 6}, {"x-request-timeout-ms": "5000", "x-api-key": "k"})

    assert [key for wave in stand.loop.waves for key in wave.keys] == ["k", "k"]
    assert all(deadline < float("inf") for wave in stand.loop.waves for deadline in wave.deadlines)
