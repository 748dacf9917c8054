"""An operator rolls back past what is down: the controllers and their catalogue, and the bus as well; afterwards the catalogue has it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.killable import Killable
from bench.mesh import MODEL, Mesh, confirmed, restart, until
from bench.mesh_load import SteadyLoad
from penstock.cli.main import program
from penstock.contracts.route_records import RouteRecord
from services.chassis.operator_keys import OperatorKey
from services.emergency.router_link import connected
from tests.faults.conftest import ROUTERS
from tests.faults.figures import record
from tests.faults.test_mesh import RATE, moved, traffic

pytestmark = pytest.mark.timeout(420)


@dataclass
class Glass:
    """The mesh with everything on v2 and v1 before it, an operator's key, and where the routers' own doors are."""

    mesh: Mesh
    key: Path

    @property
    def doors(self) -> list[str]:
        return [f"unix:{self.mesh.folder / 's' / 'admin' / f'{one.name}.sock'}" for one in self.mesh.routers]

    def broken(self, *where: str) -> Any:
        """Roll back without a version, as the command does it."""
        ended = CliRunner().invoke(program, ["rollback", MODEL, "--break-glass", "--key", str(self.key), *where, "-o", "json"])
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    def in_force(self) -> list[RouteRecord]:
        async def asked(door: str) -> RouteRecord:
            async with connected(door) as link:
                return (await link.records(MODEL))[1][0]

        return [asyncio.run(asked(door)) for door in self.doors]

    def is_adopted(self, revision: int) -> bool:
        """Whether every router goes by what the catalogue made of a signed record."""
        return all(one.route is not None and one.route.revision > revision and not one.break_glass for one in self.in_force())


@pytest.fixture
def glass(_mesh: Mesh, operator: OperatorKey, tmp_path: Path) -> Glass:
    (tmp_path / "alice.key").write_text(operator.to_text())
    with _mesh.control() as control:
        for version in ("v1", "v2"):
            confirmed(lambda version=version: traffic(control, version), ROUTERS)
    return Glass(mesh=_mesh, key=tmp_path / "alice.key")


@contextmanager
def down(*processes: Killable) -> Iterator[None]:
    for one in processes:
        one.kill()
    try:
        yield
    finally:
        restart(processes)


@pytest.mark.parametrize(
    "is_bus_there",
    [pytest.param(True, id="the controllers are down"), pytest.param(False, id="and the bus as well", marks=pytest.mark.long)],
)
def test_a_broken_glass_rolls_back_fails_nothing_and_is_adopted(glass: Glass, is_bus_there: bool):
    mesh = glass.mesh
    where = [f"--bootstrap={mesh.kafka.address}"] if is_bus_there else [f"--router={door}" for door in glass.doors]
    with SteadyLoad(mesh.router_addresses, MODEL, rate=RATE) as load:
        load.settled(time.monotonic())
        with down(*([] if is_bus_there else [mesh.kafka]), *mesh.controllers):
            answer = glass.broken(*where)
            broken_at = time.monotonic()
            load.settled(broken_at)
        until(lambda: glass.is_adopted(answer["revision"]))
        adopted_at = time.monotonic()
        with mesh.control() as control:
            after = moved(control)
            adoptions = [one for one in control.changes(subject=f"model/{MODEL}", verify=True).changes if one.kind == "route.adopt"]
        load.settled(time.monotonic())

    assert load.failures == []
    assert (answer["shares"], answer["operator"]) == ({"v1": 10_000}, "alice")
    assert all(seconds is not None for seconds in answer["confirmations"].values())
    assert len(answer["confirmations"]) == ROUTERS
    assert {one.version for one in load.since(broken_at)} == {"v1"}
    assert after.route.revision > answer["revision"]
    assert adoptions[0].actor == "operator:alice"
    record("BG", confirmed_ms=1000 * max(answer["confirmations"].values()), adopted_s=adopted_at - broken_at)
