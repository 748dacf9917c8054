"""The worker's end of links: handshake, notices, TCP and TLS; over real sockets and on the loop that workers use."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import threading
from pathlib import Path
from time import monotonic

import pytest
import trustme

from penstock.v1 import link_pb2 as pb
from services.worker.link_connection import LinkIdentity
from services.worker.link_peer import is_same_user
from tests.worker.links import RouterEnd, chunk, hello, numbers, on_uvloop, packed
from tests.worker.works import FakeSession
from tests.worker.worlds import world_of


@pytest.fixture
def address(tmp_path) -> str:
    return f"unix:{tmp_path}/link.sock"


@on_uvloop
async def test_a_router_that_means_this_worker_is_welcome(address):
    async with world_of(address) as world:
        end = await world.connect()
        end.send(hello())
        frame = await end.receive()

    assert (frame.welcome.worker_instance_id, frame.welcome.protocol_version, frame.welcome.credit_rows) == ("worker-0-abc", 1, 512)


@pytest.mark.parametrize(
    "first",
    [hello(instance="worker-0-dead"), hello(version=2), pb.RouterFrame(ping=1)],
    ids=["other instance", "other protocol", "no hello"],
)
@on_uvloop
async def test_a_router_that_means_somebody_else_is_cut_off(address, first):
    async with world_of(address) as world:
        end = await world.connect()
        end.send(first)

        assert await end.closed()


@on_uvloop
async def test_a_connection_that_says_nothing_is_cut_off(address):
    async with world_of(address, identity=LinkIdentity(instance_id="w", credit_rows=1, hello_seconds=0.02)) as world:
        assert await (await world.connect()).closed()


@on_uvloop
async def test_the_socket_is_its_user_s_alone_and_goes_away(address):
    path = address.removeprefix("unix:")
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(path)
    async with world_of(address) as world:
        assert mode_of(path) == 0o600
        assert world.server.address == address

    assert mode_of(path) is None


def mode_of(path: str) -> int | None:
    return Path(path).stat().st_mode & 0o777 if Path(path).exists() else None


@pytest.mark.parametrize(("user_id", "is_same"), [(os.getuid(), True), (0, True), (54_321, False)], ids=["same user", "root", "other user"])
def test_only_processes_of_the_same_user_may_connect(user_id, is_same):
    class Peer:
        def getsockopt(self, *_):
            return struct.pack("3i", 1, user_id, 1)

    assert is_same_user(Peer()) is is_same


def test_a_unix_socket_tells_who_is_at_its_other_end():
    here, there = socket.socketpair()
    with here, there:
        assert is_same_user(here)


@on_uvloop
async def test_routers_are_told_of_a_drain_and_of_a_new_limit(address):
    async with world_of(address) as world:
        one, other = await world.meet(), await world.meet()
        world.server.announce_credit(99)
        world.server.announce_drain()
        frames = [await end.receive() for end in (one, other) for _ in range(2)]

    assert [(frame.credit_rows, frame.draining) for frame in frames] == [(99, False), (0, True)] * 2


@on_uvloop
async def test_a_link_over_tcp_works_and_its_clock_is_set_by_the_hello():
    session = FakeSession()
    session.gate = threading.Event()
    async with world_of("tcp:127.0.0.1:0", session, cost=0.001) as world:
        end = await world.connect()
        end.send(hello(at=monotonic() - 1000.0))
        await end.receive()
        end.send(pb.RouterFrame(chunks=[chunk(1, [[3.0]])]))
        await asyncio.to_thread(session.entered.wait, 5)
        begun = monotonic()
        end.send(pb.RouterFrame(chunks=[chunk(2, [[2.0]], deadlines=packed("Q", int((begun - 999.9) * 1e6)))]))
        (late,) = await end.answers(1)
        waited = monotonic() - begun
        session.gate.set()
        (answer,) = await end.answers(1)

    assert world.server.address.startswith("tcp:127.0.0.1:")
    assert late.failures[0].reason == "DEADLINE_EXCEEDED"
    assert 0.09 <= waited < 5.0
    assert numbers(answer) == [6.0]


@on_uvloop
async def test_a_router_of_which_nothing_more_comes_is_forgotten_over_tcp_and_not_over_a_unix_socket(address):
    identity = LinkIdentity(instance_id="worker-0-abc", credit_rows=1, silent_seconds=0.06)
    async with world_of("tcp:127.0.0.1:0", identity=identity) as apart, world_of(address, identity=identity) as beside:
        lost, local, pinging = await apart.meet(), await beside.meet(), await apart.meet()
        beating = asyncio.create_task(beat(pinging))
        assert await lost.closed()
        beating.cancel()
        pinging.send(pb.RouterFrame(ping=2))
        while (await pinging.receive()).pong != 2:
            pass

        assert beside.server.is_linked
        local.send(pb.RouterFrame(ping=1))
        assert (await local.receive()).pong == 1
        assert await pinging.closed()
        assert not apart.server.is_linked


async def beat(end: RouterEnd) -> None:
    while True:
        end.send(pb.RouterFrame(ping=1))
        await asyncio.sleep(0.001)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> dict[str, Path]:
    """A key and certificate of one authority, valid for 127.0.0.1; and one that nobody trusts."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("trusted", "stranger"):
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1")
        # One file serves as certificate chain and as the authorities that are trusted.
        (folder / f"{name}.pem").write_bytes(leaf.cert_chain_pems[0].bytes() + authority.cert_pem.bytes())
        (folder / f"{name}.key").write_bytes(leaf.private_key_pem.bytes())
    return {path.name: path for path in folder.iterdir()}


def contexts(certificates: dict[str, Path], client: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates["trusted.pem"]))
    server.load_cert_chain(certificates["trusted.pem"], certificates["trusted.key"])
    server.verify_mode = ssl.CERT_REQUIRED
    mine = ssl.create_default_context(cafile=str(certificates["trusted.pem"]))
    mine.load_cert_chain(certificates[f"{client}.pem"], certificates[f"{client}.key"])
    return server, mine


@on_uvloop
async def test_a_link_over_mutual_tls_works(certificates):
    server, client = contexts(certificates, "trusted")
    async with world_of("tcp:127.0.0.1:0", FakeSession(), tls=server) as world:
        end = await RouterEnd.meet(world.server.address, ssl=client)
        world.ends.append(end)
        end.send(pb.RouterFrame(chunks=[chunk(1, [[3.0]])]))

        assert numbers((await end.answers(1))[0]) == [6.0]


@on_uvloop
async def test_a_stranger_s_certificate_is_refused(certificates):
    server, client = contexts(certificates, "stranger")
    async with world_of("tcp:127.0.0.1:0", FakeSession(), tls=server) as world:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await RouterEnd.meet(world.server.address, ssl=client)
