"""One serve for all rows that do not end it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.mesh import Mesh, Shape, mesh
from services.chassis.operator_keys import OperatorKey
from tests.faults.figures import VARIABLE
from tests.faults.ledger import Ledger
from tests.faults.oracle import NUMBERS, write_models
from tests.faults.world import World, world

pytest.register_assert_rewrite("tests.faults.truths")

LONG = "long"
ROUTERS = 2
"""Of the whole mesh."""
MODELS = tuple(name for name in NUMBERS if name not in {"poison", "hungry"})


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of what only `make faults` runs."""
    config.addinivalue_line("markers", f"{LONG}: run by `make faults` only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long rows to `make faults`; the summary says how many were deselected."""
    if VARIABLE in os.environ:
        return
    long = [item for item in items if item.get_closest_marker(LONG)]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "w"
    folder.mkdir()
    with world(folder, write_models(tmp_path_factory.mktemp("models"), MODELS)) as running:
        running.settle(dict.fromkeys(MODELS, "1"))
        yield running


@pytest.fixture
async def running(_shared: World) -> World:
    """Return a serve with two workers, all of whose parts run."""
    _shared.heal()
    await asyncio.to_thread(_shared.settle)
    return _shared


@pytest.fixture(scope="session")
def operator() -> OperatorKey:
    """Return an operator whose public key the whole mesh has."""
    return OperatorKey.generate("alice")


@pytest.fixture(scope="session")
def _mesh(tmp_path_factory: pytest.TempPathFactory, operator: OperatorKey) -> Iterator[Mesh]:
    keys = tmp_path_factory.mktemp("keys") / "keys.toml"
    keys.write_text(f"[keys]\n{operator.public_line()}\n")
    with mesh(tmp_path_factory.mktemp("mesh"), Shape(routers=ROUTERS, workers=1, controllers=2, break_glass_keys=keys)) as made:
        yield made


@pytest.fixture
def ledger() -> Ledger:
    """Return an empty ledger."""
    return Ledger()
