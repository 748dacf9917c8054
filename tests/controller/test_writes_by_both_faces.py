"""What two writes do to each other, over real gRPC and HTTP: the same one twice, another under its key, and two people at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from penstock.v1 import controller_pb2 as pb
from tests.controller.faces import Faces, faces, in_a_thread


@pytest.fixture(scope="module")
def running(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    folder = tmp_path_factory.mktemp("writes")
    (folder / "catalogue.db").write_bytes(sqlite_template.read_bytes())
    with in_a_thread(lambda: faces(f"sqlite+aiosqlite:///{folder / 'catalogue.db'}", folder)) as made:
        yield made


def kinds(running: Faces, subject: str) -> list[str]:
    """Return what the audit has of a subject, oldest first, after its chain was found whole."""
    told = running.answer("ListChanges", "operator", pb.ListChangesRequest(subject=subject, verify=True))
    assert told.broken == ""
    return [one.kind for one in told.changes][::-1]


def test_c4_a_key_of_another_request_is_refused_over_grpc_and_the_same_request_changes_nothing_again(running: Faces):
    def write(settings: str = "") -> str:
        options = pb.WriteOptions(idempotency_key="once")
        request = pb.SetTenantRequest(tenant="grpc-twice", settings_json=settings, options=options)
        return running.refusal(running.grpc, "SetTenant", "operator", request)[0]

    told = [write(), write(), write('{"requests_per_second": 5}'), write()]

    assert told == ["OK", "OK", "ALREADY_EXISTS", "OK"]
    assert kinds(running, "tenant/grpc-twice") == ["tenant.set"]


def test_c4_a_key_of_another_request_is_refused_over_http_and_the_same_request_changes_nothing_again(running: Faces):
    def write(**body: Any) -> tuple[int, str]:
        answer = running.send(
            running.http, "PUT", "/api/v1/tenants/http-twice", "operator", json=body, headers={"idempotency-key": "once-http"}
        )
        return answer.status_code, answer.json().get("reason", "")

    told = [write(), write(), write(settings={"requests_per_second": 5}), write()]

    assert told == [(200, ""), (200, ""), (409, "IDEMPOTENCY_MISMATCH"), (200, "")]
    assert kinds(running, "tenant/http-twice") == ["tenant.set"]


def test_c4_the_faces_share_one_memory_of_requests_and_tenants_do_not(running: Faces):
    options = pb.WriteOptions(idempotency_key="either-face")
    first = running.refusal(running.grpc, "SetTenant", "operator", pb.SetTenantRequest(tenant="either", options=options))[0]
    sent = {"json": {"settings": {"requests_per_second": 7}}, "headers": {"idempotency-key": "either-face"}}
    other_face = running.send(running.http, "PUT", "/api/v1/tenants/either", "operator", **sent)

    assert (first, other_face.status_code, other_face.json()["reason"]) == ("OK", 409, "IDEMPOTENCY_MISMATCH")


def test_t6_of_two_who_change_what_both_have_seen_one_wins_and_the_other_sees_both_sides_over_http(running: Faces):
    running.send(running.http, "PUT", "/api/v1/tenants/contested", "operator", json={})
    start = Barrier(2)

    def change(limit: int) -> Any:
        start.wait(60)
        body = {"settings": {"requests_per_second": limit}}
        return running.send(running.http, "PUT", "/api/v1/tenants/contested", "operator", json=body, headers={"if-match": '"1"'})

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(change, (5, 6)), key=lambda one: one.status_code)

    won, lost = answers
    assert [one.status_code for one in answers] == [200, 409]
    assert lost.json()["reason"] == "REVISION_CONFLICT"
    conflict = lost.json()["conflict"]
    assert (conflict["expected"], conflict["found"], conflict["current"]["settings"]) == (1, 2, won.json()["tenant"]["settings"])
    assert kinds(running, "tenant/contested") == ["tenant.set", "tenant.set", "tenant.set (REVISION_CONFLICT)"]


def test_t6_of_two_who_change_what_both_have_seen_one_wins_over_grpc(running: Faces):
    running.answer("SetTenant", "operator", pb.SetTenantRequest(tenant="disputed"))
    start = Barrier(2)

    def change(limit: int) -> tuple[str, str]:
        start.wait(60)
        settings, options = f'{{"requests_per_second": {limit}}}', pb.WriteOptions(expected_revision=1)
        request = pb.SetTenantRequest(tenant="disputed", settings_json=settings, options=options)
        return running.refusal(running.grpc, "SetTenant", "operator", request)

    with ThreadPoolExecutor(2) as pool:
        told = dict(pool.map(change, (5, 6)))

    assert told.keys() == {"OK", "ABORTED"}
    assert "revision 1 was expected and 2 stands" in told["ABORTED"]
    assert kinds(running, "tenant/disputed") == ["tenant.set", "tenant.set", "tenant.set (REVISION_CONFLICT)"]


def test_while_writes_are_frozen_only_emergencies_change_anything_over_both_faces(running: Faces):
    made = running.answer("CreateKey", "operator", pb.CreateKeyRequest(tenant="tenant"))
    frozen = running.send(running.http, "PUT", "/api/v1/freeze", "operator", json={"frozen": True})
    try:
        refused = running.refusal(running.grpc, "SetTenant", "operator", pb.SetTenantRequest(tenant="late"))[0]
        over_http = running.send(running.http, "PUT", "/api/v1/tenants/late", "operator", json={})
        revoke = pb.RevokeKeyRequest(tenant="tenant", key_id=made.record.key_id)
        emergencies = [
            running.refusal(running.grpc, "RevokeKey", "operator", revoke)[0],
            running.refusal(running.grpc, "SetTenant", "operator", pb.SetTenantRequest(tenant="other", frozen=True))[0],
            running.refusal(running.grpc, "SetTenant", "operator", pb.SetTenantRequest(tenant="other", frozen=False))[0],
        ]
        read = running.send(running.http, "GET", "/api/v1/models", "operator").status_code
    finally:
        thawed = running.refusal(running.grpc, "SetWritesFrozen", "operator", pb.SetWritesFrozenRequest(frozen=False))[0]

    assert (frozen.status_code, frozen.json()["frozen"], thawed) == (200, True, "OK")
    assert (refused, over_http.status_code, over_http.json()["reason"]) == ("FAILED_PRECONDITION", 409, "WRITES_FROZEN")
    assert (emergencies, read) == (["OK"] * 3, 200)
    assert running.refusal(running.grpc, "SetTenant", "operator", pb.SetTenantRequest(tenant="late"))[0] == "OK"


def test_settings_of_a_deployment_that_are_emptied_are_gone_over_both_faces(running: Faces):
    def settings() -> str:
        asked = pb.ListDeploymentsRequest(model="own-model")
        return running.answer("ListDeployments", "operator", asked).deployments[0].config_json

    def write(config: str) -> None:
        running.answer("UpdateDeployment", "operator", pb.UpdateDeploymentRequest(deployment_id=name, config_json=config))

    name = running.answer("ListDeployments", "operator", pb.ListDeploymentsRequest(model="own-model")).deployments[0].deployment_id
    write('{"max_batch_size":8}')
    assert settings() == '{"max_batch_size":8}'
    write("{}")
    over_grpc = settings()
    write('{"max_batch_size":8}')
    answer = running.send(running.http, "PATCH", f"/api/v1/deployments/{name}", "operator", json={"config": {}})

    assert (over_grpc, answer.status_code, settings()) == ("", 200, "")


def test_a_key_whose_end_has_no_date_is_refused_over_both_faces_and_tenants_are_listed(running: Faces):
    running.answer("SetTenant", "operator", pb.SetTenantRequest(tenant="patient"))
    over_grpc = running.refusal(running.grpc, "CreateKey", "operator", pb.CreateKeyRequest(tenant="patient", life_seconds=1e18))[0]
    over_http = running.send(running.http, "POST", "/api/v1/tenants/patient/keys", "operator", json={"life_seconds": 1e18})

    assert (over_grpc, over_http.status_code, over_http.json()["field"]) == ("INVALID_ARGUMENT", 400, "life_seconds")
    assert running.send(running.http, "GET", "/api/v1/tenants", "operator").status_code == 200
