"""All writes are frozen in the whole mesh: every change is refused by every face, and everything else goes on, emergencies too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from bench.mesh import MODEL, ONCE, Mesh, confirmed, until
from bench.mesh_load import SteadyLoad
from penstock.cli.main import program
from penstock.client.control import Control
from penstock.client.uploads import files_of, send
from penstock.client.writes import Write
from penstock.contracts.errors import ServingError
from penstock.contracts.routes import KillSwitch, RoutingKey, Shadow
from services.controller.rights import RIGHTS, Right
from tests.faults.conftest import ROUTERS
from tests.faults.test_break_glass import Glass, glass
from tests.faults.test_mesh import RATE, traffic

__all__ = ["glass"]
pytestmark = pytest.mark.timeout(600)

WHY = "the release of the quarter"
TENANT = "frozen-writes"
EMERGENCIES = {"Rollback", "RevokeKey", "SetWritesFrozen", "Republish", "VerifyVersion"}
AWAY = ("NOT_THE_WRITER", "CONTROLLER_AWAY", "CATALOGUE_UNAVAILABLE", "BAD_UPLOAD")
"""What is said while another controller takes over, or the file of the catalogue is busy; what was uploaded stays with the one before."""
NO_CHANGES = {"UploadBlob", "GetUpload"}
"""What operators call and what changes nothing in the catalogue."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to the catalogue: the controllers' own ports, or a router's."""

    mesh: Mesh
    processes: tuple[str, ...]
    deployment: str
    """One of v1."""

    def told(self, ask: Callable[[str], tuple[str, str]]) -> str:
        """Ask until whoever writes has answered, which on a slow machine is now this controller, now that; return what was said."""
        found: list[tuple[str, str]] = []

        def is_answered() -> bool:
            for name in self.processes:
                reason, words = ask(name)
                if reason not in AWAY:
                    found.append((reason, words))
                    return True
            return False

        until(is_answered, pause_seconds=0.1)
        reason, words = found[0]
        assert reason == "WRITES_FROZEN", words
        return words

    def by_grpc(self, method: str, name: str) -> tuple[str, str]:
        """Return reason and message of a refusal."""
        if method == "RegisterVersion":
            self.send_files(name)
        with self.mesh.control(ONCE, address=self.mesh.address(name)) as control, pytest.raises(ServingError) as refused:
            self.writes(control)[method]()
        return refused.value.reason, refused.value.message

    def by_http(self, client: httpx2.Client, request: tuple[str, str, Any], name: str) -> tuple[str, str]:
        """Return reason and detail of a refusal."""
        method, path, body = request
        if path.endswith("/versions"):
            self.send_files(name)
        answer = client.request(method, f"http://{self.mesh.address(name, 'http')}/api/v1{path}", json=body)
        document = answer.json()
        assert answer.status_code in {400, 409, 503}, (path, document)
        return document["reason"], document["detail"]

    def by_the_command(self, arguments: tuple[str, ...], name: str) -> tuple[str, str]:
        """Return the reason and all that the command printed."""
        ended = CliRunner().invoke(program, [*arguments, "--grpc", self.mesh.address(name)], prog_name="penstock")
        words = " ".join(ended.output.split())
        assert ended.exit_code == 1, words
        return next((reason for reason in (*AWAY, "WRITES_FROZEN") if reason in words), words), words

    def send_files(self, name: str) -> None:
        """Upload the version's files to one process."""
        with self.mesh.control(address=self.mesh.address(name)) as control:
            for file in self._files():
                send(control, file)

    def writes(self, control: Control) -> Mapping[str, Callable[[], object]]:
        """Return every change that is no emergency, by method."""
        sent = [file.sent for file in self._files()]
        return {
            "RegisterVersion": partial(control.register, MODEL, "v9", sent),
            "SetAlias": partial(control.set_alias, MODEL, "other", "v1"),
            "CreateDeployment": partial(control.deploy, MODEL, "v1"),
            "UpdateDeployment": partial(control.scale, self.deployment, 2),
            "DeleteDeployment": partial(control.undeploy, self.deployment, force=True),
            "SetTraffic": partial(traffic, control, "v2"),
            "PinTenant": partial(control.pin, MODEL, TENANT, "v2"),
            "SetShadow": partial(control.shadow, MODEL, Shadow(version="v2", sample_basis_points=1000)),
            "UpdateRoute": partial(control.stick, MODEL, RoutingKey(salt="other")),
            "SetTenant": partial(control.set_tenant, "newcomer"),
            "CreateKey": partial(control.create_key, TENANT),
            "Apply": partial(control.apply, MANIFEST),
        }

    def requests(self) -> Iterator[tuple[str, str, Any]]:
        """Yield every path that changes something and is no emergency, with a body that it takes."""
        files = [{"path": one.sent.name, "sha256": one.sent.sha256, "size_bytes": one.sent.size} for one in self._files()]
        yield "POST", f"/models/{MODEL}/versions", {"version": "v9", "files": files}
        yield "PUT", f"/models/{MODEL}/aliases/other", {"version": "v1"}
        yield "POST", "/deployments", {"model_name": MODEL, "version": "v1"}
        yield "PATCH", f"/deployments/{self.deployment}", {"replicas": 2}
        yield "DELETE", f"/deployments/{self.deployment}?force=true", None
        yield "PUT", f"/deployments/{MODEL}/traffic", {"v2": 100}
        yield "PATCH", f"/deployments/{MODEL}/route", {"routing_key": {"source": "user"}}
        yield "PUT", f"/deployments/{MODEL}/pins/{TENANT}", {"version": "v2"}
        yield "DELETE", f"/deployments/{MODEL}/pins/{TENANT}", None
        yield "PUT", f"/deployments/{MODEL}/shadow", {"version": "v2"}
        yield "DELETE", f"/deployments/{MODEL}/shadow", None
        yield "PUT", "/tenants/newcomer", {}
        yield "POST", f"/tenants/{TENANT}/keys", {}
        yield "POST", "/apply", {"manifest": MANIFEST}

    def commands(self) -> Iterator[tuple[str, ...]]:
        """Yield commands that change something and are no emergency."""
        yield "models", "register", str(self.mesh.folder / f"{MODEL}-v1"), "--name", f"{MODEL}@v9"
        yield "models", "alias", "set", MODEL, "other", "v1"
        yield "deploy", f"{MODEL}@v1", "--no-wait"
        yield "deployments", "scale", self.deployment, "2"
        yield "deployments", "delete", self.deployment, "--force"
        yield "traffic", "set", MODEL, "v2"
        yield "traffic", "pin", MODEL, "v2", "--tenant", TENANT
        yield "traffic", "shadow", MODEL, "v2"
        yield "tenants", "set", "newcomer", "{}"
        yield "tenants", "create-key", TENANT

    def _files(self) -> Any:
        return files_of(self.mesh.folder / f"{MODEL}-v1")


MANIFEST = f"""
apiVersion: penstock/v1
kind: Deployment
metadata: {{name: {MODEL}}}
spec: {{versions: [{{version: v1, traffic: 100}}], aliases: {{other: v1}}}}
"""


def test_frozen_writes_are_refused_by_every_face_and_serving_and_emergencies_go_on(glass: Glass):
    mesh = glass.mesh
    with mesh.control() as control, SteadyLoad(mesh.router_addresses, MODEL, rate=RATE) as load:
        load.settled(time.monotonic())
        control.set_tenant(TENANT)
        before = seen(control)
        who = control.freeze_writes(Write(reason=WHY)).change.actor
        try:
            words = refusals(mesh, before)
            unchanged = seen(control)
            load.settled(time.monotonic())
            emergencies(glass, control)
        finally:
            until(lambda: command("freeze", "--writes", "--off", "--reason", "it is out", at=mesh.router_addresses[1]), pause_seconds=0.1)
        confirmed(lambda: traffic(control, "v1"), ROUTERS)
        load.settled(time.monotonic())
        audit = control.changes(most=1000, verify=True)

    assert [one for one in words if f"by {who}, '{WHY}'" not in one or "`penstock freeze --writes --off`" not in one] == []
    assert (unchanged, load.failures) == (before, [])
    assert audit.broken == ""
    assert sum(one.kind.endswith("(WRITES_FROZEN)") for one in audit.changes) >= len(words)
    freezes = [(one.reason, json.loads(one.after_json)["value"]) for one in audit.changes if one.subject == "setting/writes_frozen"]
    assert freezes == [("it is out", False), (WHY, True)]


def seen(control: Control) -> Mapping[str, Any]:
    """Return all that a change could have changed, and that reads go on."""
    held = control.model(MODEL)
    return {
        "model": (dict(held.model.aliases), [one.version for one in held.model.versions]),
        "route": held.route.SerializeToString(deterministic=True),
        "deployments": {one.deployment_id: (one.version, one.replicas) for one in control.deployments(MODEL)},
        "tenants": {one.tenant: len(one.keys) for one in control.tenants()},
    }


def refusals(mesh: Mesh, before: Mapping[str, Any]) -> list[str]:
    """Ask for every change by every face, and return what was said to each."""
    deployment = next(name for name, (version, _) in before["deployments"].items() if version == "v1")
    near = Way(mesh=mesh, processes=tuple(one.name for one in mesh.controllers), deployment=deployment)
    far = Way(mesh=mesh, processes=(mesh.routers[0].name,), deployment=deployment)
    with mesh.control() as control, httpx2.Client(trust_env=False, timeout=60) as client:
        methods = set(near.writes(control))
        told = [way.told(partial(way.by_grpc, method)) for way in (near, far) for method in sorted(methods)]
        told += [way.told(partial(way.by_http, client, request)) for way in (near, far) for request in way.requests()]
    changing = {name for name, right in RIGHTS.items() if right in {Right.OPERATE, Right.REGISTER}}
    assert methods == changing - EMERGENCIES - NO_CHANGES
    return told + [far.told(partial(far.by_the_command, arguments)) for arguments in far.commands()]


def command(*arguments: str, at: str) -> bool:
    return CliRunner().invoke(program, [*arguments, "--grpc", at], prog_name="penstock").exit_code == 0


def emergencies(glass: Glass, control: Control) -> None:
    """Do what has to work while writes are frozen; keys are left out, for the first one would close the mesh of all these tests."""
    confirmed(lambda: control.rollback(MODEL), ROUTERS)
    killed = confirmed(lambda: control.kill(MODEL, [KillSwitch(version="v2", tenant=TENANT)]), ROUTERS)
    revived = confirmed(lambda: control.kill(MODEL, []), ROUTERS)
    tenants = [control.set_tenant(TENANT, frozen=frozen).tenant.frozen for frozen in (True, False)]
    broken = glass.broken(f"--bootstrap={glass.mesh.kafka.address}")
    until(lambda: glass.is_adopted(broken["revision"]))

    assert control.verify(MODEL, "v1").damage == ""
    assert [len(one.route.kill_switches) for one in (killed, revived)] == [1, 0]
    assert tenants == [True, False]
