"""Requests that say nothing, or two things: bytes, headers, revisions, idempotency keys; by both faces of a controller.

A revision need not be named (ID33): who names none does not mind what stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import httpx2
import pytest

from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2
from tests.hostile.control_plane import API, FLAT_BYTES, Controller, Row, is_refused

pytestmark = pytest.mark.timeout(300)

SHARES = "/deployments/fraud/traffic"
GOOD = b'{"v1": 100}'
MIB = 1 << 20
STATE = "FAILED_PRECONDITION"


def body(claim: str, sent: bytes, reason: str = "BAD_JSON", status: int = 400, **more: Any) -> Row:
    return Row(claim=claim, reason=reason, status=status, http=("PUT", SHARES, sent), **more)


def header(claim: str, name: str, value: str, reason: str, status: int = 400, **more: Any) -> Row:
    return Row(claim=claim, reason=reason, status=status, http=("PUT", SHARES, GOOD), headers={name: value}, **more)


def asked(claim: str, path: str, reason: str, status: int = 400, *, method: str = "GET", **more: Any) -> Row:
    return Row(claim=claim, reason=reason, status=status, http=(method, path, None), **more)


BODIES = [
    body("IH1 no body", b"", "INVALID_SPEC", 422, says="Field required"),
    body("IH2 no JSON", b"not json", says="the body is no JSON"),
    body("IH2 cut", b'{"v1": 10', says="the body is no JSON"),
    body("IH2 something behind it", b'{"v1": 100} {}', says="Extra data"),
    body("IH3 not UTF-8", b'{"v\xff": 100}', says="no UTF-8"),
    body("IH3 UTF-16", GOOD.decode().encode("utf-16"), says="no UTF-8"),
    body("IH3 a byte order mark", b"\xef\xbb\xbf" + GOOD, says="BOM"),
    body("IH4 a key twice", b'{"v1": 100, "v1": 100}', says="'v1' comes twice"),
    body("IH5 half of a character", b'{"\\ud800": 100}', says="half of a character"),
    body("IH6 an integer of 5,000 digits", b'{"v1": ' + b"1" * 5000 + b"}", says="digits"),
    body("IH7 65 levels", b'{"a":' * 65 + b"1" + b"}" * 65, says="deeper than 64"),
    body("IH7 250,000 levels", b'{"a":' * 250_000 + b"1" + b"}" * 250_000, says="deeper than 64"),
    body("IH8 16 MiB and a byte", b" " * (16 * MIB) + GOOD, "REQUEST_TOO_LARGE", 413, says="at most 16777216 bytes"),
    header("IH16 gzip", "content-encoding", "gzip", "UNSUPPORTED", 415, says="send it as it is"),
    header("IH17 a form", "content-type", "application/x-www-form-urlencoded", "UNSUPPORTED", 415, says="application/json"),
    header("IH17 text", "content-type", "text/plain", "UNSUPPORTED", 415, says="application/json"),
    Row(
        claim="NUL in a text",
        reason="BAD_VALUE",
        status=400,
        http=("POST", "/apply", {"manifest": "", "reason": "a\0b"}),
        rpc=pb.ApplyRequest(options=pb.WriteOptions(reason="a\0b")),
        place="reason",
        says="NUL",
    ),
    Row(
        claim="a reason of 1,001 characters",
        reason="BAD_VALUE",
        status=400,
        rpc=pb.ApplyRequest(options=pb.WriteOptions(reason="x" * 1001)),
        says="1001 characters, the limit is 1000",
    ),
]
HEADERS = [
    header("ID32 stale revision", "if-match", '"77"', "REVISION_CONFLICT", 409, says="read it again", is_noted=True),
    header("ID32 a revision that is no number", "if-match", '"three"', "INVALID_ARGUMENT", place="if-match", says="send the ETag"),
    header("ID32 a negative revision", "if-match", '"-1"', "INVALID_ARGUMENT", place="if-match"),
    header("ID32 a revision of 30 digits", "if-match", f'"{"9" * 30}"', "INVALID_ARGUMENT", place="if-match"),
    Row(
        claim="ID32 stale revision in a message",
        reason="REVISION_CONFLICT",
        status=409,
        code="ABORTED",
        rpc=pb.SetTrafficRequest(model="fraud", basis_points={"v1": 10_000}, options=pb.WriteOptions(expected_revision=(1 << 64) - 1)),
        says="18446744073709551615 was expected",
        is_noted=True,
    ),
    header("an idempotency key of 256", "idempotency-key", "x" * 256, "BAD_VALUE", place="idempotency_key", says="the limit is 255"),
    Row(
        claim="an idempotency key of 256 in a message",
        reason="BAD_VALUE",
        status=400,
        rpc=pb.ApplyRequest(options=pb.WriteOptions(idempotency_key="x" * 256)),
        says="the limit is 255",
    ),
    asked("a dry run of maybe", f"{SHARES}?dry_run=maybe", "INVALID_SPEC", 422, method="PUT"),
]
PATHS = [
    asked("IH33 unknown path", "/nothing", "NOT_FOUND", 404, says="/api/v1/openapi.json"),
    asked("IH33 a slash within a name", "/models/a%2Fb", "NOT_FOUND", 404),
    asked("IH33 up", "/models/..%2F..%2Fetc%2Fpasswd", "NOT_FOUND", 404),
    asked("IH33 control characters in a name", "/models/a%1b%5b31m%0a", "MODEL_NOT_FOUND", 404, says="no model"),
    asked("IH33 NUL in a name", "/models/a%00", "BAD_VALUE", says="NUL"),
    asked("IH34 wrong method", "/models", "METHOD_NOT_ALLOWED", 405, method="DELETE"),
    asked("a time that is none", "/changes?since=yesterday", "INVALID_ARGUMENT", place="since", says="RFC 3339"),
    asked("a time beyond every calendar", f"/changes?since={'9' * 400}", "BAD_VALUE", says="no number"),
    asked("a count that is none", "/changes?most=all", "INVALID_ARGUMENT", place="most"),
    asked("a truth that is none", "/changes?verify=perhaps", "INVALID_ARGUMENT", place="verify"),
    Row(claim="a time that is no number", reason="BAD_VALUE", status=400, rpc=pb.ListChangesRequest(since_time=float("nan")), says="nan"),
    asked("an unknown deployment", "/deployments/d-absent", "MODEL_NOT_FOUND", 404),
]


@pytest.mark.parametrize("row", [*BODIES, *HEADERS, *PATHS], ids=lambda row: row.claim)
def test_a_request_that_cannot_be_answered_is_refused_and_leaves_nothing(row: Row, controller: Controller):
    is_refused(row, controller)


@pytest.mark.parametrize("payload", [b"\xff" * 10, b"\x0a\x05ab", b"\x0a\x02\xff\xfe"], ids=["junk", "cut", "no UTF-8"])
def test_ig_bytes_that_are_no_message_are_refused(payload: bytes, controller: Controller):
    with pytest.raises(grpc.RpcError) as refused:
        controller.call(payload, "SetTraffic")

    told: Any = refused.value
    assert (told.code(), dict(told.trailing_metadata())["penstock-reason"]) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")
    assert "SetTrafficRequest" in told.details()
    controller.assert_unharmed()


def test_a_message_above_the_limit_and_a_method_that_is_none_are_refused(controller: Controller):
    for method, sent, code in (
        ("Apply", pb.ApplyRequest(manifest="x" * (17 * MIB)).SerializeToString(), grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("GetModel", pb.GetModelRequest(model="x").SerializeToString(), grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            controller.call(sent, method)
        assert refused.value.code() is code  # type: ignore[attr-defined]
    with pytest.raises(grpc.RpcError) as unknown:
        controller.channel.unary_unary("/penstock.v1.Controller/DropEverything")(b"", timeout=60)
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
    controller.assert_unharmed()


def test_a_body_above_the_limit_that_does_not_say_so_is_refused_while_it_comes(controller: Controller):
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * MIB

    url = controller.http + API + SHARES
    try:
        answer = controller.client.put(url, content=pieces(), headers={"x-api-key": controller.key, "content-type": "application/json"})
    except httpx2.TransportError:
        pass  # refused while it was still being sent
    else:
        assert (answer.status_code, answer.json()["reason"]) == (413, "REQUEST_TOO_LARGE")
    controller.assert_unharmed()


@pytest.mark.parametrize("face", ["http", "grpc"])
def test_an_idempotency_key_with_another_body_is_refused_and_the_first_answer_stands(face: str, controller: Controller):
    key = f"once-{face}"

    def change(salt: str) -> tuple[str, str]:
        if face == "http":
            answer = controller.send(
                "PATCH", "/deployments/lone/route", {"routing_key": {"source": "user", "salt": salt}}, idempotency_key=key
            )
            return str(answer.status_code), answer.json().get("reason", "")
        wanted = routes_pb2.RoutingKey(source="KEY_SOURCE_USER", salt=salt)
        try:
            controller.call(pb.UpdateRouteRequest(model="lone", routing_key=wanted, options=pb.WriteOptions(idempotency_key=key)))
        except grpc.RpcError as error:
            told: Any = error
            return told.code().name, dict(told.trailing_metadata())["penstock-reason"]
        return "OK", ""

    first = change(f"a-{face}")
    before = controller.kept()

    assert first[1] == ""
    assert change(f"a-{face}") == first
    assert change(f"b-{face}") == ({"http": "409", "grpc": "ALREADY_EXISTS"}[face], "IDEMPOTENCY_MISMATCH")
    assert controller.kept() == before
    controller.assert_unharmed()


def test_id42_a_deployment_with_traffic_is_not_deleted_without_force(controller: Controller):
    found = controller.call(pb.ListDeploymentsRequest(model="fraud")).deployments
    held = next(one.deployment_id for one in found if one.version == "v1")
    says = "move its traffic first, or force it"
    is_refused(
        Row(
            claim="",
            reason="HAS_TRAFFIC",
            status=409,
            code=STATE,
            is_noted=True,
            says=says,
            http=("DELETE", f"/deployments/{held}", None),
            rpc=pb.DeleteDeploymentRequest(deployment_id=held),
        ),
        controller,
    )
    is_refused(
        Row(claim="", reason="INVALID_SPEC", status=422, rpc=pb.UpdateDeploymentRequest(deployment_id=held, replicas=10**6)), controller
    )
    is_refused(
        Row(claim="", reason="INVALID_SPEC", status=422, place="/replicas", http=("PATCH", f"/deployments/{held}", {"replicas": 0})),
        controller,
    )


def test_a_thousand_refusals_leave_memory_as_it_was(controller: Controller):
    rows = [row.http for row in BODIES if row.http is not None and not row.headers and len(row.http[2]) < 10_000]

    def bombard(count: int) -> None:
        for number in range(count):
            assert controller.send(*rows[number % len(rows)]).status_code in range(400, 500)

    bombard(200)
    memory = controller.resident_bytes()
    bombard(1000)

    assert controller.resident_bytes() - memory <= FLAT_BYTES
    controller.assert_unharmed()
