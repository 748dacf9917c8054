"""Pure modules are pure; and each check refuses what it is there to refuse."""

from __future__ import annotations

import pytest

from tests.architecture import purity
from tests.architecture.source import Module, listed, read_tree


def decider(text: str, name: str = "services.mesh.placement") -> list[Module]:
    return [Module(name=name, text=text)]


def test_pure_modules_have_no_clock_no_chance_and_no_outside():
    assert listed(purity.impurities(read_tree("penstock/contracts", "services"))) == ""


def test_contracts_need_nothing_but_numpy_and_protobuf():
    assert listed(purity.foreign_imports(read_tree("penstock/contracts"))) == ""


def test_every_decider_exists():
    assert sorted(purity.DECIDERS - {module.name for module in read_tree("services")}) == []


def test_every_exception_is_still_needed():
    modules = {module.name: module for module in read_tree("penstock/contracts")}
    pure = [
        Module(name="services.x.y", text=f'"""Pure: as if."""\n{modules[name].text}') for name in purity.IMPURE_CONTRACTS if name in modules
    ]

    assert set(purity.IMPURE_CONTRACTS) <= set(modules)
    assert all(list(purity.impurities([module])) for module in pure)


@pytest.mark.parametrize(
    "statement",
    [
        "import asyncio",
        "import time",
        "import random",
        "import random\ndef choose(source: random.Random): return random.random()",
        "from time import monotonic",
        "from random import random",
        "import grpc",
        "import aiokafka.producer",
        "from redis import asyncio",
        "import temporalio",
        "def f():\n    import onnxruntime",
        "import numpy.random",
        "async def f(): ...",
        "from datetime import datetime\nNOW = datetime.now()",
        "import datetime\nNOW = datetime.datetime.now()",
        "import uuid\nID = uuid.uuid4()",
        "TEXT = open('x').read()",
        "def f(path):\n    return path.read_bytes()",
        "from random import Random\nSOURCE = Random()",
        "import numpy as np\nSOURCE = np.random.default_rng()",
    ],
)
@pytest.mark.parametrize("name", ["services.mesh.placement", "penstock.contracts.names"])
def test_an_outside_in_a_pure_module_is_refused(name: str, statement: str):
    assert list(purity.impurities(decider(statement, name))) != []


@pytest.mark.parametrize(
    "statement",
    [
        "from random import Random\ndef choose(random: Random): ...",
        "import random\ndef choose(source: random.Random): ...",
        "def f(now: float): ...",
        "import numpy as np\nSOURCE = np.random.default_rng(7)",
        "def f(tenant, now):\n    tenant.open(now)",
        "import timeit_like",
    ],
)
def test_what_the_caller_passes_in_is_allowed(statement: str):
    assert list(purity.impurities(decider(statement))) == []


def test_a_module_that_claims_to_be_pure_is_held_to_it():
    assert list(purity.impurities(decider('"""Decides.\n\nPure: the caller passes `now`."""\nimport time', "services.router.thing"))) != []
    assert list(purity.impurities(decider('"""Waits."""\nimport time', "services.router.thing"))) == []


@pytest.mark.parametrize("statement", ["from services.mesh import link", "from services.mesh.link import Link"])
def test_what_a_pure_module_leans_on_is_pure_as_well(statement: str):
    package = Module(name="services.mesh", text='"""The way."""')
    between = Module(name="services.mesh.link", text="from services.mesh.socket import Socket")
    pure, impure = (Module(name="services.mesh.socket", text=text) for text in ("class Socket: ...", "import asyncio"))

    assert list(purity.impurities([*decider(statement), package, between, pure])) == []
    assert list(purity.impurities([*decider(statement), package, between, impure])) != []


@pytest.mark.parametrize("statement", ["import onnx", "from grpc import StatusCode", "import yaml", "from penstock.client import Client"])
def test_a_foreign_package_in_a_contract_is_refused(statement: str):
    assert len(list(purity.foreign_imports(decider(statement, "penstock.contracts.names")))) == 1


@pytest.mark.parametrize("statement", ["import tomllib", "import numpy as np", "from google.protobuf import text_format"])
def test_the_packages_of_contracts_are_allowed(statement: str):
    assert list(purity.foreign_imports(decider(statement, "penstock.contracts.names"))) == []
