"""What people know from elsewhere and does not exist here is refused by its name, by every face: nobody may believe that it was done.

ID12 bounds of scaling, ID20 to ID22 steps of a canary, ID23 to ID27 gates, ID31 rollouts, ID38 feature views, ID39 schedules, ID41
references to secrets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.v1 import controller_pb2 as pb
from tests.controller.test_manifests import ours, theirs
from tests.hostile.control_plane import Controller, Row, is_refused
from tests.hostile.test_control_plane_manifests import applied, cli

pytestmark = pytest.mark.timeout(300)

ABSENT: dict[str, tuple[str, Any]] = {
    "ID12 least above most": ("autoscaling", {"min_replicas": 5, "max_replicas": 2}),
    "ID20 no steps": ("canary_steps", []),
    "ID20 steps that fall": ("canary_steps", [50, 5]),
    "ID20 step of 101": ("canary_steps", [5, 101]),
    "ID20 999 steps": ("canary_steps", list(range(1, 1000))),
    "ID21 steps of no time": ("step_duration_seconds", 0),
    "ID21 steps of ten years": ("step_duration_seconds", 315_360_000),
    "ID22 an interval of no time": ("analysis_interval_seconds", 0),
    "ID23 gate on an unknown metric": ("gates", [{"metric": "absent"}]),
    "ID25 comparator": ("gates", [{"metric": "errors", "comparator": "~"}]),
    "ID26 gates that contradict": ("gates", [{"metric": "errors", "min": 5, "max": 2}]),
    "ID27 baseline is the candidate": ("baseline", "idle"),
    "ID31 rollout": ("rollout", {"strategy": "canary"}),
    "ID38 unknown feature view": ("feature_view", "absent@v9"),
    "ID38 feature view of another type": ("feature_view", {"name": "users", "dtype": "INT64"}),
    "ID39 schedule": ("schedule", "61 * * * *"),
    "ID39 time zone": ("schedule", {"cron": "0 1 * * *", "time_zone": "Mars/Base"}),
}
"""A field, and what somebody could write into it; what is beside the point elsewhere is as absent here as what would be right."""
SPEC = {"model_name": "fraud", "version": "idle"}
CREATED = pb.CreateDeploymentRequest(model="fraud", version="idle").SerializeToString()
FIELD_200 = b"\xc2\x0c\x02hi"
"""Field 200, a text: what a client of another time could send."""


def rows() -> Iterator[Row]:
    for claim, (name, value) in ABSENT.items():
        config = {name: value}
        inside: dict[str, Any] = {"reason": "INVALID_SPEC", "status": 422, "says": f"/config/{name}: unknown key"}
        yield Row(claim=claim, reason="INVALID_SPEC", status=422, http=("POST", "/deployments", SPEC | config), place=f"/{name}")
        yield Row(
            claim=f"{claim} among settings",
            http=("POST", "/deployments", SPEC | {"config": config}),
            rpc=pb.CreateDeploymentRequest(model="fraud", version="idle", config_json=json.dumps(config)),
            place=f"/config/{name}",
            **inside,
        )
        yield applied(f"{claim} in a manifest", ours({"version": "idle", name: value}), "INVALID_SPEC", 422, pointer=f"/0/spec/{name}")
        settings = ours({"version": "idle", "config": config})
        yield applied(f"{claim} among settings of a manifest", settings, "INVALID_SPEC", 422, pointer="/0/spec/config")


SECRETS = [
    Row(
        claim=f"ID41 {claim}",
        reason="INVALID_SPEC",
        status=422,
        http=("POST", "/deployments", SPEC | {"config": {"parameters": {name: {"string_value": value}}}}),
        rpc=pb.CreateDeploymentRequest(
            model="fraud", version="idle", config_json=json.dumps({"parameters": {name: {"string_value": value}}})
        ),
        place=f"/config/parameters/{name}/string_value",
        says="references to secrets are not resolved here, whosever they are",
    )
    for claim, name, value in (
        ("a secret that is not there", "api_key", "secret:absent"),
        ("a secret of another tenant", "api_key", "secret:other/db"),
        ("a variable", "password", "env:DB_PASSWORD"),
        ("a file", "password", "file:/run/secrets/db"),
    )
]
UNKNOWN = [
    Row(
        claim=f"{name} with a field that nobody knows",
        reason="UNKNOWN_FIELD",
        status=400,
        says="has no field 200 here",
        http=None,
        rpc=request,
    )
    for name, request in {
        "a deployment": pb.CreateDeploymentRequest.FromString(CREATED + FIELD_200),
        "options": pb.CreateDeploymentRequest.FromString(
            CREATED + pb.CreateDeploymentRequest(options=pb.WriteOptions.FromString(FIELD_200)).SerializeToString()
        ),
        "a change of deployment": pb.UpdateDeploymentRequest.FromString(FIELD_200),
        "traffic": pb.SetTrafficRequest.FromString(
            pb.SetTrafficRequest(model="fraud", basis_points={"v1": 10_000}).SerializeToString() + FIELD_200
        ),
    }.items()
]
KSERVE = [
    applied(f"KServe {claim}", text, "INVALID_SPEC", 422, pointer=pointer)
    for claim, text, pointer in (
        ("ID12 least above most", theirs({"minReplicas": 5, "maxReplicas": 2}), "/0/spec/predictor/maxReplicas"),
        ("ID12 a metric to scale by", theirs({"scaleMetric": "concurrency"}), "/0/spec/predictor/scaleMetric"),
        ("ID20 canary of 101 %", theirs({"canaryTrafficPercent": 101}), "/0/spec/predictor/canaryTrafficPercent"),
        ("ID20 canary of -1 %", theirs({"canaryTrafficPercent": -1}), "/0/spec/predictor/canaryTrafficPercent"),
        ("ID20 canary of a third", theirs({"canaryTrafficPercent": 33.333}), "/0/spec/predictor/canaryTrafficPercent"),
        ("ID41 account of a secret", theirs({"serviceAccountName": "other"}), "/0/spec/predictor/serviceAccountName"),
        (
            "ID41 secret in the environment",
            theirs(model={"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "k"}}}]}),
            "/0/spec/predictor/model/env",
        ),
    )
]


@pytest.mark.parametrize("row", [*rows(), *SECRETS, *UNKNOWN, *KSERVE], ids=lambda row: row.claim)
def test_what_does_not_exist_is_refused_by_its_name_and_nothing_comes_of_it(row: Row, controller: Controller):
    is_refused(row, controller)


def test_id31_a_version_that_is_deployed_already_is_refused_with_the_name_of_what_runs(controller: Controller):
    running = next(one for one in controller.send("GET", "/deployments").json()["deployments"] if one["version"] == "v1")
    says = f"deployment {running['id']} of"
    again = pb.CreateDeploymentRequest(model=running["model_name"], version="v1")
    body = {"model_name": running["model_name"], "version": "v1"}
    is_refused(
        Row(
            claim="again",
            reason="ALREADY_EXISTS",
            status=409,
            code="ALREADY_EXISTS",
            http=("POST", "/deployments", body),
            rpc=again,
            says=says,
        ),
        controller,
    )


MANIFESTS = {
    "ID12 autoscaling": (ours({"version": "v1", "autoscaling": {"min_replicas": 5, "max_replicas": 2}}), "/0/spec/autoscaling"),
    "ID20 steps": (ours({"version": "v1", "canary_steps": [50, 5]}), "/0/spec/canary_steps"),
    "ID38 feature view": (ours({"version": "v1", "config": {"feature_view": "absent"}}), "/config/feature_view"),
    "ID39 schedule": (ours({"version": "v1", "schedule": "61 * * * *"}), "/0/spec/schedule"),
    "ID12 KServe": (theirs({"minReplicas": 5, "maxReplicas": 2}), "/0/spec/predictor/maxReplicas"),
    "ID20 KServe": (theirs({"canaryTrafficPercent": 101}), "/0/spec/predictor/canaryTrafficPercent"),
}


@pytest.mark.parametrize("row", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_apply_says_the_place_and_ends_with_a_failure(
    row: tuple[str, str], controller: Controller, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    text, pointer = row
    before = controller.kept()
    ended = cli(controller, "apply", "-f", "-", stdin=text)

    assert ended.exit_code not in (0, None), ended.output
    assert pointer in "".join(ended.output.split()), ended.output
    assert controller.kept() == before
    controller.assert_unharmed()
