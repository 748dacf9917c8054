"""Keys that others may read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import make_url

from penstock.contracts.errors import InvalidInput
from services.chassis.certificates import CertificateFiles, FollowedTls, client_side
from services.chassis.clock import SystemClock
from services.chassis.key_files import KeyExposed, check_key, is_exposed, stamps
from services.chassis.process import CannotStart
from services.chassis.redis_client import RedisClient, RedisSettings
from services.chassis.tls_files import TlsFiles, server_credentials
from services.controller.sql_tls import without_tls_words
from services.router.config import RouterSettings
from services.router.link_tls import controller_tls
from services.router.link_tls import link_tls as router_link_tls
from services.worker.config import WorkerSettings
from services.worker.link_tls import link_tls as worker_link_tls
from tests.authority import Authority, write_key

ROOT, SOMEBODY = 0, 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of a certificate, its authority's, and a key that everybody may read."""
    authority = Authority()
    authority.issue().write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "key.pem").chmod(0o644)
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "owner_id", "exposed"),
    [
        (0o600, SOMEBODY, False),
        (0o400, SOMEBODY, False),
        (0o640, SOMEBODY, True),
        (0o440, SOMEBODY, True),
        (0o620, SOMEBODY, True),
        (0o604, SOMEBODY, True),
        (0o602, SOMEBODY, True),
        (0o644, SOMEBODY, True),
        (0o600, ROOT, False),
        (0o640, ROOT, False),
        (0o440, ROOT, False),
        (0o660, ROOT, True),
        (0o644, ROOT, True),
        (0o604, ROOT, True),
    ],
)
def test_a_key_is_its_owners_alone_and_roots_may_be_read_by_a_group(mode: int, owner_id: int, exposed: bool):
    assert is_exposed(mode, owner_id) is exposed


def test_the_refusal_names_the_file_its_mode_and_what_to_do(folder: Path):
    key = folder / "key.pem"
    with pytest.raises(KeyExposed) as refused:
        check_key(key)

    assert str(refused.value) == f"the private key {key} has mode 0644, so that others may read it: chmod 600 {key}"
    assert isinstance(refused.value, CannotStart)


def test_a_link_to_a_key_is_judged_by_the_key(folder: Path):
    (folder / "link.pem").symlink_to(folder / "key.pem")
    with pytest.raises(KeyExposed):
        check_key(folder / "link.pem")
    (folder / "key.pem").chmod(0o600)

    check_key(folder / "link.pem")


def router(folder: Path, **files: str) -> RouterSettings:
    return RouterSettings.model_validate({"state_dir": "/tmp", **{name: str(folder / file) for name, file in files.items()}})


def link_of_a_router(folder: Path) -> None:
    router_link_tls(router(folder, link_authorities="ca.pem", link_certificate="chain.pem", link_key="key.pem"))


def calls_to_a_controller(folder: Path) -> None:
    controller_tls(router(folder, controller_authorities="ca.pem", controller_certificate="chain.pem", controller_key="key.pem"))


def link_of_a_worker(folder: Path) -> None:
    files = {name: str(folder / file) for name, file in (("link_certificate", "chain.pem"), ("link_key", "key.pem"))}
    worker_link_tls(WorkerSettings.model_validate({"state_dir": "/tmp", "repository": "/tmp", "link_host": "127.0.0.1", **files}))


def grpc_of_a_controller(folder: Path) -> None:
    server_credentials(TlsFiles(certificate_chain=folder / "chain.pem", private_key=folder / "key.pem"))


def database(folder: Path) -> None:
    without_tls_words(make_url(f"postgresql+asyncpg://p@db/p?sslmode=require&sslcert={folder}/chain.pem&sslkey={folder}/key.pem"))


USES = [link_of_a_router, calls_to_a_controller, link_of_a_worker, grpc_of_a_controller, database]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_nothing_starts_with_a_key_that_others_may_read(use, folder: Path):
    with pytest.raises((CannotStart, InvalidInput), match=rf"mode 0644.*chmod 600 {folder}/key\.pem"):
        use(folder)
    (folder / "key.pem").chmod(0o600)

    use(folder)


async def test_redis_is_not_asked_with_a_key_that_others_may_read(folder: Path):
    settings = RedisSettings(url="rediss://127.0.0.1:1", certificate=folder / "chain.pem", key=folder / "key.pem")
    with pytest.raises(CannotStart, match=r"redis\.key: .* mode 0644"):
        await RedisClient(settings, SystemClock()).__aenter__()
    (folder / "key.pem").chmod(0o600)

    async with RedisClient(settings, SystemClock()) as client:
        assert client.is_there


def test_a_key_that_is_exposed_later_leaves_the_one_before_in_force_until_its_mode_is_mended(folder: Path):
    (folder / "key.pem").chmod(0o600)
    files = CertificateFiles(certificate=folder / "chain.pem", key=folder / "key.pem", authorities=folder / "ca.pem")
    followed = FollowedTls(files, client_side)
    first = followed.context()
    Authority(key=4).issue().write(folder)
    (folder / "key.pem").chmod(0o644)
    exposed = followed.context()
    (folder / "key.pem").chmod(0o600)

    assert exposed is first
    assert followed.context() is not first


def test_another_mode_alone_is_a_change(tmp_path: Path):
    write_key(tmp_path / "key.pem", b"k")
    before = stamps((tmp_path / "key.pem", None))
    (tmp_path / "key.pem").chmod(0o640)

    assert stamps((tmp_path / "key.pem", None)) != before


def test_a_key_of_somebody_that_a_group_may_read_is_refused_and_one_of_roots_is_not(tmp_path: Path):
    write_key(tmp_path / "key.pem", b"k")
    (tmp_path / "key.pem").chmod(0o640)
    if os.geteuid() != ROOT:  # whoever runs this owns the file, and can give it to nobody
        with pytest.raises(KeyExposed):
            check_key(tmp_path / "key.pem")
        return
    check_key(tmp_path / "key.pem")
    os.chown(tmp_path / "key.pem", SOMEBODY, ROOT)
    with pytest.raises(KeyExposed):
        check_key(tmp_path / "key.pem")
