"""Which certificates are let in by their names, on a real handshake and by the rule alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.chassis.certificates import CertificateFiles, FollowedTls, client_side, server_side
from services.chassis.peer_identity import PeerRule, Role, rule_of
from tests.authority import Authority, Leaf, put, rsa_key, self_signed
from tests.worker.links import on_uvloop

ROUTER, WORKER, OPERATOR = (
    "spiffe://mesh.example/router/router-0",
    "spiffe://mesh.example/worker/worker-0",
    "spiffe://mesh.example/operator/a",
)
ROUTERS = PeerRule(trust_domain="mesh.example", roles=(Role.ROUTER,))
WORKER_0 = PeerRule(trust_domain="mesh.example", roles=(Role.WORKER,), is_named=True)


@pytest.mark.parametrize("uris", [(ROUTER,), ("spiffe://mesh.example/router/another",)])
def test_a_role_is_let_in_whatever_its_id(uris: tuple[str, ...]):
    assert ROUTERS.refusal(uris) is None


@pytest.mark.parametrize(
    "uris",
    [
        (),
        (WORKER,),
        (ROUTER, WORKER),
        (ROUTER, ROUTER),
        ("spiffe://other.example/router/router-0",),
        ("spiffe://mesh.example.evil/router/router-0",),
        ("spiffe://mesh.example/router",),
        ("spiffe://mesh.example/router/",),
        ("spiffe://mesh.example/router/router-0/more",),
        ("spiffe://mesh.example/more/router/router-0",),
        ("spiffe://mesh.example//router/router-0",),
        ("spiffe://mesh.example/Router/router-0",),
        ("https://mesh.example/router/router-0",),
        ("mesh.example/router/router-0",),
        ("spiffe://spiffe://mesh.example/router/router-0",),
    ],
)
def test_anything_else_is_not(uris: tuple[str, ...]):
    refusal = ROUTERS.refusal(uris)

    assert refusal is not None
    assert "spiffe://mesh.example/router/<id>" in refusal


def test_where_names_count_only_the_instance_that_is_called_is_let_in():
    assert WORKER_0.refusal((WORKER,), "worker-0") is None
    assert WORKER_0.refusal((WORKER,), "worker-1") is not None
    assert WORKER_0.refusal((WORKER,), None) is not None


def test_without_a_trust_domain_there_is_no_rule():
    assert rule_of("", Role.ROUTER) is None


class Side:
    """The files of one side."""

    def __init__(self, folder: Path, authority: Authority, leaf: Leaf) -> None:
        folder.mkdir()
        self.folder = folder
        self.show(leaf)
        self.authorities = folder / "ca.pem"
        self.authorities.write_bytes(authority.pem)

    def show(self, leaf: Leaf) -> None:
        leaf.write(self.folder)

    def files(self, rule: PeerRule | None = None, revocations: Path | None = None) -> CertificateFiles:
        return CertificateFiles(
            certificate=self.folder / "chain.pem",
            key=self.folder / "key.pem",
            authorities=self.authorities,
            peers=rule,
            revocations=revocations,
        )


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def worker(authority: Authority, tmp_path: Path) -> Side:
    return Side(tmp_path / "worker", authority, authority.issue(WORKER))


@pytest.fixture
def router(authority: Authority, tmp_path: Path) -> Side:
    return Side(tmp_path / "router", authority, authority.issue(ROUTER))


@asynccontextmanager
async def listening(files: CertificateFiles) -> AsyncIterator[int]:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # handshakes that fail are what is tried here
    server = await asyncio.start_server(echoing, "127.0.0.1", 0, ssl=server_side(files))
    async with server:
        yield server.sockets[0].getsockname()[1]


async def echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(1))
    await writer.drain()
    writer.close()


async def is_met(port: int, files: CertificateFiles, name: str = "worker-0") -> bool:
    """Whether a handshake and an echo succeed."""
    return await is_heard(port, client_side(files), name)


async def is_heard(port: int, context: ssl.SSLContext, name: str = "worker-0") -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        writer.write(b"x")
        # With TLS 1.3 a caller learns only by reading that its certificate was refused.
        told = await reader.read(1)
        writer.close()
    except (ssl.SSLError, ConnectionError):
        return False
    return told == b"x"


def careless(protocol: int, leaf: Leaf, folder: Path) -> ssl.SSLContext:
    """Return what somebody speaks with who shows anything and looks at nothing."""
    leaf.write(folder)
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    return context


@on_uvloop
async def test_on_the_loop_of_workers_only_a_router_opens_a_link(worker: Side, router: Side, authority: Authority):
    async with listening(worker.files(ROUTERS)) as port:
        assert await is_met(port, router.files())
        for uris in ((WORKER,), (OPERATOR,), (), (ROUTER, WORKER)):
            router.show(authority.issue(*uris))
            assert not await is_met(port, router.files())


@on_uvloop
async def test_a_router_opens_a_link_only_to_the_worker_that_it_means(worker: Side, router: Side, authority: Authority):
    async with listening(worker.files()) as port:
        assert await is_met(port, router.files(WORKER_0))
        assert not await is_met(port, router.files(WORKER_0), name="worker-1")
        for uris in ((ROUTER,), ("spiffe://mesh.example/worker/worker-1",), ("spiffe://mesh.example/controller/worker-0",), ()):
            worker.show(authority.issue(*uris))
            assert not await is_met(port, router.files(WORKER_0))


async def test_a_renewed_certificate_is_asked_for_its_name_too(worker: Side, router: Side, authority: Authority):
    async with listening(worker.files(ROUTERS)) as port:
        met = [await is_met(port, router.files())]
        worker.show(authority.issue(WORKER))
        met.append(await is_met(port, router.files()))
        router.show(authority.issue(WORKER))
        met.append(await is_met(port, router.files()))

    assert met == [True, True, False]


def test_a_name_is_given_to_the_handshake_where_names_count(router: Side):
    assert FollowedTls(router.files(WORKER_0), client_side).is_named
    assert not FollowedTls(router.files(), client_side).is_named


BAD = {
    "expired": lambda authority: authority.issue(ROUTER, begins=-5.0, ends=-1.0),
    "not yet valid": lambda authority: authority.issue(ROUTER, begins=1.0, ends=5.0),
    "another authority": lambda _: Authority(key=6).issue(ROUTER),
    "self-signed": lambda _: self_signed(ROUTER),
    "SHA-1": lambda authority: authority.issue_by_sha1(ROUTER),
    "RSA of 1,024 bits": lambda authority: authority.issue(ROUTER, key=rsa_key(5, 1024)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_worker_lets_in_no_certificate_that_is_none_any_more(bad, worker: Side, authority: Authority, tmp_path: Path):
    async with listening(worker.files()) as port:
        assert await is_heard(port, careless(ssl.PROTOCOL_TLS_CLIENT, authority.issue(ROUTER), tmp_path))
        assert not await is_heard(port, careless(ssl.PROTOCOL_TLS_CLIENT, bad(authority), tmp_path))


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_router_speaks_to_no_certificate_that_is_none_any_more(bad, router: Side, authority: Authority, tmp_path: Path):
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    met: list[bool] = []
    for leaf in (authority.issue(WORKER), bad(authority)):
        context = careless(ssl.PROTOCOL_TLS_SERVER, leaf, tmp_path)
        async with await asyncio.start_server(echoing, "127.0.0.1", 0, ssl=context) as server:
            met.append(await is_met(server.sockets[0].getsockname()[1], router.files()))

    assert met == [True, False]


async def test_a_revoked_certificate_is_refused_from_the_next_handshake_on_by_either_side(
    worker: Side, router: Side, authority: Authority, tmp_path: Path
):
    mine, theirs, lists = authority.issue(ROUTER), authority.issue(WORKER), tmp_path / "revoked.pem"
    router.show(mine)
    worker.show(theirs)
    put(lists, authority.revoked())
    async with listening(worker.files(revocations=lists)) as port:
        met = [await is_met(port, router.files())]
        put(lists, authority.revoked(mine))
        met.append(await is_met(port, router.files()))
        router.show(authority.issue(ROUTER))
        met.append(await is_met(port, router.files(revocations=lists)))
        put(lists, authority.revoked(theirs))
        met.append(await is_met(port, router.files(revocations=lists)))

    assert met == [True, False, True, False]


async def test_an_authority_without_a_list_vouches_for_nobody_where_lists_are_asked_for(
    worker: Side, router: Side, tmp_path: Path, authority: Authority
):
    lists = tmp_path / "revoked.pem"
    put(lists, Authority("another", key=7).revoked())
    async with listening(worker.files(revocations=lists)) as port:
        assert not await is_met(port, router.files())


async def test_nobody_speaks_in_the_clear_or_below_tls_1_2(worker: Side, router: Side):
    assert server_side(worker.files()).minimum_version >= ssl.TLSVersion.TLSv1_2
    assert client_side(router.files()).minimum_version >= ssl.TLSVersion.TLSv1_2
    async with listening(worker.files()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x0c\x00\x00\x00 plain frame")
        told = await reader.read()
        writer.close()

    assert b"plain" not in told
