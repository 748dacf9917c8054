"""Certificates of the gRPC face."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
import trustme

from penstock.contracts.errors import GrpcCode
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.inference_pb2_grpc import GRPCInferenceServiceStub
from services.chassis.tls_files import TlsFiles
from services.router.grpc_engine import Engine
from services.router.grpc_front import GrpcOptions
from tests.authority import write_key
from tests.router.front_cases import UNBOUNDED, request
from tests.router.grpc_face import ENGINES, opened, refused, stream


@pytest.fixture(params=[engine for engine in ENGINES if engine is not Engine.PYGRPC])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Return an engine that speaks TLS."""
    return request.param


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_files(authority: trustme.CA, tmp_path: Path) -> TlsFiles:
    write_certificate(authority, tmp_path)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return TlsFiles(certificate_chain=tmp_path / "chain.pem", private_key=tmp_path / "key.pem")


def write_certificate(authority: trustme.CA, folder: Path) -> None:
    issued = authority.issue_cert("localhost")
    write_key(folder / "key.pem", issued.private_key_pem.bytes())
    (folder / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))


async def test_over_tls_everything_works(engine: Engine, authority: trustme.CA, tls_files: TlsFiles):
    options = GrpcOptions(port=0, tls=tls_files, engine=engine)
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    async with AsyncExitStack() as stack:
        face = await opened(stack, options, credentials)
        assert (await face.oip.ModelInfer(pb.ModelInferRequest.FromString(request("r1")))).id == "r1"
        assert [one.infer_response.id for one in await stream(face, [request("r2")])] == ["r2"]


async def test_mutual_tls_lets_in_only_clients_of_the_authority(engine: Engine, authority: trustme.CA, tls_files: TlsFiles, tmp_path: Path):
    options = GrpcOptions(
        port=0,
        engine=engine,
        tls=TlsFiles(
            certificate_chain=tls_files.certificate_chain, private_key=tls_files.private_key, client_authorities=tmp_path / "ca.pem"
        ),
    )
    mine = authority.issue_cert("client.example")
    known = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), mine.private_key_pem.bytes(), mine.cert_chain_pems[0].bytes())
    async with AsyncExitStack() as stack:
        face = await opened(stack, options, known)
        assert (await face.oip.ServerLive(pb.ServerLiveRequest())).live
        anonymous = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        async with grpc.aio.secure_channel(f"localhost:{face.face.port}", anonymous, options=UNBOUNDED) as channel:
            assert (await refused(GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest()))).code == GrpcCode.UNAVAILABLE


@pytest.mark.parametrize("keeps_times", [False, True], ids=["later", "of the same time"])
async def test_a_renewed_certificate_is_served_without_a_restart(engine: Engine, tls_files: TlsFiles, tmp_path: Path, keeps_times: bool):
    renewed = trustme.CA()
    async with AsyncExitStack() as stack:
        face = await opened(stack, GrpcOptions(port=0, tls=tls_files, engine=engine), grpc.ssl_channel_credentials(b""))
        incoming = tmp_path / "incoming"
        incoming.mkdir()
        write_certificate(renewed, incoming)
        for path in incoming.iterdir():
            if keeps_times:
                held = (tmp_path / path.name).stat()
                os.utime(path, ns=(held.st_atime_ns, held.st_mtime_ns))
            path.replace(tmp_path / path.name)
        trusting = grpc.ssl_channel_credentials(renewed.cert_pem.bytes())
        async with grpc.aio.secure_channel(f"localhost:{face.face.port}", trusting, options=UNBOUNDED) as channel:
            assert (await GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest())).live
