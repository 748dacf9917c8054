"""Commands towards a real router that asks callers for certificates: who shows one is served, who has none is told how to show one."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.cli.conftest import Run
from tests.cli.far_controller import FarController
from tests.integration.processes import events, process, until

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Guarded:
    """A router that takes callers with certificates alone, before a controller."""

    target: str
    http: str
    files: Path
    controller: FarController

    def file(self, name: str) -> str:
        return str(self.files / name)

    @property
    def options(self) -> tuple[str, ...]:
        files = {"--ca": "authority.pem", "--client-certificate": "ann.pem", "--client-key": "ann.key"}
        return tuple(word for option, name in files.items() for word in (option, self.file(name)))


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with tempfile.TemporaryDirectory(prefix="ps-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder, controller = Path(name), FarController()
        write_certificates(folder)
        tls = {"tls_certificate": "router.pem", "tls_key": "router.key", "tls_client_authorities": "authority.pem"}
        settings = {setting: str(folder / file) for setting, file in tls.items()}
        behind = [{"grpc": controller.target, "http": "127.0.0.1:1"}]
        try:
            with process(folder, "router", http_port=0, grpc_port=0, controllers=behind, **settings) as log:
                until(lambda: bool(events(log, "router_ready")), log)
                (ready,) = events(log, "router_ready")
                ports = (f"127.0.0.1:{ready['grpc_port']}", f"https://127.0.0.1:{ready['http_port']}")
                yield Guarded(target=ports[0], http=ports[1], files=folder, controller=controller)
        finally:
            controller.stop()


def write_certificates(folder: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    (folder / "authority.pem").write_bytes(authority.cert_pem.bytes())
    (folder / "stranger.pem").write_bytes(stranger.cert_pem.bytes())
    for name, issuer in (("router", authority), ("ann", authority), ("mallory", stranger)):
        leaf = issuer.issue_cert("127.0.0.1" if name == "router" else name)
        for ending, content in (("pem", leaf.cert_chain_pems[0]), ("key", leaf.private_key_pem)):
            (folder / f"{name}.{ending}").touch(mode=0o600)
            (folder / f"{name}.{ending}").write_bytes(content.bytes())


def test_status_and_rollback_show_the_certificate_of_the_options(run: Run, guarded: Guarded):
    status = run("status", "--grpc", guarded.target, "-o", "json", *guarded.options)
    rolled = run("rollback", "fraud", "--grpc", guarded.target, "-o", "json", "--dry-run", *guarded.options)

    assert json.loads(status.stdout)["server"]["grpc"] == guarded.target
    assert (rolled.exit_code, json.loads(rolled.stdout)["route"]["model"]) == (0, "fraud"), rolled.output
    assert [type(one).__name__ for one in guarded.controller.requests] == ["RollbackRequest"]


def test_every_command_finds_them_in_the_environment(run: Run, guarded: Guarded, monkeypatch: pytest.MonkeyPatch):
    for variable, file in (("CA", "authority.pem"), ("CLIENT_CERTIFICATE", "ann.pem"), ("CLIENT_KEY", "ann.key"), ("GRPC", "")):
        monkeypatch.setitem(os.environ, f"PENSTOCK_{variable}", guarded.file(file) if file else guarded.target)

    listed, shown = run("models", "list", "-o", "json"), run("traffic", "show", "fraud", "-o", "json")

    assert (listed.exit_code, json.loads(listed.stdout)) == (0, []), listed.output
    assert shown.exit_code == 0, shown.output
    assert "v3.0" in shown.stdout


def test_who_shows_none_is_told_how(run: Run, guarded: Guarded):
    ended = run("models", "list", "--grpc", guarded.target, "--ca", guarded.file("authority.pem"))

    assert ended.exit_code == 1
    assert "--client-certificate FILE --client-key FILE" in ended.stderr


@pytest.mark.parametrize("shown", ["ann", "mallory"])
def test_strangers_are_refused_on_either_side(run: Run, guarded: Guarded, shown: str):
    authority = "stranger.pem" if shown == "ann" else "authority.pem"
    files = (
        "--ca",
        guarded.file(authority),
        "--client-certificate",
        guarded.file(f"{shown}.pem"),
        "--client-key",
        guarded.file(f"{shown}.key"),
    )

    ended = run("models", "list", "--grpc", guarded.target, *files)

    assert ended.exit_code == 1
    assert "no server answers" in ended.stderr


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"--client-certificate": "ann.pem", "--ca": "authority.pem"}, "go together"),
        ({"--client-certificate": "ann.pem", "--client-key": "ann.key"}, "name the authority"),
        ({"--client-certificate": "ann.pem", "--client-key": "mallory.key", "--ca": "authority.pem"}, "are no certificate with its key"),
        ({"--ca": "ann.key"}, "holds no certificate"),
        ({"--client-certificate": "gone.pem", "--client-key": "ann.key", "--ca": "authority.pem"}, "does not exist"),
    ],
)
def test_files_that_cannot_be_used_are_a_wrong_command_line(run: Run, guarded: Guarded, given: dict[str, str], told: str):
    words = [word for option, name in given.items() for word in (option, guarded.file(name))]

    ended = run("status", "--grpc", guarded.target, *words)

    assert ended.exit_code == 2
    assert told in ended.stderr
