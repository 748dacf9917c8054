"""What gRPC's own TLS would not ask of a controller, and who may use the way there."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from penstock.v1 import controller_pb2 as pb
from services.chassis.certificates import CertificateFiles
from services.chassis.peer_identity import Role, rule_of
from services.chassis.tls_files import TlsFiles
from services.controller.grpc_front import serving_grpc
from services.router.controller_link import Addresses, ControllerLink, Refusal
from services.router.controller_tunnel import tunnel
from tests.authority import Authority, Leaf, rsa_key
from tests.open_controller import METHODS, MODELS, Anybody, answer

ROLE = "spiffe://mesh.example/%s/one"

OTHERS = {
    "a worker": lambda authority: authority.issue(ROLE % "worker"),
    "nobody in particular": lambda authority: authority.issue(),
    "SHA-1": lambda authority: authority.issue_by_sha1(ROLE % "controller"),
    "RSA of 1,024 bits": lambda authority: authority.issue(ROLE % "controller", key=rsa_key(5, 1024)),
    "another authority": lambda _: Authority(key=6).issue(ROLE % "controller"),
    "ended": lambda authority: authority.issue(ROLE % "controller", begins=-5.0, ends=-1.0),
}


async def asked(tmp_path: Path, authority: Authority, shown: Leaf) -> bytes:
    """Call a controller that shows a certificate, as a router of its mesh does."""
    for name, leaf in (("controller", shown), ("router", authority.issue(ROLE % "router"))):
        (tmp_path / name).mkdir()
        leaf.write(tmp_path / name)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    listening = TlsFiles(certificate_chain=tmp_path / "controller" / "chain.pem", private_key=tmp_path / "controller" / "key.pem")
    calling = CertificateFiles(
        certificate=tmp_path / "router" / "chain.pem",
        key=tmp_path / "router" / "key.pem",
        authorities=tmp_path / "ca.pem",
        peers=rule_of("mesh.example", Role.CONTROLLER),
    )
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving_grpc("127.0.0.1:0", dict.fromkeys(METHODS, answer), Anybody(), listening))
        far = Addresses(grpc=f"127.0.0.1:{port}", http="127.0.0.1:1")
        link = await stack.enter_async_context(ControllerLink([far], calling))
        return await link.unary("ListModels", MODELS, (), 30.0)


async def test_a_controller_of_the_mesh_is_called_over_grpc(tmp_path: Path):
    authority = Authority()

    assert await asked(tmp_path, authority, authority.issue(ROLE % "controller")) == pb.ListModelsResponse().SerializeToString()


@pytest.mark.parametrize("shown", OTHERS.values(), ids=OTHERS.keys())
async def test_nobody_else_is_told_a_word_over_grpc(shown, tmp_path: Path):
    authority = Authority()

    with pytest.raises(Refusal, match="failed to connect"):
        await asked(tmp_path, authority, shown(authority))


async def test_no_other_process_enters_a_routers_way_to_its_controllers():
    greeted: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.append(await reader.read(1))
        writer.write(b"controller")
        writer.close()

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await asyncio.start_server(greet, "127.0.0.1", 0))
        target = await stack.enter_async_context(tunnel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", None))
        place = f"\0{target.partition(':')[2]}"
        code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({place!r}); print(s.recv(100))"
        other = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        told, _ = await other.communicate()
        reader, writer = await asyncio.open_unix_connection(place)
        writer.write(b"!")
        own = await reader.read(100)
        writer.close()

    assert (told.strip(), own, greeted) == (b"b''", b"controller", [b"!"])
