"""The catalogue's PostgreSQL is killed under load and in the middle of writes: what is served goes on, and no write is half done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import httpx2
import pytest

from bench.mesh import MODEL, ONCE, Mesh, Shape, confirmed, mesh, restart, until
from bench.mesh_load import SteadyLoad
from penstock.client.control import Control
from penstock.client.writes import Write
from penstock.contracts.errors import ServingError, Unavailable
from penstock.contracts.routes import RoutingKey
from tests.faults.figures import record
from tests.faults.test_mesh import RATE, traffic

pytestmark = pytest.mark.timeout(600)

ACKNOWLEDGED = 12
REASON = "CATALOGUE_UNAVAILABLE"


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with mesh(tmp_path_factory.mktemp("catalogue"), Shape(routers=1, workers=1, controllers=1, has_postgres=True)) as made:
        yield made


def test_t8_without_its_database_every_face_refuses_writes_and_serving_goes_on(running: Mesh):
    assert running.database is not None
    asked: list[str] = []
    acknowledged: list[str] = []
    is_killed = threading.Event()
    with running.control() as control, SteadyLoad(running.router_addresses, MODEL, rate=RATE) as load:
        load.settled(time.monotonic())
        writing = threading.Thread(target=write_until_killed, args=(running, is_killed, asked, acknowledged))
        writing.start()
        until(lambda: len(acknowledged) >= ACKNOWLEDGED or not writing.is_alive())
        running.database.kill()
        is_killed.set()
        try:
            writing.join(60)
            refused = [*refused_over_grpc(running), *refused_over_http(running)]
            load.settled(time.monotonic())
        finally:
            restart([running.database])
        # The one that nobody answered for is asked again under its key: it is one change, whether it had been made or not.
        until(lambda: is_written(control, asked[-1]), pause_seconds=0.1)
        changed = confirmed(lambda: control.stick(MODEL, RoutingKey(salt="after")), len(running.routers))
        load.settled(time.monotonic())
        audit = control.changes(most=1000, verify=True)
        tenants = {one.tenant for one in control.tenants()}

    assert len(acknowledged) >= ACKNOWLEDGED
    assert [one for one in refused if one[1:] != (REASON, True)] == []
    assert load.failures == []
    assert audit.broken == ""
    assert {name: audited(audit, name) for name in asked} == dict.fromkeys(asked, 1)
    assert (set(asked) <= tenants, "refused" in tenants, changed.route.routing_key.salt) == (True, False, "after")
    record("T8", refused=len(refused), served=len(load.told), acknowledged=len(acknowledged))


def write_until_killed(running: Mesh, is_killed: threading.Event, asked: list[str], acknowledged: list[str]) -> None:
    """Write one after the other; what is refused before the database is gone, as on a slow machine it may be, is written again."""
    with running.control(ONCE) as control:
        while True:
            asked.append(f"half-{len(asked)}")
            while not is_written(control, asked[-1]):
                if is_killed.is_set():
                    return
            acknowledged.append(asked[-1])


def is_written(control: Control, tenant: str) -> bool:
    try:
        control.set_tenant(tenant, write=Write(idempotency_key=tenant))
    except ServingError:
        return False
    return True


def audited(audit: Any, tenant: str) -> int:
    return sum(one.subject == f"tenant/{tenant}" for one in audit.changes)


def refused_over_grpc(running: Mesh) -> Iterator[tuple[str, str, bool]]:
    """Yield of every write what it was, the reason of its refusal, and whether that names the next step."""
    for address in (*running.controller_addresses, *running.router_addresses):
        with running.control(ONCE, address=address) as control:
            for name, write in writes(control).items():
                with pytest.raises(ServingError) as refused:
                    write()
                assert isinstance(refused.value, Unavailable), (name, refused.value)
                yield f"{name} at {address}", refused.value.reason, "repeat the request" in refused.value.message


def writes(control: Control) -> Mapping[str, Callable[[], object]]:
    return {
        "SetTraffic": partial(traffic, control, "v2"),
        "Rollback": partial(control.rollback, MODEL),
        "CreateDeployment": partial(control.deploy, MODEL, "v1"),
        "SetAlias": partial(control.set_alias, MODEL, "other", "v1"),
        "SetTenant": partial(control.set_tenant, "refused"),
        "SetWritesFrozen": control.freeze_writes,
    }


def refused_over_http(running: Mesh) -> Iterator[tuple[str, str, bool]]:
    requests: tuple[tuple[str, str, Any], ...] = (
        ("PUT", f"/deployments/{MODEL}/traffic", {"v2": 100}),
        ("POST", f"/deployments/{MODEL}/rollback", {}),
        ("POST", "/deployments", {"model_name": MODEL, "version": "v1"}),
        ("PUT", f"/models/{MODEL}/aliases/other", {"version": "v1"}),
        ("PUT", "/tenants/refused", {}),
        ("PUT", "/freeze", {"frozen": True}),
    )
    with httpx2.Client(trust_env=False, timeout=60) as client:
        for process in (*running.controllers, *running.routers):
            for method, path, body in requests:
                answer = client.request(method, f"http://{running.address(process.name, 'http')}/api/v1{path}", json=body)
                assert answer.status_code == 503, (path, answer.text)
                document = answer.json()
                yield f"{method} {path} at {process.name}", document["reason"], "repeat the request" in document["detail"]
