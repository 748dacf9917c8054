"""Who may have signed a version: the settings, and both faces with a real sandbox, store and catalogue."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from penstock.contracts.artefacts import Manifest, ManifestFile
from penstock.contracts.version_signatures import signed_text
from penstock.v1 import controller_pb2 as pb
from services.chassis.clock import SystemClock
from services.chassis.operator_keys import OperatorKey
from services.chassis.process import CannotStart
from services.controller.config import ControllerSettings
from services.controller.registering import registering
from tests.controller.faces import Faces, faces, in_a_thread
from tests.worker import models

MODEL = models.identity()
SHA256 = sha256(MODEL).hexdigest()
DIGEST = Manifest.of([ManifestFile(path="version/model.onnx", size=len(MODEL), sha256=SHA256)]).digest
RELEASE = OperatorKey.generate("release")


@pytest.fixture(scope="module")
def closed(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    """Open both faces of a controller that registers signed versions alone, and send them the file of one."""
    folder = tmp_path_factory.mktemp("signed")
    (folder / "catalogue.db").write_bytes(sqlite_template.read_bytes())
    (folder / "keys.toml").write_text(f"[keys]\n{RELEASE.public_line()}\n")
    settings = {"version_keys": folder / "keys.toml", "require_version_signatures": True}
    with in_a_thread(lambda: faces(f"sqlite+aiosqlite:///{folder / 'catalogue.db'}", folder, **settings)) as made:
        assert made.send(made.http, "PUT", f"/api/v1/blobs/{SHA256}", "operator", content=MODEL).status_code == 200
        yield made


def request(model: str, **more: Any) -> pb.RegisterVersionRequest:
    files = [pb.VersionFile(path="model.onnx", sha256=SHA256, size_bytes=len(MODEL))]
    return pb.RegisterVersionRequest(model=model, version="v1", files=files, **more)


def body(**more: Any) -> dict[str, Any]:
    return {"version": "v1", "files": [{"path": "model.onnx", "sha256": SHA256, "size_bytes": len(MODEL)}], **more}


def sign(model: str, key: Ed25519PrivateKey = RELEASE.key) -> bytes:
    return key.sign(signed_text(model, DIGEST))


def test_unsigned_versions_and_those_of_a_wrong_key_are_refused_over_grpc(closed: Faces):
    strange = sign("grpc-refused", Ed25519PrivateKey.generate())
    unsigned = closed.refusal(closed.grpc, "RegisterVersion", "operator", request("grpc-refused"))
    wrong = closed.refusal(closed.grpc, "RegisterVersion", "operator", request("grpc-refused", signature=strange, key_id="release"))

    assert (unsigned[0], "is not signed" in unsigned[1]) == ("PERMISSION_DENIED", True)
    assert (wrong[0], "not that of the key 'release'" in wrong[1]) == ("PERMISSION_DENIED", True)
    assert "grpc-refused" not in [one.name for one in closed.answer("ListModels", "operator", pb.ListModelsRequest()).models]


def test_unsigned_versions_and_those_of_a_wrong_key_are_refused_over_http(closed: Faces):
    def register(**more: Any) -> tuple[int, str]:
        answer = closed.send(closed.http, "POST", "/api/v1/models/http-refused/versions", "operator", json=body(**more))
        return answer.status_code, answer.json()["reason"]

    strange = base64.b64encode(sign("http-refused", Ed25519PrivateKey.generate())).decode()

    assert [register(), register(signature=strange)] == [(403, "BAD_SIGNATURE")] * 2
    assert register(signature="no base64!") == (400, "BAD_VALUE")
    assert closed.send(closed.http, "GET", "/api/v1/models/http-refused", "operator").status_code == 404


def test_a_dry_run_needs_the_signature_as_well(closed: Faces):
    options = pb.WriteOptions(dry_run=True)

    assert closed.refusal(closed.grpc, "RegisterVersion", "operator", request("tried", options=options))[0] == "PERMISSION_DENIED"


def test_who_signed_a_version_stands_with_it_and_in_the_audit_whatever_its_owner_says_over_grpc(closed: Faces):
    signed = request("grpc-signed", signature=sign("grpc-signed"), key_id="release", metadata={"signed_by": "somebody", "auc": "0.9"})
    answer = closed.answer("RegisterVersion", "operator", signed)
    audit = closed.answer("ListChanges", "operator", pb.ListChangesRequest(subject="model/grpc-signed", verify=True))

    assert answer.version.digest == DIGEST
    assert (answer.version.metadata["signed_by"], answer.version.metadata["auc"]) == ("release", "0.9")
    assert ("release" in audit.changes[0].after_json, audit.broken) == (True, "")


def test_who_signed_a_version_stands_with_it_over_http(closed: Faces):
    signed = body(signature=base64.b64encode(sign("http-signed")).decode())
    answer = closed.send(closed.http, "POST", "/api/v1/models/http-signed/versions", "operator", json=signed)
    shown = closed.send(closed.http, "GET", "/api/v1/models/http-signed/versions/v1", "operator").json()

    assert (answer.status_code, shown["digest"], shown["metadata"]["signed_by"]) == (201, DIGEST, "release")


@pytest.mark.parametrize(
    "content", [None, b"not toml [", b"\xff\xfe", b"keys = 3", b"[keys]\nrelease = 'ed25519:c2hvcnQ='", b"[keys]\nrelease = 7", b""]
)
async def test_a_file_of_keys_that_is_none_keeps_a_controller_from_starting_and_names_the_setting(content: bytes | None, tmp_path: Path):
    keys = tmp_path / "keys.toml"
    if content is not None:
        keys.write_bytes(content)
    settings = ControllerSettings(state_dir=tmp_path / "state", version_keys=keys, require_version_signatures=True)
    with pytest.raises(CannotStart, match=r"version_keys: .*keys\.toml"):
        async with registering(settings, SystemClock()):
            pass


def test_signatures_cannot_be_required_without_keys(tmp_path: Path):
    with pytest.raises(ValueError, match="require_version_signatures needs version_keys"):
        ControllerSettings(state_dir=tmp_path, require_version_signatures=True)
