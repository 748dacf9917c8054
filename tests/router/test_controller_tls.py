"""The way from a router to a controller over TLS: a real controller's faces, certificates of both sides, and files that are replaced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import httpx2
import pytest
import trustme
from pydantic import ValidationError

from penstock.contracts.errors import Unavailable
from penstock.v1 import controller_pb2 as pb
from services.chassis.certificates import CertificateFiles
from services.chassis.process import CannotStart
from services.chassis.tls_files import TlsFiles
from services.controller.config import ControllerSettings
from services.router.config import RouterSettings
from services.router.controller_link import ControllerLink, Refusal
from services.router.link_tls import controller_tls
from tests.authority import write_key
from tests.open_controller import MODELS, controller


@dataclass(frozen=True)
class Side:
    """The files of one side of the way."""

    folder: Path

    def issue(self, authority: trustme.CA, *names: str) -> None:
        leaf = authority.issue_cert(*names)
        (self.folder / "chain.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
        write_key(self.folder / "key.pem", leaf.private_key_pem.bytes())

    def trust(self, *authorities: trustme.CA) -> None:
        (self.folder / "ca.pem").write_bytes(b"".join(one.cert_pem.bytes() for one in authorities))

    def calling(self) -> CertificateFiles:
        return CertificateFiles(certificate=self.folder / "chain.pem", key=self.folder / "key.pem", authorities=self.folder / "ca.pem")

    def listening(self) -> TlsFiles:
        return TlsFiles(
            certificate_chain=self.folder / "chain.pem", private_key=self.folder / "key.pem", client_authorities=self.folder / "ca.pem"
        )


@dataclass(frozen=True)
class Pair:
    controller: Side
    router: Side
    authority: trustme.CA


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Return both sides' files, which fit."""
    authority, made = trustme.CA(), [Side(tmp_path / name) for name in ("controller", "router")]
    for side in made:
        side.folder.mkdir()
        side.issue(authority, "127.0.0.1", "localhost")
        side.trust(authority)
    return Pair(*made, authority)


async def ask(link: ControllerLink) -> tuple[pb.ListModelsResponse, int]:
    """Ask by both faces."""
    found = await link.unary("ListModels", MODELS, (), 30.0)
    return pb.ListModelsResponse.FromString(found), (await link.http("GET", "/api/v1/models", {}, b"")).status


async def is_refused(link: ControllerLink) -> None:
    """Check that neither face answers."""
    with pytest.raises(Refusal) as refused:
        await link.unary("ListModels", MODELS, (), 30.0)
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(Unavailable):
        await link.http("GET", "/api/v1/models", {}, b"")


async def test_calls_are_passed_on_over_mutual_tls(pair: Pair):
    async with controller(pair.controller.listening()) as addresses, ControllerLink([addresses], pair.router.calling()) as link:
        assert await ask(link) == (pb.ListModelsResponse(), 200)


async def test_nobody_speaks_to_a_controller_in_the_clear_or_without_a_certificate(pair: Pair):
    async with controller(pair.controller.listening()) as addresses:
        async with ControllerLink([addresses]) as clear:
            await is_refused(clear)
        nameless = CertificateFiles(authorities=pair.router.calling().authorities)
        async with ControllerLink([addresses], nameless) as link:
            await is_refused(link)
        async with httpx2.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx2.TransportError):
                await client.get(f"http://{addresses.http}/api/v1/openapi.json")


async def test_a_router_of_another_authority_is_not_let_in(pair: Pair):
    pair.router.issue(trustme.CA(), "router-0")
    async with controller(pair.controller.listening()) as addresses, ControllerLink([addresses], pair.router.calling()) as link:
        await is_refused(link)


@pytest.mark.parametrize("is_other_authority", [True, False], ids=["another authority", "another name"])
async def test_a_router_tells_nothing_to_an_impostor(pair: Pair, is_other_authority: bool):
    pair.controller.issue(
        trustme.CA() if is_other_authority else pair.authority, "127.0.0.1" if is_other_authority else "elsewhere.example"
    )
    async with controller(pair.controller.listening()) as addresses, ControllerLink([addresses], pair.router.calling()) as link:
        await is_refused(link)


async def test_certificates_and_authorities_are_replaced_while_calls_go_on(pair: Pair):
    new = trustme.CA()
    async with controller(pair.controller.listening()) as addresses, ControllerLink([addresses], pair.router.calling()) as link:
        assert (await ask(link))[1] == 200
        for side in (pair.controller, pair.router):
            side.trust(pair.authority, new)
        assert (await ask(link))[1] == 200
        for side in (pair.controller, pair.router):
            side.issue(new, "127.0.0.1")
        assert (await ask(link))[1] == 200
        for side in (pair.controller, pair.router):
            side.trust(new)
        assert (await ask(link))[1] == 200


async def test_files_that_do_not_fit_for_a_moment_leave_the_old_ones_in_force(pair: Pair):
    async with controller(pair.controller.listening()) as addresses, ControllerLink([addresses], pair.router.calling()) as link:
        assert (await ask(link))[1] == 200
        (pair.router.folder / "key.pem").write_text("half a key")
        assert (await ask(link))[1] == 200


HALVES: dict[str, dict[str, str]] = {
    "no key": {"controller_certificate": "chain.pem", "controller_authorities": "ca.pem"},
    "no certificate": {"controller_key": "key.pem", "controller_authorities": "ca.pem"},
    "no authorities": {"controller_certificate": "chain.pem", "controller_key": "key.pem"},
    "no file": {"controller_authorities": "absent.pem"},
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
def test_a_router_does_not_start_with_half_a_setting(half: dict[str, str], pair: Pair):
    named = {name: str(pair.router.folder / file) for name, file in half.items()}

    with pytest.raises(CannotStart):
        controller_tls(RouterSettings.model_validate({"state_dir": "/tmp", **named}))


@pytest.mark.parametrize(
    "half", [{"tls_certificate": "c"}, {"tls_key": "k"}, {"tls_client_authorities": "a"}], ids=lambda half: next(iter(half))
)
def test_a_controller_does_not_start_with_half_a_setting(half: dict[str, str]):
    with pytest.raises(ValidationError):
        ControllerSettings.model_validate({"state_dir": "/tmp", **half})
