"""The product runs no code that it is given; and the check refuses each way to do so."""

from __future__ import annotations

import pytest

from tests.architecture import danger
from tests.architecture.source import Module, listed, read_tree


def test_nothing_that_is_received_is_run():
    assert listed(danger.dangers(read_tree("penstock", "services"))) == ""


@pytest.mark.parametrize(
    "statement",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import marshal",
        "import cloudpickle as cp",
        "import importlib\nimportlib.import_module('pickle')",
        "eval('1')",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "__import__(name)",
        "import builtins\nbuiltins.exec(text)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import yaml\nyaml.unsafe_load(text)",
        "from yaml import full_load",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=trusted)",
        "import subprocess\nsubprocess.run(command, shell=True)",
        "import os\nos.system(command)",
    ],
)
def test_a_way_to_run_what_is_given_is_refused(statement: str):
    assert list(danger.dangers([Module(name="services.worker.thing", text=statement)])) != []


@pytest.mark.parametrize(
    "statement",
    [
        "import re\nre.compile('x')",
        "import yaml\nyaml.safe_load(text)",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "model.eval()",
        "import subprocess\nsubprocess.run(['ls'])",
    ],
)
def test_what_only_looks_alike_is_allowed(statement: str):
    assert list(danger.dangers([Module(name="services.worker.thing", text=statement)])) == []
