"""Fixtures of the gRPC face, and the far end of the inference path's stands."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.router.grpc_front import GrpcOptions
from services.router.routes_in_force import RoutesInForce
from tests.mesh.conftest import FakeWorker
from tests.router.control_stand import replica
from tests.router.grpc_face import ENGINES, Face, opened
from tests.router.operators import in_force

TENANTS = f"""
[[tenants]]
name = "team"
models = ["digits"]
keys = ["sha256:{hashlib.sha256(b"secret").hexdigest()}"]
[[tenants]]
name = "platform"
admin = true
keys = ["sha256:{hashlib.sha256(b"admin").hexdigest()}"]
"""


@pytest.fixture(params=ENGINES)
def options(request: pytest.FixtureRequest) -> GrpcOptions:
    """How the face is served: once by each engine."""
    return GrpcOptions(port=0, engine=request.param, message_limit_bytes=1 << 20)


@pytest.fixture
async def face(options: GrpcOptions) -> AsyncIterator[Face]:
    """An open face with one ready model, digits, and one version of it that failed."""
    async with AsyncExitStack() as stack:
        yield await opened(stack, options)


@pytest.fixture
def closed(face: Face, tmp_path: Path) -> Face:
    """The same, letting in nobody without a key, with a second model, fraud."""
    (tmp_path / "tenants.toml").write_text(TENANTS)
    face.stand.control.tenants.load(tmp_path / "tenants.toml")
    face.stand.report(replicas=[replica(), replica("fraud")])
    return face


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[FakeWorker]:
    """A worker that speaks the link protocol and answers as it is told."""
    far = await FakeWorker(tmp_path / "w.sock", "worker-0", "instance-0").start()
    yield far
    far.kill()


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[FakeWorker]]:
    """Two of them."""
    started = [await FakeWorker(tmp_path / f"{number}.sock", f"worker-{number}", f"instance-{number}").start() for number in range(2)]
    yield started
    for worker in started:
        worker.kill()


@pytest.fixture
def routes() -> RoutesInForce:
    """Routes as a router follows them; none yet."""
    return in_force()
