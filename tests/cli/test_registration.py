"""What `penstock models register` sends of this machine, and what it says of a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.contracts.errors import InvalidInput
from penstock.v1 import controller_pb2 as pb
from tests.cli.conftest import Run
from tests.cli.far_controller import FarController
from tests.cli.test_control import document, last


@pytest.fixture
def ask(run: Run, controller: FarController) -> Run:
    return lambda *arguments, **more: run(*arguments, "--grpc", controller.target, **more)


def test_a_registration_that_is_refused_does_not_send_anybody_to_a_model_that_is_not_there(ask: Run, controller: FarController):
    controller.refusal = InvalidInput("'s3://other/3' is not below an allowed source", reason="SOURCE_REFUSED")
    ended = ask("models", "register", "s3://other/3", "--name", "fraud")

    assert (ended.exit_code, "SOURCE_REFUSED" in ended.stderr, "models inspect" in ended.stderr) == (1, True, False)


def test_an_archive_is_sent_as_one_file(ask: Run, controller: FarController, tmp_path: Path):
    archive = tmp_path / "fraud-3.tar.gz"
    archive.write_bytes(b"packed")
    found = document(ask, "models", "register", str(archive), "--name", "fraud@3")
    signed = ask("models", "register", str(archive), "--name", "fraud@3", "--signing-key", str(tmp_path / "key"))

    assert (found["version"], [file.path for file in last(controller, pb.RegisterVersionRequest).files]) == ("3", ["fraud-3.tar.gz"])
    assert (signed.exit_code, "signs the files of a folder" in signed.stderr) == (2, True)


def test_a_file_that_is_neither_folder_nor_archive_is_not_sent(ask: Run, controller: FarController, tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"m")
    ended = ask("models", "register", str(tmp_path / "model.onnx"), "--name", "fraud")

    assert (ended.exit_code, "is neither a folder nor an archive (.tar, .tar.gz, .tgz, .zip)" in ended.stderr) == (1, True)
    assert controller.requests == []
