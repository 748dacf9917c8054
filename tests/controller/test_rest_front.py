"""The controller's HTTP API: what reaches the operations, and how answers and refusals look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from penstock.contracts.errors import Conflict, RevisionConflict, ServingError, TenantForbidden, Unauthenticated, Unavailable
from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2
from services.controller.callers import Caller
from services.controller.changes import Sides
from services.controller.rest_front import rest_app, serving_rest

METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["Controller"].methods]


class Far:
    """Operations that note what they are asked and answer with what a test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Caller, Any]] = []
        self.refusal: Exception | None = None
        self.answers: dict[str, Any] = {}

    def operations(self) -> dict[str, Any]:
        def operation(name: str) -> Any:
            async def answer(caller: Caller, request: Any) -> Any:
                if name == "UploadBlob":
                    request = [one async for one in request]
                self.asked.append((name, caller, request))
                if self.refusal is not None:
                    raise self.refusal
                return self.answers.get(name) or getattr(pb, f"{name}Response")()

            return answer

        return {name: operation(name) for name in METHODS}

    async def of(self, key: str | None, *, writes: bool) -> Caller:
        if key is None:
            raise Unauthenticated("an API key is needed")
        if writes and key != "operator":
            raise TenantForbidden("only operators change the mesh")
        return Caller(name=key, tenant=key, is_operator=writes)


@pytest.fixture
def far() -> Far:
    return Far()


@asynccontextmanager
async def serving(far: Far, key: str | None = "operator") -> AsyncIterator[httpx2.AsyncClient]:
    async with serving_rest(rest_app(far.operations(), far, "1"), "127.0.0.1", 0) as port:
        headers = {} if key is None else {"x-api-key": key}
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client:
            yield client


async def test_the_deployment_body_of_the_requirements_is_taken_as_it_stands(far: Far):
    body = b'{"model_name": "fraud_detector", "version": "v3.1", "traffic_percent": 10, "resources": {"gpu": "A100", "replicas": 4}}'
    far.answers["CreateDeployment"] = pb.CreateDeploymentResponse(
        deployment=pb.Deployment(
            deployment_id="d-1", model="fraud_detector", version="v3.1", status=pb.DEPLOYMENT_STATUS_DEPLOYING, replicas=4
        )
    )
    async with serving(far) as client:
        answer = await client.post("/api/v1/deployments", content=body, headers={"content-type": "application/json"})

    request: pb.CreateDeploymentRequest = far.asked[0][2]
    assert (request.model, request.version, request.traffic_basis_points) == ("fraud_detector", "v3.1", 1000)
    assert (request.gpu_type, request.replicas) == ("A100", 4)
    assert answer.status_code == 201
    assert {"id": "d-1", "status": "deploying", "replicas": 4, "gpu_type": None}.items() <= answer.json()["deployment"].items()


async def test_the_traffic_body_of_the_requirements_is_taken_as_it_stands(far: Far):
    route = routes_pb2.Route(model="fraud_detector", revision=8, backends=[routes_pb2.Backend(version="v3.0", weight_basis_points=10_000)])
    far.answers["SetTraffic"] = pb.SetTrafficResponse(route=route, confirmations=[pb.Confirmation(router_id="r", seconds=0.01)])
    async with serving(far) as client:
        answer = await client.put(
            "/api/v1/deployments/fraud_detector/traffic",
            content=b'{"v3.0": 50, "v3.1": 50}',
            headers={"content-type": "application/json", "if-match": '"7"', "idempotency-key": "once"},
        )

    request: pb.SetTrafficRequest = far.asked[0][2]
    assert dict(request.basis_points) == {"v3.0": 5000, "v3.1": 5000}
    assert (request.options.expected_revision, request.options.idempotency_key) == (7, "once")
    assert (answer.headers["etag"], answer.json()["confirmations"]) == ('"8"', {"r": 0.01})


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 422, "body"),
        (b"[]", 422, "body"),
        (b"not json", 400, None),
        (b'{"v3.0": 33.333, "v3.1": 66.667}', 422, "/v3.0"),
        (b'{"v3.0": -1, "v3.1": 101}', 422, "/v3.0"),
        (b'{"v3.0": NaN}', 400, None),
        (b'{"v3.0": "50"}', 422, "/v3.0"),
        (b'{"v3.0": true}', 422, "/v3.0"),
        (b'{"v3.0": null}', 422, "/v3.0"),
    ],
)
async def test_shares_that_are_none_never_reach_an_operation(body: bytes, status: int, field: str | None, far: Far):
    async with serving(far) as client:
        answer = await client.put("/api/v1/deployments/m/traffic", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.headers["content-type"], far.asked) == (status, "application/problem+json", [])
    assert answer.json().get("field") == field


@pytest.mark.parametrize(
    "body",
    [
        {"model_name": "m"},
        {"model_name": "m", "version": "1", "trafic_percent": 10},
        {"model_name": "m", "version": "1", "traffic_percent": 101},
        {"model_name": "m", "version": "1", "resources": {"replicas": 0}},
        {"model_name": "m", "version": "1", "resources": {"replicas": 1.5}},
        {"model_name": "m", "version": "1", "resources": {"replicas": 1_000_000}},
        {"model_name": 7, "version": "1"},
    ],
)
async def test_a_deployment_that_is_misspelt_or_beyond_limits_is_refused(body: Any, far: Far):
    async with serving(far) as client:
        answer = await client.post("/api/v1/deployments", json=body)

    assert (answer.status_code, far.asked) == (422, [])


@pytest.mark.parametrize(
    ("refusal", "status", "reason"),
    [
        (Conflict("somebody was faster"), 409, "CONFLICT"),
        (Unavailable("stands by", reason="NOT_THE_WRITER", retry_after_seconds=0.2), 503, "NOT_THE_WRITER"),
        (ValueError("secret detail"), 500, "INTERNAL"),
    ],
)
async def test_a_refusal_leaves_as_a_problem_with_its_reason(refusal: Exception, status: int, reason: str, far: Far):
    far.refusal = refusal
    async with serving(far) as client:
        answer = await client.get("/api/v1/models")

    assert (answer.status_code, answer.json()["reason"], answer.headers["penstock-reason"]) == (status, reason, reason)
    assert "secret" not in answer.text


async def test_a_stale_revision_shows_both_sides(far: Far):
    far.refusal = RevisionConflict("stale", details=Sides(expected=3, found=5, current={"backends": []}))
    async with serving(far) as client:
        answer = await client.put("/api/v1/deployments/m/traffic", json={"1": 100}, headers={"if-match": '"3"'})

    assert (answer.status_code, answer.json()["conflict"]) == (409, {"expected": 3, "found": 5, "current": {"backends": []}})


@pytest.mark.parametrize(("header", "value"), [("if-match", "three"), ("if-match", '"-1"'), ("if-match", '"' + "9" * 30 + '"')])
async def test_a_revision_that_is_none_is_refused(header: str, value: str, far: Far):
    async with serving(far) as client:
        answer = await client.put("/api/v1/deployments/m/traffic", json={"1": 100}, headers={header: value})

    assert (answer.status_code, answer.json()["field"], far.asked) == (400, "if-match", [])


async def test_reading_needs_a_key_and_changing_an_operators(far: Far):
    async with serving(far, key=None) as client:
        nobody = await client.get("/api/v1/models")
    async with serving(far, key="tenant") as client:
        read, changed = await client.get("/api/v1/models"), await client.post("/api/v1/rollback", json={"model_name": "m"})

    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, 'Bearer realm="penstock"')
    assert (read.status_code, changed.status_code) == (200, 403)


@pytest.mark.parametrize("path", ["deployments/m/pins/acme", "deployments/m/shadow", "models/m/aliases/champion"])
async def test_an_empty_version_takes_nothing_away(path: str, far: Far):
    async with serving(far) as client:
        answer = await client.put(f"/api/v1/{path}", json={"version": ""})

    assert (answer.status_code, answer.json()["field"], far.asked) == (422, "/version", [])


async def test_a_dry_run_is_asked_for_in_the_query(far: Far):
    async with serving(far) as client:
        await client.post("/api/v1/deployments/m/rollback?dry_run=true")
        wrong = await client.post("/api/v1/deployments/m/rollback?dry_run=maybe")

    assert (far.asked[0][2].options.dry_run, wrong.status_code) == (True, 400)


@pytest.mark.parametrize(
    ("method", "path"), [("CreateKey", "tenants/acme/keys"), ("RegisterVersion", "models/m/versions"), ("CreateDeployment", "deployments")]
)
async def test_only_what_was_made_is_answered_as_made(method: str, path: str, far: Far):
    body = {"model_name": "m", "version": "1"} if path == "deployments" else {}
    async with serving(far) as client:
        made = await client.post(f"/api/v1/{path}", json=body)
        far.answers[method] = getattr(pb, f"{method}Response")(change=pb.Change(dry_run=True))
        shown = await client.post(f"/api/v1/{path}?dry_run=true", json=body)

    assert (made.status_code, shown.status_code) == (201, 200)


async def test_a_file_goes_on_where_its_range_says(far: Far):
    async with serving(far) as client:
        whole = await client.put("/api/v1/blobs/" + "a" * 64, content=b"x" * 10)
        rest = await client.put("/api/v1/blobs/" + "a" * 64, content=b"y" * 4, headers={"content-range": "bytes 6-9/10"})
        wrong = await client.put("/api/v1/blobs/" + "a" * 64, content=b"y", headers={"content-range": "bytes=6-9"})

    (first,), (second,) = far.asked[0][2], far.asked[1][2]
    assert (first.offset_bytes, first.size_bytes, first.chunk, whole.status_code) == (0, 10, b"x" * 10, 200)
    assert (second.offset_bytes, second.size_bytes, second.chunk, rest.status_code) == (6, 10, b"y" * 4, 200)
    assert wrong.status_code == 400


async def test_the_document_names_every_path_that_routers_pass_on(far: Far):
    from services.router.controller_routes import PATHS

    async with serving(far) as client:
        document = (await client.get("/api/v1/openapi.json")).json()

    def plain(path: str) -> str:
        return "/".join("*" if part.startswith("{") else part for part in path.split("/"))

    described = {(plain(path), method.upper()) for path, item in document["paths"].items() for method in item}
    passed = {(plain(path), method) for path, methods in PATHS for method in methods} - {("/api/v1/openapi.json", "GET")}
    assert described == passed


def test_refusals_of_every_class_have_a_status():
    assert all(kind("x").status.http >= 400 for kind in ServingError.__subclasses__())
