"""Probes, documents, and what is not served yet."""

import pytest

from services.router.http_surface import http_surface
from services.router.later_routes import LATER
from services.router.openapi import document, later_operations, operations
from tests.router.http_stand import on_uvloop, serving


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/v2/health/live", "/"])
@on_uvloop
async def test_life_is_told_while_the_server_drains(path):
    async with serving() as stand:
        stand.control.directory.begin_drain()
        reply = await stand.get(path)

    assert reply.status == 200


@pytest.mark.parametrize("path", ["/readyz", "/health", "/ping", "/v2/health/ready"])
@on_uvloop
async def test_readiness_ends_when_the_server_drains(path):
    async with serving() as stand:
        before = await stand.get(path)
        stand.control.directory.begin_drain()
        after = await stand.get(path)

    assert (before.status, after.status) == (200, 503)


@on_uvloop
async def test_the_root_says_what_kserves_client_waits_for():
    async with serving() as stand:
        reply = await stand.get("/")

    assert reply.json == {"status": "alive"}


@on_uvloop
async def test_whoever_looks_for_metrics_is_told_the_port():
    async with serving() as stand:
        reply = await stand.get("/metrics")
        version = await stand.get("/version")

    assert reply.status == 404
    assert "8002" in reply.json["error"]
    assert version.json["version"]


@pytest.mark.parametrize("path", [path for paths in LATER.values() for path, _ in paths])
@on_uvloop
async def test_later_capabilities_answer_501_and_say_so(path):
    concrete = path.replace("{model}", "m").replace("{version}", "1").replace("{id}", "7")
    methods = next(methods for paths in LATER.values() for one, methods in paths if one == path)
    async with serving() as stand:
        replies = [await stand.ask(method, concrete) for method in methods]

    assert [reply.status for reply in replies] == [501] * len(methods)
    assert all("not served yet" in reply.body.decode() for reply in replies)


@on_uvloop
async def test_no_answer_lets_a_browser_guess_types_or_names_the_server():
    async with serving() as stand:
        replies = [await stand.get(path) for path in ("/v2", "/nothing", "/v2/models/stats")]

    assert [reply.headers["x-content-type-options"] for reply in replies] == ["nosniff"] * 3
    assert all("server" not in reply.headers for reply in replies)


@on_uvloop
async def test_the_document_is_served_and_has_exactly_the_routes():
    async with serving() as stand:
        reply = await stand.get("/openapi.json")
        routes = http_surface(stand.control, stand.front.service._calls)

    served = {(method.lower(), route.path) for route in routes for method in route.methods if method != "HEAD"}
    described = {(method, path) for path, item in reply.json["paths"].items() for method in item if method != "parameters"}
    assert described == served
    assert reply.json["openapi"] == "3.1.0"


def test_every_reference_of_the_document_leads_somewhere_and_every_schema_is_used():
    told = document("1")
    found: set[str] = set()

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                found.add(node["$ref"].rpartition("/")[2])
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(told)
    assert found == set(told["components"]["schemas"])


def test_every_operation_has_an_identifier_of_its_own_and_declared_path_parameters():
    told = document("1")
    identifiers = [item[method]["operationId"] for item in told["paths"].values() for method in item if method != "parameters"]
    assert len(identifiers) == len(set(identifiers)) == len(operations()) + len(later_operations())

    for path, item in told["paths"].items():
        declared = [parameter["name"] for parameter in item.get("parameters", [])]
        assert declared == [piece.partition("}")[0] for piece in path.split("{")[1:]]
