"""Certificates that are replaced while a listener and its callers go on."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from services.chassis.certificates import (
    DAY_SECONDS,
    CertificateFiles,
    CertificateWatch,
    FollowedTls,
    client_side,
    named_client_side,
    server_side,
)
from tests.authority import write_key


class Side:
    """The files of one side of a link."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.files = CertificateFiles(certificate=folder / "chain.pem", key=folder / "key.pem", authorities=folder / "ca.pem")

    def issue(self, authority: trustme.CA, name: str = "worker-0", days: float = 100.0) -> None:
        leaf = authority.issue_cert(name, not_after=datetime.now(UTC) + timedelta(days=days))
        assert self.files.certificate is not None
        assert self.files.key is not None
        self.files.certificate.write_bytes(leaf.cert_chain_pems[0].bytes())
        write_key(self.files.key, leaf.private_key_pem.bytes())

    def trust(self, *authorities: trustme.CA) -> None:
        assert self.files.authorities is not None
        self.files.authorities.write_bytes(b"".join(one.cert_pem.bytes() for one in authorities))


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def sides(authority: trustme.CA, tmp_path: Path) -> tuple[Side, Side]:
    """Return a worker's and a router's files, which fit."""
    made = Side(tmp_path / "worker"), Side(tmp_path / "router")
    for side in made:
        side.issue(authority)
        side.trust(authority)
    return made


async def met(port: int, tls: ssl.SSLContext, name: str = "worker-0") -> str:
    """Return how a handshake and an echo go."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
        writer.write(b"x")
        # With TLS 1.3 a caller learns only by reading that its certificate was refused.
        told = "met" if await reader.read(1) == b"x" else "refused"
    except (ssl.SSLError, ConnectionError):
        return "refused"
    writer.close()
    return told


async def echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(1))
    await writer.drain()


@pytest.fixture
async def port(sides: tuple[Side, Side]):
    server = await asyncio.start_server(echoing, "127.0.0.1", 0, ssl=server_side(sides[0].files))
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # handshakes that fail are what is tried here
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_new_certificates_and_authorities_hold_from_the_next_handshake_on(sides: tuple[Side, Side], port: int, authority: trustme.CA):
    worker, router = sides
    followed = FollowedTls(router.files, client_side)
    told = [await met(port, followed.context())]
    later = trustme.CA()
    for side in sides:
        side.trust(authority, later)
    worker.issue(later)
    told.append(await met(port, followed.context()))
    router.issue(later)
    for side in sides:
        side.trust(later)
    told.append(await met(port, followed.context()))

    assert told == ["met", "met", "met"]


async def test_an_authority_that_was_taken_away_vouches_for_nobody_on_either_side(sides: tuple[Side, Side], port: int):
    worker, router = sides
    followed = FollowedTls(router.files, client_side)
    stranger = trustme.CA()
    worker.trust(stranger)
    by_the_worker = await met(port, followed.context())
    worker.trust(stranger)
    router.trust(stranger)
    by_the_router = await met(port, followed.context())

    assert (by_the_worker, by_the_router) == ("refused", "refused")


def resumed(port: int, tls: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[str, ssl.SSLSession | None]:
    """Return how a handshake and an echo go for who offers a session of before, and the session that it left."""
    try:
        with tls.wrap_socket(socket.create_connection(("127.0.0.1", port)), session=session) as link:
            link.sendall(b"x")
            told = "met" if link.recv(1) == b"x" else "refused"
            return told, link.session
    except OSError:
        return "refused", None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_of_before_does_not_outlive_the_authority_that_vouched_for_it(
    sides: tuple[Side, Side], port: int, version: ssl.TLSVersion
):
    worker, router = sides
    tls = client_side(router.files)
    tls.minimum_version = tls.maximum_version = version
    before, session = await asyncio.to_thread(resumed, port, tls, None)
    worker.trust(trustme.CA())
    after, _ = await asyncio.to_thread(resumed, port, tls, session)

    assert (before, after) == ("met", "refused")


async def test_certificates_that_have_ended_are_refused(sides: tuple[Side, Side], port: int, authority: trustme.CA):
    worker, router = sides
    followed = FollowedTls(router.files, client_side)
    worker.issue(authority, days=-1.0)
    ended = await met(port, followed.context())
    worker.issue(authority)

    assert (ended, await met(port, followed.context())) == ("refused", "met")


async def test_half_a_pair_leaves_the_old_one_in_force_and_the_other_half_ends_that(sides: tuple[Side, Side], port: int, tmp_path: Path):
    worker, router = sides
    followed = FollowedTls(router.files, client_side)
    next_side = Side(tmp_path / "next")
    later = trustme.CA()
    next_side.issue(later)
    assert worker.files.certificate is not None
    assert next_side.files.certificate is not None
    (tmp_path / "next" / "chain.pem").rename(worker.files.certificate)
    half = await met(port, followed.context())
    router.trust(later)
    (tmp_path / "next" / "key.pem").rename(tmp_path / "worker" / "key.pem")

    assert (half, await met(port, followed.context())) == ("met", "met")


@pytest.mark.parametrize(("name", "told"), [("worker-0", "met"), ("worker-1", "refused")])
async def test_with_names_only_the_worker_that_is_meant_is_talked_to(sides: tuple[Side, Side], port: int, name: str, told: str):
    assert await met(port, FollowedTls(sides[1].files, named_client_side).context(), name) == told


def test_a_certificate_that_ends_within_14_days_is_an_error_once_a_day_and_always_a_metric(sides: tuple[Side, Side], authority: trustme.CA):
    now = datetime.now(UTC).timestamp()
    clock = [now]
    worker = sides[0]
    watch = CertificateWatch({"links": worker.files.certificate, "routers": None}, lambda: clock[0])
    worker.issue(authority, days=20.0)
    with structlog.testing.capture_logs() as lines:
        for day in (0, 5, 7, 7.5, 8.1, 21):
            clock[0] = now + day * DAY_SECONDS
            watch.look()
        (sample,) = (sample for metric in watch.collect() for sample in metric.samples)

    assert [(line["event"], line["days_left"]) for line in lines] == [
        ("certificate_ends_soon", 13.0),
        ("certificate_ends_soon", 11.9),
        ("certificate_ended", -1.0),
    ]
    assert sample.labels == {"use": "links"}
    assert sample.value == pytest.approx(now + 20 * DAY_SECONDS, abs=60)


ASKED_AT_A_TERMINAL = """
import fcntl, sys, termios
from pathlib import Path
from services.chassis.certificates import CertificateFiles, client_side, server_side
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
files = CertificateFiles(certificate=Path(sys.argv[1]), key=Path(sys.argv[2]), authorities=Path(sys.argv[1]))
for side in (server_side, client_side):
    try:
        side(files)
    except OSError:
        print("refused", flush=True)
"""


def test_a_key_with_a_password_is_refused_and_not_asked_for(tmp_path: Path, authority: trustme.CA):
    issued = authority.issue_cert("worker")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    plain = load_pem_private_key(issued.private_key_pem.bytes(), None)
    write_key(key, plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    master, terminal = os.openpty()
    command = [sys.executable, "-c", ASKED_AT_A_TERMINAL, str(certificate), str(key)]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    said = b""
    try:
        while said.count(b"refused") < 2 and b"phrase" not in said and (more := os.read(master, 1024)):
            said += more
    finally:
        process.kill()
        process.wait()
        os.close(master)

    assert said.split() == [b"refused", b"refused"]
