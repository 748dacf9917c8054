"""A router process and a worker process that meet in a state folder, as on two machines: over TCP with mutual TLS."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from penstock import Client, ServingError
from tests.authority import write_key
from tests.flows.models import write_repository
from tests.integration.processes import events, process, until


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """Two self-signed certificates: one that both sides trust, one of a stranger."""
    for name in ("trusted", "stranger"):
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1")
        # One file serves as certificate chain and as the authorities that are trusted.
        (tmp_path / f"{name}.pem").write_bytes(leaf.cert_chain_pems[0].bytes() + authority.cert_pem.bytes())
        write_key(tmp_path / f"{name}.key", leaf.private_key_pem.bytes())
    return {path.name: str(path) for path in tmp_path.iterdir() if path.suffix in {".pem", ".key"}}


def worker_settings(folder: Path, certificates: dict[str, str]) -> dict[str, Any]:
    return {
        "worker_id": "worker-0",
        "repository": str(write_repository(folder / "models")),
        "link_host": "127.0.0.1",
        "link_certificate": certificates["trusted.pem"],
        "link_key": certificates["trusted.key"],
        "link_authorities": certificates["trusted.pem"],
    }


def router_settings(certificates: dict[str, str], who: str) -> dict[str, Any]:
    return {
        "http_port": 0,
        "grpc_port": 0,
        "link_authorities": certificates["trusted.pem"],
        "link_certificate": certificates[f"{who}.pem"],
        "link_key": certificates[f"{who}.key"],
    }


def test_a_link_over_mutual_tls_serves(short_dir: Path, certificates: dict[str, str]):
    with (
        process(short_dir, "worker", **worker_settings(short_dir, certificates)),
        process(short_dir, "router", **router_settings(certificates, "trusted")) as log,
    ):
        until(lambda: bool(events(log, "link_up")) and bool(events(log, "router_ready")), log)
        port = events(log, "router_ready")[0]["grpc_port"]
        with Client(f"127.0.0.1:{port}") as client:
            until(lambda: client.is_ready("echo"), log)

            assert client.predict("echo", {"x": np.ones((1, 4), np.float32)})["total"].tolist() == [4.0]


def test_a_router_with_a_strangers_certificate_gets_no_link(short_dir: Path, certificates: dict[str, str]):
    with (
        process(short_dir, "worker", **worker_settings(short_dir, certificates)) as worker_log,
        process(short_dir, "router", **router_settings(certificates, "stranger")) as log,
    ):
        until(lambda: bool(events(log, "router_ready")) and bool(events(worker_log, "worker_settled")), log)
        port = events(log, "router_ready")[0]["grpc_port"]
        with Client(f"127.0.0.1:{port}") as client, pytest.raises(ServingError):
            client.predict("echo", {"x": np.ones((1, 4), np.float32)}, timeout_seconds=2.0)
        assert not events(log, "link_up")


TENANTS = '[[tenants]]\nname = "a"\nkeys = ["sha256:{hash}"]\n'


def test_tenants_are_read_again_on_sighup_and_an_invalid_file_changes_nothing(short_dir: Path):
    import hashlib

    tenants = short_dir / "tenants.toml"

    def allow(key: str) -> None:
        tenants.write_text(TENANTS.format(hash=hashlib.sha256(key.encode()).hexdigest()))

    allow("first")
    with process(short_dir, "router", http_port=0, grpc_port=0, tenants_file=str(tenants)) as log:
        until(lambda: bool(events(log, "router_ready")), log)
        ready = json.loads((short_dir / "s" / "ready" / "router-0").read_text())

        def reason(key: str) -> str:
            from penstock import ClientOptions

            with Client(f"127.0.0.1:{ready['grpc']}", ClientOptions(api_key=key, timeout_seconds=2.0)) as client:
                with pytest.raises(ServingError) as refused:
                    client.predict("echo", {"x": np.ones((1, 4), np.float32)})
                return refused.value.reason

        assert (reason("first"), reason("second")) == ("MODEL_LOADING", "UNAUTHENTICATED")
        allow("second")
        os.kill(ready["pid"], signal.SIGHUP)
        until(lambda: len(events(log, "tenants_loaded")) == 2, log)
        assert (reason("first"), reason("second")) == ("UNAUTHENTICATED", "MODEL_LOADING")
        tenants.write_text("[[tenants]]\nnmae = 1\n")
        os.kill(ready["pid"], signal.SIGHUP)
        until(lambda: bool(events(log, "tenants_rejected")), log)
        assert reason("second") == "MODEL_LOADING"
