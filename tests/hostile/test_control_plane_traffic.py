"""Shares, pins, shadows, fallbacks, aliases and rollbacks that cannot be, row by row, over both faces of a controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2
from tests.hostile.control_plane import Controller, Row, is_refused

pytestmark = pytest.mark.timeout(300)

SHARES = "/deployments/fraud/traffic"
INVALID, NOT_FOUND, STATE = "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"


def shared(claim: str, shares: Mapping[str, float], reason: str, status: int = 400, **more: Any) -> Row:
    """Shares in percent; gRPC is told them in basis points where it can be."""
    points = {version: round(percent * 100) for version, percent in shares.items()}
    can_say = all(0 <= one < 1 << 32 and one == round(shares[version] * 100, 6) for version, one in points.items())
    return Row(
        claim=claim,
        reason=reason,
        status=status,
        http=("PUT", more.pop("path", SHARES), dict(shares)),
        rpc=pb.SetTrafficRequest(model="fraud", basis_points=points) if can_say and more.pop("says_grpc", True) else None,
        **more,
    )


def no_share(claim: str, body: bytes, reason: str = "INVALID_SPEC", status: int = 422, **more: Any) -> Row:
    return Row(claim=claim, reason=reason, status=status, http=("PUT", SHARES, body), **more)


WEIGHTS = [
    shared("ID8 sum 99", {"v1": 99}, INVALID, says="sum to 9900, not to 10000 basis points"),
    shared("ID8 sum 101", {"v1": 50, "v2": 51}, INVALID, says="sum to 10100"),
    shared("ID8 sum 0", {"v1": 0, "v2": 0}, INVALID, says="sum to 0"),
    shared("ID8 nobody", {}, INVALID, says="sum to 0"),
    shared("ID8 a third three times", {"v1": 33.33, "v2": 33.33, "odd": 33.33}, INVALID, says="sum to 9999"),
    no_share("ID8 negative", b'{"v1": -1, "v2": 101}', place="/v1", says="-1.0 is no percentage from 0 to 100"),
    no_share("ID8 three decimals", b'{"v1": 33.333, "v2": 66.667}', place="/v1", says="at most two decimals"),
    no_share("ID8 a text", b'{"v1": "100"}', place="/v1", says="number"),
    no_share("ID8 a truth", b'{"v1": true}', place="/v1", says="number"),
    no_share("ID8 null", b'{"v1": null}', place="/v1", says="number"),
    no_share("ID8 a list", b"[100]", place="body", says="dictionary"),
    no_share("ID8 1e300", b'{"v1": 1e300}', place="/v1", says="from 0 to 100"),
    no_share("ID8 NaN", b'{"v1": NaN}', "BAD_JSON", 400, says="NaN is no number of JSON"),
    no_share("ID8 infinity", b'{"v1": Infinity}', "BAD_JSON", 400, says="Infinity is no number of JSON"),
    no_share("ID8 1e400", b'{"v1": 1e400}', "BAD_JSON", 400, says="beyond every number"),
    Row(
        claim="ID8 a sum beyond 32 bits",
        reason=INVALID,
        status=400,
        rpc=pb.SetTrafficRequest(model="fraud", basis_points={"v1": (1 << 32) - 1, "v2": 10_001}),
        says="is 4294967295, not within 0 to 10000",
    ),
    shared("ID9 unknown version", {"v1": 99, "v9": 1}, "VERSION_NOT_FOUND", 404, code=NOT_FOUND, says="no version 'v9'"),
    shared("ID9 unknown version without a share", {"v1": 100, "v9": 0}, "VERSION_NOT_FOUND", 404, code=NOT_FOUND, says="'v9'"),
    shared("ID9 not deployed", {"v1": 99, "idle": 1}, "VERSION_NOT_READY", 409, code=STATE, is_noted=True, says="deploy it and wait"),
    shared("ID9 failed", {"v1": 99, "failed": 1}, "VERSION_NOT_DEPLOYABLE", 409, code=STATE, is_noted=True, says="is failed"),
    shared("ID9 a version's name that is none", {"../v1": 100}, "BAD_NAME", says="use 1 to 255 letters"),
    no_share("ID10 a version twice", b'{"v1": 0, "v1": 100}', "BAD_JSON", 400, says="'v1' comes twice"),
    Row(
        claim="ID4 unknown model",
        reason="MODEL_NOT_FOUND",
        status=404,
        code=NOT_FOUND,
        http=("PUT", "/deployments/ghost/traffic", {"v1": 100}),
        rpc=pb.SetTrafficRequest(model="ghost", basis_points={"v1": 10_000}),
        says="no model 'ghost'",
    ),
    Row(
        claim="a wait that is none",
        reason="BAD_VALUE",
        status=400,
        http=("PUT", f"{SHARES}?wait_seconds=nan", {"v1": 100}),
        place="wait_seconds",
    ),
]


def shadowed(claim: str, version: str, percent: float, reason: str, status: int, **more: Any) -> Row:
    """A shadow of the model that version v1 answers for."""
    shadow = routes_pb2.Shadow(version=version, sample_basis_points=round(percent * 100), concurrency_limit_requests=more.get("limit", 8))
    body = {"version": version, "sample_percent": percent, "concurrency_limit": more.pop("limit", 8)}
    return Row(
        claim=claim,
        reason=reason,
        status=status,
        http=("PUT", "/deployments/fraud/shadow", body) if more.pop("by_http", True) else None,
        rpc=pb.SetShadowRequest(model="fraud", shadow=shadow) if more.pop("by_grpc", True) else None,
        **more,
    )


SHADOWS = [
    shadowed(
        "ID36 itself",
        "v1",
        5,
        INVALID,
        400,
        says="version 'v1' of model 'fraud' has all the traffic and cannot shadow itself",
        place="shadow",
    ),
    shadowed(
        "ID36 200 %", "v2", 200, "INVALID_SPEC", 422, by_grpc=False, place="/sample_percent", says="200.0 is no percentage from 0 to 100"
    ),
    shadowed("ID36 200 % in basis points", "v2", 200, INVALID, 400, by_http=False, says="20000, not within 1 to 10000"),
    shadowed("ID36 nothing", "v2", 0, INVALID, 400, says="0, not within 1 to 10000 basis points"),
    shadowed("ID36 unknown", "v9", 5, "VERSION_NOT_FOUND", 404, code=NOT_FOUND, says="'v9'"),
    shadowed("ID36 not deployed", "idle", 5, "VERSION_NOT_READY", 409, code=STATE, is_noted=True, says="'idle'"),
    # A shadow is a version of its own model, and copies are not copied: a loop over models cannot be said.
    shadowed("ID36 a version of another model", "lone@v1", 5, "BAD_NAME", 400, says="'lone@v1'"),
    Row(
        claim="ID36 a shadow with a shadow",
        reason="INVALID_SPEC",
        status=422,
        http=("PUT", "/deployments/fraud/shadow", {"version": "v2", "sample_percent": 5, "shadow": {"version": "v1"}}),
        place="/shadow",
        says="Extra inputs are not permitted",
    ),
    shadowed("ID36 a limit of a million", "v2", 5, INVALID, 400, by_http=False, limit=10**6, says="not within 1 to 1024"),
    shadowed("ID36 a limit of 0", "v2", 5, "INVALID_SPEC", 422, by_grpc=False, limit=0, place="/concurrency_limit"),
]


def updated(claim: str, body: Any, message: Mapping[str, Any] | None, reason: str, status: int, **more: Any) -> Row:
    """A part of a route that is to be replaced."""
    rpc = None if message is None else pb.UpdateRouteRequest(model="fraud", **message)
    http = None if body is None else ("PATCH", "/deployments/fraud/route", body)
    return Row(claim=claim, reason=reason, status=status, http=http, rpc=rpc, **more)


def fallback(claim: str, *versions: str, reason: str, status: int, **more: Any) -> Row:
    steps = [routes_pb2.FallbackStep(version=version) for version in versions]
    body = {"fallback": [{"version": version} for version in versions]}
    return updated(claim, body, {"fallback": steps, "set_fallback": True}, reason, status, **more)


NOBODYS = [routes_pb2.KillSwitch(version="v1", tenant="nobody")]
ROUTES = [
    fallback("ID37 itself", "v1", reason=INVALID, status=400, says="cannot be its own fallback", place="fallback"),
    fallback("ID37 cycle", "v2", "v2", reason=INVALID, status=400, says="'v2'", place="fallback"),
    fallback("ID37 longer cycle", "v2", "odd", "v2", reason=INVALID, status=400, says="'v2'", place="fallback"),
    fallback("ID37 unknown", "v9", reason="VERSION_NOT_FOUND", status=404, code=NOT_FOUND, says="'v9'"),
    fallback("ID37 not ready", "idle", reason="VERSION_NOT_READY", status=409, code=STATE, is_noted=True, says="deploy it"),
    fallback("ID37 other schema", "odd", reason="CONFLICT", status=409, code=STATE, is_noted=True, says="cannot stand in for 'v1'"),
    fallback("ID37 a name that is none", "../v2", reason="BAD_NAME", status=400, says="use 1 to 255 letters"),
    updated("ID37 a step of nothing", {"fallback": [{}]}, None, INVALID, 400, says="one of them", place="fallback"),
    updated(
        "ID37 a step of nothing in a message",
        None,
        {"fallback": [routes_pb2.FallbackStep()], "set_fallback": True},
        "MALFORMED",
        400,
    ),
    updated("ID37 a step of two", {"fallback": [{"version": "v2", "cached": True}]}, None, INVALID, 400, says="one of them"),
    updated("ID37 no base64", {"fallback": [{"declared_response": "***"}]}, None, INVALID, 400, says="base64"),
    updated("ID37 17 steps", {"fallback": [{"cached": True}] * 17}, None, "INVALID_SPEC", 422, place="/fallback", says="16"),
    updated(
        "ID34 key without a parameter",
        {"routing_key": {"source": "parameter"}},
        {"routing_key": routes_pb2.RoutingKey(source="KEY_SOURCE_PARAMETER")},
        INVALID,
        400,
        says="parameter",
    ),
    updated("ID34 unknown source", {"routing_key": {"source": "header"}}, None, "INVALID_SPEC", 422, place="/routing_key/source"),
    updated("ID34 unknown source by number", None, {"routing_key": routes_pb2.RoutingKey(source=99)}, "MALFORMED", 400, says="99"),
    updated(
        "ID35 kill switch of nobody",
        {"kill_switches": [{"version": "v1", "tenant": "nobody"}]},
        {"kill_switches": NOBODYS, "set_kill_switches": True},
        "TENANT_NOT_FOUND",
        404,
        code=NOT_FOUND,
        says="no tenant 'nobody'",
    ),
    updated("ID19 a try of an hour and more", {"edges": {"v1": {"try_timeout_seconds": 1e9}}}, None, "INVALID_SPEC", 422, says="3600"),
    updated(
        "ID19 a try of 300 years",
        None,
        {"edges": [routes_pb2.Backend(version="v1", try_timeout_seconds=1e10)]},
        INVALID,
        400,
        says="try",
    ),
    updated("a million attempts", None, {"edges": [routes_pb2.Backend(version="v1", attempts=10**6)]}, INVALID, 400, says="attempts"),
    updated(
        "edge of an unknown version",
        {"edges": {"v9": {"attempts": 1}}},
        {"edges": [routes_pb2.Backend(version="v9", attempts=1)]},
        "VERSION_NOT_FOUND",
        404,
        code=NOT_FOUND,
    ),
]


def pinned(claim: str, tenant: str, version: str, reason: str, status: int, **more: Any) -> Row:
    http = ("PUT", f"/deployments/fraud/pins/{tenant}", {"version": version})
    return Row(
        claim=claim, reason=reason, status=status, http=http, rpc=pb.PinTenantRequest(model="fraud", tenant=tenant, version=version), **more
    )


def aliased(claim: str, alias: str, version: str, reason: str, status: int, **more: Any) -> Row:
    http = ("PUT", f"/models/fraud/aliases/{alias.replace(' ', '%20')}", {"version": version})
    return Row(
        claim=claim, reason=reason, status=status, http=http, rpc=pb.SetAliasRequest(model="fraud", alias=alias, version=version), **more
    )


def rolled(claim: str, model: str, version: str, reason: str, status: int, **more: Any) -> Row:
    http = ("POST", f"/deployments/{model}/rollback", {"to_version": version})
    return Row(claim=claim, reason=reason, status=status, http=http, rpc=pb.RollbackRequest(model=model, to_version=version), **more)


NAMES = [
    pinned("ID35 unknown tenant", "nobody", "v1", "TENANT_NOT_FOUND", 404, code=NOT_FOUND, says="no tenant 'nobody'"),
    pinned("ID35 unknown version", "acme", "v9", "VERSION_NOT_FOUND", 404, code=NOT_FOUND),
    pinned("ID35 not ready", "acme", "idle", "VERSION_NOT_READY", 409, code=STATE, is_noted=True),
    aliased("alias of an unknown version", "stable", "v9", "VERSION_NOT_FOUND", 404, code=NOT_FOUND, says="'v9'"),
    aliased("alias with the name of a version", "v2", "v1", "ALREADY_EXISTS", 409, code="ALREADY_EXISTS", says="choose another alias"),
    aliased("alias latest", "latest", "v1", "BAD_NAME", 400, says="name a version", place="alias"),
    aliased("alias that is no name", "a b", "v1", "BAD_NAME", 400, says="use 1 to 255 letters"),
    aliased("alias of a failed version", "stable", "failed", "VERSION_NOT_DEPLOYABLE", 409, code=STATE, is_noted=True),
    rolled("ID29 unknown target", "fraud", "v9", "VERSION_NOT_FOUND", 404, code=NOT_FOUND),
    rolled("ID29 never healthy", "fraud", "idle", "ROLLBACK_TARGET", 409, code=STATE, is_noted=True),
    rolled("ID28 not deployed", "fraud", "failed", "ROLLBACK_TARGET", 409, code=STATE, is_noted=True, says="never healthy"),
    rolled("ID29 same as current", "fraud", "v1", "ROLLBACK_TARGET", 409, code=STATE, is_noted=True),
    rolled("ID29 nothing to go back to", "lone", "", "ROLLBACK_TARGET", 409, code=STATE, is_noted=True),
    rolled("ID29 unknown model", "ghost", "", "MODEL_NOT_FOUND", 404, code=NOT_FOUND),
]


@pytest.mark.parametrize("row", [*WEIGHTS, *SHADOWS, *ROUTES, *NAMES], ids=lambda row: row.claim)
def test_a_route_that_cannot_be_is_refused_and_leaves_the_one_in_force(row: Row, controller: Controller):
    is_refused(row, controller)
