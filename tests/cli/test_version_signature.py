"""`penstock models register` with a signature: made here by a key, or brought along."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from penstock.contracts.version_signatures import signed_text
from penstock.v1 import controller_pb2 as pb
from services.chassis.operator_keys import OperatorKey
from services.controller.registration_values import Folder
from tests.cli.conftest import Run
from tests.cli.far_controller import FarController
from tests.controller.registering import GOOD, kit
from tests.controller.test_graph_registration import ENSEMBLE, GRAPH
from tests.worker.folders import put


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/model.onnx").write_bytes(b"m" * 3000)
    return tmp_path / "files"


def register(run: Run, controller: FarController, source: Path | str, *more: str) -> tuple[int, str]:
    ended = run("models", "register", str(source), "--name", "fraud", *more, "--grpc", controller.target)
    return ended.exit_code, ended.output


def asked(controller: FarController) -> list[pb.RegisterVersionRequest]:
    return [one for one in controller.requests if isinstance(one, pb.RegisterVersionRequest)]


def test_a_folder_is_signed_with_a_key_over_the_digest_that_is_shown(run: Run, controller: FarController, folder: Path, tmp_path: Path):
    key = OperatorKey.generate("release")
    (tmp_path / "key").write_text(key.to_text())
    digest = run("models", "digest", str(folder)).output.strip()

    assert register(run, controller, folder, "--signing-key", str(tmp_path / "key"))[0] == 0
    (request,) = asked(controller)
    assert request.key_id == "release"
    key.key.public_key().verify(request.signature, signed_text("fraud", digest))


@pytest.mark.parametrize("content", [b"s" * 64, base64.encodebytes(b"s" * 64)])
def test_a_signature_that_was_made_elsewhere_goes_along_also_with_a_url(
    content: bytes, run: Run, controller: FarController, folder: Path, tmp_path: Path
):
    (tmp_path / "signature").write_bytes(content)
    sent = [register(run, controller, source, "--signature", str(tmp_path / "signature"))[0] for source in (folder, "s3://bucket/fraud/3")]

    assert sent == [0, 0]
    assert [(one.signature, one.key_id) for one in asked(controller)] == [(b"s" * 64, "")] * 2


def test_what_cannot_be_signed_is_said_before_anything_is_sent(run: Run, controller: FarController, folder: Path, tmp_path: Path):
    (tmp_path / "junk").write_text("junk")
    (tmp_path / "key").write_text(OperatorKey.generate("release").to_text())
    (tmp_path / "two/1").mkdir(parents=True)
    (tmp_path / "two/2").mkdir()
    for version in "12":
        (tmp_path / "two" / version / "model.onnx").write_bytes(b"m")
    junk, key = str(tmp_path / "junk"), str(tmp_path / "key")

    said = {
        "no Ed25519 signature": register(run, controller, folder, "--signature", junk),
        "No such file": register(run, controller, folder, "--signature", str(tmp_path / "nowhere")),
        "no operator's private key": register(run, controller, folder, "--signing-key", junk),
        "one of both": register(run, controller, folder, "--signing-key", key, "--signature", junk),
        "folder here": register(run, controller, "s3://bucket/fraud/3", "--signing-key", key),
        "holds several versions": register(run, controller, tmp_path / "two", "--signing-key", key),
    }

    assert [words for words, (exit_code, output) in said.items() if exit_code == 0 or words not in output] == []
    assert controller.requests == []


@pytest.mark.parametrize(
    "files",
    [
        {**GOOD, "config.pbtxt": b"max_batch_size: 8", "README.md": b"#", ".hidden": b"", "warmup/x.raw": b"1"},
        {"churn/7/model.onnx": GOOD["model.onnx"], "churn/config.pbtxt": b"max_batch_size: 8"},
        {"graph.toml": GRAPH},
        {"chain/config.pbtxt": ENSEMBLE},
    ],
)
async def test_the_digest_that_is_shown_is_that_of_the_registry(files: dict[str, bytes], run: Run, tmp_path: Path):
    folder = tmp_path / "folders/churn"
    for name, content in files.items():
        put(folder / name, content)
    async with kit(tmp_path) as here:
        registered = await here.register(Folder(path=folder))

    assert run("models", "digest", str(folder)).output.strip() == registered.digest
