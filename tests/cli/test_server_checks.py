"""Ports, serves and the reachable server, as the doctor judges them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from penstock.cli.address import ServerAddress
from penstock.cli.findings import Verdict
from penstock.cli.listeners import Listener, listener_on
from penstock.cli.server_checks import judge_port, judge_serves, judge_versions, server_findings
from penstock.cli.server_options import Server
from tests.cli.far_server import FarServer
from tests.cli.test_address import serve


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_who_listens_is_found(family: socket.AddressFamily):
    with socket.socket(family) as listening:
        listening.bind(("127.0.0.1" if family is socket.AF_INET else "::1", 0))
        listening.listen()
        found = listener_on(listening.getsockname()[1])

    assert found is not None
    assert (found.process_id, str(found).startswith(f"process {os.getpid()} (")) == (os.getpid(), True)


def test_a_free_port_has_no_listener(free_port: int):
    assert listener_on(free_port) is None


def test_a_listener_of_another_user_is_seen_without_a_name(tmp_path: Path):
    (tmp_path / "net").mkdir()
    (tmp_path / "1").mkdir()
    line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0"
    (tmp_path / "net" / "tcp").write_text(f"  sl  local_address rem_address   st\n{line}\n")

    assert listener_on(8000, tmp_path) == Listener(port=8000)
    assert str(listener_on(8000, tmp_path)) == "a process of another user"
    assert listener_on(8001, tmp_path) is None


def test_a_port_is_free_ours_or_taken():
    stranger = Listener(port=8000, process_id=5, command="python -m http.server")
    taken = judge_port(8000, stranger, [serve(7, 9000)])

    assert judge_port(8000, None, []).verdict is Verdict.OK
    assert judge_port(8000, stranger, [serve(7, 8000)]).found == "`penstock serve`, process 7"
    assert (taken.verdict, taken.found) == (Verdict.WARNING, "taken by process 5 (python -m http.server)")
    assert taken.fix == "end it, or choose another one: penstock serve REPOSITORY --http-port 9000"


def test_running_serves_are_told():
    assert judge_serves([serve(7, 9000)]).found == "process 7, /models at 127.0.0.1:9000"
    assert judge_serves([]).verdict is Verdict.NOTE


@pytest.mark.parametrize(
    ("theirs", "verdict"), [("0.1.0", Verdict.OK), ("0.1.9", Verdict.OK), ("0.2.0", Verdict.WARNING), ("1.1.0", Verdict.WARNING)]
)
def test_versions_belong_together_within_a_minor_one(theirs: str, verdict: Verdict):
    assert judge_versions("0.1.3", theirs, "far:8001").verdict is verdict


def findings_of(grpc: str, *, is_named: bool) -> dict[str, Verdict]:
    server = Server(address=ServerAddress(grpc=grpc, metrics="127.0.0.1:1", origin="a test", is_named=is_named), timeout_seconds=2.0)
    return {finding.check: finding.verdict for finding in server_findings(server)}


def test_a_server_that_answers_is_fine(far: FarServer, own_folder: Path):
    assert findings_of(far.target, is_named=True)["server"] is Verdict.OK


def test_only_a_server_that_somebody_named_has_to_be_there(free_port: int, own_folder: Path):
    assert findings_of(f"127.0.0.1:{free_port}", is_named=True)["server"] is Verdict.BROKEN
    assert findings_of(f"127.0.0.1:{free_port}", is_named=False)["server"] is Verdict.NOTE
