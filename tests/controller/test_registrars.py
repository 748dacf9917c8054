"""Whoever may register, may only what is its own: both faces with a real sandbox, store and catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from penstock.v1 import controller_pb2 as pb
from services.controller.tenancy import Tenancy, TenantUpdate
from tests.controller.faces import Faces, faces, in_a_thread
from tests.controller.stand import ANN, Stand
from tests.controller.test_known_callers import World
from tests.worker import models

MODEL = models.identity()
SHA256 = sha256(MODEL).hexdigest()


@pytest.fixture(scope="module")
def running(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    folder = tmp_path_factory.mktemp("registrars")
    (folder / "catalogue.db").write_bytes(sqlite_template.read_bytes())
    with in_a_thread(lambda: faces(f"sqlite+aiosqlite:///{folder / 'catalogue.db'}", folder)) as made:
        assert made.send(made.http, "PUT", f"/api/v1/blobs/{SHA256}", "registrar", content=MODEL).status_code == 200
        yield made


def request(model: str) -> pb.RegisterVersionRequest:
    files = [pb.VersionFile(path="model.onnx", sha256=SHA256, size_bytes=len(MODEL))]
    return pb.RegisterVersionRequest(model=model, version="v1", files=files)


def body() -> dict[str, Any]:
    return {"version": "v1", "files": [{"path": "model.onnx", "sha256": SHA256, "size_bytes": len(MODEL)}]}


def test_a_registrar_registers_what_begins_with_its_prefix_and_the_audit_says_so(running: Faces):
    over_grpc = running.answer("RegisterVersion", "registrar", request("team-a-fraud"))
    over_http = running.send(running.http, "POST", "/api/v1/models/shared/versions", "registrar", json=body())
    audit = running.answer("ListChanges", "viewer", pb.ListChangesRequest(subject="model/team-a-fraud"))

    assert (over_grpc.version.model, over_http.status_code) == ("team-a-fraud", 201)
    assert audit.changes[0].actor.startswith("registrar/")


@pytest.mark.parametrize("model", ["team-b-fraud", "team-a", "Team-a-fraud", "x-team-a-fraud"])
def test_a_registrar_is_refused_every_other_name_with_the_prefixes_that_it_has(model: str, running: Faces):
    status, message = running.refusal(running.grpc, "RegisterVersion", "registrar", request(model))
    over_http = running.send(running.http, "POST", f"/api/v1/models/{model}/versions", "registrar", json=body())
    known = running.answer("ListModels", "operator", pb.ListModelsRequest()).models

    assert (status, "begin with 'team-a-', 'shared'" in message) == ("PERMISSION_DENIED", True)
    assert (over_http.status_code, over_http.json()["reason"], over_http.json()["field"]) == (403, "NOT_OWNER", "model")
    assert model not in [one.name for one in known]


def test_a_registrar_deploys_nothing_not_even_its_own(running: Faces):
    wanted = pb.CreateDeploymentRequest(model="team-a-fraud", version="v1")

    assert running.refusal(running.grpc, "CreateDeployment", "registrar", wanted)[0] == "PERMISSION_DENIED"


async def prefixes(stand: Stand, settings: dict[str, object]) -> tuple[str, ...]:
    """Return what a tenant with these settings may register."""
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("root", TenantUpdate(settings={"admin": True}), ANN)
    await tenancy.create_key("root", None, ANN)
    await tenancy.set_tenant("acme", TenantUpdate(settings=settings), ANN)
    key, _ = await tenancy.create_key("acme", None, ANN)
    return (await World(stand).callers.of(key, writes=False)).prefixes


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"admin": True}, ("",)),
        ({"roles": ["operator"], "model_prefixes": ["a-"]}, ("a-",)),
        ({"roles": ["registrar"], "model_prefixes": ["a-", "b-"]}, ("a-", "b-")),
        ({}, ()),
    ],
)
async def test_only_operators_without_prefixes_register_everything(stand: Stand, settings: dict[str, object], wanted: tuple[str, ...]):
    assert await prefixes(stand, settings) == wanted
