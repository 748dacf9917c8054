"""Commands that change the mesh, against a controller that is far away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.v1 import controller_pb2 as pb
from tests.cli.conftest import Run
from tests.cli.far_controller import FarController


@pytest.fixture
def ask(run: Run, controller: FarController) -> Run:
    return lambda *arguments, **more: run(*arguments, "--grpc", controller.target, **more)


def document(ask: Run, *arguments: str) -> Any:
    ended = ask(*arguments, "-o", "json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.output)


def last(controller: FarController, kind: type[Any]) -> Any:
    return next(one for one in reversed(controller.requests) if isinstance(one, kind))


# --- registry ---------------------------------------------------------------------------------------------------------------------


def version_folder(folder: Path) -> Path:
    (folder / "extra").mkdir()
    (folder / "model.onnx").write_bytes(b"m" * 3_000_000)
    (folder / "extra" / "labels.txt").write_bytes(b"a\nb\n")
    return folder


def test_a_folder_is_sent_and_registered(ask: Run, controller: FarController, tmp_path: Path):
    found = document(
        ask, "models", "register", str(version_folder(tmp_path)), "--name", "fraud@v3.1", "--meta", "auc=0.9", "--owner", "risk"
    )

    assert (found["model"], found["version"], found["size_bytes"], found["metadata"]) == ("fraud", "v3.1", 3_000_004, {"auc": "0.9"})
    assert [file.path for file in last(controller, pb.RegisterVersionRequest).files] == ["model.onnx", "extra/labels.txt"]
    assert sorted(map(len, controller.blobs.values())) == [4, 3_000_000]


def test_an_upload_goes_on_where_it_was_lost(ask: Run, controller: FarController, tmp_path: Path):
    folder = version_folder(tmp_path)
    controller.lose_after = 2_000_000

    first = ask("models", "register", str(folder), "--name", "fraud")
    second = ask("models", "register", str(folder), "--name", "fraud")

    assert (first.exit_code, "the line was lost" in first.output, second.exit_code) == (1, True, 0)


def test_what_the_controller_has_is_not_sent_again(ask: Run, controller: FarController, tmp_path: Path):
    folder = version_folder(tmp_path)
    ask("models", "register", str(folder), "--name", "fraud")
    controller.lose_after = 0

    assert ask("models", "register", str(folder), "--name", "fraud").exit_code == 0


def test_a_url_is_left_to_the_controller(ask: Run, controller: FarController):
    ask("models", "register", "s3://bucket/fraud/3", "--name", "fraud")

    assert last(controller, pb.RegisterVersionRequest).source == "s3://bucket/fraud/3"


def test_links_and_empty_folders_are_refused_before_anything_is_sent(ask: Run, controller: FarController, tmp_path: Path):
    empty = ask("models", "register", str(tmp_path), "--name", "fraud")
    (tmp_path / "model.onnx").symlink_to("/etc/passwd")
    linked = ask("models", "register", str(tmp_path), "--name", "fraud")

    assert ("is empty" in empty.output, "no plain file" in linked.output, controller.requests) == (True, True, [])


def test_an_alias_is_set_and_deleted(ask: Run):
    assert document(ask, "models", "alias", "set", "fraud", "champion", "v3.0") == {"champion": "v3.0"}
    assert document(ask, "models", "alias", "delete", "fraud", "champion") == {}


# --- deployments ------------------------------------------------------------------------------------------------------------------


def test_deploying_waits_until_the_version_is_active(ask: Run, controller: FarController):
    found = document(ask, "deploy", "fraud@v3.1", "--replicas", "2", "--traffic", "2.5", "--gpu", "A100")
    request = last(controller, pb.CreateDeploymentRequest)

    assert (found["status"], found["ready_replicas"]) == ("active", 2)
    assert (request.replicas, request.traffic_basis_points, request.gpu_type) == (2, 250, "A100")
    assert request.options.idempotency_key


def test_a_deployment_that_fails_says_why(ask: Run, controller: FarController):
    controller.deployment.status = pb.DEPLOYMENT_STATUS_FAILED
    controller.deployment.status_reason = "model.onnx: no such operator 'Nope'"
    ended = ask("deploy", "fraud@v3.1")

    assert (ended.exit_code, "no such operator" in ended.output) == (1, True)


def test_a_deployment_that_takes_too_long_is_out_of_time(ask: Run, controller: FarController):
    controller.looks = 10
    ended = ask("deploy", "fraud@v3.1", "--wait", "100ms")

    assert (ended.exit_code, "0 of 2 replicas" in ended.output) == (4, True)


def test_a_dry_run_shows_the_difference_and_waits_for_nothing(ask: Run, controller: FarController):
    ended = ask("deploy", "fraud@v3.1", "--dry-run")

    assert ended.output == "- state: old\n+ state: new\nnothing was changed (dry run)\n"
    assert (last(controller, pb.CreateDeploymentRequest).options.dry_run, controller.looks) == (True, 0)


def test_a_deployment_without_a_version_is_a_wrong_command_line(ask: Run):
    assert ask("deploy", "fraud").exit_code == 2


# --- traffic ----------------------------------------------------------------------------------------------------------------------


def test_shares_are_set_and_the_routers_word_is_printed(ask: Run, controller: FarController):
    ended = ask("traffic", "set", "fraud", "v3.1=2.5", "v3.0", "--reason", "canary", "--expect-revision", "3")
    request = last(controller, pb.SetTrafficRequest)

    assert "2 of 2 routers confirmed within 0.020 s" in ended.output
    assert dict(request.basis_points) == {"v3.0": 9750, "v3.1": 250}
    assert (request.options.reason, request.options.expected_revision) == ("canary", 3)


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        (("v1=50", "v2=40"), "sum to 90 %"),
        (("v1=50", "v2=60"), "sum to 110 %"),
        (("v1=33.333", "v2"), "no percentage"),
        (("v1=-1", "v2"), "no percentage"),
        (("v1=nan", "v2"), "no percentage"),
        (("v1", "v2"), "Only one version"),
        (("v1=50", "v1=50"), "comes twice"),
    ],
)
def test_shares_that_are_no_whole_never_leave_the_machine(shares: tuple[str, ...], says: str, ask: Run, controller: FarController):
    ended = ask("traffic", "set", "fraud", *shares)

    assert (ended.exit_code, says in ended.output, controller.requests) == (2, True, [])


def test_a_route_is_shown(ask: Run, controller: FarController):
    controller.routes["fraud"].pins.add(tenant="acme", version="v3.0")
    controller.routes["fraud"].fallback.add(cached=True)
    shown = ask("traffic", "show", "fraud")

    assert "pins       acme → v3.0" in shown.output
    assert "fallback   last cached answer" in shown.output
    assert document(ask, "traffic", "show", "fraud")["traffic"] == {"v3.0": 100}


def test_an_unknown_model_names_the_next_step(ask: Run):
    ended = ask("traffic", "show", "froud")

    assert (ended.exit_code, "MODEL_NOT_FOUND" in ended.output, "penstock models list" in ended.output) == (1, True, True)


def test_pins_shadows_kills_and_freezes_reach_the_controller(ask: Run, controller: FarController):
    pinned = document(ask, "traffic", "pin", "fraud", "v3.1", "--tenant", "acme")["route"]["pins"]
    unpinned = document(ask, "traffic", "unpin", "fraud", "--tenant", "acme")["route"]["pins"]
    shadowed = document(ask, "traffic", "shadow", "fraud", "v4", "--sample", "5")["route"]["shadow"]
    ended = document(ask, "traffic", "shadow", "fraud", "--off")["route"]["shadow"]
    stuck = document(ask, "traffic", "stick", "fraud", "account")["route"]
    killed = document(ask, "traffic", "kill", "fraud", "v4", "v3.1:acme")["route"]["kill_switches"]
    frozen = document(ask, "traffic", "freeze", "fraud")["route"]["frozen"]

    assert (pinned, unpinned) == ({"acme": "v3.1"}, {})
    assert (shadowed, ended) == ({"version": "v4", "sample_percent": 5}, None)
    assert (stuck["routing_key"], stuck["routing_key_parameter"]) == ("parameter", "account")
    assert killed == [{"version": "v4", "tenant": None}, {"version": "v3.1", "tenant": "acme"}]
    assert frozen is True


def test_a_fallback_chain_is_made_of_versions_caches_and_files(ask: Run, controller: FarController, tmp_path: Path):
    answer = tmp_path / "answer.json"
    answer.write_text('{"modelName": "fraud", "outputs": [{"name": "score", "datatype": "FP32", "shape": [1, 1]}]}')
    found = document(ask, "traffic", "fallback", "fraud", "light", "cached", f"@{answer}")

    assert found["route"]["fallback"] == ["version light", "last cached answer", "declared answer"]
    assert controller.routes["fraud"].fallback[2].WhichOneof("kind") == "declared_response"


@pytest.mark.parametrize("content", ["{}", "no json {", '{"outputs": 1}'])
def test_a_file_that_holds_no_answer_is_refused(content: str, ask: Run, controller: FarController, tmp_path: Path):
    (tmp_path / "wrong").write_text(content)

    assert (ask("traffic", "fallback", "fraud", f"@{tmp_path / 'wrong'}").exit_code, controller.requests) == (2, [])


def test_a_rollback_prints_the_seconds_until_all_confirmed(ask: Run):
    assert "2 of 2 routers confirmed within 0.020 s" in ask("rollback", "fraud").output


def test_a_rollback_that_a_router_did_not_confirm_is_out_of_time(ask: Run, controller: FarController):
    controller.silent_router = True
    ended = ask("rollback", "fraud", "--to", "v3.0")

    assert (ended.exit_code, "no word from router-1" in ended.output) == (4, True)
    assert last(controller, pb.RollbackRequest).to_version == "v3.0"


# --- answering for it -------------------------------------------------------------------------------------------------------------


def test_changes_are_listed_since_a_time(ask: Run, controller: FarController):
    assert "+ v3.0: 50" in ask("changes", "--since", "1h", "--model", "fraud").output
    request = last(controller, pb.ListChangesRequest)

    assert (request.subject, request.since_time > 0) == ("model/fraud", True)
    assert ask("changes", "--since", "1 fortnight").exit_code == 2


def test_a_broken_chain_of_records_is_a_failure(ask: Run, controller: FarController):
    assert "the chain holds" in ask("audit", "--verify").output
    controller.broken = "record 7 was changed"
    ended = ask("audit", "--verify")

    assert (ended.exit_code, "record 7 was changed" in ended.output) == (1, True)


def test_tenants_are_listed_changed_and_given_keys(ask: Run, controller: FarController):
    assert document(ask, "tenants", "list")[0]["settings"] == {"requests_per_second": 5}
    assert ask("tenants", "freeze", "acme").exit_code == 0
    assert last(controller, pb.SetTenantRequest).frozen is True
    assert "penstock_secret" in ask("tenants", "create-key", "acme", "--life", "90d").output
    assert last(controller, pb.CreateKeyRequest).life_seconds == 90 * 86_400
    assert ask("tenants", "revoke-key", "acme", "k-1").exit_code == 0


def test_a_document_is_applied_from_the_input(ask: Run, controller: FarController):
    assert ask("apply", "-f", "-", stdin="kind: Deployment\n").exit_code == 0
    assert last(controller, pb.ApplyRequest).manifest == "kind: Deployment\n"


def test_what_waits_is_shown_beside_the_changes(ask: Run):
    assert "pending: the traffic of fraud waits until v3.1 is ready" in ask("apply", "-f", "-", stdin="x").output


def test_one_command_freezes_a_tenant_a_model_or_all_writes(ask: Run, controller: FarController):
    assert ask("freeze", "--tenant", "acme").exit_code == 0
    assert last(controller, pb.SetTenantRequest).frozen is True
    assert ask("freeze", "--model", "fraud", "--off").exit_code == 0
    assert last(controller, pb.UpdateRouteRequest).frozen is False
    assert ask("freeze", "--writes", "--reason", "incident").exit_code == 0
    assert (last(controller, pb.SetWritesFrozenRequest).frozen, last(controller, pb.SetWritesFrozenRequest).options.reason) == (
        True,
        "incident",
    )


def test_topics_are_filled_again_and_a_dry_run_says_with_what(ask: Run, controller: FarController):
    shown = ask("republish", "--dry-run")

    assert shown.exit_code == 0
    assert "penstock.routes.v1/fraud" in shown.output
    assert "would be published again" in shown.output
    assert last(controller, pb.RepublishRequest).options.dry_run is True


@pytest.mark.parametrize("arguments", [[], ["--writes", "--model", "m"], ["--tenant", "a", "--model", "m"]])
def test_a_freeze_is_of_one_thing(arguments: list[str], ask: Run, controller: FarController):
    assert (ask("freeze", *arguments).exit_code, controller.requests) == (2, [])


def test_a_document_that_is_no_text_is_refused(ask: Run, tmp_path: Path):
    (tmp_path / "junk").write_bytes(b"\xff\xfe\x00")

    assert ask("apply", "-f", str(tmp_path / "junk")).exit_code == 2


def test_the_plan_and_the_members_are_shown(ask: Run):
    assert "most free memory" in ask("plan", "fraud").output
    assert document(ask, "mesh")["unpublished"] == 2
