"""Fixtures of the gRPC face."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.router.grpc_front import GrpcOptions
from tests.router.control_stand import replica
from tests.router.grpc_face import ENGINES, Face, opened

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
