"""What a process imports before it knows that it needs it: seconds of everybody's start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_THE_BUS = ("aiokafka", "obstore", "sqlalchemy")
"""What talks to the bus, to the artefact store and to the catalogue."""


@pytest.mark.parametrize("service", ["router", "worker", "embedded"])
def test_a_process_of_an_embedded_mesh_imports_nothing_of_the_bus(service: str):
    """A process with its own settings file imports what `__main__` and `app` import, and nothing else before it has read them."""
    code = f"import services.{service}.__main__, services.{service}.app, sys; print(*(one for one in {OF_THE_BUS} if one in sys.modules))"
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, check=False)

    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr[-2000:]
