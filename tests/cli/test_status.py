"""`penstock status` shows a server as it is, and while watching what it does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from penstock.cli import terminal
from penstock.cli.address import ServerAddress
from penstock.cli.metrics_page import MetricsMissing, fetch
from penstock.cli.server_client import identity_of
from penstock.cli.server_state import ServerState, state_of
from penstock.client import Client, ClientOptions
from penstock.client.retry import RetryPolicy
from tests.cli.conftest import Run
from tests.cli.far_server import FarServer
from tests.cli.metrics_far import FarMetrics, serving_metrics
from tests.cli.test_serve_records import write_record

WATCH = ("status", "--watch", "--interval", "50ms", "--count")


@pytest.fixture
def metrics() -> Iterator[FarMetrics]:
    with serving_metrics(FarMetrics(step=10)) as far_metrics:
        yield far_metrics


def test_a_look_shows_server_versions_workers_and_requests(ask: Run, far: FarServer, metrics: FarMetrics):
    ended = ask("status", "--metrics", metrics.address)

    assert ended.exit_code == 0
    assert (
        ended.output
        == f"""\
server    penstock 0.1.0 at {far.target} (--grpc)
ready     yes
versions  5 READY, 2 UNAVAILABLE
requests  10 answered, 0 refused or failed since the start

MODEL     VERSION  STATE        REASON
broken    1        UNAVAILABLE  out of memory
doubling  1        READY
doubling  2        READY
doubling  3        UNAVAILABLE  model.onnx: no such operator 'Nope'
pairing   1        READY
shouting  v1.0     READY
whole     1        READY

WORKER    RUNNING  LINKS  ROWS IN FLIGHT  MEMORY MB  STARTS
worker-0        –      1               –          –       –
"""
    )


def test_a_look_is_a_document_for_programs(ask: Run, far: FarServer, metrics: FarMetrics):
    found = json.loads(ask("status", "--metrics", metrics.address, "-o", "json").stdout)

    assert found["server"] == {"name": "penstock", "version": "0.1.0", "grpc": far.target}
    assert (found["is_ready"], found["versions_by_state"]) == (True, {"READY": 5, "UNAVAILABLE": 2})
    assert (found["workers"], found["requests"]) == ([{"worker": "worker-0", "links_up": 1}], {"answered": 10, "failed": 0})
    assert (found["rate"], found["metrics_problem"]) == (None, None)


def test_a_server_that_is_not_ready_is_a_failure(ask: Run, far: FarServer):
    far.is_ready = False
    ended = ask("status")

    assert ended.exit_code == 1
    assert "ready     no" in ended.output


@pytest.mark.parametrize("status", [404, 500])
def test_without_metrics_the_rest_is_shown(status: int, ask: Run, metrics: FarMetrics):
    metrics.status = status
    ended = ask("status", "--metrics", metrics.address)

    assert ended.exit_code == 0
    assert f"metrics   no metrics at {metrics.address}: status {status}" in ended.output


def test_watching_tells_requests_a_second_line_by_line(ask: Run, metrics: FarMetrics):
    lines = ask(*WATCH, "3", "--metrics", metrics.address).output.splitlines()

    assert len(lines) == 3
    assert re.fullmatch(r"\d\d:\d\d:\d\d  ready, versions 5 READY, 2 UNAVAILABLE", lines[0])
    for line in lines[1:]:
        flow = re.fullmatch(r".*, ([0-9.,]+) requests/s, p50 (\S+) ms, p99 (\S+) ms", line)
        assert flow is not None
        assert 1.0 < float(flow[1].replace(",", "")) <= 10 / 0.02
        assert 0.5 < float(flow[2]) < float(flow[3]) <= 1.024


def test_watching_is_a_stream_of_documents_for_programs(ask: Run, metrics: FarMetrics):
    as_json = [json.loads(line) for line in ask(*WATCH, "2", "--metrics", metrics.address, "-o", "json").stdout.splitlines()]
    as_yaml = list(yaml.safe_load_all(ask(*WATCH, "2", "--metrics", metrics.address, "-o", "yaml").stdout))

    for first, second in (as_json, as_yaml):
        assert first["rate"] is None
        assert second["rate"]["requests_per_second"] > 0
        assert next(one for one in second["versions"] if one["model"] == "doubling" and one["version"] == "2")["rate"]["p50_ms"] > 0


def test_a_terminal_is_drawn_over(ask: Run, metrics: FarMetrics, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(terminal, "redraws", lambda: True)
    shown = ask(*WATCH, "2", "--metrics", metrics.address).output

    assert shown.count(terminal.HOME_AND_CLEAR) == 2
    assert "P99 MS" in shown


@pytest.mark.parametrize(("variable", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_nothing_is_drawn_over_where_nobody_looks(variable: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    in_front_of_a_person = terminal.redraws()
    monkeypatch.setenv(variable, value)

    assert (in_front_of_a_person, terminal.redraws()) == (True, False)


def test_a_server_that_goes_away_is_looked_for_until_it_is_back(far: FarServer, own_folder: Path):
    from penstock.cli.status import _looks

    address = ServerAddress(grpc=far.target, metrics="127.0.0.1:1", origin="a test")
    with Client(far.target, ClientOptions(timeout_seconds=0.2, retries=RetryPolicy(attempts=1))) as client:
        looks = _looks(client, state_of(client, address, address.metrics), address.metrics, 0.01)
        first = next(looks)
        far.stop()
        second = next(looks)

    assert isinstance(first, ServerState)
    assert isinstance(second, Exception)


def test_a_running_serve_is_found_without_a_word(run: Run, far: FarServer, metrics: FarMetrics, own_folder: Path):
    write_record(own_folder, os.getpid(), grpc=far.target, metrics=metrics.address, repository="/my/models")
    shown = run("status").output

    assert f"server      penstock 0.1.0 at {far.target} (the running `penstock serve`, process {os.getpid()})" in shown
    assert "repository  /my/models" in shown
    assert metrics.looks == 1


def test_a_mesh_is_told_from_a_serve_and_shows_how_its_routers_see_redis(run: Run, far: FarServer, metrics: FarMetrics, own_folder: Path):
    write_record(own_folder, os.getpid(), grpc=far.target, metrics=metrics.address, repository="the mesh 'local'", mesh="local")
    metrics.redis = {"penstock_redis_used": 3, "penstock_redis_up": 2, "penstock_quotas_shared": 2, "penstock_result_cache_shared": 1}
    shown = run("status").output
    found = json.loads(run("status", "-o", "json").output)

    assert f"at {far.target} (the mesh 'local' of `penstock up`, process {os.getpid()})" in shown
    assert "mesh      local" in shown
    assert "reachable by 2 of 3 routers, given up by the rest, which go on by themselves; quotas shared by 2, cached answers by 1" in shown
    assert (found["mesh"], found["repository"]) == ("local", None)
    assert found["redis"] == {"routers": 3, "reachable_by": 2, "quotas_shared_by": 2, "answers_shared_by": 1, "times_away": 0}


def test_a_mesh_without_redis_says_so_and_a_serve_does_not(run: Run, far: FarServer, metrics: FarMetrics, own_folder: Path):
    write_record(own_folder, os.getpid(), grpc=far.target, metrics=metrics.address, mesh="local")
    of_mesh = run("status").output
    write_record(own_folder, os.getpid(), grpc=far.target, metrics=metrics.address)

    assert "redis     none: every router has its own part of quotas" in of_mesh
    assert "redis" not in run("status").output
    assert json.loads(run("status", "-o", "json").output)["redis"] is None


def test_the_server_says_who_it_is(far: FarServer):
    with Client(far.target) as client:
        found = identity_of(client)

    assert (found.name, found.version, found.extensions) == ("penstock", "0.1.0", ("statistics",))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:x"])
def test_an_address_without_metrics_is_a_problem_with_a_name(address: str):
    with pytest.raises(MetricsMissing, match=address):
        fetch(address)
