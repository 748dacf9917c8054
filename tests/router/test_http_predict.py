"""Predictions in rows and columns: the product's own call, TensorFlow Serving's, SageMaker's and MLflow's."""

import json
import time

import numpy as np
import pytest

from penstock.contracts.errors import Overloaded
from services.router.http_front import HttpOptions
from tests.router.http_stand import on_uvloop, serving

PREDICT = "/api/v1/models/{}/predict"


@on_uvloop
async def test_the_call_of_the_product_answers_by_row_with_version_request_id_and_latency():
    async with serving() as stand:
        reply = await stand.post(PREDICT.format("fraud"), {"inputs": [{"features": [0.5, 1.25, 3.5]}], "params": {"version": "v3"}})

    told = reply.json
    assert reply.status == 200
    assert told == {
        "model": "fraud",
        "version": "v3",
        "request_id": reply.headers["x-request-id"],
        "outputs": [{"score": [5.25]}],
        "latency_ms": told["latency_ms"],
    }
    assert 0 < told["latency_ms"] < 10_000


@on_uvloop
async def test_the_call_of_the_product_is_these_bytes_and_its_answer_those():
    body = b'{"inputs": [{"features": [0.5, 1.25, 3.5]}], "params": {"version": "v3"}}'
    sent = (
        b"POST /api/v1/models/fraud/predict HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
        b"content-type: application/json\r\nx-request-id: mine\r\nconnection: close\r\nContent-Length: 73\r\n\r\n"
    )
    async with serving() as stand:
        head, _, answer = (await stand.raw(sent + body)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ncontent-type: application/json" in head
    before, name, latency = answer.partition(b'"latency_ms":')
    assert before == b'{"model":"fraud","version":"v3","request_id":"mine","outputs":[{"score":[5.25]}],'
    assert name
    assert float(latency.rstrip(b"}")) > 0


@pytest.mark.parametrize(
    "inputs",
    [
        [{"features": [1, 2, 3]}, {"features": [4, 5, 6]}],
        [[1, 2, 3], [4, 5, 6]],
        {"features": [[1, 2, 3], [4, 5, 6]]},
    ],
    ids=["rows", "bare rows", "columns"],
)
@on_uvloop
async def test_rows_bare_rows_and_columns_are_the_same(inputs):
    async with serving() as stand:
        reply = await stand.post(PREDICT.format("fraud"), {"inputs": inputs})

    assert reply.json["outputs"] == [{"score": [6.0]}, {"score": [15.0]}]


@on_uvloop
async def test_several_inputs_and_single_values_are_named():
    rows = {"inputs": [{"a": 1.5, "b": 2}, {"a": 3, "b": 4}], "outputs": ["product"]}
    columns = {"inputs": {"a": [[1.5], [3]], "b": [2, 4]}}
    async with serving() as stand:
        by_row = await stand.post(PREDICT.format("pair"), rows)
        by_column = await stand.post(PREDICT.format("pair"), columns)

    assert by_row.json["outputs"] == [{"product": [3.0]}, {"product": [12.0]}]
    assert by_column.json["outputs"] == [{"sum": [3.5], "product": [3.0]}, {"sum": [7.0], "product": [12.0]}]


@on_uvloop
async def test_a_model_without_a_batch_dimension_takes_one_row_of_full_shape():
    async with serving() as stand:
        one = await stand.post(PREDICT.format("flat"), {"inputs": [{"x": [1, 2, 3, 4]}]})
        bare = await stand.post(PREDICT.format("flat"), {"inputs": [[1, 2, 3, 4]]})
        two = await stand.post(PREDICT.format("flat"), {"inputs": [[1, 2, 3, 4], [1, 2, 3, 4]]})

    assert one.json["outputs"] == bare.json["outputs"] == [{"y": [2.0, 4.0, 6.0, 8.0]}]
    assert (two.status, two.json["reason"]) == (400, "BATCH_TOO_LARGE")


@on_uvloop
async def test_everything_optional_travels_with_the_call():
    document = {
        "inputs": [[1, 2, 3]],
        "params": {"version": "v3", "priority": 1},
        "request_id": "a-1",
        "timeout_ms": 1500.5,
        "routing_key": "user-7",
        "outputs": ["score"],
    }
    async with serving() as stand:
        reply = await stand.post(PREDICT.format("fraud"), document, {"x-request-timeout-ms": "60000"})
        sticky = await stand.post(PREDICT.format("fraud"), {"inputs": [[1, 2, 3]]}, {"x-session-affinity": "s", "x-request-id": "r"})

    asked = stand.loop.seen[0]
    assert (reply.json["request_id"], asked.id, asked.model_version) == ("a-1", "a-1", "v3")
    assert (asked.parameters["routing_key"].string_param, asked.parameters["priority"].uint64_param) == ("user-7", 1)
    assert [one.name for one in asked.outputs] == ["score"]
    assert stand.loop.waves[0].deadlines[0] < time.monotonic() + 1.6
    assert stand.loop.seen[1].parameters["routing_key"].string_param == "s"
    assert sticky.json["request_id"] == "r"


@on_uvloop
async def test_errors_are_problem_details_with_reason_hint_and_request_id():
    async with serving() as stand:
        shape = await stand.post(PREDICT.format("fraud"), {"inputs": [[1, 2]]}, {"x-request-id": "q"})
        model = await stand.post(PREDICT.format("nobody"), {"inputs": [[1, 2]]})
        stand.loop.failure = Overloaded("full", retry_after_seconds=2)
        full = await stand.post(PREDICT.format("fraud"), {"inputs": [[1, 2, 3]]})

    assert shape.headers["content-type"] == "application/problem+json"
    assert (shape.status, shape.json["status"], shape.json["reason"], shape.json["request_id"]) == (400, 400, "SHAPE_MISMATCH", "q")
    assert shape.json["field"] == "features"
    assert "GET /v2/models/{model}" in shape.json["hint"]
    assert (model.status, model.json["title"], model.json["reason"]) == (404, "Not found", "MODEL_NOT_FOUND")
    assert (full.status, full.json["retry_after_seconds"], full.headers["retry-after"]) == (429, 2, "2")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "MISSING_INPUT"), ({"inputs": []}, "MISSING_INPUT"), ({"inputs": 7}, "SHAPE_MISMATCH"), ({"inputs": None}, "SHAPE_MISMATCH"),
        ({"inputs": [{}]}, "MISSING_INPUT"), ({"inputs": [{"other": 1}]}, "UNKNOWN_INPUT"), ({"inputs": {"other": [1]}}, "UNKNOWN_INPUT"),
        ({"inputs": [{"features": [1, 2, 3]}, {}]}, "MISSING_INPUT"), ({"inputs": [{"features": [1, 2, 3]}, [1, 2, 3]]}, "SHAPE_MISMATCH"),
        ({"inputs": [{"features": [1, 2, 3]}, {"features": [1, 2, 3], "x": 1}]}, "UNKNOWN_INPUT"),
        ({"inputs": [[1, 2, "3"]]}, "DTYPE_MISMATCH"), ({"inputs": [[1, 2, True]]}, "DTYPE_MISMATCH"),
        ({"inputs": [[1, 2, None]]}, "DTYPE_MISMATCH"),
        ({"inputs": [[1, 2, 1e39]]}, "BAD_VALUE"), ({"inputs": [[1, 2, 3], [1, 2]]}, "SHAPE_MISMATCH"),
        ({"inputs": [1, 2, 3]}, "SHAPE_MISMATCH"),
        ({"inputs": [[[1, 2, 3]]]}, "SHAPE_MISMATCH"), ({"inputs": [[1, 2, 3]] * 9}, "BATCH_TOO_LARGE"),
        ({"inputs": [[1, 2, 3]], "params": {"version": 3}}, "BAD_NAME"),
        ({"inputs": [[1, 2, 3]], "params": {"version": "../1"}}, "BAD_NAME"),
        ({"inputs": [[1, 2, 3]], "params": [1]}, "BAD_PARAMETER"), ({"inputs": [[1, 2, 3]], "params": {"a": []}}, "BAD_PARAMETER"),
        ({"inputs": [[1, 2, 3]], "timeout_ms": 0}, "BAD_PARAMETER"), ({"inputs": [[1, 2, 3]], "timeout_ms": "5"}, "BAD_PARAMETER"),
        ({"inputs": [[1, 2, 3]], "timeout_ms": True}, "BAD_PARAMETER"), ({"inputs": [[1, 2, 3]], "timeout_ms": 1e12}, "BAD_PARAMETER"),
        ({"inputs": [[1, 2, 3]], "request_id": "a\nb"}, "BAD_ID"), ({"inputs": [[1, 2, 3]], "routing_key": 7}, "BAD_PARAMETER"),
        ({"inputs": [[1, 2, 3]], "outputs": ["other"]}, "UNKNOWN_OUTPUT"), ({"inputs": [[1, 2, 3]], "outputs": "score"}, "UNKNOWN_OUTPUT"),
        ({"inputs": [[1, 2, 3]], "outputs": ["score", "score"]}, "UNKNOWN_OUTPUT"), ({"inputs": [[1, 2, 3]], "extra": 1}, "BAD_PARAMETER"),
    ],
)  # fmt: skip
@on_uvloop
async def test_rows_that_do_not_fit_are_refused_with_their_reason(document, reason):
    async with serving() as stand:
        reply = await stand.post(PREDICT.format("fraud"), document)

    assert (reply.status, reply.json["reason"]) == (400, reason)


@pytest.mark.parametrize(("kind", "value"), [("INT8", 300), ("UINT8", -1), ("INT64", 1.5), ("BOOL", 1), ("BYTES", 5), ("FP16", 70000)])
@on_uvloop
async def test_values_outside_their_type_are_refused(kind, value):
    async with serving() as stand:
        reply = await stand.post(PREDICT.format("types"), {"inputs": [{kind: [value, value]}]})

    assert (reply.status, reply.json["field"]) == (400, kind)


@on_uvloop
async def test_numbers_that_json_has_not_are_null():
    async with serving() as stand:
        reply = await stand.post(PREDICT.format("nan"), {"inputs": [[1]]})

    assert reply.json["outputs"] == [{"y": [None]}]


@pytest.mark.parametrize(("missing_is_json", "status"), [(True, 200), (False, 415)])
@on_uvloop
async def test_a_missing_content_type_is_json_unless_that_is_switched_off(missing_is_json, status):
    body = json.dumps({"inputs": [[1, 2, 3]]})
    async with serving(HttpOptions(port=0, missing_type_is_json=missing_is_json)) as stand:
        native = await stand.ask("POST", PREDICT.format("fraud"), body)
        oip = await stand.ask(
            "POST",
            "/v2/models/fraud/infer",
            json.dumps({"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}),
        )

    assert (native.status, oip.status) == (status, 200)


@on_uvloop
async def test_tensorflow_servings_rows_and_columns():
    async with serving() as stand:
        rows = await stand.post("/v1/models/fraud:predict", {"instances": [[1, 2, 3]], "signature_name": "serving_default"})
        version = await stand.post("/v1/models/fraud/versions/v2:predict", {"instances": [{"features": [1, 2, 3]}]})
        label = await stand.post("/v1/models/fraud/labels/stable:predict", {"instances": [[1, 2, 3]]})
        columns = await stand.post("/v1/models/fraud:predict", {"inputs": [[1, 2, 3]]})
        named = await stand.post("/v1/models/pair:predict", {"inputs": {"a": [[1]], "b": [[2]]}})
        several = await stand.post("/v1/models/pair:predict", {"instances": [{"a": [1], "b": [2]}]})

    assert (rows.json, version.json) == ({"predictions": [[6.0]]}, {"predictions": [[0.0]]})
    assert (label.status, label.json["reason"]) == (404, "VERSION_NOT_FOUND")
    assert (columns.json, named.json) == ({"outputs": [[6.0]]}, {"outputs": {"sum": [[3.0]], "product": [[2.0]]}})
    assert several.json == {"predictions": [{"sum": [3.0], "product": [2.0]}]}


@pytest.mark.parametrize(
    "document", [{}, {"instances": [[1, 2, 3]], "inputs": [[1, 2, 3]]}, {"instances": {"features": 1}}, {"instances": []}]
)
@on_uvloop
async def test_tensorflow_servings_bodies_have_exactly_one_form(document):
    async with serving() as stand:
        reply = await stand.post("/v1/models/fraud:predict", document)

    assert reply.status == 400
    assert isinstance(reply.json["error"], str)


@on_uvloop
async def test_models_are_listed_for_three_protocols_at_once():
    async with serving() as stand:
        listed = await stand.get("/v1/models")
        one = await stand.get("/v1/models/fraud")
        mounted = await stand.get("/openai/v1/models/fraud")
        unknown = await stand.get("/v1/models/nobody")
        metadata = await stand.get("/v1/models/fraud/metadata")
        stand.control.directory.begin_drain()
        draining = await stand.get("/v1/models/fraud")

    assert listed.json["object"] == "list"
    assert [model["id"] for model in listed.json["data"]] == listed.json["models"]
    assert (one.json["id"], one.json["object"], one.json["name"], one.json["ready"]) == ("fraud", "model", "fraud", True)
    assert {status["version"]: status["state"] for status in one.json["model_version_status"]} == {"v2": "AVAILABLE", "v3": "AVAILABLE"}
    assert mounted.json == one.json
    assert (unknown.status, draining.status, draining.json["ready"]) == (404, 503, False)
    assert metadata.json["metadata"]["signature_def"]["serving_default"]["inputs"]["features"] == {"dtype": "FP32", "shape": [-1, 3]}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"instances": [[1, 2, 3], [4, 5, 6]]}', "application/json"),
        ('{"inputs": {"features": [[1, 2, 3], [4, 5, 6]]}}', "application/json"),
        ('{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 2, 3], [4, 5, 6]], "index": [0, 1]}}', "application/json"),
        ('{"dataframe_split": {"columns": ["features"], "data": [[[1, 2, 3]], [[4, 5, 6]]]}}', "application/json; charset=utf-8"),
        ('{"dataframe_records": [{"a": 1, "b": 2, "c": 3}, {"a": 4, "b": 5, "c": 6}]}', "application/json"),
        ("a,b,c\n1,2,3\n4,5,6\n", "text/csv"),
        ("1,2,3\r\n4,5,6\r\n", "text/csv"),
        ("1,2,3\n4,5,6", "text/csv; header=absent"),
        ("1,1,1\n1,2,3\n4,5,6", "text/csv; header=present"),
    ],
)  # fmt: skip
@on_uvloop
async def test_invocations_take_every_form_of_a_table(body, content_type):
    async with serving(HttpOptions(port=0, default_model="fraud")) as stand:
        reply = await stand.ask("POST", "/invocations", body, {"content-type": content_type})

    assert (reply.status, reply.json) == (200, {"predictions": [[6.0], [15.0]]})


@on_uvloop
async def test_invocations_find_their_model_by_header_configuration_or_because_there_is_one():
    async with serving() as stand:
        target = {"x-amzn-sagemaker-target-model": "fraud", "x-amzn-sagemaker-target-variant": "v2"}
        named = await stand.post("/invocations", {"instances": [[1, 2, 3]]}, target)
        several = await stand.post("/invocations", {"instances": [[1, 2, 3]]})
        ping = await stand.get("/ping")

    assert named.json == {"predictions": [[0.0]]}
    assert (several.status, ping.status) == (400, 200)
    assert "X-Amzn-SageMaker-Target-Model" in several.json["error"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", "text/csv"), ("1,2\n", "text/csv"), ("a,b,c\n1,2,x\n", "text/csv"), ("1,2,3\n1,2\n", "text/csv"), ("\xff", "text/csv"),
        ("{}", "application/json"), ('{"instances": [], "inputs": []}', "application/json"), ('{"dataframe_split": 1}', "application/json"),
        ('{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', "application/json"),
        ('{"dataframe_records": [{"a": 1}, {"b": 1}]}', "application/json"), ('{"dataframe_records": []}', "application/json"),
    ],
)  # fmt: skip
@on_uvloop
async def test_broken_tables_are_refused(body, content_type):
    async with serving(HttpOptions(port=0, default_model="fraud")) as stand:
        reply = await stand.ask("POST", "/invocations", body.encode("latin-1"), {"content-type": content_type})

    assert reply.status == 400


@on_uvloop
async def test_many_rows_keep_their_order():
    values = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    async with serving() as stand:
        reply = await stand.post(PREDICT.format("wide"), {"inputs": [{"x": row} for row in values.tolist()]})

    assert [row["y"] for row in reply.json["outputs"]] == (values * 2).tolist()
