"""Whose certificates open a controller, on both of its faces."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx2
import pytest
from pydantic import ValidationError

from penstock.contracts.errors import Unavailable
from services.chassis.certificates import CertificateFiles
from services.chassis.peer_identity import Role, rule_of
from services.chassis.process import CannotStart
from services.chassis.tls_files import TlsFiles
from services.controller.config import ControllerSettings
from services.router.config import RouterSettings
from services.router.controller_link import Addresses, ControllerLink, Refusal
from services.router.link_tls import controller_tls
from services.worker.config import WorkerSettings
from tests.authority import Authority, Leaf, put, rsa_key, self_signed
from tests.open_controller import MODELS, controller

DOMAIN = "spiffe://mesh.example"
LET_IN = {"grpc": "OK", "http": "200"}
REFUSED = {"grpc": ("UNAUTHENTICATED", "UNAVAILABLE"), "http": ("closed",)}


@dataclass(frozen=True)
class Stand:
    """A controller's files, and who calls it."""

    folder: Path
    authority: Authority

    def files(self, domain: str = "", *, revocations: bool = False) -> TlsFiles:
        return TlsFiles(
            certificate_chain=self.folder / "chain.pem",
            private_key=self.folder / "key.pem",
            client_authorities=self.folder / "ca.pem",
            client_revocations=self.folder / "revoked.pem" if revocations else None,
            clients=rule_of(domain, Role.ROUTER, Role.OPERATOR),
        )

    async def told(self, addresses: Addresses, leaf: Leaf) -> dict[str, str]:
        """Return how a call by each face ends, of somebody who shows anything."""
        return {"grpc": await self._by_grpc(addresses.grpc, leaf), "http": await self._by_http(addresses.http, leaf)}

    async def _by_grpc(self, target: str, leaf: Leaf) -> str:
        credentials = grpc.ssl_channel_credentials(self.authority.pem, leaf.key_pem, leaf.pem)
        async with grpc.aio.secure_channel(target, credentials) as channel:
            call: Any = channel.unary_unary("/penstock.v1.Controller/ListModels")
            try:
                await call(MODELS, timeout=30.0)
            except grpc.aio.AioRpcError as error:
                return error.code().name
        return "OK"

    async def _by_http(self, address: str, leaf: Leaf) -> str:
        folder = self.folder / "caller"
        folder.mkdir(exist_ok=True)
        leaf.write(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.folder / "ca.pem")
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
        async with httpx2.AsyncClient(verify=context, trust_env=False, timeout=30.0) as client:
            try:
                return str((await client.get(f"https://{address}/api/v1/models")).status_code)
            except httpx2.TransportError:
                return "closed"


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    authority = Authority()
    authority.issue(f"{DOMAIN}/controller/controller-0").write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "revoked.pem").write_bytes(authority.revoked())
    return Stand(tmp_path, authority)


def is_refused(told: dict[str, str]) -> bool:
    return told["grpc"] in REFUSED["grpc"] and told["http"] in REFUSED["http"]


async def test_a_router_and_an_operator_call_a_controller_and_nobody_else_does(stand: Stand):
    async with controller(stand.files("mesh.example")) as addresses:
        for role in ("router", "operator"):
            assert await stand.told(addresses, stand.authority.issue(f"{DOMAIN}/{role}/one")) == LET_IN
        for uris in (
            (f"{DOMAIN}/worker/worker-0",),
            (f"{DOMAIN}/controller/controller-0",),
            ("spiffe://other.example/router/one",),
            (f"{DOMAIN}/router/one", f"{DOMAIN}/worker/one"),
            (),
        ):
            told = await stand.told(addresses, stand.authority.issue(*uris))
            assert told == {"grpc": "UNAUTHENTICATED", "http": "closed"}, uris


async def test_without_a_trust_domain_who_was_signed_is_let_in(stand: Stand):
    async with controller(stand.files()) as addresses:
        assert await stand.told(addresses, stand.authority.issue(f"{DOMAIN}/worker/worker-0")) == LET_IN
        assert await stand.told(addresses, stand.authority.issue()) == LET_IN


BAD: dict[str, Callable[[Authority], Leaf]] = {
    "expired": lambda authority: authority.issue(begins=-5.0, ends=-1.0),
    "not yet valid": lambda authority: authority.issue(begins=1.0, ends=5.0),
    "another authority": lambda _: Authority(key=6).issue(),
    "self-signed": lambda _: self_signed(),
    "SHA-1": lambda authority: authority.issue_by_sha1(),
    "RSA of 1,024 bits": lambda authority: authority.issue(key=rsa_key(5, 1024)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_certificate_that_is_none_any_more_opens_neither_face(bad: Callable[[Authority], Leaf], stand: Stand):
    async with controller(stand.files()) as addresses:
        assert is_refused(await stand.told(addresses, bad(stand.authority)))


async def test_a_revoked_certificate_opens_neither_face_from_the_next_call_on(stand: Stand):
    leaf = stand.authority.issue()
    async with controller(stand.files(revocations=True)) as addresses:
        assert await stand.told(addresses, leaf) == LET_IN
        put(stand.folder / "revoked.pem", stand.authority.revoked(leaf))
        assert is_refused(await stand.told(addresses, leaf))
        assert await stand.told(addresses, stand.authority.issue()) == LET_IN


async def test_a_list_of_another_authority_under_the_same_name_is_no_list(stand: Stand):
    put(stand.folder / "revoked.pem", Authority(key=6).revoked())
    async with controller(stand.files(revocations=True)) as addresses:
        assert is_refused(await stand.told(addresses, stand.authority.issue()))


async def test_a_list_that_cannot_be_read_keeps_a_controller_from_starting(stand: Stand):
    put(stand.folder / "revoked.pem", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    with pytest.raises(OSError, match=r"revoked\.pem"):
        async with controller(stand.files(revocations=True)):
            pass


async def test_a_router_calls_nobody_who_is_no_controller(stand: Stand, tmp_path: Path):
    calling = CertificateFiles(
        certificate=tmp_path / "caller" / "chain.pem",
        key=tmp_path / "caller" / "key.pem",
        authorities=tmp_path / "ca.pem",
        peers=rule_of("mesh.example", Role.CONTROLLER),
    )
    (tmp_path / "caller").mkdir()
    stand.authority.issue(f"{DOMAIN}/router/router-0").write(tmp_path / "caller")
    async with controller(stand.files("mesh.example")) as addresses, ControllerLink([addresses], calling) as link:
        assert (await link.http("GET", "/api/v1/models", {}, b"")).status == 200
        assert await link.unary("ListModels", MODELS, (), 30.0) == b""
    stand.authority.issue(f"{DOMAIN}/worker/worker-0").write(tmp_path)
    async with controller(stand.files("mesh.example")) as addresses, ControllerLink([addresses], calling) as link:
        with pytest.raises(Unavailable, match="no controller answers"):
            await link.http("GET", "/api/v1/models", {}, b"")
        with pytest.raises(Refusal, match="failed to connect"):
            await link.unary("ListModels", MODELS, (), 30.0)


def test_settings_name_who_may_call(stand: Stand):
    names = {"tls_certificate": "c", "tls_key": "k", "tls_client_authorities": "a", "trust_domain": "mesh.example"}
    tls = ControllerSettings.model_validate({"state_dir": "/tmp", **names}).tls

    assert tls is not None
    assert tls.clients is not None
    assert tls.clients.refusal((f"{DOMAIN}/router/router-0",)) is None
    assert tls.clients.refusal((f"{DOMAIN}/worker/worker-0",)) is not None
    assert replace(tls, clients=None) == ControllerSettings.model_validate({"state_dir": "/tmp", **names, "trust_domain": ""}).tls


@pytest.mark.parametrize("setting", [{"trust_domain": "mesh.example"}, {"tls_client_revocations": "r"}])
def test_a_controller_that_asks_for_no_certificates_has_no_rule_for_them(setting: dict[str, str]):
    with pytest.raises(ValidationError, match="set tls_client_authorities"):
        ControllerSettings.model_validate({"state_dir": "/tmp", **setting})


@pytest.mark.parametrize("setting", [{"trust_domain": "mesh.example"}, {"link_revocations": "r"}])
def test_a_worker_and_a_router_that_ask_for_no_certificates_have_no_rule_for_them(setting: dict[str, str]):
    with pytest.raises(ValidationError, match="set link_authorities"):
        WorkerSettings.model_validate({"state_dir": "/tmp", "repository": "/tmp", **setting})
    from services.router.link_tls import link_tls

    with pytest.raises(CannotStart, match="set link_authorities"):
        link_tls(RouterSettings.model_validate({"state_dir": "/tmp", **setting}))


@pytest.mark.parametrize("domain", ["spiffe://mesh.example", "mesh.example/router", "Mesh", "*", "a b"])
def test_a_trust_domain_is_a_name_alone(domain: str):
    with pytest.raises(ValidationError):
        RouterSettings.model_validate({"state_dir": "/tmp", "trust_domain": domain})


def test_a_router_calls_controllers_by_the_rule_of_its_settings(stand: Stand):
    settings = {"controller_authorities": str(stand.folder / "ca.pem"), "trust_domain": "mesh.example"}
    files = controller_tls(RouterSettings.model_validate({"state_dir": "/tmp", **settings}))

    assert files is not None
    assert files.peers == rule_of("mesh.example", Role.CONTROLLER)
