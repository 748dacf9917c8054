"""A key that others may read, at the router's own faces: it opens none, and one that comes later leaves the one before in force."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
import structlog

from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.inference_pb2_grpc import GRPCInferenceServiceStub
from services.chassis.key_files import KeyExposed
from services.chassis.tls_files import TlsFiles
from services.router.grpc_engine import Engine
from services.router.grpc_front import GrpcOptions
from services.router.http_front import HttpOptions
from tests.authority import Authority
from tests.router.front_cases import UNBOUNDED
from tests.router.grpc_face import ENGINES, Face, opened
from tests.router.http_stand import on_uvloop, serving


@pytest.fixture(params=[engine for engine in ENGINES if engine is not Engine.PYGRPC])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Return an engine that speaks TLS."""
    return request.param


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    Authority().issue().write(tmp_path)
    return TlsFiles(certificate_chain=tmp_path / "chain.pem", private_key=tmp_path / "key.pem")


async def is_served(face: Face, authority: Authority) -> bool:
    """Whether a new connection meets a certificate of the authority."""
    trusting = grpc.ssl_channel_credentials(authority.pem)
    async with grpc.aio.secure_channel(f"localhost:{face.face.port}", trusting, options=UNBOUNDED) as channel:
        try:
            return (await GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=30.0)).live
        except grpc.aio.AioRpcError as error:
            return error.code() is not grpc.StatusCode.UNAVAILABLE


async def test_grpc_is_not_served_with_a_key_that_others_may_read(engine: Engine, files: TlsFiles):
    files.private_key.chmod(0o644)
    async with AsyncExitStack() as stack:
        with pytest.raises(KeyExposed, match="chmod 600"):
            await opened(stack, GrpcOptions(port=0, tls=files, engine=engine), grpc.ssl_channel_credentials(b""))


async def test_grpc_goes_on_with_the_key_before_until_the_mode_of_the_new_one_is_mended(engine: Engine, files: TlsFiles, tmp_path: Path):
    old, new = Authority(), Authority("the next", key=4)
    async with AsyncExitStack() as stack:
        face = await opened(stack, GrpcOptions(port=0, tls=files, engine=engine), grpc.ssl_channel_credentials(old.pem))
        assert await is_served(face, old)
        (tmp_path / "next").mkdir()
        new.issue().write(tmp_path / "next")
        (tmp_path / "next" / "key.pem").chmod(0o644)
        for name in ("key.pem", "chain.pem"):
            (tmp_path / "next" / name).rename(tmp_path / name)
        assert await is_served(face, old)
        assert not await is_served(face, new)
        files.private_key.chmod(0o600)

        assert await is_served(face, new)


@on_uvloop
async def test_http_is_not_served_with_a_key_that_others_may_read(files: TlsFiles):
    files.private_key.chmod(0o644)
    with pytest.raises(KeyExposed, match="chmod 600"):
        async with serving(HttpOptions(port=0, tls=files)):
            pass


@on_uvloop
async def test_http_goes_on_with_the_key_before_until_the_mode_of_the_new_one_is_mended(files: TlsFiles, tmp_path: Path):
    async with serving(HttpOptions(port=0, tls=files)) as stand:
        before = await presented(stand.port)
        with structlog.testing.capture_logs() as lines:
            Authority("the next", key=4).issue().write(tmp_path)
            files.private_key.chmod(0o644)
            meanwhile = [await presented(stand.port), await presented(stand.port)]
            files.private_key.chmod(0o600)
            after = await presented(stand.port)

    assert meanwhile == [before, before]
    assert after == files.certificate_chain.read_bytes() != before
    assert [line["event"] for line in lines] == ["tls_files_unreadable", "tls_files_reloaded"]
    assert "chmod 600" in lines[0]["reason"]


async def presented(port: int) -> bytes:
    """Return the certificate that a new connection meets, in PEM."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(found).encode()
