"""Two servers for the clients, one open and one with keys, and the runs of their scripts."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import repository
from tests.clients.running import Runs
from tests.clients.server import Server, serving

KEYS = {"key": "penstock_" + "a" * 32, "limited_key": "penstock_" + "b" * 32}


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Return a folder with a path short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="ps-clients-", dir="/tmp", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture(scope="session")
def models(folder: Path) -> Path:
    """Return the model repository."""
    repository.build(folder / "models")
    return folder / "models"


@pytest.fixture(scope="session")
def open_server(folder: Path, models: Path) -> Iterator[Server]:
    """Return a server that everybody may ask everything."""
    (folder / "open").mkdir()
    with serving(folder / "open", models, repository.MODELS) as server:
        yield server


@pytest.fixture(scope="session")
def keyed_server(folder: Path, models: Path) -> Iterator[Server]:
    """Return a server with two tenants."""
    (folder / "keyed").mkdir()
    tenants = folder / "keyed" / "tenants.toml"
    tenants.write_text(
        f"""
        [[tenants]]
        name = "team"
        admin = true
        keys = ["{entry_of(KEYS["key"])}"]

        [[tenants]]
        name = "guest"
        requests_per_second = 2
        models = ["embedder"]
        keys = ["{entry_of(KEYS["limited_key"])}"]
        """
    )
    with serving(folder / "keyed", models, (), "--tenants-file", str(tenants)) as server:
        yield server


@pytest.fixture(scope="session")
def runs(folder: Path, open_server: Server, keyed_server: Server) -> Runs:
    """Return the runs of this session; each script runs when somebody first asks for it."""
    onnx = folder / "five.onnx"
    onnx.write_bytes(repository.scaling(5.0))
    return Runs(folder=folder, values={"open": values_of(open_server, onnx), "keyed": values_of(keyed_server, onnx)})


def values_of(server: Server, onnx: Path) -> dict[str, str]:
    """Return what scripts may be given."""
    localhost = server.http.replace("127.0.0.1", "localhost")
    return {"http": server.http, "localhost": localhost, "grpc": server.grpc, "onnx": str(onnx), **KEYS}


def entry_of(key: str) -> str:
    """Return what stands for a key in the tenants file."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
