"""Where nobody has an administrator's key any more: the controller stays closed, and its machine leads back in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock.cli.main import program
from penstock.v1 import controller_pb2 as pb
from tests.controller.faces import Faces, faces, in_a_thread

pytestmark = pytest.mark.timeout(180)  # a process is started, on a machine that others use


@pytest.fixture
def running(sqlite_template: Path, tmp_path: Path) -> Iterator[Faces]:
    (tmp_path / "catalogue.db").write_bytes(sqlite_template.read_bytes())
    with in_a_thread(lambda: faces(f"sqlite+aiosqlite:///{tmp_path / 'catalogue.db'}", tmp_path)) as made:
        yield made


def test_after_the_last_key_was_revoked_nobody_is_let_in_until_the_machine_makes_another(running: Faces, tmp_path: Path):
    listed = running.answer("ListTenants", "operator", pb.ListTenantsRequest()).tenants
    last = next(one for one in listed if one.tenant == "operator").keys[0].key_id
    revoke = pb.RevokeKeyRequest(tenant="operator", key_id=last)
    kept = running.refusal(running.grpc, "RevokeKey", "operator", revoke)
    asked = running.send(running.http, "DELETE", f"/api/v1/tenants/operator/keys/{last}", "operator")
    revoke.force = True
    revoked = running.refusal(running.grpc, "RevokeKey", "operator", revoke)
    refused = {running.refusal(running.grpc, "ListTenants", caller)[0] for caller in ("nobody", "operator")}
    (tmp_path / "controller.json").write_text(json.dumps({"state_dir": str(tmp_path)}))
    made = CliRunner().invoke(program, ["keys", "administrator", "--config", str(tmp_path / "controller.json"), "-o", "json"])

    assert kept[0] == "FAILED_PRECONDITION"
    assert "first" in kept[1]
    assert (asked.status_code, asked.json()["reason"]) == (409, "LAST_ADMINISTRATOR")
    assert (revoked, refused) == (("OK", ""), {"UNAUTHENTICATED"})
    assert made.exit_code == 0, made.output
    running.keys["back"] = json.loads(made.stdout)["key"]
    assert running.refusal(running.grpc, "SetTenant", "back", pb.SetTenantRequest(tenant="acme"))[0] == "OK"
    assert running.refusal(running.grpc, "SetTenant", "nobody", pb.SetTenantRequest(tenant="acme"))[0] == "UNAUTHENTICATED"


def test_a_machine_without_the_controllers_settings_makes_no_key(tmp_path: Path):
    made = CliRunner().invoke(program, ["keys", "administrator", "--config", str(tmp_path / "absent.json")])

    assert made.exit_code != 0
    assert "absent.json" in f"{made.output}{made.exception}"
