"""The supervisor over fake children: start, restart, crash loop, reload, stop, death."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from penstock.v1.worker_pb2 import ModelOverride
from services.chassis.folder_table import FolderTable
from tests.chassis.children import is_alive, wait_gone
from tests.embedded.fake_serve import fake_serve, prepare


@pytest.fixture
def folder(short_dir: Path) -> Path:
    prepare(short_dir)
    return short_dir


def test_it_tells_what_is_embedded_where_it_answers_and_a_call(folder: Path):
    with fake_serve(folder) as serve:
        lines = serve.until_ready().splitlines()
        record = json.loads((serve.state / "serve.json").read_text())

        assert lines[0].startswith("EMBEDDED: one machine, no Kafka, no Temporal, no Redis")
        assert f"http://{record['http']}" in lines[1]
        assert record["grpc"] in lines[2]
        assert f"http://{record['metrics']}/metrics" in lines[3]
        assert lines[4].split() == ["digits", "1", "READY"]
        assert lines[5].strip().startswith("curl -s")
        assert '{"inputs": [{"x": [0.5, 0.5]}]}' in lines[5]
        assert record["pid"] == serve.process.pid


def test_sigterm_stops_routers_before_workers_and_exits_with_zero(folder: Path):
    with fake_serve(folder, "routers=2", "workers=2") as serve:
        serve.until_ready()

        assert serve.terminate() == 0

        stops = [word for word in serve.words() if "stopped" in word]
        assert sorted(stops[:2]) == ["router-0 stopped", "router-1 stopped"]
        assert sorted(stops[2:]) == ["worker-0 stopped", "worker-1 stopped"]
        assert not (serve.state / "serve.json").exists()


def test_a_killed_child_is_back_at_once_and_serves_again(folder: Path):
    with fake_serve(folder) as serve:
        serve.until_ready()
        for name, step in (("worker-0", "settled"), ("router-0", "ready")):
            former = serve.pid(name)
            os.kill(former, signal.SIGKILL)

            serve.until_step(f"{name} {step}", 2)

            assert serve.pid(name) != former
        died = [line for line in serve.logs() if line["event"] == "child_died"]
        assert [line["status"] for line in died] == ["SIGKILL", "SIGKILL"]
        assert all(line["restart_in_seconds"] <= 0.2 for line in died)


def test_a_version_that_crashes_workers_is_given_up_and_the_server_is_not(folder: Path):
    (folder / "models" / "digits" / "poison").mkdir()
    table = FolderTable(folder / "s" / "overrides", ModelOverride.SerializeToString, ModelOverride.FromString)
    table.update("digits", lambda _: ModelOverride(model="digits", revision=4, config_json="{}"))
    with fake_serve(folder) as serve:
        printed = serve.until_ready()

        override = table.read("digits")
        assert serve.words().count("worker-0 crashes") == 3
        assert override.failed_versions["poison"].startswith("3 workers crashed within 60 s while it was loaded; last: SIGABRT")
        assert (override.revision, override.config_json) == (5, "{}")
        assert "version_failed" in serve.events()
        assert "digits  1  READY" in printed
        assert "digits  poison  FAILED: 3 workers crashed" in printed


def test_killing_workers_from_outside_fails_no_version(folder: Path):
    with fake_serve(folder) as serve:
        serve.until_ready()
        for life in range(2, 6):
            os.kill(serve.pid("worker-0"), signal.SIGKILL)
            serve.until_step("worker-0 settled", life)

        assert not list((serve.state / "overrides").glob("*.pb"))


def test_no_child_outlives_a_killed_supervisor(folder: Path):
    with fake_serve(folder, "routers=2") as serve:
        serve.until_ready()
        children = [serve.pid(name) for name in ("router-0", "router-1", "worker-0")]
        assert all(is_alive(pid) for pid in children)

        serve.process.kill()

        assert all(wait_gone(pid, 2.0) for pid in children)


def test_after_a_killed_supervisor_the_next_one_starts_in_the_same_folder(folder: Path):
    with fake_serve(folder) as serve:
        serve.until_ready()
    with fake_serve(folder) as serve:
        serve.until_ready()

        assert serve.terminate() == 0


def test_sighup_passes_new_settings_on_to_the_children(folder: Path):
    file = folder / "serve.toml"
    file.write_text('log_level = "info"\n')
    with fake_serve(folder, config=file) as serve:
        serve.until_ready()
        file.write_text('log_level = "warning"\nworkers = 3\n')

        serve.process.send_signal(signal.SIGHUP)

        serve.until_step("router-0 reload warning")
        serve.until_step("worker-0 reload")
        assert serve.terminate() == 0
        assert "config_needs_restart" in serve.events()
        assert "worker-1" not in " ".join(serve.words())


def test_an_invalid_file_keeps_the_old_settings_and_says_so(folder: Path):
    file = folder / "serve.toml"
    file.write_text('log_level = "info"\n')
    with fake_serve(folder, config=file) as serve:
        serve.until_ready()
        file.write_text("log_level = 7\n")

        serve.process.send_signal(signal.SIGHUP)

        serve.until_step("router-0 reload info")
        assert serve.terminate() == 0
        assert "config_rejected" in serve.events()


def test_a_stuck_router_is_killed_after_its_time_to_drain(folder: Path):
    (folder / "orders" / "router-0.stuck").touch()
    with fake_serve(folder, "drain_seconds=0") as serve:
        serve.until_ready()

        assert serve.terminate() == 0

        assert "child_killed" in serve.events()
        assert "router-0 stopped" not in serve.words()
        assert serve.words()[-1] == "worker-0 stopped"


def test_a_second_signal_ends_everything_at_once(folder: Path):
    (folder / "orders" / "router-0.stuck").touch()
    with fake_serve(folder) as serve:
        serve.until_ready()
        children = [serve.pid(name) for name in ("router-0", "worker-0")]
        serve.process.send_signal(signal.SIGINT)
        serve.until_step("router-0 draining")

        serve.process.send_signal(signal.SIGINT)

        assert serve.process.wait(30) == 128 + signal.SIGINT
        assert all(wait_gone(pid, 2.0) for pid in children)


def test_a_signal_while_starting_stops_what_runs(folder: Path):
    (folder / "orders" / "router-0.exit").write_text("1")
    with fake_serve(folder) as serve:
        serve.until_step("worker-0 settled")

        assert serve.terminate() == 0

        assert serve.words()[-1] == "worker-0 stopped"


def test_a_child_that_refuses_its_settings_ends_the_start(folder: Path):
    (folder / "orders" / "router-0.exit").write_text("78")
    with fake_serve(folder) as serve:
        assert serve.process.wait(20) == 1
        assert "error: router-0 refuses its settings" in (folder / "log").read_text()


def test_a_child_that_never_comes_up_ends_the_start(folder: Path):
    (folder / "orders" / "router-0.exit").write_text("1")
    with fake_serve(folder) as serve:
        assert serve.process.wait(30) == 1
        assert "error: router-0 ended 5 times before everything was ready (last: exit code 1)" in (folder / "log").read_text()


@pytest.mark.parametrize("option", ["http", "grpc", "metrics"])
def test_a_taken_port_is_one_error_before_any_child_starts(folder: Path, option: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with fake_serve(folder, f"{option}_port={port}") as serve:
            assert serve.process.wait(20) == 1

    message = (folder / "log").read_text()
    assert message.startswith(f"error: port {port} is taken by process {os.getpid()} (")
    assert f"--{option}-port" in message
    assert serve.steps() == []


def test_a_missing_repository_is_an_error(folder: Path):
    with fake_serve(folder, f"repository={folder / 'none'}") as serve:
        assert serve.process.wait(20) == 1
        assert "none is no folder" in (folder / "log").read_text()


def test_two_serves_do_not_share_a_folder(folder: Path):
    with fake_serve(folder) as first:
        first.until_ready()
        with fake_serve(folder) as second:
            assert second.process.wait(20) == 1
            assert "another serve uses the folder" in (folder / "log").read_text()
        assert first.process.poll() is None


def test_metrics_tell_about_children_even_when_they_show_none(folder: Path):
    with fake_serve(folder) as serve:
        serve.until_ready()
        record = json.loads((serve.state / "serve.json").read_text())
        shown = urllib.request.urlopen(f"http://{record['metrics']}/metrics", timeout=10).read().decode()

    assert 'penstock_child_up{process="worker-0"} 1.0' in shown
    assert 'penstock_child_starts_total{process="router-0"} 1.0' in shown
    assert 'penstock_scrape_failures_total{process="worker-0"} 1.0' in shown
    assert "nv_cpu_memory_total_bytes" in shown
