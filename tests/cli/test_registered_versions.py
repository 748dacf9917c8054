"""`penstock models show` and `penstock models verify`, against a controller that is far away."""

from __future__ import annotations

import json

import pytest

from penstock.v1 import controller_pb2 as pb
from tests.cli.conftest import Run
from tests.cli.far_controller import FarController


@pytest.fixture
def ask(run: Run, controller: FarController) -> Run:
    return lambda *arguments, **more: run("models", *arguments, "--grpc", controller.target, **more)


def test_a_sound_version_is_told_file_by_file(ask: Run, controller: FarController):
    ended = ask("verify", "fraud@v3.1", "--reason", "an audit")
    request = controller.requests[-1]

    assert (ended.exit_code, request.model, request.version, request.options.reason) == (0, "fraud", "v3.1", "an audit")
    assert "fraud@v3.1 is as it was registered" in ended.output
    assert "version/model.onnx" in ended.output
    assert "sound" in ended.output
    assert "signature: good, by release" in ended.output


def test_a_mismatch_fails_and_says_of_which_file(ask: Run, controller: FarController):
    controller.damage = "damaged: it is not what its digest says"
    plain, document = ask("verify", "fraud@v3.1"), ask("verify", "fraud@v3.1", "-o", "json")
    (found,) = json.loads(document.output)

    assert (plain.exit_code, document.exit_code) == (1, 1)
    assert "fraud@v3.1 is NOT as it was registered: damaged: it is not what its digest says" in plain.output
    assert (found["files"][0]["path"], found["files"][0]["damage"], found["damage"]) == (
        "version/model.onnx",
        controller.damage,
        controller.damage,
    )


def test_without_a_version_all_are_verified(ask: Run, controller: FarController):
    ended = ask("verify", "fraud", "-o", "json")

    assert [one["version"] for one in json.loads(ended.output)] == ["v3.0", "v3.1"]
    assert [one.version for one in controller.requests if isinstance(one, pb.VerifyVersionRequest)] == ["v3.0", "v3.1"]


def test_what_is_registered_is_shown_with_who_signed_it_and_the_last_look(ask: Run):
    ended = ask("show", "fraud@champion")

    assert ended.exit_code == 0, ended.output
    assert ("fraud@v3.1" in ended.output, "fraud@v3.0" in ended.output) == (True, False)
    for told in ("ab" * 32, "release", "2026-11-01T00:00:00+00:00", "x FP32[-1, 2]", "c3Nzc3Nz", "0.9"):
        assert told in ended.output


def test_a_version_that_is_not_registered_is_refused_with_those_that_are(ask: Run):
    ended = ask("show", "fraud@v9")

    assert (ended.exit_code, "v3.0, v3.1, champion" in ended.output) == (1, True)
