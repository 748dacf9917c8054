"""Who may call what: every method and every path, for everybody, at the controller and through a router. A new one needs a row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.v1 import controller_pb2 as pb
from services.router.controller_link import Addresses
from services.router.controller_routes import PATHS
from tests.controller.faces import METHODS, Faces, faces, in_a_thread
from tests.router.proxy_stand import router

OPERATE, REGISTER, VIEW, OWN = "operate", "register", "view", "own"

ROWS = {
    "UploadBlob": REGISTER,
    "GetUpload": REGISTER,
    "RegisterVersion": REGISTER,
    "ListModels": OWN,
    "GetModel": OWN,
    "SetAlias": OPERATE,
    "VerifyVersion": OPERATE,
    "CreateDeployment": OPERATE,
    "ListDeployments": OWN,
    "UpdateDeployment": OPERATE,
    "DeleteDeployment": OPERATE,
    "PlanPlacement": OWN,
    "SetTraffic": OPERATE,
    "PinTenant": OPERATE,
    "SetShadow": OPERATE,
    "UpdateRoute": OPERATE,
    "Rollback": OPERATE,
    "SetTenant": OPERATE,
    "ListTenants": OWN,
    "CreateKey": OPERATE,
    "RevokeKey": OPERATE,
    "ListChanges": VIEW,
    "GetMesh": VIEW,
    "Apply": OPERATE,
    "SetWritesFrozen": OPERATE,
    "Republish": OPERATE,
}

PATH_ROWS = {
    "GET /models": OWN,
    "GET /models/{model}": OWN,
    "GET /models/{model}/versions": OWN,
    "GET /models/{model}/versions/{version}": OWN,
    "POST /models/{model}/versions": REGISTER,
    "POST /models/{model}/versions/{version}/verification": OPERATE,
    "PUT /models/{model}/aliases/{alias}": OPERATE,
    "DELETE /models/{model}/aliases/{alias}": OPERATE,
    "GET /blobs/{sha256}": REGISTER,
    "PUT /blobs/{sha256}": REGISTER,
    "GET /deployments": OWN,
    "GET /deployments/{deployment_id}": OWN,
    "POST /deployments": OPERATE,
    "PATCH /deployments/{deployment_id}": OPERATE,
    "DELETE /deployments/{deployment_id}": OPERATE,
    "GET /placement": OWN,
    "GET /deployments/{model}/traffic": OWN,
    "GET /deployments/{model}/route": OWN,
    "PUT /deployments/{model}/traffic": OPERATE,
    "PATCH /deployments/{model}/route": OPERATE,
    "PUT /deployments/{model}/pins/{tenant}": OPERATE,
    "DELETE /deployments/{model}/pins/{tenant}": OPERATE,
    "PUT /deployments/{model}/shadow": OPERATE,
    "DELETE /deployments/{model}/shadow": OPERATE,
    "POST /deployments/{model}/rollback": OPERATE,
    "POST /rollback": OPERATE,
    "GET /tenants": OWN,
    "PUT /tenants/{tenant}": OPERATE,
    "POST /tenants/{tenant}/keys": OPERATE,
    "DELETE /tenants/{tenant}/keys/{key}": OPERATE,
    "GET /audit": VIEW,
    "GET /changes": VIEW,
    "POST /apply": OPERATE,
    "POST /republish": OPERATE,
    "PUT /freeze": OPERATE,
    "GET /mesh": VIEW,
}

BODIES: dict[str, Any] = {
    "POST /models/{model}/versions": {"version": "v2"},
    "PUT /models/{model}/aliases/{alias}": {"version": "absent"},
    "POST /deployments": {"model_name": "absent", "version": "v1"},
    "PATCH /deployments/{deployment_id}": {"replicas": 2},
    "PUT /deployments/{model}/traffic": {"v1": 100},
    "PATCH /deployments/{model}/route": {},
    "PUT /deployments/{model}/pins/{tenant}": {"version": "v1"},
    "PUT /deployments/{model}/shadow": {"version": "v1"},
    "POST /rollback": {"model_name": "absent"},
    "PUT /tenants/{tenant}": {},
    "POST /apply": {"manifest": ""},
    "PUT /freeze": {"frozen": False},
}

REFUSED = {
    "nobody": dict.fromkeys((OPERATE, REGISTER, VIEW, OWN), "UNAUTHENTICATED"),
    "break-glass": dict.fromkeys((OPERATE, REGISTER, VIEW, OWN), "UNAUTHENTICATED"),
    "tenant": dict.fromkeys((OPERATE, REGISTER, VIEW), "PERMISSION_DENIED"),
    "other": dict.fromkeys((OPERATE, REGISTER, VIEW), "PERMISSION_DENIED"),
    "viewer": dict.fromkeys((OPERATE, REGISTER), "PERMISSION_DENIED"),
    "registrar": dict.fromkeys((OPERATE, VIEW), "PERMISSION_DENIED"),
    "operator": {},
}
HTTP = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}
BROKEN = {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED"}


@dataclass(frozen=True, kw_only=True)
class World:
    faces: Faces
    grpc: dict[str, str]
    http: dict[str, str]


@asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(faces(url, folder))
        address = Addresses(grpc=made.grpc, http=made.http.removeprefix("http://"))
        target, base = await stack.enter_async_context(router([address]))
        yield World(faces=made, grpc={"controller": made.grpc, "router": target}, http={"controller": made.http, "router": base})


@pytest.fixture(scope="module")
def world(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("faces")
    (folder / "catalogue.db").write_bytes(sqlite_template.read_bytes())
    with in_a_thread(lambda: opened(f"sqlite+aiosqlite:///{folder / 'catalogue.db'}", folder)) as made:
        yield made


def documented(world: World) -> dict[str, Any]:
    return world.faces.send(world.http["controller"], "GET", "/api/v1/openapi.json", "nobody").json()


def test_every_method_and_every_path_has_a_row(world: World):
    paths = documented(world)["paths"].items()

    assert METHODS.keys() == ROWS.keys()
    assert {f"{method.upper()} {path.removeprefix('/api/v1')}" for path, item in paths for method in item} == PATH_ROWS.keys()
    assert len(PATH_ROWS) == sum(len(methods) for _, methods in PATHS) - 1  # the document itself is everybody's


@pytest.mark.parametrize("way", ["controller", "router"])
@pytest.mark.parametrize("caller", REFUSED)
def test_methods(way: str, caller: str, world: World):
    told = {method: world.faces.refusal(world.grpc[way], method, caller)[0] for method in METHODS}

    refused = REFUSED[caller]
    assert {method: status for method, status in told.items() if status in HTTP} == {
        method: refused[right] for method, right in ROWS.items() if right in refused
    }
    assert BROKEN.isdisjoint(told.values()), told


@pytest.mark.parametrize("way", ["controller", "router"])
@pytest.mark.parametrize("caller", REFUSED)
def test_paths(way: str, caller: str, world: World):
    told = {row: asked(world, way, caller, row) for row in PATH_ROWS}

    refused = {right: HTTP[status] for right, status in REFUSED[caller].items()}
    assert {row: status for row, status in told.items() if status in HTTP.values()} == {
        row: refused[right] for row, right in PATH_ROWS.items() if right in refused
    }
    assert {row: status for row, status in told.items() if status >= 500} == {}


def asked(world: World, way: str, caller: str, row: str) -> int:
    """Send the request of a row, for things that are not there; return its status."""
    method, _, path = row.partition(" ")
    for name in ("model", "version", "alias", "deployment_id", "tenant", "key"):
        path = path.replace(f"{{{name}}}", "absent")
    more = {"json": BODIES[row]} if row in BODIES else {}
    answer = world.faces.send(world.http[way], method, "/api/v1" + path.replace("{sha256}", "a" * 64), caller, **more)
    assert answer.status_code < 400 or answer.json()["reason"], answer.text
    return answer.status_code


@pytest.mark.parametrize("way", ["controller", "router"])
def test_a_body_of_nobody_is_not_looked_at(way: str, world: World):
    for row in (one for one in PATH_ROWS if one in BODIES):
        method, _, path = row.partition(" ")
        answer = world.faces.send(world.http[way], method, "/api/v1" + path, "nobody", content=b"not json")

        assert (row, answer.status_code) == (row, 401)


@pytest.mark.parametrize(("caller", "own", "foreign"), [("tenant", "own-model", "foreign-model"), ("other", "foreign-model", "own-model")])
def test_what_is_anothers_looks_absent(caller: str, own: str, foreign: str, world: World):
    ask = world.faces
    names = [one.name for one in ask.answer("ListModels", caller, pb.ListModelsRequest()).models]
    deployed = [one.model for one in ask.answer("ListDeployments", caller, pb.ListDeploymentsRequest()).deployments]
    placed = {one.model for one in ask.answer("PlanPlacement", caller, pb.PlanPlacementRequest()).placements}
    told = [ask.refusal(ask.grpc, "GetModel", caller, pb.GetModelRequest(model=model)) for model in (foreign, "absent")]

    assert (names, deployed) == ([own], [own])
    assert placed <= {own}
    assert ask.answer("GetModel", caller, pb.GetModelRequest(model=own)).model.name == own
    assert told[0][0] == "NOT_FOUND"
    assert (told[0][0], told[0][1].replace(foreign, "absent")) == told[1]
    for path in (f"/models/{foreign}", f"/models/{foreign}/versions", f"/deployments/{foreign}", f"/deployments/{foreign}/route"):
        assert ask.send(ask.http, "GET", "/api/v1" + path, caller).status_code == 404


def test_a_tenant_sees_of_tenants_itself_and_a_viewer_sees_all(world: World):
    own = world.faces.answer("ListTenants", "tenant", pb.ListTenantsRequest()).tenants
    all_of_them = {one.tenant for one in world.faces.answer("ListTenants", "viewer", pb.ListTenantsRequest()).tenants}

    assert [one.tenant for one in own] == ["tenant"]
    assert {"tenant", "other", "viewer", "operator"} <= all_of_them


def test_a_viewer_sees_every_model(world: World):
    names = [one.name for one in world.faces.answer("ListModels", "viewer", pb.ListModelsRequest()).models]

    assert {"own-model", "foreign-model"} <= set(names)
