"""What the tests of the command line share: a server and a controller far away, and a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli.main import program
from tests.cli.far_controller import FarController
from tests.cli.far_server import FarServer

Run = Callable[..., Result]


@pytest.fixture
def far() -> Iterator[FarServer]:
    server = FarServer()
    yield server
    server.stop()


@pytest.fixture
def controller() -> Iterator[FarController]:
    far = FarController()
    yield far
    far.stop()


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the runtime folder of this test: no serve of anybody else is found."""
    for name in (
        "PENSTOCK_GRPC",
        "PENSTOCK_URL",
        "PENSTOCK_API_KEY",
        "PENSTOCK_CA",
        "PENSTOCK_CLIENT_CERTIFICATE",
        "PENSTOCK_CLIENT_KEY",
        "NO_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return tmp_path / "runtime" / "penstock"


@pytest.fixture
def run(own_folder: Path) -> Run:
    """Run the program; what it raises other than an exit is raised here."""

    def run_program(*arguments: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(program, list(arguments), input=stdin, catch_exceptions=False, prog_name="penstock")

    return run_program


@pytest.fixture
def ask(run: Run, far: FarServer) -> Run:
    """Run the program against the far server."""
    return lambda *arguments, **more: run(*arguments, "--grpc", far.target, **more)
