"""Routers and controllers that stand open to other machines say so at every start, and do not start when nobody said that it is meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.serving import serving
from tests.integration.processes import events, process, until

pytestmark = pytest.mark.timeout(180)
OPEN = {"host": "0.0.0.0", "grpc_port": 0, "http_port": 0, "bus": {"bootstrap_servers": "127.0.0.1:1"}}
PENSTOCK = str(Path(sys.executable).with_name("penstock"))


def warned(log: Path) -> list[tuple[str, str, list[str]]]:
    return [(one["level"], one["host"], one["missing"]) for one in events(log, "insecure_bind")]


def test_a_controller_warns_when_it_starts_of_what_was_said_to_be_meant(short_dir: Path):
    with process(short_dir, "controller", insecure_bind=True, **OPEN) as log:
        until(lambda: bool(events(log, "controller_ready")), log)

    assert warned(log) == [("warning", "0.0.0.0", ["TLS", "keys or client certificates"])]


def test_the_flag_of_serve_lets_its_routers_listen_and_each_warns(tmp_path: Path, short_dir: Path):
    with serving(short_dir, tmp_path, "--host", "0.0.0.0", "--insecure-bind") as served:
        pass

    assert warned(served.log) == [("warning", "0.0.0.0", ["TLS", "keys or client certificates"])]


def test_serve_does_not_start_when_nobody_said_that_it_is_meant(tmp_path: Path, short_dir: Path):
    ports = [f"--{face}-port=0" for face in ("http", "grpc", "metrics")]
    command = [PENSTOCK, "serve", str(tmp_path), "--host=0.0.0.0", f"--state-dir={short_dir / 's'}", *ports]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode != 0
    assert "insecure_bind = true" in ended.stderr
