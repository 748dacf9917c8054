"""The arrows of the tree hold; and each check refuses what it is there to refuse."""

from __future__ import annotations

import pytest

from tests.architecture import arrows
from tests.architecture.source import Module, listed, read_tree


def test_no_import_points_up_or_across():
    assert listed(arrows.upward(read_tree("penstock", "services"))) == ""


def test_generated_code_is_imported_only_where_messages_enter_and_leave():
    assert listed(arrows.schemas_out_of_place(read_tree("penstock", "services"))) == ""


def test_inside_a_service_imports_point_downwards():
    assert listed(arrows.inward(read_tree("services"))) == ""


def test_every_exception_for_generated_code_is_still_needed():
    modules = {module.name: module for module in read_tree("penstock", "services")}

    assert [name for name in arrows.SCHEMA_MODULES if name not in modules or not list(arrows.schema_imports(modules[name]))] == []


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("penstock.v1.link_pb2", "from penstock.contracts import names"),
        ("penstock.v1.link_pb2", "import penstock.oip.v2.inference_pb2"),
        ("penstock.contracts.names", "import penstock.client"),
        ("penstock.contracts.names", "from penstock import cli"),
        ("penstock.client", "from services.chassis import clock"),
        ("penstock.client", "from penstock.cli import main"),
        ("penstock.cli.main", "def serve():\n    from services.embedded import app"),
        ("penstock.cli.main", "import importlib\nimportlib.import_module('services.embedded.app')"),
        ("services.chassis.clock", "from services.mesh import link"),
        ("services.chassis.clock", "import penstock.client"),
        ("services.mesh.link", "from services.router.front import Front"),
        ("services.mesh.link", "from ..router.front import Front"),
        ("services.router.inference", "if TYPE_CHECKING:\n    import services.worker.batching"),
        ("services.worker.app", "from services.embedded import app"),
        ("services.embedded.app", "from services.router import app"),
        ("services.controller.app", "import services.batch"),
        ("services.router.inference", "from penstock.cli import main"),
    ],
)
def test_an_import_up_or_across_is_refused(importer: str, statement: str):
    assert len(list(arrows.upward([Module(name=importer, text=statement)]))) == 1


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("penstock.v1.worker_pb2", "from penstock.v1 import link_pb2"),
        ("penstock.contracts.tensors", "from penstock.oip.v2 import inference_pb2"),
        ("penstock.cli.main", "from penstock import __version__"),
        ("penstock.cli.main", "from penstock.client import Client"),
        ("services.chassis.clock", "from penstock.contracts.errors import ServingError"),
        ("services.worker.app", "from services.mesh import frames"),
        ("services.worker.app", "from .batching import BatchQueue"),
        ("services.router.app", "import servicespec"),
    ],
)
def test_an_import_along_the_arrows_is_allowed(importer: str, statement: str):
    assert list(arrows.upward([Module(name=importer, text=statement)])) == []


@pytest.mark.parametrize(
    ("importer", "is_refused"),
    [
        ("services.router.inference", True),
        ("services.worker.batching", True),
        ("services.chassis.snapshot", True),
        ("penstock.cli.main", True),
        ("services.router.native_front", False),
        ("services.worker.control_servicer", False),
        ("services.worker.link_server", False),
        ("services.mesh.frames", False),
        ("services.mesh.worker_feed", False),
        ("penstock.contracts.signature", False),
        ("penstock.client.grpc_calls", False),
    ],
)
def test_generated_code_is_for_contracts_edges_and_clients(importer: str, is_refused: bool):
    module = Module(name=importer, text="from penstock.v1 import link_pb2 as pb")

    assert bool(list(arrows.schemas_out_of_place([module]))) is is_refused


@pytest.mark.parametrize(
    ("importer", "target", "is_refused"),
    [
        ("services.router.__main__", "services.router.app", False),
        ("services.router.app", "services.router.http_front", False),
        ("services.router.http_front", "services.router.inference", False),
        ("services.router.http_front", "services.router.asgi_front", False),
        ("services.router.inference", "services.router.http_front", True),
        ("services.router.inference", "services.router.app", True),
        ("services.router.app", "services.router.__main__", True),
        ("services.mesh.link", "services.router.app", True),
    ],
)
def test_inside_a_service_only_downward_imports_are_allowed(importer: str, target: str, is_refused: bool):
    package, _, leaf = target.rpartition(".")
    modules = [Module(name=importer, text=f"from {package} import {leaf}"), Module(name=target, text="")]

    assert bool(list(arrows.inward(modules))) is is_refused
