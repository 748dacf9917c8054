"""What certificates are for, between real processes: a worker's opens no link, and a key that others may read starts nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock import Client
from tests.authority import Authority
from tests.flows.models import write_repository
from tests.integration.processes import ROOT, events, process, until

pytestmark = pytest.mark.timeout(180)

DOMAIN = "mesh.example"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with `<id>/{chain,key,ca}.pem` of a worker, a router, and another worker."""
    authority = Authority()
    for role, name in (("worker", "worker-0"), ("router", "router-0"), ("worker", "worker-1")):
        (tmp_path / name).mkdir()
        authority.issue(f"spiffe://{DOMAIN}/{role}/{name}").write(tmp_path / name)
        (tmp_path / name / "ca.pem").write_bytes(authority.pem)
    return tmp_path


def link(folder: Path) -> dict[str, str]:
    named = {"link_certificate": "chain.pem", "link_key": "key.pem", "link_authorities": "ca.pem"}
    return {"trust_domain": DOMAIN, **{name: str(folder / file) for name, file in named.items()}}


def router(folder: Path, router_id: str) -> dict[str, Any]:
    return {"router_id": router_id, "http_port": 0, "grpc_port": 0, **link(folder)}


def test_a_routers_certificate_opens_a_link_and_a_workers_does_not(short_dir: Path, files: Path):
    repository = str(write_repository(short_dir / "models"))
    with (
        process(short_dir, "worker", repository=repository, link_host="127.0.0.1", **link(files / "worker-0")) as worker_log,
        process(short_dir, "router", name="good", **router(files / "router-0", "good")) as good,
        process(short_dir, "router", name="bad", **router(files / "worker-1", "bad")) as bad,
    ):
        until(lambda: bool(events(good, "link_up")) and bool(events(good, "router_ready")), good)
        until(lambda: bool(events(bad, "router_ready")) and bool(events(worker_log, "peer_refused")), worker_log)
        with Client(f"127.0.0.1:{events(good, 'router_ready')[0]['grpc_port']}") as client:
            until(lambda: client.is_ready("echo"), good)

            assert client.predict("echo", {"x": np.ones((1, 4), np.float32)})["total"].tolist() == [4.0]
        assert not events(bad, "link_up")
        assert {one["reason"].count("worker-1") for one in events(worker_log, "peer_refused")} == {1}


def test_a_router_means_a_worker_by_its_id(short_dir: Path, files: Path):
    repository = str(write_repository(short_dir / "models"))
    with (
        process(short_dir, "worker", repository=repository, link_host="127.0.0.1", **link(files / "worker-1")) as worker_log,
        process(short_dir, "router", **router(files / "router-0", "router-0")) as log,
    ):
        until(lambda: bool(events(worker_log, "worker_open")), worker_log)
        until(lambda: bool(events(log, "peer_refused")), log)

        assert not events(log, "link_up")


@pytest.mark.parametrize(
    ("service", "names"),
    [("router", ("tls_certificate", "tls_key")), ("worker", ("link_certificate", "link_key"))],
)
def test_a_process_does_not_start_with_a_key_that_others_may_read(service: str, names: tuple[str, str], short_dir: Path, files: Path):
    key = files / "worker-0" / "key.pem"
    key.chmod(0o644)
    own: dict[str, Any] = {"http_port": 0, "grpc_port": 0} if service == "router" else {"repository": str(files), "link_host": "127.0.0.1"}
    settings = {"state_dir": str(short_dir / "s"), names[0]: str(files / "worker-0" / "chain.pem"), names[1]: str(key), **own}
    (short_dir / "c.json").write_text(json.dumps(settings))
    ended = subprocess.run(
        [sys.executable, "-P", "-m", f"services.{service}", "--config", str(short_dir / "c.json")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PENSTOCK_PARENT_PID": str(os.getpid())},
    )
    (said,) = [line for line in ended.stderr.splitlines() if line.startswith("error:")]

    assert ended.returncode == 1
    assert said.endswith(f"the private key {key} has mode 0644, so that others may read it: chmod 600 {key}")
