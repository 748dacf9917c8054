"""Deployments that cannot be, row by row: what is asked for in both forms, how it is refused, and that nothing comes of it.

Parts of a specification that exist nowhere here (canary steps, gates, schedules) are refused by their name: ID12, ID20 to ID27 and ID39.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.v1 import controller_pb2 as pb
from tests.hostile.control_plane import Controller, Row, is_refused

pytestmark = pytest.mark.timeout(300)

SPEC = {"model_name": "fraud", "version": "idle"}
NAN = b'{"model_name": "fraud", "version": "idle", "traffic_percent": NaN}'
LARGE = {"a": "x" * 5_000_000}
DELAY = "/config/dynamic_batching/max_queue_delay_microseconds"
UNKNOWN = "Extra inputs are not permitted"


def created(claim: str, reason: str, status: int, **more: Any) -> Row:
    """A deployment that is asked for: `http` are fields of the body, `rpc` fields of the message."""
    http, rpc = more.pop("http", None), more.pop("rpc", None)
    return Row(
        claim=claim,
        reason=reason,
        status=status,
        http=None if http is None else ("POST", "/deployments", SPEC | http),
        rpc=None if rpc is None else pb.CreateDeploymentRequest(**{"model": "fraud", "version": "idle"} | rpc),
        **more,
    )


def spec(claim: str, **more: Any) -> Row:
    """A specification that is wrong in itself."""
    return created(claim, "INVALID_SPEC", 422, **more)


def config(claim: str, settings: dict[str, Any], pointer: str, says: str = "") -> Row:
    """Settings that are wrong in themselves."""
    return spec(claim, http={"config": settings}, rpc={"config_json": json.dumps(settings)}, place=pointer, says=says or pointer)


def absent(claim: str, **more: Any) -> Row:
    return created(claim, more.pop("reason"), 404, code="NOT_FOUND", **more)


def state(claim: str, reason: str, **more: Any) -> Row:
    return created(claim, reason, 409, code="FAILED_PRECONDITION", is_noted=True, **more)


SPECS = [
    Row(claim="ID1 no body", reason="INVALID_SPEC", status=422, http=("POST", "/deployments", None)),
    Row(claim="ID1 empty", reason="INVALID_SPEC", status=422, http=("POST", "/deployments", {}), says="/model_name", place="/model_name"),
    Row(claim="ID1 no object", reason="INVALID_SPEC", status=422, http=("POST", "/deployments", []), says="the body"),
    spec("ID1 unknown field", http={"trafic_percent": 10}, place="/trafic_percent", says=UNKNOWN),
    spec("ID1 unknown field within", http={"resources": {"gpus": 1}}, place="/resources/gpus", says=UNKNOWN),
    spec("ID1 wrong type", http={"model_name": 7}, place="/model_name", says="string"),
    spec("ID2 a kind is none of its fields", http={"kind": "Deployment"}, place="/kind", says=UNKNOWN),
    absent("ID4 unknown model", reason="MODEL_NOT_FOUND", http={"model_name": "ghost"}, rpc={"model": "ghost"}, says="'ghost'"),
    absent("ID4 unknown version", reason="VERSION_NOT_FOUND", http={"version": "v9"}, rpc={"version": "v9"}, says="'v9'"),
    spec("ID5 latest", http={"version": "latest"}, rpc={"version": "latest"}, place="/version", says="a deployment is of one version"),
    Row(
        claim="ID5 no version",
        reason="INVALID_SPEC",
        status=422,
        http=("POST", "/deployments", {"model_name": "fraud"}),
        place="/version",
        says="Field required",
    ),
    created("ID5 empty version", "BAD_NAME", 400, http={"version": ""}, rpc={"version": ""}, says="1 to 255 letters"),
    state("ID6 failed version", "VERSION_NOT_DEPLOYABLE", http={"version": "failed"}, rpc={"version": "failed"}, says="is failed"),
    state("ID6 deleted version", "VERSION_NOT_DEPLOYABLE", http={"version": "deleted"}, rpc={"version": "deleted"}, says="is deleted"),
    spec("ID8 share 101", http={"traffic_percent": 101}, place="/traffic_percent", says="from 0 to 100"),
    spec("ID8 share in basis points", rpc={"traffic_basis_points": 10_001}, says="/traffic_basis_points: 10001 is not within 0 and 10000"),
    spec("ID8 share -1", http={"traffic_percent": -1}, place="/traffic_percent", says="from 0 to 100"),
    spec("ID8 share of three decimals", http={"traffic_percent": 33.333}, place="/traffic_percent", says="two decimals"),
    spec("ID8 share as text", http={"traffic_percent": "50"}, place="/traffic_percent"),
    spec("ID11 no replica", http={"resources": {"replicas": 0}}, place="/resources/replicas", says="greater than or equal to 1"),
    spec("ID11 -1 replicas", http={"resources": {"replicas": -1}}, place="/resources/replicas"),
    spec(
        "ID11 a million replicas",
        http={"resources": {"replicas": 10**6}},
        rpc={"replicas": 10**6},
        says="1000",
    ),
    spec("ID11 1.5 replicas", http={"resources": {"replicas": 1.5}}, place="/resources/replicas", says="integer"),
    spec("ID11 true replicas", http={"resources": {"replicas": True}}, place="/resources/replicas"),
    spec(
        "ID12 least above most", http={"resources": {"min_replicas": 5, "max_replicas": 2}}, place="/resources/min_replicas", says=UNKNOWN
    ),
    spec("ID13 8 potatoes", http={"resources": {"memory_bytes": "8 potatoes"}}, place="/resources/memory_bytes"),
    spec("ID13 negative", http={"resources": {"memory_bytes": -1}}, place="/resources/memory_bytes"),
    spec("ID13 1e30 bytes", http={"resources": {"memory_bytes": 10**30}}, place="/resources/memory_bytes"),
    spec("ID13 2 PiB", http={"resources": {"memory_bytes": 1 << 51}}, rpc={"memory_bytes": 1 << 51}, says="is not within 0 and"),
    spec("ID14 a GPU that is no name", http={"resources": {"gpu": "A100\u202e\n"}}, rpc={"gpu_type": "A100\u202e\n"}, says="printable"),
    spec("ID14 a GPU of 64 characters", http={"resources": {"gpu": "x" * 64}}, rpc={"gpu_type": "x" * 64}, says="63"),
    config("ID16 no row", {"max_batch_size": 0}, "/config/max_batch_size", "0 is not within 1 and 65536"),
    config("ID16 -1 rows", {"max_batch_size": -1}, "/config/max_batch_size", "-1 is not within 1 and 65536"),
    config("ID16 a million rows", {"max_batch_size": 10**6}, "/config/max_batch_size", "1000000 is not within 1 and 65536"),
    config("ID16 1.5 rows", {"max_batch_size": 1.5}, "/config/max_batch_size", "1.5 is no whole number"),
    config("ID16 rows as text", {"max_batch_size": "8"}, "/config/max_batch_size", "8 is not within 1 and 65536"),
    spec(
        "ID16 more than the four rows that the model takes",
        http={"version": "fixed", "config": {"max_batch_size": 8}},
        rpc={"version": "fixed", "config_json": '{"max_batch_size": 8}'},
        place="/config/max_batch_size",
        says="/config/max_batch_size: is 8, but 'x' of the version has the shape [4, 3], whose first dimension is fixed",
    ),
    config("ID17 negative delay", {"dynamic_batching": {"max_queue_delay_microseconds": -1}}, DELAY),
    config("ID17 an hour", {"dynamic_batching": {"max_queue_delay_microseconds": 3_600_000_000}}, DELAY),
    config("ID18 no limit", {"default_queue_policy": {"max_queue_size": 0}}, "/config/default_queue_policy/max_queue_size"),
    config("ID19 no time", {"timeout_seconds": 0}, "/config/timeout_seconds"),
    config("ID19 a day", {"timeout_seconds": 86_400}, "/config/timeout_seconds", "0.001 and 3600"),
    config("ID19 5 minutes", {"timeout_seconds": "5 minutes"}, "/config/timeout_seconds"),
    *(
        spec(f"{row} {name}", http={name: value}, place=f"/{name}", says=UNKNOWN)
        for row, name, value in (
            ("ID20", "canary_steps", [5, 5, 101]),
            ("ID21", "step_duration_seconds", -1),
            ("ID22", "analysis_interval_seconds", 0),
            ("ID23", "gates", [{"metric": "absent"}]),
            ("ID25", "comparator", "~"),
            ("ID26", "gate_min", 5),
            ("ID27", "baseline", "idle"),
            ("ID39", "schedule", "61 * * * *"),
        )
    ),
    Row(claim="ID24 NaN", reason="BAD_JSON", status=400, http=("POST", "/deployments", NAN), says="NaN is no number of JSON"),
    config("ID40 secret inline", {"env": {"DB_PASSWORD": "hunter2"}}, "/config/env/DB_PASSWORD", "does not stand in a specification"),
    config("ID42 10,000 labels", {"labels": {str(number): "" for number in range(10_000)}}, "/config", "more than 1000 entries"),
    created(
        "ID42 5 MB",
        "REQUEST_TOO_LARGE",
        413,
        code="RESOURCE_EXHAUSTED",
        says="the limit is",
        rpc={"config_json": json.dumps(LARGE)},
        http={"config": LARGE},
    ),
    created("config is no object", "BAD_JSON", 400, rpc={"config_json": "[1]"}, says="JSON object"),
    created("config is no JSON", "BAD_JSON", 400, rpc={"config_json": "{"}, says="the configuration is no JSON"),
    created("config says NaN", "BAD_JSON", 400, rpc={"config_json": '{"a": NaN}'}, says="NaN is no number"),
    created("config says 1e400", "BAD_JSON", 400, rpc={"config_json": '{"a": 1e400}'}, says="beyond every number"),
    created("config says a key twice", "BAD_JSON", 400, rpc={"config_json": '{"a": 1, "a": 2}'}, says="'a' comes twice"),
    created("config holds half of a character", "BAD_JSON", 400, rpc={"config_json": '{"a": "\\ud800"}'}, says="half of a character"),
    created("config is 100,000 deep", "BAD_JSON", 400, rpc={"config_json": '{"a":' * 100_000 + "1" + "}" * 100_000}, says="deeper than 64"),
    created("config has an integer of 5,000 digits", "BAD_JSON", 400, rpc={"config_json": '{"a": ' + "1" * 5000 + "}"}, says="no JSON"),
    created(
        "already deployed",
        "ALREADY_EXISTS",
        409,
        code="ALREADY_EXISTS",
        http={"version": "v1"},
        rpc={"version": "v1"},
        says="scale that one",
    ),
]

NAMES = {
    "slash": "a/b",
    "dots": "..",
    "up": "../x",
    "dash": "-x",
    "unicode": "fr\u0430ud",
    "300": "x" * 300,
    "control": "a\x1b[31m",
    "newline": "a\nb",
}


@pytest.mark.parametrize("row", SPECS, ids=lambda row: row.claim)
def test_a_deployment_that_cannot_be_is_refused_and_leaves_nothing(row: Row, controller: Controller):
    is_refused(row, controller)


@pytest.mark.parametrize("name", NAMES.values(), ids=[f"ID3 {name}" for name in NAMES])
def test_a_name_that_is_none_is_refused(name: str, controller: Controller):
    says = "use 1 to 255 letters"
    is_refused(
        created("model", "BAD_NAME", 400, http=None if len(name) > 255 else {"model_name": name}, rpc={"model": name}, says=says),
        controller,
    )
    is_refused(
        created("version", "BAD_NAME", 400, http=None if len(name) > 255 else {"version": name}, rpc={"version": name}, says=says),
        controller,
    )


def test_all_problems_are_told_at_once(controller: Controller):
    answer = controller.send("POST", "/deployments", {"version": 7, "replicas": 1, "resources": {"replicas": 0, "gpu": None}})

    assert answer.status_code == 422
    told = {one["pointer"] for one in answer.json()["problems"]}
    assert told == {"/model_name", "/version", "/replicas", "/resources/replicas", "/resources/gpu"}
    controller.assert_unharmed()
